"""A config -> a serving process: uvicorn with our logs, proxies and limits, and nothing taken from the environment."""

from __future__ import annotations

import gc
import socket
from typing import TYPE_CHECKING

import uvicorn

from gateway.app import create_app
from gateway.telemetry import configure_logging, get_logger

if TYPE_CHECKING:
    from gateway.config import GatewayConfig, ServerSettings

log = get_logger("gateway.server")

BACKLOG = 2048
"""Connections that may wait to be accepted (uvicorn's own default)."""


def serve(config: GatewayConfig) -> None:
    """Serve until a stop signal.

    Raises:
        ConfigError: for agents that do not build.
        OSError: for an address that cannot be had.
    """
    configure_logging(config.server)
    server = make_server(config)
    # Bound here, because uvicorn would log the error and end the process.
    with _listener(config.server) as listener:
        _say_who_gets_in(config)
        # What is there now stays for good: looking through it again would cost each run 0.4 to 1 ms.
        gc.freeze()
        gc.enable()
        server.run([listener])


def _listener(settings: ServerSettings) -> socket.socket:
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, settings.port), family=family, backlog=BACKLOG)


def make_server(config: GatewayConfig) -> uvicorn.Server:
    """A server for `create_app(config)` that has not started yet."""
    settings = config.server
    return uvicorn.Server(
        uvicorn.Config(
            create_app(config),
            host=settings.host,
            port=settings.port,
            root_path=settings.root_path,
            lifespan="on",
            log_config=None,
            access_log=False,
            # Our own middleware reads forwarding headers; uvicorn would trust every local process by default.
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=round(settings.shutdown_timeout),
        )
    )


def _say_who_gets_in(config: GatewayConfig) -> None:
    if not config.auth.configured:
        log.warning("anonymous", reason="no `auth` is configured; answering loopback host names only")
    elif config.auth.anonymous:
        log.warning("anonymous", reason="`auth.anonymous` is true: callers without credentials share one owner")

"""`gateway serve`: the config and the flags -> a running server.

The flags are the fields of `ServerSettings`, and only those that were given go before the file. Heavy modules are
imported when they are needed: the time to the first request counts.
"""

from __future__ import annotations

import errno
import gc
import logging
import socket
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from gateway.cli.options import CONFIG_FILE, ConfigFile
from gateway.config import ServerSettings
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import GatewayConfig

_FLAGS = Group("Server (these go before what the config says)")
_RELOAD_HELP = "Start again when a Python or YAML file in the config's folder changes; for development."
_UNKNOWN_NAME = (socket.EAI_NONAME, socket.EAI_AGAIN)
_RELOAD_SIGINT_TIMEOUT = 5
"""Seconds beside `drain_timeout` that a stopping child gets before it is killed."""


def serve(
    *,
    config: ConfigFile = CONFIG_FILE,
    reload: Annotated[bool, Parameter(help=_RELOAD_HELP)] = False,
    server: Annotated[ServerSettings | None, Parameter(name="*", group=_FLAGS)] = None,
) -> None:
    """Serve until a stop signal."""
    overrides = server.model_dump(include=server.model_fields_set) if server else {}
    if reload:
        _serve_again_and_again(config, overrides)
    else:
        _serve(config, overrides)


def _serve(path: Path, overrides: dict[str, Any]) -> None:
    from gateway.configfile import load  # noqa: PLC0415 - not for `--help`

    gc.disable()  # the imports make many objects and hardly any garbage; `server.serve` turns it on again
    config = load(path, overrides)
    from gateway import server  # noqa: PLC0415 - imports pydantic-ai; after the config, so that its errors come at once

    _announce(config)
    try:
        server.serve(config)
    except OSError as error:
        _explain(error, config.server)


def _announce(config: GatewayConfig) -> None:
    from gateway.cli.console import columns, console  # noqa: PLC0415 - not for `--help`
    from gateway.cli.urls import surface_urls  # noqa: PLC0415

    table = columns("Agent", "URLs")
    for agent_id in config.agents:
        urls = [url for surface in config.surfaces_of(agent_id) for url in surface_urls(config, agent_id, surface)]
        table.add_row(agent_id, "\n".join(urls))
    console().print(table)


def _explain(error: OSError, server: ServerSettings) -> None:
    """Ends the process with a sentence when it was the address that could not be had."""
    place = f"{server.host} port {server.port}"
    reasons = {
        errno.EADDRINUSE: f"{place} is already in use: stop what has it, or choose another (`server.port`, --port)",
        errno.EACCES: f"{place} may not be opened by this user: choose a port above 1023 (`server.port`, --port)",
        **dict.fromkeys(_UNKNOWN_NAME, f"{server.host} is not a name that this machine can look up: see --host"),
        errno.EADDRNOTAVAIL: f"{server.host} is not an address of this machine: see --host",
    }
    if error.errno not in reasons:
        raise error
    from gateway.cli.console import show_errors  # noqa: PLC0415 - only when there is something to show

    show_errors([reasons[error.errno]])
    sys.exit(1)


def _serve_again_and_again(path: Path, overrides: dict[str, Any]) -> None:
    from watchfiles import PythonFilter, run_process  # noqa: PLC0415 - a tool for development

    logging.getLogger("watchfiles").setLevel(logging.ERROR)  # it warns of every child that ended by itself
    run_process(
        path.absolute().parent,
        target=_serve_until_changed,
        args=(path, overrides),
        watch_filter=PythonFilter(extra_extensions=(".yaml", ".yml")),
        sigint_timeout=int(ServerSettings.model_fields["drain_timeout"].default) + _RELOAD_SIGINT_TIMEOUT,
    )


def _serve_until_changed(path: Path, overrides: dict[str, Any]) -> None:
    """What the reloader's child runs: a mistake is shown, and mended by the next change."""
    try:
        _serve(path, overrides)
    except ConfigError as error:
        from gateway.cli.console import show_errors  # noqa: PLC0415 - only when there is something to show

        show_errors(error.problems)
    except KeyboardInterrupt:
        pass

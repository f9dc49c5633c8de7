"""A gateway on a real socket, in a thread of the test process."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from gateway.config import GatewayConfig
from gateway.server import make_server

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator

    from starlette.applications import Starlette

ROOT = Path(__file__).parent.parent
DEMO_AGENTS: dict[str, Any] = {
    "assistant": "agents.assistant:agent",
    "approver": "agents.approver:agent",
    "planner": {"import": "agents.planner:agent", "deps": "agents.planner:make_deps"},
    "extractor": "agents.extractor:agent",
}
TIMEOUT = 15.0


def make_config(folder: Path = ROOT, **sections: Any) -> GatewayConfig:
    """A config as `gateway.yaml` would give it: the demo agents unless `agents=` says otherwise, any free port."""
    sections.setdefault("agents", DEMO_AGENTS)
    sections["server"] = {"port": 0, **sections.get("server", {})}
    return GatewayConfig.model_validate(sections).located(folder)


@contextmanager
def serving(config: GatewayConfig) -> Generator[str]:
    """Serve `config` and yield its base URL."""
    with running(make_server(config)) as url:
        yield url


@contextmanager
def running(server: uvicorn.Server) -> Generator[str]:
    """Run any uvicorn server and yield its base URL."""
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + TIMEOUT
    while not server.started:
        assert thread.is_alive(), "the server ended before it started"
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(TIMEOUT)
        assert not thread.is_alive(), "the server did not stop"


@contextmanager
def answering(listener: socket.socket, app: Starlette) -> Generator[None]:
    """Serve an app that is no gateway on a socket that listens already, so that no request comes too early."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=10)

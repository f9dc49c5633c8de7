"""CopilotKit's own runtime, on Node, and the agents behind it as pydantic-ai's documentation serves them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from clients_driver import FOLDER, Json, Node
from pydantic_ai.ui.ag_ui import AGUIAdapter
from pydantic_core import from_json
from serving import running
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from pydantic_ai import Agent
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

RUNTIME = Path(__file__).parent / "node-runtime"

needs_node_runtime = pytest.mark.skipif(
    not (RUNTIME / "node_modules/@copilotkit/runtime").exists() or not (FOLDER / "node_modules/@copilotkit").exists(),
    reason="the npm packages are not installed: run make test",
)


@dataclass(frozen=True)
class NodeRuntime:
    """Where it is reached."""

    many: str
    """Its `runtimeUrl`."""
    one: str
    """The same runtime, where it answers on a single URL and no other."""


@contextmanager
def node_runtime(agents: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Generator[NodeRuntime]:
    """A Node process with a runtime for `{name: AG-UI URL}`, which sends `headers` to all of them.

    It keeps threads in its memory, one for all runtimes of a process: each has a process of its own.
    """
    node = Node(f"../{RUNTIME.name}/runtime.mjs", "")
    try:
        port = node.call("listen", agents=dict(agents), headers=dict(headers or {}))["port"]
        yield NodeRuntime(f"http://127.0.0.1:{port}/copilotkit", f"http://127.0.0.1:{port}/one")
    finally:
        node.close()


@dataclass
class Arrived:
    """A request for a run, as it came to the agents' side."""

    headers: dict[str, str]
    raw: bytearray = field(default_factory=bytearray)

    @property
    def body(self) -> Json:
        """`RunAgentInput`, also out of the envelope of a single URL."""
        sent: Json = from_json(self.raw)
        return sent["body"] if "method" in sent else sent


class Arrivals:
    """Writes down what comes to an app."""

    def __init__(self, app: ASGIApp, seen: list[Arrived]) -> None:
        self._app = app
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        arrived = Arrived({name.decode(): value.decode() for name, value in scope["headers"]})
        self._seen.append(arrived)

        async def noted() -> Message:
            message = await receive()
            arrived.raw += message.get("body", b"")
            return message

        await self._app(scope, noted, send)


@contextmanager
def plain_agents(
    agents: Mapping[str, Agent[Any, Any]], deps: Mapping[str, Callable[[None], Any]], seen: list[Arrived], key: str = ""
) -> Generator[dict[str, str]]:
    """`AGUIAdapter` in a Starlette app, for each agent; with `key`, for whoever has it. Yields `{name: URL}`."""

    def route(name: str) -> Route:
        async def run(request: Request) -> Response:
            if key and f"Bearer {key}" != request.headers.get("authorization"):
                return PlainTextResponse("Who are you?", 401)
            made = deps[name](None) if name in deps else None
            return await AGUIAdapter[Any, Any].dispatch_request(request, agent=agents[name], deps=made)

        return Route(f"/{name}", run, methods=["POST"])

    app = Arrivals(Starlette(routes=[route(name) for name in agents]), seen)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    with running(server) as url:
        yield {name: f"{url}/{name}" for name in agents}

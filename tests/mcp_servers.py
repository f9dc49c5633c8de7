"""An MCP server with pages, on a real socket, and agents that use its tools.

Its tools differ in who sees them: `weather_in` both model and pages, `refresh` pages alone, `plan` the model alone.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import uvicorn
from mcp.server.apps import Apps
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelRequest, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from run_probes import gates
from serving import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Mapping

    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.toolsets import AbstractToolset
    from starlette.types import ASGIApp, Receive, Scope, Send

    Json = dict[str, Any]
    Stream = AsyncIterator[str | dict[int, DeltaToolCall]]

KEY = "__proxiedMCPRequest"
"""In `forwardedProps`."""

PAGE = "ui://weather/page.html"
HTML = "<!doctype html><title>Weather</title><p>Where?"
SECRET = "Station 7 on 10.0.0.7"
"""Never to be seen outside of the server."""


@dataclass
class Weather:
    """A running server, and what it was asked."""

    url: str = ""
    port: int = 0
    calls: list[str] = field(default_factory=list[str])
    """Tools and what they were called with, in order."""
    keys: set[str] = field(default_factory=set[str])
    """Bearer tokens that it was shown."""
    running: ExitStack = field(default_factory=ExitStack)
    """Ends it when it is closed."""

    def start(self) -> None:
        """Begin to answer; again where it was, if it was stopped."""
        app = _Watched(_server(self).streamable_http_app(), self)
        config = uvicorn.Config(app, port=self.port, log_config=None, timeout_graceful_shutdown=1)
        url = self.running.enter_context(running(uvicorn.Server(config)))
        self.url, self.port = f"{url}/mcp", int(url.rpartition(":")[2])

    def stop(self) -> None:
        """End it before its time."""
        self.running.close()


@contextmanager
def weather_server() -> Generator[Weather]:
    """Run the server on a free port; `url` is where its MCP endpoint is."""
    weather = Weather()
    with weather.running:
        weather.start()
        yield weather


class _Watched:
    """Notes who calls."""

    def __init__(self, app: ASGIApp, weather: Weather) -> None:
        self._app = app
        self._weather = weather

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for name, value in scope.get("headers", ()):
            if name == b"authorization":
                self._weather.keys.add(value.decode().removeprefix("Bearer "))
        await self._app(scope, receive, send)


FINAL = ToolAnnotations(destructive_hint=True)


def _pages(weather: Weather) -> Apps:
    apps = Apps()
    apps.add_html_resource(PAGE, HTML, prefers_border=True)

    @apps.tool(resource_uri=PAGE)
    async def weather_in(city: str) -> dict[str, str]:
        """The weather in a city; late in one whose name says so."""
        weather.calls.append(f"weather_in {city}")
        if city.startswith("late-"):
            await gates[city].passed()
        return {"city": city, "sky": "clear"}

    @apps.tool(resource_uri=PAGE, visibility=["app"])
    def refresh(city: str) -> str:
        """The same again, for the page."""
        weather.calls.append(f"refresh {city}")
        return f"Still clear in {city}."

    @apps.tool(resource_uri=PAGE, visibility=["model"])
    def plan(city: str) -> str:
        """Not for pages."""
        weather.calls.append(f"plan {city}")
        return "Planned."

    @apps.tool(resource_uri=PAGE, visibility=["app"], annotations=FINAL)
    def move_station(name: str) -> str:
        """Nor can this be undone. For the page."""
        weather.calls.append(f"move_station {name}")
        return f"Moved {name}."

    return apps


def _server(weather: Weather) -> MCPServer:
    server = MCPServer("weather", extensions=[_pages(weather)], log_level="CRITICAL")

    @server.tool(annotations=FINAL)
    def close_station(name: str) -> str:
        """Does what cannot be undone."""
        weather.calls.append(f"close_station {name}")
        return f"Closed {name}."

    @server.tool()
    def failing() -> str:
        """Fails."""
        raise RuntimeError(SECRET)

    @server.tool()
    async def stuck() -> str:
        """Does not answer."""
        await anyio.sleep_forever()
        return ""

    @server.tool()
    def long(characters: int) -> str:
        """Answers with much."""
        return "x" * characters

    @server.resource("file:///stations.csv")
    def stations() -> str:
        """What is no page."""
        return SECRET

    return server


def toolset(weather: Weather, id: str | None = "weather", **options: Any) -> MCPToolset[Any]:  # noqa: A002 - the name in pydantic-ai
    """The server as a toolset."""
    return MCPToolset(weather.url, id=id, **options)


def forecaster(*toolsets: AbstractToolset[Any], **options: Any) -> Agent[Any, Any]:
    """An agent that asks for the weather in what its prompt says, and then waits at a gate if there is one."""
    return Agent(FunctionModel(stream_function=_forecasts), toolsets=toolsets, **options)


async def _forecasts(messages: list[ModelMessage], info: AgentInfo) -> Stream:
    request = messages[-1]
    assert isinstance(request, ModelRequest)
    results = [part for part in request.parts if isinstance(part, ToolReturnPart)]
    if not results:
        [asked] = [part.content for part in request.parts if isinstance(part, UserPromptPart)]
        [tool] = [each.name for each in info.function_tools if each.name.endswith("weather_in")]
        for number, city in enumerate(str(asked).split(" and ")):
            yield {number: DeltaToolCall(tool, json.dumps({"city": city}), tool_call_id=f"{len(messages)}-{number}")}
        return
    yield "Looked "
    for result in results:
        if (city := json.loads(result.model_response_str())["city"]) in gates:
            await gates[city].passed()
    yield "it up."


@contextmanager
def configured(agents: Mapping[str, tuple[Agent[Any, Any], Json]]) -> Generator[dict[str, Json]]:
    """The agents as the config names them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, (agent, _) in agents.items():
            patch.setattr(sys.modules[__name__], name, agent, raising=False)
        yield {name: {"import": f"mcp_servers:{name}", **settings} for name, (_, settings) in agents.items()}

"""A CopilotKit runtime without Node: what a React app finds at its `runtimeUrl`.

    GET  {path}/info                                  agents, and what is served here
    POST {path}/agent/{agent}/run                     a run
    POST {path}/agent/{agent}/suggest                 suggestions, which are no turn of a conversation
    POST {path}/agent/{agent}/connect                 a thread as it is, and the run that goes on on it
    POST {path}/agent/{agent}/stop/{thread id}        stop
    GET  {path}/threads, {path}/threads/{id}/...      see `copilotkit_threads.py`
    POST {path}                                       all of it through one URL, see `copilotkit_single.py`

Source: the published `@copilotkit/core` 1.75.0, which is the client, and `@copilotkit/runtime`, which this stands for.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway import __version__
from gateway.capabilities import capabilities_of
from gateway.errors import AgentNotFound
from gateway.sse import EventStreamResponse
from gateway.surfaces.copilotkit_single import single
from gateway.surfaces.copilotkit_threads import stored_events, thread_routes
from gateway.surfaces.endpoint import AgentEndpoint, run_headers
from gateway.surfaces.thread_requests import ThreadRoute, json_body, optional_json
from gateway.wires import checked_thread_id
from gateway.wires.copilotkit import CopilotKit, frames

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from gateway.auth import Principal
    from gateway.config import CopilotKitSettings
    from gateway.registry import AgentEntry, Registry
    from gateway.streams import StreamInfo
    from gateway.surfaces.endpoint import Services

WIRE = CopilotKit()

DEFAULT = "default"
"""The agent that a `CopilotChat` without one asks for; the first of the runtime, where none has that name."""

THREAD_ENDPOINTS = {"list": True, "inspect": True, "mutations": False, "realtimeMetadata": False}

STOPPED = {"type": "RUN_ERROR", "message": "The run was stopped.", "code": "STOPPED"}


class ConnectRequest(BaseModel):
    """Of the `RunAgentInput` of a `connect`, what is looked at."""

    threadId: str  # noqa: N815 - the wire's name
    protocolVersion: str = ""  # noqa: N815 - the wire's name


class StopRequest(BaseModel):
    """Which run of the thread; whichever goes on when left out."""

    model_config = ConfigDict(extra="forbid")

    runId: str | None = None  # noqa: N815 - the wire's name


class Agents:
    """The agents of one runtime."""

    def __init__(self, registry: Registry, settings: CopilotKitSettings) -> None:
        self._registry = registry
        self._names = settings.agents

    def usable_by(self, principal: Principal) -> dict[str, AgentEntry]:
        """Name -> agent, those that the principal may know of, in the order of the config."""
        usable = {entry.id: entry for entry in self._registry.usable_by(principal) if self._offers(entry)}
        first = next(iter(usable.values()), None)
        return usable if first is None or DEFAULT in usable else {**usable, DEFAULT: first}

    def find(self, name: str, principal: Principal) -> AgentEntry:
        """The agent. Raises `AgentNotFound`, with the members that CopilotKit looks for."""
        entry = self.usable_by(principal).get(name)
        if entry is None:
            raise AgentNotFound(members={"error": "Agent not found", "message": AgentNotFound.sentence})
        return entry

    def _offers(self, entry: AgentEntry) -> bool:
        return WIRE.surface in entry.surfaces and (self._names is None or entry.id in self._names)


def routes(registry: Registry, services: Services, settings: CopilotKitSettings) -> list[BaseRoute]:
    """The routes of one runtime."""
    agents, endpoint, path = Agents(registry, settings), AgentEndpoint(WIRE, services), settings.path

    def find(request: Request) -> AgentEntry:
        return agents.find(request.path_params["agent"], request.user)

    async def info(request: Request) -> Response:
        return JSONResponse(_info(agents.usable_by(request.user)))

    async def run(request: Request) -> Response:
        return await endpoint.respond(request, find(request), request.user)

    async def connect(request: Request) -> Response:
        find(request)
        asked = await json_body(request, ConnectRequest)
        return await _connect(request, services, asked)

    async def stop(request: Request) -> Response:
        entry, asked = find(request), await optional_json(request, StopRequest, services)
        running = await services.runs.find_on_thread(request.user.scope, request.path_params["thread_id"])
        is_meant = running and running.agent == entry.id and asked.runId in (None, running.request_id)
        if running and is_meant and await services.runs.cancel(running):
            return JSONResponse({"stopped": True, "interrupt": STOPPED})
        return JSONResponse({"stopped": False, "message": "There is no run to stop."})

    of_agent = f"{path}/agent/{{agent}}"
    rest: list[Route] = [
        Route(f"{path}/info", info, methods=["GET"]),
        Route(f"{of_agent}/run", run, methods=["POST"]),
        Route(f"{of_agent}/suggest", run, methods=["POST"]),
        Route(f"{of_agent}/connect", connect, methods=["POST"]),
        ThreadRoute(f"{of_agent}/stop/{{thread_id:path}}", stop, methods=["POST"]),
        *thread_routes(path, services),
    ]
    served = [*rest, *single(path, rest)]
    for route in served:
        route.include_in_schema = False  # a protocol of CopilotKit's own
    return [*served]


def _info(agents: dict[str, AgentEntry]) -> dict[str, Any]:
    """What is served here: nothing else is announced."""
    return {
        "version": __version__,
        "mode": "sse",
        "agents": {name: _agent(name, entry) for name, entry in agents.items()},
        "audioFileTranscriptionEnabled": False,
        "suggestions": True,
        "threadEndpoints": THREAD_ENDPOINTS,
        "singleRoute": {"resourceOperations": True, "threadEndpoints": THREAD_ENDPOINTS},
        "telemetryDisabled": True,
    }


def _agent(name: str, entry: AgentEntry) -> dict[str, Any]:
    capabilities = capabilities_of(entry).model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"name": name, "description": entry.description, "className": "Agent", "capabilities": capabilities}


async def _connect(request: Request, services: Services, asked: ConnectRequest) -> Response:
    """The thread as it is stored, then the run that goes on on it; nothing at all for one that never was (law 6)."""
    scope, thread_id, dialect = request.user.scope, checked_thread_id(asked.threadId), asked.protocolVersion
    running = await services.runs.find_on_thread(scope, thread_id)
    stored = await stored_events(request, services, thread_id, running)
    # Between the two looks the run may have ended: then its answer is among the messages.
    live = None if stored.has_answer_of(running) else running
    return EventStreamResponse(
        _both(services, frames(stored.events, dialect), live, dialect),
        headers=run_headers(live) if live else {},
        heartbeat=services.server.heartbeat,
        cut_after=services.server.max_stream_seconds,
    )


async def _both(services: Services, stored: bytes, live: StreamInfo | None, dialect: str) -> AsyncGenerator[bytes]:
    if stored:
        yield stored
    if live:
        framing = WIRE.framing(live.run_id, live.dialect, dialect)
        async with aclosing(services.runs.read(live.run_id, 0, framing)) as batches:
            async for batch in batches:
                yield batch

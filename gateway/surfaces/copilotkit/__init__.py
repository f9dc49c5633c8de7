"""A CopilotKit runtime without Node: what a React app finds at its `runtimeUrl`.

    GET  {path}/info                                  agents, and what is served here
    POST {path}/agent/{agent}/run                     a run
    POST {path}/agent/{agent}/suggest                 suggestions, which are no turn of a conversation
    POST {path}/agent/{agent}/connect                 a thread as it is, and the run that goes on on it
    POST {path}/agent/{agent}/stop/{thread id}        stop
    GET  {path}/threads, {path}/threads/{id}/...      see `threads.py`
    POST {path}/transcribe                            voice input, see `transcribe.py`
    POST {path}                                       all of it through one URL, see `envelope.py`

Source: the published `@copilotkit/core` 1.75.0, which is the client, and `@copilotkit/runtime`, which this stands for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway import __version__
from gateway.capabilities import capabilities_of
from gateway.errors import AgentNotFound
from gateway.frontend.a2ui import a2ui_of
from gateway.stops import Stop, signal_for
from gateway.surfaces.copilotkit.connection import connect
from gateway.surfaces.copilotkit.envelope import single
from gateway.surfaces.copilotkit.threads import thread_routes
from gateway.surfaces.copilotkit.transcribe import transcribe_route
from gateway.surfaces.mcp_apps import AppsEndpoint
from gateway.surfaces.thread_requests import ThreadRoute, optional_json
from gateway.wires.ag_ui.copilotkit import CopilotKit

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from gateway.auth import Principal
    from gateway.config import CopilotKitSettings
    from gateway.registry import AgentEntry, Registry
    from gateway.surfaces.endpoint import Services

DEFAULT = "default"
"""The agent that a `CopilotChat` without one asks for; the first of the runtime, where none has that name."""

THREAD_ENDPOINTS = {"list": True, "inspect": True, "mutations": True, "realtimeMetadata": False}

STOPPED = {"type": "RUN_ERROR", "message": "The run was stopped.", "code": "STOPPED"}


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

    def id_of(self, request: Request, name: str) -> str:
        """The agent's own id, by which its threads are kept."""
        entry = self.usable_by(request.user).get(name)
        return entry.id if entry else name

    def _offers(self, entry: AgentEntry) -> bool:
        return CopilotKit.surface in entry.surfaces and (self._names is None or entry.id in self._names)


def routes(registry: Registry, services: Services, settings: CopilotKitSettings) -> list[BaseRoute]:
    """The routes of one runtime."""
    agents, path = Agents(registry, settings), settings.path
    endpoint = AppsEndpoint(CopilotKit(a2ui=settings.a2ui, open_generative_ui=settings.open_generative_ui), services)

    def find(request: Request) -> AgentEntry:
        return agents.find(request.path_params["agent"], request.user)

    async def info(request: Request) -> Response:
        return JSONResponse(_info(agents.usable_by(request.user), services, settings))

    async def run(request: Request) -> Response:
        return await endpoint.respond(request, find(request), request.user)

    async def connected(request: Request) -> Response:
        find(request)
        return await connect(request, services)

    async def stop(request: Request) -> Response:
        entry = find(request)
        asked, user = await optional_json(request, StopRequest, services), request.user
        meant = Stop(
            user.scope,
            request.path_params["thread_id"],
            # Of whichever agent it is: `connect` shows it, and a reader may stop what it is shown.
            is_meant=lambda run: user.may_use(run.agent) and asked.runId in (None, run.request_id),
            unbegun=signal_for(entry.id),
            request_id=asked.runId or "",
        )
        if await services.runs.stops.on_thread(meant):
            return JSONResponse({"stopped": True, "interrupt": STOPPED})
        return JSONResponse({"stopped": False, "message": "There is no run to stop."})

    of_agent = f"{path}/agent/{{agent}}"
    rest: list[Route] = [
        Route(f"{path}/info", info, methods=["GET"]),
        Route(f"{of_agent}/run", run, methods=["POST"]),
        Route(f"{of_agent}/suggest", run, methods=["POST"]),
        Route(f"{of_agent}/connect", connected, methods=["POST"]),
        ThreadRoute(f"{of_agent}/stop/{{thread_id:path}}", stop, methods=["POST"]),
        *thread_routes(settings, services, agents.id_of),
        transcribe_route(path, services, agents.usable_by),
    ]
    served = [*rest, *single(path, rest, services)]
    for route in served:
        route.include_in_schema = False  # a protocol of CopilotKit's own
    return [*served]


def _info(agents: dict[str, AgentEntry], services: Services, settings: CopilotKitSettings) -> dict[str, Any]:
    """What is served here: nothing else is announced."""
    return {
        "version": __version__,
        "mode": "sse",
        "agents": {name: _agent(name, entry) for name, entry in agents.items()},
        "audioFileTranscriptionEnabled": bool(agents) and services.speech is not None,
        "suggestions": True,
        "threadEndpoints": THREAD_ENDPOINTS,
        "singleRoute": {"resourceOperations": True, "threadEndpoints": THREAD_ENDPOINTS},
        "telemetryDisabled": True,
        "openGenerativeUIEnabled": settings.open_generative_ui is True,
        **_a2ui(agents, settings.a2ui),
    }


def _a2ui(agents: dict[str, AgentEntry], asked: bool | None) -> dict[str, Any]:
    """Whether surfaces may come without the page's having asked for them: only then it draws some all the same."""
    own = any(a2ui_of(entry.agent, entry.capabilities) for entry in agents.values())
    enabled = own if asked is None else asked
    # Not which agents: those that are left out would not get the page's components either, when it offers some.
    return {"a2uiEnabled": enabled, **({"a2ui": {"enabled": True}} if enabled else {})}


def _agent(name: str, entry: AgentEntry) -> dict[str, Any]:
    capabilities = capabilities_of(entry).model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"name": name, "description": entry.description, "className": "Agent", "capabilities": capabilities}

"""`GET /agents` and `GET /agents/{agent}`: what there is, what it can do, and the URL of each way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.capabilities import capabilities_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from gateway.registry import AgentEntry, Registry


def routes(registry: Registry) -> list[BaseRoute]:
    """The catalogue. An agent out of the caller's scope is not in it."""

    async def list_agents(request: Request) -> Response:
        return JSONResponse({"agents": [_summary(request, entry) for entry in registry.usable_by(request.user)]})

    async def read_agent(request: Request) -> Response:
        entry = registry.find(request.path_params["agent"], request.user)
        capabilities = capabilities_of(entry).model_dump(mode="json", by_alias=True, exclude_none=True)
        return JSONResponse({**_summary(request, entry), "capabilities": capabilities})

    return [
        Route("/agents", list_agents, methods=["GET"], name="agents"),
        Route("/agents/{agent}", read_agent, methods=["GET"], name="agent"),
    ]


def _summary(request: Request, entry: AgentEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "description": entry.description,
        "ready": entry.lifetime.is_ready,
        "url": str(request.url_for("agent", agent=entry.id)),
        "surfaces": {surface: _url(request, entry, surface) for surface in entry.surfaces},
    }


def _url(request: Request, entry: AgentEntry, surface: str) -> str:
    """Where a front end reaches the agent; a CopilotKit one its runtime."""
    if surface == "copilotkit":
        return f"{str(request.base_url).rstrip('/')}{entry.runtime}"
    return str(request.url_for(surface, agent=entry.id))

"""`POST /agents/{agent}/ag-ui`, and `to_ag_ui` for other apps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from gateway.surfaces.endpoint import agent_routes
from gateway.surfaces.mcp_apps import AppsEndpoint
from gateway.surfaces.mounted import AgentApp, MountOptions
from gateway.wires.ag_ui import AgUi

if TYPE_CHECKING:
    from pydantic_ai.agent import AbstractAgent
    from starlette.routing import BaseRoute

    from gateway.registry import Registry
    from gateway.surfaces.endpoint import Services


def routes(registry: Registry, services: Services) -> list[BaseRoute]:
    """The surface's routes in the gateway."""
    return agent_routes(AppsEndpoint(AgUi(), services), registry)


def to_ag_ui(agent: AbstractAgent[Any, Any], **options: Unpack[MountOptions]) -> AgentApp:
    """An agent -> an ASGI app that speaks AG-UI, with the gateway's history, limits, errors and heartbeats.

    The successor of `Agent.to_ag_ui()`, which pydantic-ai 2 removed. Options: `MountOptions`.
    """
    return AgentApp(AgUi(), agent, options, endpoint=AppsEndpoint)

"""`POST /agents/{agent}/vercel-ai` with its resume and stop, and `to_vercel_ai` for other apps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from gateway.surfaces.endpoint import agent_routes
from gateway.surfaces.mounted import AgentApp, MountOptions
from gateway.wires.vercel_ai import VercelAi

if TYPE_CHECKING:
    from pydantic_ai.agent import AbstractAgent
    from starlette.routing import BaseRoute

    from gateway.registry import Registry
    from gateway.surfaces.endpoint import Services


def routes(registry: Registry, services: Services) -> list[BaseRoute]:
    """The surface's routes in the gateway."""
    return agent_routes(VercelAi(), registry, services, resumable=True)


def to_vercel_ai(agent: AbstractAgent[Any, Any], **options: Unpack[MountOptions]) -> AgentApp:
    """An agent -> an ASGI app that speaks the AI SDK's chat wire, with the gateway's history, limits and errors.

    Options: `MountOptions`.
    """
    return AgentApp(VercelAi(), agent, options, resumable=True)

"""What front ends of the AI SDK ask for: chats with resume and stop, completions; and `to_vercel_ai` for other apps.

    POST /agents/{agent}/vercel-ai                        useChat
    GET  /agents/{agent}/vercel-ai/{chat id}/stream
    POST /agents/{agent}/vercel-ai/{chat id}/stop
    POST /agents/{agent}/completion                       useCompletion
    POST /agents/{agent}/object                           useObject

Chunks of UI messages, or with `?protocol=text` (or `Accept: text/plain`) the text alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from starlette.routing import Route

from gateway.errors import BadRequest
from gateway.surfaces.endpoint import AgentEndpoint, agent_routes, offered, suitable
from gateway.surfaces.mounted import AgentApp, MountOptions
from gateway.surfaces.readers import media_type_asked
from gateway.wires.native import Native
from gateway.wires.vercel_ai import TEXT, VercelAi
from gateway.wires.vercel_ai.completion import Completion

if TYPE_CHECKING:
    from pydantic_ai.agent import AbstractAgent
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from gateway.registry import Registry
    from gateway.surfaces.endpoint import Services

PROTOCOLS = {"data": "", "text": TEXT}


def routes(registry: Registry, services: Services) -> list[BaseRoute]:
    """The surface's routes in the gateway."""
    chat, completion = AgentEndpoint(VercelAi(), services, asked), AgentEndpoint(Completion(), services, asked)

    objects = AgentEndpoint(Native("object", "anything"), services)

    async def complete(request: Request) -> Response:
        return await completion.respond(request, offered(completion.wire, registry, request), request.user)

    async def fill_in(request: Request) -> Response:
        entry = suitable(offered(chat.wire, registry, request), "object")
        return await objects.respond(request, entry, request.user)

    return [
        *agent_routes(chat, registry, resumable=True),
        Route("/agents/{agent}/completion", complete, methods=["POST"], name="completion"),
        Route("/agents/{agent}/object", fill_in, methods=["POST"], name="object"),
    ]


def to_vercel_ai(agent: AbstractAgent[Any, Any], **options: Unpack[MountOptions]) -> AgentApp:
    """An agent -> an ASGI app that speaks the AI SDK's chat wire, with the gateway's history, limits and errors.

    Options: `MountOptions`.
    """
    return AgentApp(VercelAi(), agent, options, resumable=True, asked=asked)


def asked(request: Request) -> str:
    """What the reader wants, as a media type; empty for chunks. Raises `BadRequest`."""
    protocol = request.query_params.get("protocol")
    if protocol is None:
        return media_type_asked(request)
    if protocol not in PROTOCOLS:
        msg = "`protocol` must be `data` or `text`."
        raise BadRequest(msg)
    return PROTOCOLS[protocol]

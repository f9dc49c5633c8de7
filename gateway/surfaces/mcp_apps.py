"""Beside the runs of a surface: what the pages of MCP Apps ask of their servers, which clients send as runs.

It is a request as any other, with the checks and limits of one, but no turn and no run: nothing is stored, no model is
asked, and a run that goes on on the thread is left alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import Response

from gateway.mcp_apps import answered
from gateway.sse import STREAM_HEADERS
from gateway.surfaces.endpoint import LARGE, AgentEndpoint, check_media_type
from gateway.wires.ag_ui.mcp_apps import asked_in, may_ask

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.auth import Principal
    from gateway.registry import AgentEntry
    from gateway.wires.ag_ui.mcp_apps import Asked


class AppsEndpoint(AgentEndpoint):
    """An `AgentEndpoint` of a wire of AG-UI's, that answers pages itself."""

    async def respond(self, request: Request, entry: AgentEntry, principal: Principal) -> Response:
        """A run, or the answer to a page."""
        check_media_type(request)
        if asked := await _asked_in(await request.body()):
            return await self._relay(asked, entry, principal)
        return await super().respond(request, entry, principal)

    async def _relay(self, asked: Asked, entry: AgentEntry, principal: Principal) -> Response:
        field = await self._services.limiter.check("agent", entry.id)
        answer = await answered(asked, entry, principal)
        return Response(answer, headers={**STREAM_HEADERS, **({"ratelimit": field} if field else {})})


async def _asked_in(body: bytes) -> Asked | None:
    if not may_ask(body):
        return None
    return asked_in(body) if len(body) < LARGE else await asyncio.to_thread(asked_in, body)

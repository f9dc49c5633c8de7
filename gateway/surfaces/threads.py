"""`/threads`: the caller's conversations: list, read, rename, archive, delete. For every surface.

A thread of somebody else gets the answer of one that never was, on every verb (law 6); so does one whose last agent is
out of the caller's scope. Titles and messages are never logged.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.errors import BadRequest
from gateway.surfaces import thread_branches
from gateway.surfaces.endpoint import refuse_cross_site
from gateway.surfaces.thread_changes import ThreadChange, change_thread, delete_thread
from gateway.surfaces.thread_requests import (
    ThreadRoute,
    agents_asked,
    archived_asked,
    cursor_behind,
    json_body,
    limit_asked,
    own_line,
    place_asked,
    standing,
    view_of,
)
from gateway.surfaces.thread_shapes import details, native, summary
from gateway.wires.ag_ui import AgUi
from gateway.wires.vercel_ai import VercelAi

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from gateway.history import Line, Thread
    from gateway.surfaces.endpoint import Services
    from gateway.wires import Wire

WIRES: dict[str, Wire] = {wire.surface: wire for wire in (AgUi(), VercelAi())}

NATIVE = "native"
FORMATS = (*WIRES, NATIVE)

ON_THE_LOOP = 50
"""Messages up to which it takes less time to write them out than to hand them to a thread."""

NO_STORE = {"cache-control": "no-store"}
"""Conversations are nobody's but their owner's."""


def routes(services: Services) -> list[BaseRoute]:
    """The routes of threads."""

    async def list_threads(request: Request) -> Response:
        limit, agents, before = limit_asked(request), agents_asked(request), place_asked(request)
        archived, view = archived_asked(request), view_of(request, services)
        # One more than asked for, to know whether there is another page.
        found = await view.read_threads(limit=limit + 1, agents=agents, before=before, archived=archived)
        page: dict[str, Any] = {"threads": [summary(thread) for thread in found[:limit]]}
        if len(found) > limit:
            page["next_cursor"] = cursor_behind(found[limit - 1])
        return JSONResponse(page, headers=NO_STORE)

    async def read(request: Request) -> Response:
        return JSONResponse(details(*await standing(request, services)), headers=NO_STORE)

    async def change(request: Request) -> Response:
        await change_thread(request, services, await json_body(request, ThreadChange))
        return await read(request)

    async def delete(request: Request) -> Response:
        refuse_cross_site(request, services.allowed_origins)
        await delete_thread(request, services)
        return Response(status_code=204)

    async def thread(request: Request) -> Response:
        verbs = {"PATCH": change, "DELETE": delete}
        return await verbs.get(request.method, read)(request)

    async def messages(request: Request) -> Response:
        chosen = _format(request)
        return await _messages(*await own_line(request, services), chosen)

    return [
        Route("/threads", list_threads, methods=["GET"], name="threads"),
        ThreadRoute("/threads/{id:path}/messages", messages, methods=["GET"]),
        *thread_branches.routes(services),
        # Last, for it would take the others' paths for ids.
        ThreadRoute("/threads/{id:path}", thread, methods=["GET", "PATCH", "DELETE"], name="thread"),
    ]


def _format(request: Request) -> str:
    chosen = request.query_params.get("format", NATIVE)
    if chosen not in FORMATS:
        msg = f"`format` must be one of {', '.join(FORMATS)}."
        raise BadRequest(msg)
    return chosen


async def _messages(thread: Thread, line: Line, chosen: str) -> Response:
    """The thread's messages as the clients of a wire hold them; long ones are written out off the loop (law 9)."""

    def write() -> Response:
        wire, waiting = WIRES.get(chosen), thread.record.deferred_tool_requests
        return JSONResponse({"messages": wire.dump(line, waiting)} if wire else native(line), headers=NO_STORE)

    return write() if len(line.entries) <= ON_THE_LOOP else await asyncio.to_thread(write)

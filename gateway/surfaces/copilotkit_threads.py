"""`{path}/threads` of a CopilotKit runtime: the caller's threads, as its thread list and its inspector read them.

GET {path}/threads?agentId&limit&cursor
GET {path}/threads/{id}/messages, /state, /events
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable  # noqa: TC003 - a type of data
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from gateway.errors import NotFound
from gateway.history import Line, Thread  # noqa: TC001 - ditto
from gateway.surfaces.copilotkit_connect import events, messages
from gateway.surfaces.thread_requests import (
    ThreadRoute,
    cursor_behind,
    limit_asked,
    listed_for,
    own_line,
    place_asked,
    view_of,
)
from gateway.surfaces.thread_shapes import details, iso

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from gateway.surfaces.endpoint import Services

Json = dict[str, Any]

NO_STORE = {"cache-control": "no-store"}


def thread_routes(path: str, services: Services, agent_id: Callable[[Request, str], str]) -> list[Route]:
    """The routes of threads in one runtime, where agents may have another name (`agent_id`) than their own."""

    async def list_threads(request: Request) -> Response:
        limit, before = limit_asked(request), place_asked(request)
        asked = request.query_params.get("agentId")
        agents = listed_for(request.user, asked and agent_id(request, asked))
        found = await view_of(request, services).read_threads(limit=limit + 1, agents=agents, before=before)
        page: Json = {"threads": [_summary(request, thread) for thread in found[:limit]], "nextCursor": None}
        if len(found) > limit:
            page["nextCursor"] = cursor_behind(found[limit - 1])
        return JSONResponse(page, headers=NO_STORE)

    async def inspect(request: Request) -> Response:
        look = LOOKS.get(request.path_params["look"])
        if look is None:
            raise NotFound
        thread, line = await own_line(request, services)
        # A long one takes a while to write, too (law 9).
        return await asyncio.to_thread(lambda: JSONResponse(look(thread, line), headers=NO_STORE))

    return [
        ThreadRoute(f"{path}/threads", list_threads, methods=["GET"]),
        ThreadRoute(f"{path}/threads/{{id:path}}/{{look}}", inspect, methods=["GET"]),
    ]


def _summary(request: Request, thread: Thread) -> Json:
    """`ThreadRecord` of `@copilotkit/core`."""
    return {
        "id": thread.id,
        "name": thread.title,
        "agentId": thread.agent,
        "organizationId": "",
        "createdById": request.user.subject,
        "archived": False,
        "createdAt": iso(thread.created_at),
        "updatedAt": iso(thread.record.updated_at),
    }


def _message(message: Json) -> Json:
    """A message as the inspector shows it."""
    calls = [
        {"id": call["id"], "name": call["function"]["name"], "args": call["function"]["arguments"]}
        for call in message.get("toolCalls", ())
    ]
    kept = {name: message[name] for name in ("id", "role", "content", "toolCallId") if name in message}
    return {**kept, "toolCalls": calls} if calls else kept


def _messages(thread: Thread, line: Line) -> Json:
    return {"messages": [_message(message) for message in messages(thread, line)]}


def _state(thread: Thread, _line: Line) -> Json:
    return {"state": details(thread, None)["state"] or {}}


def _told(thread: Thread, line: Line) -> Json:
    return {"events": events(thread, line, None)}


LOOKS: dict[str, Callable[[Thread, Line], Json]] = {"messages": _messages, "state": _state, "events": _told}

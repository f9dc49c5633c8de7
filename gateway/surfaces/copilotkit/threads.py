"""`{path}/threads` of a CopilotKit runtime: the caller's threads, for its thread list and its inspector.

    GET    {path}/threads?agentId&limit&cursor&includeArchived
    GET    {path}/threads/{id}/messages, /state, /events
    PATCH  {path}/threads/{id}                                  {agentId, name?, archived?}
    POST   {path}/threads/{id}/archive                          {agentId}
    DELETE {path}/threads/{id}                                  {agentId}

A runtime of some agents has the threads on which one of them spoke last, and no others. Which thread is meant, its id
says: the `agentId` of a change is not looked at, since a thread may have gone on with another agent meanwhile.

Source: `threads.ts` of `@copilotkit/core`, and the handlers of the same name in `@copilotkit/runtime`. The client shows
a change at once and reads no more of its answer than the status; a deletion that is refused it takes back.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable  # noqa: TC003 - a type of data
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from gateway.errors import NotFound
from gateway.history import Line, Thread  # noqa: TC001 - ditto
from gateway.surfaces.copilotkit.connection import events, messages
from gateway.surfaces.thread_changes import ThreadChange, Title, change_thread, delete_thread, unsaid
from gateway.surfaces.thread_requests import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    ThreadRoute,
    cursor_behind,
    json_body,
    listed_for,
    optional_json,
    own_line,
    own_thread,
    place_asked,
    view_of,
)
from gateway.surfaces.thread_shapes import details, iso

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request
    from starlette.routing import Route

    from gateway.auth import Principal
    from gateway.config import CopilotKitSettings
    from gateway.surfaces.endpoint import Services

Json = dict[str, Any]

NO_STORE = {"cache-control": "no-store"}


class Update(ThreadChange):
    """The same in CopilotKit's words, with whatever else comes along."""

    model_config = ConfigDict(extra="ignore")

    nothing: ClassVar[str] = "`name` or `archived` is required"

    title: Title | None = Field(default_factory=unsaid, validation_alias="name")


class Anything(BaseModel):
    """A body of which nothing is looked at."""


ARCHIVE = ThreadChange(archived=True)


def thread_routes(
    settings: CopilotKitSettings, services: Services, agent_id: Callable[[Request, str], str]
) -> list[Route]:
    """The routes of threads in one runtime, where agents may have another name (`agent_id`) than their own."""
    path, agents = settings.path, settings.agents

    async def list_threads(request: Request) -> Response:
        limit, before = _limit(request), place_asked(request)
        asked = request.query_params.get("agentId")
        listed = _listed(request.user, agent_id(request, asked) if asked else None, agents)
        archived = "include" if request.query_params.get("includeArchived") == "true" else "exclude"
        view = view_of(request, services)
        found = await view.read_threads(limit=limit + 1, agents=listed, before=before, archived=archived)
        page: Json = {"threads": [_summary(request, thread) for thread in found[:limit]], "nextCursor": None}
        if len(found) > limit:
            page["nextCursor"] = cursor_behind(found[limit - 1])
        return JSONResponse(page, headers=NO_STORE)

    async def inspect(request: Request) -> Response:
        look = LOOKS.get(request.path_params["look"])
        if look is None:
            raise NotFound
        thread, line = await own_line(request, services, agents)
        # A long one takes a while to write, too (law 9).
        return await asyncio.to_thread(lambda: JSONResponse(look(thread, line), headers=NO_STORE))

    async def update(request: Request) -> Response:
        await change_thread(request, services, await json_body(request, Update), agents)
        thread = await own_thread(request, services, agents)
        return JSONResponse(_summary(request, thread), headers=NO_STORE)

    async def archive(request: Request) -> Response:
        await optional_json(request, Anything, services)
        await change_thread(request, services, ARCHIVE, agents)
        return JSONResponse({"threadId": request.path_params["id"], "archived": True})

    async def delete(request: Request) -> Response:
        await optional_json(request, Anything, services)
        await delete_thread(request, services, agents)
        return JSONResponse({"threadId": request.path_params["id"], "deleted": True})

    async def change(request: Request) -> Response:
        return await (delete if request.method == "DELETE" else update)(request)

    return [
        ThreadRoute(f"{path}/threads", list_threads, methods=["GET"]),
        ThreadRoute(f"{path}/threads/{{id:path}}/archive", archive, methods=["POST"]),
        ThreadRoute(f"{path}/threads/{{id:path}}/{{look}}", inspect, methods=["GET"]),
        ThreadRoute(f"{path}/threads/{{id:path}}", change, methods=["PATCH", "DELETE"]),
    ]


def _limit(request: Request) -> int:
    """`?limit=`, as far as a page goes: the app asks for the rest with the cursor, and shows no refusal."""
    asked = request.query_params.get("limit", "")
    known = asked.isascii() and asked.isdecimal() and 0 < len(asked.lstrip("0")) < len(str(sys.maxsize))
    return min(int(asked), MAX_LIMIT) if known else DEFAULT_LIMIT


def _listed(principal: Principal, agent: str | None, agents: Collection[str] | None) -> Collection[str] | None:
    """The agents whose threads are listed: that one, or all, of those of the runtime that the caller may use."""
    listed = listed_for(principal, agent)
    return listed if agents is None else [name for name in agents if listed is None or name in listed]


def _summary(request: Request, thread: Thread) -> Json:
    """`ThreadRecord` of `@copilotkit/core`."""
    return {
        "id": thread.id,
        "name": thread.title or None,
        "agentId": thread.agent,
        "organizationId": "",
        "createdById": request.user.subject,
        "archived": thread.archived,
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

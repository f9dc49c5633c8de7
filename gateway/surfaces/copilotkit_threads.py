"""`{path}/threads` of a CopilotKit runtime: the caller's threads, as its thread list and its inspector read them.

GET {path}/threads?agentId&limit&cursor
GET {path}/threads/{id}/messages, /state, /events
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable  # noqa: TC003 - a type of data
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from gateway.errors import NotFound
from gateway.history import RUNNING, Line, Thread
from gateway.surfaces.thread_requests import (
    ThreadRoute,
    agents_asked,
    cursor_behind,
    limit_asked,
    own_line,
    place_asked,
    view_of,
)
from gateway.surfaces.thread_shapes import details, iso
from gateway.wires.ag_ui import AgUi
from gateway.wires.copilotkit import told

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from gateway.streams import StreamInfo
    from gateway.surfaces.endpoint import Services

Json = dict[str, Any]

NO_STORE = {"cache-control": "no-store"}


@dataclass(frozen=True)
class Stored:
    """A thread as events, and the run that they end with."""

    events: list[Json]
    run_id: str = ""
    outcome: str = ""

    def has_answer_of(self, running: StreamInfo | None) -> bool:
        """Whether a run's own words are among the events."""
        return running is not None and running.run_id == self.run_id and self.outcome != RUNNING


async def stored_events(request: Request, services: Services, thread_id: str, running: StreamInfo | None) -> Stored:
    """The thread as events; none for one that never was, or is not the caller's."""
    view = services.runs.threads.store.view(request.user.scope)
    thread = await view.read_thread(thread_id)
    if thread is None or (thread.agent and not request.user.may_use(thread.agent)):
        return Stored([])
    line = await view.read_line(thread.record.head_id)
    events = await asyncio.to_thread(_events, thread, line, running)  # long ones take a while (law 9)
    return Stored(events, thread.turn.run_id, thread.turn.outcome) if thread.turn else Stored(events)


def _events(thread: Thread, line: Line, running: StreamInfo | None) -> list[Json]:
    shown = details(thread, running)
    interrupts: list[Json] = [] if running else shown["interrupts"]
    run_id = thread.turn.run_id if thread.turn else thread.id
    return told(thread.id, run_id, _dumped(thread, line), shown["state"], interrupts)


def _dumped(thread: Thread, line: Line) -> list[Json]:
    return AgUi().dump(line, thread.record.deferred_tool_requests)


def thread_routes(path: str, services: Services) -> list[Route]:
    """The routes of threads in one runtime."""

    async def list_threads(request: Request) -> Response:
        limit, agents, before = limit_asked(request), agents_asked(request, "agentId"), place_asked(request)
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
        return JSONResponse(await asyncio.to_thread(look, thread, line), headers=NO_STORE)

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
    return {"messages": [_message(message) for message in _dumped(thread, line)]}


def _state(thread: Thread, _line: Line) -> Json:
    return {"state": details(thread, None)["state"] or {}}


def _told(thread: Thread, line: Line) -> Json:
    return {"events": _events(thread, line, None)}


LOOKS: dict[str, Callable[[Thread, Line], Json]] = {"messages": _messages, "state": _state, "events": _told}

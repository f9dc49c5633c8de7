"""Requests about threads: the id in the path, the caller's own thread, the place in a list, JSON bodies.

Law 6: whatever can be said about a request without looking anything up is said first, so that a thread of somebody else
gets the same answer as one that never was, in every respect.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar, get_args
from urllib.parse import quote, unquote

from pydantic import BaseModel
from starlette.routing import Match, Route

from gateway.errors import BadRequest, NotFound
from gateway.history import RUNNING, Archived
from gateway.surfaces.endpoint import LARGE, check_media_type, refuse_cross_site, says_json
from gateway.surfaces.thread_shapes import stored_status
from gateway.wires import parsed

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request
    from starlette.types import Scope

    from gateway.auth import Principal
    from gateway.history import Line, Thread
    from gateway.stores import ThreadView
    from gateway.streams import StreamInfo
    from gateway.surfaces.endpoint import Services

    Place = tuple[datetime, str]

M = TypeVar("M", bound=BaseModel)

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
"""Threads on one page."""


class ThreadRoute(Route):
    """A route whose parameters may hold an encoded slash: it matches the path as it was sent, and decodes afterwards.

    In the decoded path, which Starlette matches, the thread `a/messages` and the messages of the thread `a` are one.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See `Route`."""
        match, child = super().matches({**scope, "path": _sent_path(scope), "root_path": ""})
        if match is not Match.NONE:
            child["path_params"] |= {name: unquote(child["path_params"][name]) for name in self.param_convertors}
        return match, child


def _sent_path(scope: Scope) -> str:
    """The path behind the app's root, encoded as it was sent, or encoded again where the server does not tell."""
    root, sent = scope.get("root_path", ""), scope.get("raw_path", b"").decode("latin-1")
    if sent and sent.startswith(root):
        return sent[len(root) :]
    return quote(scope["path"].removeprefix(root))


def thread_url(request: Request, thread_id: str) -> str:
    """Where the thread is."""
    return str(request.url_for("thread", id=quote(thread_id, safe="")))


def view_of(request: Request, services: Services) -> ThreadView:
    """The caller's threads."""
    return services.runs.threads.store.view(request.user.scope)


async def own_thread(request: Request, services: Services, agents: Collection[str] | None = None) -> Thread:
    """The thread that the path names. Raises `NotFound`, also for one that the caller may not see (any more).

    Args:
        request: names it, and the caller.
        services: know the store.
        agents: those whose threads are shown here; none for all.
    """
    thread_id: str = request.path_params["id"]
    thread = await view_of(request, services).read_thread(thread_id) if storable(thread_id) else None
    if thread is None or not request.user.may_use(thread.agent):
        raise NotFound
    if agents is not None and thread.agent not in agents:
        raise NotFound
    return thread


async def standing(request: Request, services: Services) -> tuple[Thread, StreamInfo | None]:
    """The thread that the path names, and the run that goes on on it. Raises `NotFound`."""
    whose = request.user.scope, request.path_params["id"]
    run = await services.runs.find_on_thread(*whose)
    thread = await own_thread(request, services)
    if run is None and stored_status(thread) == RUNNING:
        # It began between the two looks, or ended meanwhile; what is still so at the second look was lost.
        run = await services.runs.find_on_thread(*whose)
        thread = await own_thread(request, services)
    return thread, run


async def own_line(request: Request, services: Services, agents: Collection[str] | None = None) -> tuple[Thread, Line]:
    """The thread that the path names, and its messages. `agents`: see `own_thread`. Raises `NotFound`."""
    thread = await own_thread(request, services, agents)
    try:
        return thread, await view_of(request, services).read_line(thread.record.head_id)
    except LookupError:
        # Deleted, and perhaps begun anew, between the two reads.
        thread = await own_thread(request, services, agents)
        return thread, await view_of(request, services).read_line(thread.record.head_id)


def storable(text: str) -> bool:
    """Whether a store may be asked about it: PostgreSQL takes no text with a NUL in it."""
    return "\0" not in text


def agents_asked(request: Request) -> Collection[str] | None:
    """The agents whose threads are listed: `?agent=`, or all that the caller may use; none for every agent."""
    return listed_for(request.user, request.query_params.get("agent"))


def listed_for(principal: Principal, agent: str | None) -> Collection[str] | None:
    """The agents whose threads are listed: that one, or all that the caller may use; none for every agent."""
    if agent is not None:
        return [agent] if storable(agent) and principal.may_use(agent) else []
    return principal.agents


def archived_asked(request: Request) -> Archived:
    """`?archived=`: whether archived threads are listed. Raises `BadRequest`."""
    asked = request.query_params.get("archived", "exclude")
    for choice in get_args(Archived):
        if asked == choice:
            return choice
    msg = f"`archived` must be one of {', '.join(get_args(Archived))}."
    raise BadRequest(msg)


def limit_asked(request: Request) -> int:
    """`?limit=`. Raises `BadRequest`."""
    value = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if value.isascii() and value.isdecimal() and len(value) <= len(str(MAX_LIMIT)) and 1 <= int(value) <= MAX_LIMIT:
        return int(value)
    msg = f"`limit` must be a number from 1 to {MAX_LIMIT}."
    raise BadRequest(msg)


def place_asked(request: Request) -> Place | None:
    """`?cursor=` -> the last thread of the page before. Raises `BadRequest`."""
    cursor = request.query_params.get("cursor")
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        updated_at, separator, thread_id = text.partition(" ")
        when = datetime.fromisoformat(updated_at).astimezone(UTC)
    except (ValueError, OverflowError, binascii.Error):
        separator, thread_id, when = "", "", datetime.min.replace(tzinfo=UTC)
    if not separator or not storable(thread_id):
        msg = "`cursor` must be the `next_cursor` of a page, unchanged."
        raise BadRequest(msg)
    return when, thread_id


def cursor_behind(thread: Thread) -> str:
    """What `place_asked` reads."""
    text = f"{thread.record.updated_at.astimezone(UTC).isoformat()} {thread.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def json_body(request: Request, model: type[M]) -> M:
    """The body, which must be JSON (law 13). Raises `UnsupportedMediaType` or `MalformedBody`."""
    check_media_type(request)
    body = await request.body()
    if len(body) < LARGE:
        return parsed(model.model_validate_json, body)
    return await asyncio.to_thread(parsed, model.model_validate_json, body)


async def optional_json(request: Request, model: type[M], services: Services) -> M:
    """The body, if there is one; without one the request must not come from a foreign page."""
    if (await request.body()).strip():
        return await json_body(request, model)
    if not says_json(request):  # as CopilotKit does, which sends no body
        refuse_cross_site(request, services.allowed_origins)
    return model()

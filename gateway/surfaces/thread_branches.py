"""`/threads/{id}/fork` and `/threads/{id}/branches`: other ways that a conversation went, and going on from them."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, WithJsonSchema
from pydantic_ai.conversation_store import ConversationConflict, ConversationRecord
from pydantic_ai.messages import ModelRequest, TextPart, UserPromptPart
from starlette.responses import JSONResponse

from gateway.errors import NotFound, ThreadChanged, ThreadExists
from gateway.history import RUNNING
from gateway.ids import new_id
from gateway.surfaces.endpoint import refuse_cross_site
from gateway.surfaces.thread_requests import ThreadRoute, optional_json, own_thread, standing, thread_url, view_of
from gateway.surfaces.thread_shapes import IDLE, LOST, details, iso, status_of
from gateway.wires import MAX_THREAD_ID, checked_thread_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_ai.conversation_store import ConversationEntry
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from gateway.auth import Principal
    from gateway.history import Line, Thread
    from gateway.stores import ThreadView
    from gateway.surfaces.endpoint import Services

MAX_TIPS = 50
"""Branches that are looked at, those left last."""

MAX_PREVIEW = 120
"""Characters."""

ON_THE_LOOP = 5_000
"""Entries over all branches that are compared where they are."""


ThreadId = Annotated[
    str,
    # What `checked_thread_id` says, for those who read the API's document.
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_THREAD_ID,
            "pattern": r"^[^\x00-\x1f\x7f]*$",
            "not": {"const": "new"},
        }
    ),
]


class Fork(BaseModel):
    """What to fork, and what to call it."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    entry: str | None = None
    """The end of a turn, from `branches` or from `turns`; the end of the thread when left out."""
    id: ThreadId | None = None
    """Of the new thread; one of the gateway's when left out."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One way that the conversation went."""

    line: Line
    shared: int
    """How many of the line's entries, from the first on, it shares with another branch."""
    current: bool

    @property
    def own(self) -> Sequence[ConversationEntry]:
        """The entries that no other branch has."""
        return self.line.entries[self.shared :]

    @property
    def tip(self) -> str:
        """The last entry."""
        return self.line.entries[-1].id

    @property
    def agent(self) -> str:
        """The agent that spoke last."""
        turn = self.line.turns.get(self.tip)
        return turn.agent if turn else ""


def routes(services: Services) -> list[BaseRoute]:
    """The routes of forks and branches."""

    async def fork(request: Request) -> Response:
        body = await optional_json(request, Fork, services)
        fork_id = new_id() if body.id is None else checked_thread_id(body.id)
        thread = await own_thread(request, services)
        view = view_of(request, services)
        head = thread.record.head_id
        if body.entry is not None:
            head = await _tip(view, thread, body.entry, request.user)
        await _write_fork(view, thread, head, fork_id)
        made = await view.read_thread(fork_id)
        if made is None:
            raise NotFound
        return JSONResponse(details(made, None), 201, {"location": thread_url(request, fork_id)})

    async def branches(request: Request) -> Response:
        thread, run = await standing(request, services)
        found = await read_branches(view_of(request, services), thread)
        usable = [branch for branch in found if branch.current or request.user.may_use(branch.agent)]
        return JSONResponse({"branches": [branch_summary(branch, status_of(thread, run)) for branch in usable]})

    async def switch(request: Request) -> Response:
        refuse_cross_site(request, services.allowed_origins)
        entry, view = request.path_params["entry"], view_of(request, services)
        await _tip(view, await own_thread(request, services), entry, request.user)
        async with services.runs.locks.held(request.user.scope, request.path_params["id"]) as token:
            thread = await own_thread(request, services)
            await _tip(view, thread, entry, request.user)
            await _write_switched(view, thread, entry, token)
        return JSONResponse(details(*await standing(request, services)))

    return [
        ThreadRoute("/threads/{id:path}/fork", fork, methods=["POST"]),
        ThreadRoute("/threads/{id:path}/branches", branches, methods=["GET"]),
        ThreadRoute("/threads/{id:path}/branches/{entry}", switch, methods=["POST"]),
    ]


async def read_branches(view: ThreadView, thread: Thread, *, limit: int | None = MAX_TIPS) -> list[Branch]:
    """The current branch, and then those that were left, the last one first."""
    tips = thread.record.branches[-limit:] if limit else thread.record.branches
    heads = [head for head in (thread.record.head_id, *reversed(tips)) if head is not None]
    lines: list[Line] = []
    for head in heads:
        try:
            lines.append(await view.read_line(head))
        except LookupError:  # deleted, since the thread was read
            continue
    if sum(len(line.entries) for line in lines) <= ON_THE_LOOP:
        return _parted(lines, thread)
    return await asyncio.to_thread(_parted, lines, thread)


def branch_summary(branch: Branch, status: str) -> dict[str, Any]:
    """A branch as it stands in a list; `status` is how the thread stands, which is how its current branch does."""
    turn = branch.line.turns.get(branch.tip)
    outcome = turn.outcome if turn else IDLE
    optional = {
        "title": turn.title if turn else "",
        "parent": branch.line.entries[branch.shared - 1].id if branch.shared else "",
        "at": iso(turn.at) if turn else "",
    }
    return {
        "entry": branch.tip,
        "current": branch.current,
        "agent": branch.agent,
        "outcome": status if branch.current else LOST if outcome == RUNNING else outcome,
        "preview": _preview(branch),
        **{name: value for name, value in optional.items() if value},
    }


def _parted(lines: Sequence[Line], thread: Thread) -> list[Branch]:
    met = Counter(entry.id for line in lines for entry in line.entries)
    found: list[Branch] = []
    for line in lines:
        # Two lines that share an entry share all before it, so what is shared is a beginning.
        shared = sum(1 for _ in takewhile(lambda entry: met[entry.id] > 1, line.entries))
        found.append(Branch(line, shared, current=line.entries[-1].id == thread.record.head_id))
    return found


def _preview(branch: Branch) -> str:
    """The first words that are this branch's own; its last words when it ends on the way of another one."""
    own = [text for entry in branch.own if (text := _text(entry))]
    return own[0] if own else next((text for entry in reversed(branch.line.entries) if (text := _text(entry))), "")


def _text(entry: ConversationEntry) -> str:
    """The beginning of what the user or the agent said."""
    message = entry.message
    if isinstance(message, ModelRequest):
        prompts = [part.content for part in message.parts if isinstance(part, UserPromptPart)]
        said = [text for prompt in prompts for text in ([prompt] if isinstance(prompt, str) else prompt)]
    else:
        said = [part.content for part in message.parts if isinstance(part, TextPart)]
    words = " ".join(text[: 2 * MAX_PREVIEW] for text in said if isinstance(text, str))
    return " ".join(words.split())[:MAX_PREVIEW]


async def _tip(view: ThreadView, thread: Thread, entry: str, principal: Principal) -> str:
    """The entry, if a turn of the thread ended with it, on whichever branch, by an agent that the principal may use.

    Raises `NotFound`.
    """
    for head in (thread.record.head_id, *reversed(thread.record.branches[-MAX_TIPS:])):
        try:
            line = await view.read_line(head)
        except LookupError:
            continue
        turn = line.turns.get(entry)
        if turn and principal.may_use(turn.agent):
            return entry
    raise NotFound


async def _write_fork(view: ThreadView, thread: Thread, head: str | None, fork_id: str) -> None:
    """A new thread with the same beginning. Raises `ThreadExists`, or `NotFound` when it was deleted meanwhile.

    Not `ConversationStore.fork`: that takes the open requests along, and an approval would count in both threads.
    """
    fork = ConversationRecord(
        conversation_id=fork_id,
        head_id=head,
        scope=thread.record.scope,
        forked_from=thread.id,
        forked_at=head,
    )
    try:
        await view.write_record(fork, expected_revision=None)
    except ConversationConflict:
        raise (NotFound if await view.read_record(fork_id) is None else ThreadExists) from None


async def _write_switched(view: ThreadView, thread: Thread, entry: str, token: int) -> None:
    """Make the entry the head. What is left stays as a branch; what it waits for is given up, and for good.

    As `ConversationStore.branch`, which knows no fencing token.
    """
    record = thread.record
    if record.head_id == entry:
        return
    kept = {each.id for each in (await view.read_line(entry)).entries}
    left = [record.head_id] if record.head_id and record.head_id not in kept else []
    tips = [tip for tip in record.branches if tip not in left] + left
    fresh = ConversationRecord(conversation_id=record.conversation_id, head_id=entry)
    switched = replace(
        record,
        head_id=entry,
        deferred_tool_requests=None,
        branches=[tip for tip in tips if tip != entry],
        revision=fresh.revision,
        updated_at=fresh.updated_at,
    )
    try:
        await view.write_record(switched, expected_revision=record.revision, token=token)
    except ConversationConflict:
        raise ThreadChanged from None

"""An open turn: what its run begins with, and where the outcome goes.

The user's message is stored, and requests that are answered are closed, before anything runs. So a process that is
killed loses the unfinished answer at most, and no tool runs twice for one approval. Why the adapters' own store mode
cannot do this: ARCHITECTURE.md, "Decisions".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic_ai.conversation_store import ConversationConflict, ConversationEntry, ConversationRecord
from pydantic_ai.messages import ModelRequest, ModelResponse, ToolReturnPart, UserPromptPart, repair_messages

from gateway import answers
from gateway.errors import ThreadChanged
from gateway.history import FINISHED, RUNNING, TurnRecord
from gateway.replay import as_events
from gateway.wires import CONTROL, Opening, Repetition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import timedelta

    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults
    from pydantic_ai.usage import RunUsage

    from gateway.history import Line, Thread
    from gateway.stores import ThreadView
    from gateway.streams import StreamInfo
    from gateway.turns import Plan

MAX_TITLE = 120
"""Characters of the first message that a thread is called by."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, and what it leaves to its thread."""

    outcome: str
    """See `TurnRecord`."""
    messages: Sequence[ModelMessage] = ()
    """What it added to its history."""
    usage: RunUsage | None = None
    waiting: DeferredToolRequests | None = None
    """The calls that it left to a person or a client."""
    state: dict[str, Any] | None = None
    """The shared state; none for the one that it began with."""
    wire_ids: Mapping[str, Any] | None = None
    """The ids that it streamed, by wire."""


class OpenTurn:
    """A turn with what its run begins with, and the place where the outcome goes."""

    def __init__(  # noqa: PLR0917 - what one turn is made of
        self,
        view: ThreadView,
        info: StreamInfo,
        token: int,
        approval_ttl: timedelta,
        planned: Plan,
        thread: Thread | None,
        state: dict[str, Any] | None,
    ) -> None:
        self._view = view
        self._info = info
        self._token = token
        self._plan = planned
        self._entries = _chained(planned.new, planned.line.entries[-1].id if planned.line.entries else None)
        self._revision = thread.revision if thread else None
        self._record = thread.record if thread else ConversationRecord(conversation_id=info.thread_id, head_id=None)
        self._found = thread.turn if thread else None
        self._head: TurnRecord | None = None
        before = _last_turn(planned.line)
        self._title = before.title if before else _beginning(planned.new)
        self._state = state or (before.state if before else None)
        self._expires_at = datetime.now(UTC) + approval_ttl

    @property
    def opening(self) -> Opening:
        """What the adapter has to know."""
        plan = self._plan
        repeats = None if plan.runs else Repetition(plan.line, plan.said or (), plan.waiting)
        # Without a message of the user's, the client goes on with the answer that it has.
        return Opening(
            self._info.run_id,
            self._state,
            continues=self._continues,
            expires_at=self._expires_at,
            repeats=repeats,
            agent=self._info.agent,
        )

    @property
    def answers(self) -> DeferredToolResults | None:
        """Answers to the calls at the end of the history."""
        return self._plan.answers

    @property
    def events(self) -> AsyncIterator[Any] | None:
        """What there is to say without the agent, when it has nothing to do."""
        repeats = self.opening.repeats
        return as_events(repeats, self._plan.outcome or FINISHED) if repeats else None

    def said(self, messages: Sequence[ModelMessage]) -> list[ModelMessage]:
        """What a run has added to its history, of the messages that it has now.

        A run stamps what it adds, and the request that it began with too, if nobody has stamped that before.
        """
        given = {id(part) for entry in self._began_with() for part in entry.message.parts}
        own = (message for message in messages if message.run_id == self._info.run_id and message.parts)
        return [message for message in own if not any(id(part) in given for part in message.parts)]

    def history(self) -> list[ModelMessage]:
        """The messages that the run begins with, the new ones included; the list and the messages are the run's own."""
        messages = [_own(entry.message) for entry in (*self._plan.line.entries, *self._entries)]
        return repair_messages(messages) if self.answers is None and _has_open_calls(messages) else messages

    async def begin(self) -> None:
        """Store the new messages and take the answers, before anything runs.

        Raises:
            ThreadChanged: somebody wrote to the thread without its lease, or with a newer one.
            StoreUnavailable: the store cannot be reached.
        """
        if self._plan.said is not None:
            return
        if self._plan.waiting:
            given = self._plan.answers
            if given and self._found and answers.ids_of(given) - answers.stored_ids(self._found):
                await self._write(self._record, replace(self._found, answers=answers.to_store(given)))
            return
        entries = [*self._plan.line.entries, *self._entries]
        left, head = self._record.head_id, entries[-1].id if entries else None
        if head is None or (head == left and self.answers is None and not _is_request(entries[-1])):
            return  # there is nothing new to store
        branches = self._record.branches
        if left is not None and left not in {entry.id for entry in entries}:
            branches = [*(tip for tip in branches if tip != left), left]
        branches = [tip for tip in branches if tip != head]
        await self._write(
            replace(self._record, deferred_tool_requests=None, branches=branches), self._started(head), self._entries
        )

    async def store(self, outcome: Outcome) -> None:
        """Store how the run ended and what it said. Raises `ThreadChanged` or `StoreUnavailable`."""
        entries = _chained(outcome.messages, self._record.head_id)
        kept = self._turn(entries[-1].id) if entries else self._head
        if kept is None:
            return  # it began with nothing new, and has said nothing
        turn = replace(
            kept,
            outcome=outcome.outcome,
            state=self._state if outcome.state is None else outcome.state,
            wire_ids={**kept.wire_ids, **(outcome.wire_ids or {})},
            expires_at=self._expires_at if outcome.waiting else None,
            at=datetime.now(UTC),
        )
        usage = self._record.usage + outcome.usage if outcome.usage else self._record.usage
        record = replace(self._record, usage=usage, deferred_tool_requests=outcome.waiting)
        await self._write(record, turn, entries)

    def _began_with(self) -> list[ConversationEntry]:
        """The requests at the end of the history, which the run sends as one."""
        entries = [*self._plan.line.entries, *self._entries]
        behind = next((n for n in range(len(entries), 0, -1) if not _is_request(entries[n - 1])), 0)
        return entries[behind:]

    @property
    def _continues(self) -> bool:
        return not self._plan.new and (self.answers is not None or not self._plan.runs)

    def _started(self, head: str) -> TurnRecord:
        """What is stored with the head while the run goes on."""
        taken = answers.to_store(self.answers) if self.answers else None
        run_id = self._info.run_id if taken else ""
        if self._entries:
            ids = {"user": list(self._plan.new_ids)}
            return replace(self._turn(head), wire_ids=ids, answers=taken, answered_run=run_id)
        before = self._plan.line.turns.get(head) or self._turn(head)
        if taken:
            # The head is still the one of the run that asked.
            return replace(before, answers=taken, answered_run=run_id)
        # The same message again. What was answered on the branch that is left is not answered on this one.
        return replace(self._turn(head), wire_ids={"user": before.wire_ids.get("user", [])})

    def _turn(self, head: str) -> TurnRecord:
        info = self._info
        return TurnRecord(
            entry_id=head,
            run_id=info.run_id,
            agent=info.agent,
            surface=info.surface,
            outcome=RUNNING,
            title=self._title,
            state=self._state,
        )

    async def _write(
        self, record: ConversationRecord, turn: TurnRecord, new_entries: Sequence[ConversationEntry] = ()
    ) -> None:
        fresh = ConversationRecord(conversation_id=record.conversation_id, head_id=turn.entry_id)
        record = replace(record, head_id=turn.entry_id, revision=fresh.revision, updated_at=fresh.updated_at)
        try:
            await self._view.write_record(
                record, new_entries=new_entries, expected_revision=self._revision, turn=turn, token=self._token
            )
        except ConversationConflict as conflict:
            raise ThreadChanged from conflict
        self._record, self._revision, self._head = record, record.revision, turn


def _is_request(entry: ConversationEntry) -> bool:
    return isinstance(entry.message, ModelRequest)


def _chained(messages: Sequence[ModelMessage], parent_id: str | None) -> list[ConversationEntry]:
    """The messages as entries that follow each other."""
    entries: list[ConversationEntry] = []
    for message in messages:
        entries.append(ConversationEntry(parent_id=parent_id, message=message))
        parent_id = entries[-1].id
    return entries


def _own(message: ModelMessage) -> ModelMessage:
    """A copy for a run, whose capabilities may change messages in place, while lines are shared."""
    # Not `copy.copy`, which takes several times as long: there may be thousands.
    own = object.__new__(type(message))
    own.__dict__.update(message.__dict__, parts=[*message.parts])
    return own


def _has_open_calls(messages: Sequence[ModelMessage]) -> bool:
    """Whether calls of the last response have no result, since its run was stopped or died."""
    answered: set[str] = set()
    for message in reversed(messages):
        if isinstance(message, ModelResponse):
            return any(call.tool_call_id not in answered for call in message.tool_calls)
        answered.update(part.tool_call_id for part in message.parts if isinstance(part, ToolReturnPart))
    return False


def _last_turn(line: Line) -> TurnRecord | None:
    return next((line.turns[entry.id] for entry in reversed(line.entries) if entry.id in line.turns), None)


def _beginning(messages: Sequence[ModelMessage]) -> str:
    """What a thread that begins with these messages is called."""
    for part in (part for message in messages for part in message.parts if isinstance(part, UserPromptPart)):
        content = part.content if isinstance(part.content, str) else next(iter(_texts(part)), "")
        if words := " ".join(CONTROL.sub(" ", content).split()):
            return words if len(words) <= MAX_TITLE else words[: MAX_TITLE - 1] + "…"
    return ""


def _texts(part: UserPromptPart) -> list[str]:
    return [item for item in part.content if isinstance(item, str)]

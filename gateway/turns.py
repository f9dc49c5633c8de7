"""What a request means on a thread: the messages that its run begins with, and whether there is anything to run.

Only what is new in a request counts; what a client says was said before is not looked at. A message that the thread has
already is answered again, or edited, and leaves a branch; everything else goes to the end, whatever the client believes
the end to be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic_ai.messages import ModelRequest, ModelResponse, ToolReturnPart, UserPromptPart

from gateway import answers
from gateway.errors import TurnRejected
from gateway.history import FINISHED, Line
from gateway.wires.ag_ui.a2ui import has_shown

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from pydantic_ai.conversation_store import ConversationEntry
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults

    from gateway.history import Thread, TurnRecord
    from gateway.wires import Turn


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for a turn."""

    line: Line
    """The stored messages that it begins with."""
    new: Sequence[ModelRequest] = ()
    """Messages to put behind them."""
    new_ids: Sequence[str] = ()
    """The client's ids of the user's messages among those."""
    answers: DeferredToolResults | None = None
    """Answers to the calls at the end of the line; not all of them, if something is still `waiting`."""
    waiting: DeferredToolRequests | None = None
    """What the thread still waits on: there is nothing to run."""
    said: Sequence[ModelMessage] | None = None
    """What a run has said to the same answers before: there is nothing to run either."""
    outcome: str = ""
    """How that run ended."""

    @property
    def runs(self) -> bool:
        """Whether the agent has something to do."""
        return self.waiting is None and self.said is None


def plan(turn: Turn, thread: Thread | None, line: Line, agent: str) -> Plan:
    """The turn of an agent, on a thread as it stands with its line. Raises `TurnRejected` or `ApprovalExpired`."""
    known = dict(_message_ids(line))
    if turn.acts_on and _is_stray(turn, line, known):
        turn = replace(turn, messages=turn.messages[:-1], message_ids=turn.message_ids[:-1])
    entry = _resubmitted(turn, line, known)
    if entry is None or _answers(turn, thread, entry):
        return _onward(turn, thread, line, agent, _skipped(turn, known))
    return _again(turn, line, entry)


def taken_by(turn: Turn, line: Line) -> TurnRecord | None:
    """Where a run took the answers that the turn gives, the last time."""
    ids = answers.ids_of(turn.answers)
    return next((taken for taken in _taken(line) if ids & answers.stored_ids(taken)), None)


def _is_stray(turn: Turn, line: Line, known: Container[str]) -> bool:
    """Whether the last message, an action on a surface, only comes along with what else is new.

    A page sends it with all of its runs while its own goes on (`wires/ag_ui/a2ui_action.py`), on other threads, too.
    """
    *before, last = turn.message_ids
    if last in known:
        return any(each not in known for each in before)
    if not before and not answers.ids_of(turn.answers):
        return False
    return not has_shown((entry.message for entry in reversed(line.entries)), turn.acts_on)


def _answers(turn: Turn, thread: Thread | None, entry: ConversationEntry) -> bool:
    """Whether the turn is about calls, though it repeats a message: some clients send their last one with an answer."""
    if turn.regenerate is not None:
        return False
    if answers.ids_of(turn.answers) & answers.ids_of(thread.record.deferred_tool_requests if thread else None):
        return True
    return bool(turn.answers.approvals) and _content(turn.messages[-1]) == _content(entry.message)


def _again(turn: Turn, line: Line, entry: ConversationEntry) -> Plan:
    """Answer a stored message again, or what the client has made of it."""
    index = next(index for index, other in enumerate(line.entries) if other.id == entry.id)
    end = index + 1
    # Results for calls before the message stand behind it, when it came instead of answers to them.
    while end < len(line.entries) and _is_results(line.entries[end].message):
        end += 1
    edited = turn.messages[-1] if turn.messages and turn.regenerate is None else None
    if edited is None or _content(edited) == _content(entry.message):
        return Plan(_until(line, end))
    results = [entry.message for entry in line.entries[index + 1 : end] if isinstance(entry.message, ModelRequest)]
    return Plan(_until(line, index), [*results, edited], turn.message_ids[-1:])


def _onward(turn: Turn, thread: Thread | None, line: Line, agent: str, skipped: int) -> Plan:
    """Go on at the end of the thread."""
    new, new_ids = turn.messages[skipped:], turn.message_ids[skipped:]
    waiting = thread.record.deferred_tool_requests if thread else None
    head = thread.turn if thread else None
    given = answers.that_count(
        turn.answers,
        waiting,
        settled={call for taken in _taken(line) for call in answers.stored_ids(taken)},
        expires_at=head.expires_at if head else None,
        by_the_way=bool(new),
    )
    if not new and not answers.ids_of(given) and answers.ids_of(turn.answers):
        return _repeated(turn, line, agent, waiting)
    if waiting is None:
        if not new and line.entries and isinstance(line.entries[-1].message, ModelResponse):
            return Plan(line, said=[], outcome=FINISHED)  # a model is not asked again without a question
        return Plan(line, new, new_ids)
    if head and head.agent != agent:
        # Another agent has neither the tools nor the right: it may go on, but only without them.
        if not new:
            raise TurnRejected
        return Plan(line, [answers.given_up(waiting), *new], new_ids)
    given = answers.together(answers.stored(head), given)
    if new:
        given = answers.superseding(given, waiting)
    return Plan(line, new, new_ids, given, waiting.remaining(given))


def _repeated(turn: Turn, line: Line, agent: str, waiting: DeferredToolRequests | None) -> Plan:
    """The same answers once more: what came of them."""
    taken = taken_by(turn, line)
    if taken is None or taken.agent != agent:
        raise TurnRejected
    # The run's own save comes last; before it has said anything, there is only the one that began it.
    saves = [save for save in line.turns.values() if save.run_id == taken.answered_run]
    outcome = saves[-1].outcome if saves else taken.outcome
    return Plan(line, said=_said(taken.answered_run, line), waiting=waiting, outcome=outcome)


def _resubmitted(turn: Turn, line: Line, known: dict[str, ConversationEntry]) -> ConversationEntry | None:
    """The stored message that the turn is about, if it is not about a new one."""
    if turn.message_ids and (entry := known.get(turn.message_ids[-1])):
        return entry
    if turn.regenerate is None:
        return None
    if turn.regenerate in known:
        return known[turn.regenerate]
    if turn.message_ids:
        # The AI SDK's retry button regenerates, also what was refused before it could be stored.
        return None
    # It may name the answer, or nothing, which means the last one.
    if asked := _asked(turn.regenerate, line):
        return asked
    raise TurnRejected


def _asked(answer_id: str, line: Line) -> ConversationEntry | None:
    """The user's message before that answer, or the last one."""
    asked: ConversationEntry | None = None
    for entries, turn in line.segments():
        if answer_id and turn and answer_id in _streamed_ids(turn):
            return asked
        asked = next((entry for entry in reversed(entries) if _is_prompt(entry.message)), asked)
    return None if answer_id else asked


def _streamed_ids(turn: TurnRecord) -> set[str]:
    """The ids of an answer, on the wires that have one for the whole of it."""
    notes: list[Any] = list(turn.wire_ids.values())
    return {ids["message"] for ids in notes if isinstance(ids, dict) and "message" in ids}


def _message_ids(line: Line) -> Iterator[tuple[str, ConversationEntry]]:
    """The client's ids of the user's messages in the line."""
    for entries, turn in line.segments():
        prompts = (entry for entry in entries if _is_prompt(entry.message))
        yield from zip(turn.wire_ids.get("user", ()) if turn else (), prompts, strict=False)


def _skipped(turn: Turn, known: dict[str, ConversationEntry]) -> int:
    """How many of the turn's messages the thread has already: those whose answer failed before a word of it."""
    return next((index + 1 for index in reversed(range(len(turn.messages))) if turn.message_ids[index] in known), 0)


def _taken(line: Line) -> list[TurnRecord]:
    """Turns whose answers a run took, the last one first."""
    return [line.turns[entry.id] for entry in reversed(line.entries) if _was_answered(line.turns.get(entry.id))]


def _was_answered(turn: TurnRecord | None) -> bool:
    return turn is not None and bool(turn.answered_run)


def _said(run_id: str, line: Line) -> list[ModelMessage]:
    """What that run added to the line."""
    segments = [entries for entries, turn in line.segments() if turn and turn.run_id == run_id]
    return [entry.message for entries in segments for entry in entries if not _is_prompt(entry.message)]


def _until(line: Line, end: int) -> Line:
    kept = line.entries[:end]
    return Line(kept, {entry.id: line.turns[entry.id] for entry in kept if entry.id in line.turns})


def _is_prompt(message: ModelMessage) -> bool:
    return isinstance(message, ModelRequest) and any(isinstance(part, UserPromptPart) for part in message.parts)


def _is_results(message: ModelMessage) -> bool:
    return isinstance(message, ModelRequest) and all(isinstance(part, ToolReturnPart) for part in message.parts)


def _content(message: ModelMessage) -> list[object]:
    return [part.content for part in message.parts if isinstance(part, UserPromptPart)]

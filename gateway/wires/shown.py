"""A stored line -> what of it a client has to do with: the user's messages, answers, results of calls.

What else the history holds is between the server and the model: instructions, feedback on an answer that did not fit,
text that a tool sent along with its result, messages that were put into a run from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - fields' types
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import TYPE_CHECKING, Any, cast

from pydantic_ai.messages import (
    INTERRUPTED_TOOL_RETURN_CONTENT,
    CapabilityLoadDeltaPart,
    CompactionPart,
    ModelRequest,
    ModelResponse,
    ModelSettingsDeltaPart,
    ToolAvailabilityDeltaPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from gateway.errors import RunTimeout
from gateway.history import CANCELLED, FINISHED

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from pydantic_ai.conversation_store import ConversationEntry
    from pydantic_ai.messages import ModelMessage

    from gateway.history import Line, TurnRecord

MARKS = (ToolAvailabilityDeltaPart, CapabilityLoadDeltaPart, ModelSettingsDeltaPart, CompactionPart)
"""Parts of requests that are streamed, as activities (AG-UI) or data parts (AI SDK)."""

FAILED_CONTENT = "Tool execution was interrupted by an error."
"""What the streams say of a call whose run failed (`UIEventStream.transform_stream`)."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A stored message, without what is not for clients."""

    id: str
    """Of the entry."""
    message: ModelRequest | ModelResponse
    user_id: str | None = None
    """The client's id, empty if it is not known, of a message of the user; none for anything else."""
    results: Mapping[str, ToolReturnPart] = field(default_factory=dict[str, ToolReturnPart])
    """By the calls of a response, those that were answered."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What one save has added."""

    shown: Sequence[Shown]
    turn: TurnRecord | None
    approvals: Mapping[str, Any]
    """JSON of the decisions on calls in this segment, by call."""
    under_way: frozenset[str]
    """Calls that were answered, and nothing has come of it yet."""
    given: Mapping[str, ToolReturnPart] = field(default_factory=dict[str, ToolReturnPart])
    """Of those, the results that the client gave, by call."""

    @property
    def outcome(self) -> str:
        """Of the run; a thread from elsewhere has only finished ones."""
        return self.turn.outcome if self.turn else FINISHED

    def note(self, protocol: str) -> Mapping[str, Any]:
        """What the run's stream noted of its ids, if it spoke that protocol."""
        return self.turn.wire_ids.get(protocol, {}) if self.turn else {}

    @property
    def cut_off(self) -> frozenset[str]:
        """Calls that no tool was given, on whichever wire they were streamed."""
        notes = self.turn.wire_ids.values() if self.turn else ()
        return frozenset(call for note in notes for call in _cut_off_in(note))

    def broken_off(self, call: ToolCallPart) -> ToolReturnPart:
        """The result of a call that has none."""
        # To pydantic-ai a run that took too long is one that was cancelled.
        failed = self.outcome not in (FINISHED, CANCELLED, RunTimeout.code)
        return broken_off(call.tool_call_id, call.tool_name, failed=failed)


def broken_off(tool_call_id: str, tool_name: str = "", *, failed: bool) -> ToolReturnPart:
    """The result of a call that came to nothing, since its run failed or was stopped."""
    return ToolReturnPart(
        tool_name=tool_name,
        tool_call_id=tool_call_id,
        content=FAILED_CONTENT if failed else INTERRUPTED_TOOL_RETURN_CONTENT,
        outcome="failed" if failed else "interrupted",
    )


def segments(line: Line) -> Iterator[Segment]:
    """The line by saves, oldest first."""
    results = _results(line)
    saves = line.segments()
    decisions = [_answers(turn, "approvals") for _, turn in saves]
    for index, (entries, turn) in enumerate(saves):
        users = _users(entries, turn)
        shown = [
            Shown(entry.id, message, users.get(entry.id), results.get(entry.id, {}))
            for entry in entries
            if (message := _for_clients(entry.message, is_users=entry.id in users)).parts
        ]
        # Decisions are kept where the calls are, or with the message that the user has sent along with them.
        is_last = index + 1 == len(saves)
        approvals = {**({} if is_last else decisions[index + 1]), **decisions[index]}
        taken = is_last and turn is not None and turn.answered_run
        under_way = {*decisions[index], *_answers(turn, "calls")} if taken else ()
        given = _given(turn, entries) if taken else {}
        yield Segment(shown, turn, approvals, frozenset(under_way), given)


def free_id(ids: Sequence[str], taken: Container[str]) -> str:
    """The first of `ids` that is not taken, or something made of the last one: a client chooses ids as it likes."""
    more = (f"{ids[-1]}-{number}" for number in count())
    return next(each for each in chain(ids, more) if each and each not in taken)


def _cut_off_in(note: Any) -> list[str]:
    """Of one wire's note; what is kept of the user's messages is a list."""
    return cast("dict[str, Any]", note).get("cut_off", []) if isinstance(note, dict) else []


def _answers(turn: TurnRecord | None, kind: str) -> dict[str, Any]:
    return (turn.answers or {}).get(kind, {}) if turn else {}


def _given(turn: TurnRecord | None, entries: Sequence[ConversationEntry]) -> dict[str, ToolReturnPart]:
    """Results that are stored with the turn, and are not messages yet."""
    results = _answers(turn, "calls")
    calls = [part for entry in entries for part in entry.message.parts if isinstance(part, ToolCallPart)]
    return {
        call.tool_call_id: _result(call, results[call.tool_call_id]) for call in calls if call.tool_call_id in results
    }


def _result(call: ToolCallPart, stored: Any) -> ToolReturnPart:
    """The JSON of a result in `DeferredToolResults` -> the message that its run will make of it."""
    match stored:
        case {"kind": "tool-return", "return_value": content}:
            return ToolReturnPart(call.tool_name, content, call.tool_call_id)
        case {"kind": "tool-failed", "message": str(why)}:
            return ToolReturnPart(call.tool_name, why, call.tool_call_id, outcome="failed")
        case _:
            return ToolReturnPart(call.tool_name, stored, call.tool_call_id)


def _users(entries: Sequence[ConversationEntry], turn: TurnRecord | None) -> dict[str, str]:
    """The entries that are the user's messages, with the client's ids as far as they are known."""
    with_prompt = [entry.id for entry in entries if _has(entry.message, UserPromptPart)]
    if turn is None:
        return dict.fromkeys(with_prompt, "")
    ids = cast("list[str]", turn.wire_ids.get("user", []))
    # A run's own prompts follow an answer, or the result of a tool.
    first = next((at for at, entry in enumerate(entries) if _is_of_run(entry.message, known=bool(ids))), len(entries))
    with_prompt = [entry.id for entry in entries[:first] if entry.id in with_prompt]
    if not ids:
        return dict.fromkeys(with_prompt, "")
    return dict(zip(reversed(with_prompt), reversed(ids), strict=False))


def _is_of_run(message: ModelMessage, *, known: bool) -> bool:
    return isinstance(message, ModelResponse) or (not known and _has(message, ToolReturnPart))


def _has(message: ModelMessage, kind: type[UserPromptPart | ToolReturnPart]) -> bool:
    return isinstance(message, ModelRequest) and any(isinstance(part, kind) for part in message.parts)


def _for_clients(message: ModelMessage, *, is_users: bool) -> ModelRequest | ModelResponse:
    if isinstance(message, ModelResponse):
        return message
    kinds = (UserPromptPart, ToolReturnPart, *MARKS) if is_users else (ToolReturnPart, *MARKS)
    return replace(message, parts=[part for part in message.parts if isinstance(part, kinds)])


def _results(line: Line) -> dict[str, dict[str, ToolReturnPart]]:
    """Results by the entry with the call, and by call. Some models give later calls the ids of earlier ones."""
    results: dict[str, dict[str, ToolReturnPart]] = {}
    asked: dict[str, str] = {}
    for entry in line.entries:
        for part in entry.message.parts:
            if isinstance(part, ToolCallPart):
                asked[part.tool_call_id] = entry.id
            elif isinstance(part, ToolReturnPart) and part.tool_call_id in asked:
                results.setdefault(asked.pop(part.tool_call_id), {})[part.tool_call_id] = part
    return results

"""A stored line -> AG-UI messages, as a client has built them from the events.

What is in a message is pydantic-ai's word (`dump_messages`). Which message it is in, and where that stands, is the
client's: `apply/default.ts` of `@ag-ui/client`, the same in 1.0 and in 0.0.59.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from pydantic_ai.messages import (
    ModelRequest,
    ModelResponse,
    NativeToolCallPart,
    NativeToolReturnPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.ui.ag_ui import AGUIAdapter

from gateway.wires.ag_ui.a2ui_action import is_action
from gateway.wires.ag_ui.drawing import drawn_in
from gateway.wires.sent_along import activities
from gateway.wires.shown import free_id, segments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic_ai.messages import ModelMessage, ModelRequestPart, ModelResponsePart
    from pydantic_ai.tools import DeferredToolRequests

    from gateway.history import Line
    from gateway.wires import Repetition
    from gateway.wires.shown import Segment, Shown

    Json = dict[str, Any]

PROTOCOL = "ag-ui"


def dumped(line: Line, waiting: DeferredToolRequests | None) -> list[Json]:
    """See `Wire.dump`."""
    held = _Held()
    for _, message in _told(line, waiting):
        held.add(message)
    return held.messages


def repeated(repetition: Repetition) -> list[Json]:
    """The messages that are repeated, in the order of their stream."""
    entry_ids = repetition.entry_ids
    return [message for entry_id, message in _told(repetition.line, repetition.waiting) if entry_id in entry_ids]


def _told(line: Line, waiting: DeferredToolRequests | None) -> Iterator[tuple[str, Json]]:
    """The messages in the order in which they were streamed, each with the id of its entry."""
    taken: set[str] = set()
    asked = {call.tool_call_id for call in (*waiting.calls, *waiting.approvals)} if waiting else set[str]()
    for segment in segments(line):
        ids, drawn = _Ids(segment), drawn_in(segment, PROTOCOL)
        for shown in segment.shown:
            if is_action(shown.user_id):
                continue  # the page shows no message for what is done on its surfaces
            made = [segment.broken_off(call) for call in _unanswered(shown, asked | segment.under_way)]
            # The run that goes on does not repeat what a client gave: to another reader nobody else tells it.
            made += [segment.given[call] for call in _calls(shown) if call in segment.given]
            closed = [replace(shown, message=ModelRequest(parts=[result])) for result in made]
            for message in chain.from_iterable(map(_messages, (ids.in_order(shown), *closed))):
                if "replace" in message:
                    ids.forget(message)
                else:
                    message["id"] = free_id(ids.of(message, shown), taken)
                taken.add(message["id"])
                yield shown.id, message
                yield from ((shown.id, activity) for place in _places(message) for activity in drawn.get(place, ()))


def _places(message: Json) -> list[tuple[str, str]]:
    """Where something may be drawn: behind a message with their calls, or behind a result."""
    if message["role"] == "tool":
        return [("tool", message["toolCallId"])]
    return [("assistant", call["id"]) for call in message.get("toolCalls", ())]


class _Held:
    """The list of messages that a client holds."""

    def __init__(self) -> None:
        self.messages: list[Json] = []

    def add(self, message: Json) -> None:
        """Put a message where a client puts it."""
        replaces = message.pop("replace", False)
        if before := next((each for each in self.messages if each["id"] == message["id"]), None):
            before.update(message if replaces else {})
            return
        at = self._behind_call(message["toolCallId"]) if message["role"] == "tool" else len(self.messages)
        self.messages.insert(at, message)

    def _behind_call(self, tool_call_id: str) -> int:
        """Where the result of a call goes: behind the message with the call, and the results that are there."""
        at = len(self.messages)
        while at and not any(call["id"] == tool_call_id for call in self.messages[at - 1].get("toolCalls", ())):
            at -= 1
        if not at:
            return len(self.messages)
        while at < len(self.messages) and self.messages[at]["role"] == "tool":
            at += 1
        return at


class _Ids:
    """The ids of one segment's messages: as noted from the stream, or else made from the entry's."""

    def __init__(self, segment: Segment) -> None:
        note = segment.note(PROTOCOL)
        self._calls: dict[str, str] = note.get("calls", {})
        self._results: dict[str, str] = note.get("results", {})
        self._answered: list[str] = note.get("answered", [])
        with_calls = set(self._calls.values())
        self._texts = iter([each for each in note.get("assistant", ()) if each not in with_calls])
        self._reasoning = iter(note.get("reasoning", ()))
        self._activities: list[list[str]] = list(note.get("activity", ()))
        self._made = 0
        self._entry = ""

    def in_order(self, shown: Shown) -> Shown:
        """The same, with results in the order in which they came."""
        if isinstance(shown.message, ModelResponse):
            return shown
        parts = sorted(shown.message.parts, key=self._rank)
        return replace(shown, message=replace(shown.message, parts=parts))

    def of(self, message: Json, shown: Shown) -> list[str]:
        """Ids for a message, the best first."""
        self._made = self._made + 1 if shown.id == self._entry else 0
        self._entry = shown.id
        return [*self._noted(message, shown), f"{shown.id}-{self._made}" if self._made else shown.id]

    def forget(self, activity: Json) -> None:
        """Leave out the id of an activity that has one of its own."""
        noted = [activity["activityType"], activity["id"]]
        if noted in self._activities:
            self._activities.remove(noted)

    def _rank(self, part: ModelRequestPart) -> int:
        if not isinstance(part, ToolReturnPart):
            return len(self._answered) + 1
        call = part.tool_call_id
        return self._answered.index(call) if call in self._answered else len(self._answered)

    def _noted(self, message: Json, shown: Shown) -> list[str]:
        match message["role"]:
            case "user":
                return [shown.user_id] if shown.user_id else []
            case "reasoning":
                return [*filter(None, [next(self._reasoning, "")])]
            case "activity":
                return self._activity(message["activityType"])
            case "tool":
                return [*filter(None, [self._results.get(message["toolCallId"])])]
            case _:
                calls = [self._calls[call["id"]] for call in message.get("toolCalls", ()) if call["id"] in self._calls]
                return calls[:1] or ([*filter(None, [next(self._texts, "")])] if "toolCalls" not in message else [])

    def _activity(self, kind: str) -> list[str]:
        noted = next((each for each in self._activities if each[0] == kind), None)
        if noted is None:
            return []
        self._activities.remove(noted)
        return [noted[1]]


def _messages(shown: Shown) -> Iterator[Json]:
    arguments, outcomes = _arguments(shown.message), _outcomes(shown.message)
    for piece in _pieces(shown.message):
        for message in _dump(piece):
            if message["role"] == "assistant":
                # Every one of them begins as an empty text.
                message.setdefault("content", "")
                for call in message.get("toolCalls", ()):
                    call["function"]["arguments"] = arguments.get(call["id"], call["function"]["arguments"])
            elif message["role"] == "tool":
                # The events of a result tell its outcome, unless there is nothing to tell, but no error.
                message.pop("error", None)
                if outcomes.get(message["toolCallId"].split("|", 2)[-1]) == "success":
                    message.pop("encryptedValue", None)
            yield message
        yield from chain.from_iterable(_sent_along(part) for part in piece.parts if isinstance(part, ToolReturnPart))


def _sent_along(result: ToolReturnPart) -> Iterator[Json]:
    """Activities of a tool's own, with their ids, and whether they replace what has that id already."""
    for event in activities(result):
        shown = {"activityType": event.activity_type, "content": event.content}
        yield {"id": event.message_id, "role": "activity", **shown, "replace": event.replace is not False}


def _dump(message: ModelMessage) -> list[Json]:
    messages = AGUIAdapter[Any, Any].dump_messages([message])
    return [message.model_dump(mode="json", by_alias=True, exclude_none=True) for message in messages]


def _outcomes(message: ModelMessage) -> dict[str, str]:
    """Outcomes of calls; those of the provider's own tools have a prefix to their ids on this wire."""
    results = [part for part in message.parts if isinstance(part, ToolReturnPart | NativeToolReturnPart)]
    return {result.tool_call_id.split("|", 2)[-1]: result.outcome for result in results}


def _arguments(message: ModelMessage) -> dict[str, str]:
    """Arguments as the model wrote them, which is how they are streamed, by call."""
    calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
    return {call.tool_call_id: call.args for call in calls if isinstance(call.args, str) and call.args}


def _pieces(message: ModelMessage) -> Iterator[ModelMessage]:
    if isinstance(message, ModelRequest):
        yield from (replace(message, parts=[part]) for part in message.parts)
    else:
        yield from (replace(message, parts=parts) for parts in _cut(message.parts))


def _cut(parts: Sequence[ModelResponsePart]) -> Iterator[list[ModelResponsePart]]:
    """The parts of a response, cut where the stream begins a new message and `dump_messages` does not.

    That is at a text behind a text, with something in between that is not streamed. Reasoning without text is not
    streamed either, but separates what is around it.
    """
    piece: list[ModelResponsePart] = []
    for before, part in zip([None, *parts], parts, strict=False):
        if isinstance(part, TextPart) and not isinstance(before, TextPart) and _ends_in_text(piece):
            yield piece
            piece = []
        if isinstance(part, ThinkingPart) and not part.content:
            yield piece
            piece = []
        else:
            piece.append(part)
    yield piece


def _ends_in_text(piece: list[ModelResponsePart]) -> bool:
    streamed = (TextPart, ThinkingPart, ToolCallPart, NativeToolCallPart)
    last = next((part for part in reversed(piece) if isinstance(part, streamed)), None)
    return isinstance(last, TextPart)


def _unanswered(shown: Shown, asked: set[str]) -> list[ToolCallPart]:
    return [call for call_id, call in _calls(shown).items() if call_id not in asked]


def _calls(shown: Shown) -> dict[str, ToolCallPart]:
    """Those without a result, by id."""
    calls = [part for part in shown.message.parts if isinstance(part, ToolCallPart)]
    return {call.tool_call_id: call for call in calls if call.tool_call_id not in shown.results}

"""AG-UI events -> a note of the ids in them, by which a stored turn is given back as its client knows it.

The note is JSON, and holds what there was of: `assistant` and `reasoning`, lists of message ids in the order of the
stream; `activity`, a list of `[type, id]`, without what is drawn of calls, which is noted apart; `calls`, the id of the
assistant message by each call in it; `results`, the id of the tool message by call; `answered`, calls in the order in
which their results came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ag_ui.core import (
    ActivitySnapshotEvent,
    ReasoningEncryptedValueEvent,
    ReasoningMessageContentEvent,
    ReasoningMessageEndEvent,
    ReasoningMessageStartEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)

from gateway.ids import new_id
from gateway.wires.ag_ui.a2ui import ACTIVITY as A2UI
from gateway.wires.ag_ui.sandboxed_ui import ACTIVITY as SANDBOXED_UI

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ag_ui.core import BaseEvent

DRAWN = (A2UI, SANDBOXED_UI)
"""Types of activities that are made of calls, with ids made of theirs."""


class Noting:
    """Takes down the ids of one stream as they go by.

    The id of a result is made when its call begins, since a run that is broken off is stored before the results of its
    open calls are made up.

    Args:
        given: ids of tool messages that the client has already, by call.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self.note: dict[str, Any] = {"results": dict(given)} if given else {}
        self._given = frozenset(given)

    def has_result(self, tool_call_id: str) -> bool:
        """Whether the client gave the result of that call itself."""
        return tool_call_id in self._given

    def take(self, event: BaseEvent) -> None:
        """Take down what begins with the event."""
        match event:
            case TextMessageStartEvent():
                self._ids("assistant").append(event.message_id)
            case ReasoningMessageStartEvent():
                self._ids("reasoning").append(event.message_id)
            case ActivitySnapshotEvent() if event.activity_type not in DRAWN:
                self._ids("activity").append([event.activity_type, event.message_id])
            case ToolCallResultEvent():
                self._ids("answered").append(event.tool_call_id)
            case ToolCallStartEvent():
                self._by_call("calls")[event.tool_call_id] = event.parent_message_id
                self._by_call("results")[event.tool_call_id] = new_id()
            case _:
                pass

    def result(self, tool_call_id: str) -> str:
        """The id of the message with the result of a call."""
        return self._by_call("results").setdefault(tool_call_id, new_id())

    def _ids(self, kind: str) -> list[Any]:
        return self.note.setdefault(kind, [])

    def _by_call(self, kind: str) -> dict[str, Any]:
        return self.note.setdefault(kind, {})


class Renaming:
    """Gives the events of a stream that repeats stored messages the ids of those.

    Args:
        messages: as they are loaded, in the order of the stream.
    """

    def __init__(self, messages: Iterable[Mapping[str, Any]]) -> None:
        self._stored: dict[str, Iterator[str]] = {}
        for kind in ("assistant", "reasoning", "activity"):
            told = [each for each in messages if each["role"] == kind and each.get("activityType") not in DRAWN]
            self._stored[kind] = iter([message["id"] for message in told])
        self._results = {each["toolCallId"]: each["id"] for each in messages if each["role"] == "tool"}
        self._names: dict[str, str] = {}

    def rename(self, event: BaseEvent) -> None:
        """Change the ids in an event in place."""
        match event:
            case TextMessageStartEvent():
                event.message_id = self._begin(event.message_id, "assistant")
            case ReasoningMessageStartEvent():
                event.message_id = self._begin(event.message_id, "reasoning")
            case ActivitySnapshotEvent() if event.activity_type not in DRAWN:
                event.message_id = self._begin(event.message_id, "activity")
            case ToolCallResultEvent():
                stored = self._results.get(event.tool_call_id, event.message_id)
                self._names[event.message_id] = stored
                event.message_id = stored
            case ToolCallStartEvent() if event.parent_message_id:
                event.parent_message_id = self._name(event.parent_message_id)
            case ReasoningEncryptedValueEvent():
                event.entity_id = self._name(event.entity_id)
            case (
                TextMessageContentEvent()
                | TextMessageEndEvent()
                | ReasoningMessageContentEvent()
                | ReasoningMessageEndEvent()
            ):
                event.message_id = self._name(event.message_id)
            case _:
                pass

    def _begin(self, streamed: str, kind: str) -> str:
        self._names[streamed] = next(self._stored[kind], streamed)
        return self._names[streamed]

    def _name(self, streamed: str) -> str:
        return self._names.get(streamed, streamed)

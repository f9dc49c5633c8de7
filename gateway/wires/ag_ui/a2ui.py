"""Calls of `render_a2ui` -> surfaces: activities of AG-UI, while the model writes, and again from what is stored.

An activity is one message that each next state replaces. Of a call it goes from a placeholder to the components, when
all of them are there, and on with the data as it comes. What is no surface shows nothing but that the model tries
again; the next attempt takes its place. When a run ends, however it ends, nothing is left that looks as if it went on.

A note of which calls show something is kept with the other ids of the stream: a stored thread shows the same. Source:
`@ag-ui/a2ui-middleware` and `A2UIMessageRenderer` of `@copilotkit/react-core` 1.75, for which all of it is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, cast

from ag_ui.core import ActivitySnapshotEvent
from pydantic_ai.messages import ToolCallPart, ToolReturnPart

from gateway.frontend.a2ui import ATTEMPTS, RENDER
from gateway.frontend.a2ui_catalogue import Catalogue
from gateway.frontend.a2ui_surface import (
    OPERATIONS,
    Surface,
    Unfit,
    begun_surface,
    operations_in,
    surface_id_in,
    whole_surface,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ag_ui.core import BaseEvent
    from pydantic_ai.messages import ModelMessage

    from gateway.wires.shown import Segment

    Json = dict[str, Any]
    Place = tuple[str, str]
    """Behind which message: its role, and the id of the call in it."""

ACTIVITY = "a2ui-surface"
"""The type of the activities."""

NOTED = "surfaces"
"""Where the note of a stream has them, by call: of one that renders, `at`, the call whose place it takes, and
`catalogue`; of a result with operations, nothing."""

STEP = 64
"""Characters of arguments between two looks at them at least."""

SHARE = 8
"""Of what is written, the part that comes between two looks: all looks together cost as much as a few times the whole,
and so does all that is sent."""

CHARS_OF_TOKEN = 4
UNFINISHED = "The interface was not finished."

WRITING, SHOWN, FAILED = "writing", "shown", "failed"


@dataclass
class _Call:
    at: str
    attempt: int = 1
    state: str = WRITING
    text: str = ""
    next_look: float = STEP
    surface: Surface | None = None


class Surfaces:
    """The surfaces of one run.

    Args:
        catalogue: what its page can draw.
        note: of the stream; see `NOTED`.
        results: whether results of tools may be surfaces.
    """

    def __init__(self, catalogue: Catalogue, note: Json, *, results: bool) -> None:
        self._catalogue = catalogue
        self._results = results
        self._note = note
        self._calls: dict[str, _Call] = {}

    def began(self, part: ToolCallPart) -> Iterable[BaseEvent]:
        """The model begins a call."""
        if part.tool_name != RENDER:
            return
        call = self._calls[part.tool_call_id] = self._next(part.tool_call_id)
        if call.attempt == 1:
            yield _activity(call.at, {"status": "building"})
        yield from self.grew(part.tool_call_id, part.args)

    def grew(self, tool_call_id: str, delta: str | dict[str, Any] | None) -> Iterable[BaseEvent]:
        """The model writes on."""
        call = self._calls.get(tool_call_id)
        if call is None or call.state != WRITING or not isinstance(delta, str):
            return
        call.text += delta
        if len(call.text) >= call.next_look:
            call.next_look = len(call.text) + max(STEP, len(call.text) // SHARE)
            yield from self._look(call)

    def ended(self, part: ToolCallPart) -> Iterable[BaseEvent]:
        """The model has written the call to its end."""
        call = self._calls.get(part.tool_call_id)
        if call is None or call.state != WRITING:
            return
        try:
            surface = whole_surface(part.args or {}, self._catalogue)
        except Unfit as unfit:
            yield from self._fail(part.tool_call_id, unfit)
            return
        call.state = SHOWN
        self._note.setdefault(NOTED, {})[part.tool_call_id] = {"at": call.at, "catalogue": surface.catalogue_id}
        yield from _shown(call, surface)

    def answered(self, result: ToolReturnPart) -> Iterable[BaseEvent]:
        """A tool has its result."""
        call_id = result.tool_call_id
        if call_id in self._calls:
            if result.outcome not in ("success", "interrupted"):
                yield from self._fail(call_id)
        elif self._results and result.outcome == "success" and (operations := operations_in(result.content)):
            self._note.setdefault(NOTED, {})[call_id] = {}
            yield from _of_operations(call_id, operations)

    def left(self) -> Iterable[BaseEvent]:
        """The run is over."""
        calls, self._calls = self._calls, {}
        for call in calls.values():
            if call.state != SHOWN:
                yield _activity(call.at, {"status": "failed", "error": UNFINISHED})

    def _next(self, tool_call_id: str) -> _Call:
        """The call as the first of its kind, or as another attempt at one that failed."""
        failed = next((name for name, call in self._calls.items() if call.state == FAILED), None)
        if failed is None:
            return _Call(tool_call_id)
        before = self._calls.pop(failed)
        return _Call(before.at, before.attempt + 1)

    def _look(self, call: _Call) -> Iterable[BaseEvent]:
        try:
            surface = begun_surface(call.text, self._catalogue)
        except Unfit:
            # The end of the arguments says what is wrong, in the words that the model gets.
            call.next_look = inf
            return
        if surface:
            yield from _shown(call, surface)
        elif call.attempt == 1 and call.surface is None:
            yield _activity(call.at, {"status": "building", "progressTokens": len(call.text) // CHARS_OF_TOKEN})

    def _fail(self, tool_call_id: str, why: Unfit | None = None) -> Iterable[BaseEvent]:
        call = self._calls[tool_call_id]
        if call.state == FAILED:
            return
        call.state = FAILED
        self._note.get(NOTED, {}).pop(tool_call_id, None)
        tried: Json = {"attempt": min(call.attempt + 1, ATTEMPTS), "maxAttempts": ATTEMPTS}
        errors: Json = {"errors": [{"message": str(why)}]} if why else {}
        yield _activity(call.at, {"status": "retrying", **tried, **errors})


class Repeated:
    """What is drawn in a stream that says again what is stored: each once, as it was in the end."""

    def __init__(self, activities: Mapping[Place, list[Json]]) -> None:
        self._activities = activities

    def began(self, part: ToolCallPart) -> Iterable[BaseEvent]:  # noqa: ARG002 - see `Surfaces`
        """Nothing."""
        return ()

    def grew(self, tool_call_id: str, delta: Any) -> Iterable[BaseEvent]:  # noqa: ARG002 - see `Surfaces`
        """Nothing."""
        return ()

    def ended(self, part: ToolCallPart) -> Iterable[BaseEvent]:
        """What stands at that call."""
        return self._at("assistant", part.tool_call_id)

    def answered(self, result: ToolReturnPart) -> Iterable[BaseEvent]:
        """What stands at that result."""
        return self._at("tool", result.tool_call_id)

    def left(self) -> Iterable[BaseEvent]:
        """Nothing."""
        return ()

    def _at(self, role: str, tool_call_id: str) -> Iterator[BaseEvent]:
        for each in self._activities.get((role, tool_call_id), ()):
            yield ActivitySnapshotEvent(
                message_id=each["id"], activity_type=each["activityType"], content=each["content"], replace=True
            )


def surfaces_in(segment: Segment, protocol: str) -> dict[Place, list[Json]]:
    """What a stored turn shows, as messages, by where they stand.

    A turn that was streamed in another protocol shows what its calls have brought about.
    """
    streamed = segment.turn is not None and protocol in segment.turn.wire_ids
    noted: Mapping[str, Json] = segment.note(protocol).get(NOTED, {}) if streamed else _brought_about(segment)
    found: dict[Place, list[Json]] = {}
    for part in _parts(segment) if noted else ():
        if isinstance(part, ToolCallPart):
            for place, activity in _stored_call(part, noted.get(part.tool_call_id)):
                found[place] = [activity]
        elif part.tool_call_id in noted and part.tool_name != RENDER:
            events = _of_operations(part.tool_call_id, operations_in(part.content))
            found["tool", part.tool_call_id] = [_message(each) for each in events]
    return found


def has_shown(messages: Iterable[ModelMessage], surface_id: str) -> bool:
    """Whether a surface of that id may have been shown with the messages: a call asked for it, or a result was one."""
    return any(_is_about(part, surface_id) for message in messages for part in message.parts)


def _is_about(part: Any, surface_id: str) -> bool:
    if isinstance(part, ToolCallPart):
        return part.tool_name == RENDER and surface_id_in(part.args) == surface_id
    return isinstance(part, ToolReturnPart) and surface_id in operations_in(part.content)


def _stored_call(call: ToolCallPart, noted: Json | None) -> Iterator[tuple[Place, Json]]:
    if not noted or call.tool_name != RENDER:
        return
    try:
        surface = whole_surface(call.args or {}, Catalogue(noted["catalogue"]))
    except Unfit:
        return
    yield ("assistant", noted["at"]), _message(_activity(noted["at"], {OPERATIONS: surface.operations()}))


def _brought_about(segment: Segment) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for part in _parts(segment):
        if isinstance(part, ToolReturnPart) and part.tool_name == RENDER and part.outcome == "success":
            content: Any = part.content
            catalogue = cast("Json", content).get("catalogId", "") if isinstance(content, dict) else ""
            found[part.tool_call_id] = {"at": part.tool_call_id, "catalogue": catalogue}
    return found


def _parts(segment: Segment) -> Iterator[ToolCallPart | ToolReturnPart]:
    for shown in segment.shown:
        for part in shown.message.parts:
            if isinstance(part, ToolCallPart | ToolReturnPart):
                yield part


def _shown(call: _Call, surface: Surface) -> Iterator[BaseEvent]:
    if surface != call.surface:
        call.surface = surface
        yield _activity(call.at, {OPERATIONS: surface.operations()})


def _of_operations(tool_call_id: str, operations: Mapping[str, list[Json]]) -> Iterator[ActivitySnapshotEvent]:
    """An activity for each surface; a single one has the place of the call."""
    for surface_id, held in operations.items():
        at = tool_call_id if len(operations) == 1 else f"{surface_id}-{tool_call_id}"
        yield _activity(at, {OPERATIONS: held})


def _activity(at: str, content: Json) -> ActivitySnapshotEvent:
    return ActivitySnapshotEvent(message_id=f"{ACTIVITY}-{at}", activity_type=ACTIVITY, content=content, replace=True)


def _message(activity: ActivitySnapshotEvent) -> Json:
    content: Any = activity.content
    kind = activity.activity_type
    return {"id": activity.message_id, "role": "activity", "activityType": kind, "content": content, "replace": True}

"""Calls of `generateSandboxedUi` -> activities of AG-UI: HTML that the page draws in an iframe, while the model writes.

The tool is the page's own, and so is its result. What is made of its arguments here is a snapshot, then patches: CSS
and functions when they are whole, since the page uses them at once, and HTML as it comes. However a run ends, nothing
is left that looks as if it went on.

A note of the calls is kept with the other ids of the stream; a stored thread shows what their arguments do. Source:
`OpenGenerativeUIMiddleware` of `@copilotkit/shared` 1.75, and `OpenGenerativeUIRenderer` of `@copilotkit/react-core`
1.74.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from ag_ui.core import ActivityDeltaEvent, ActivitySnapshotEvent
from pydantic_ai.messages import ToolCallPart
from pydantic_core import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ag_ui.core import BaseEvent
    from pydantic_ai.messages import ToolReturnPart

    from gateway.wires.ag_ui.a2ui import Place
    from gateway.wires.shown import Segment

    Json = dict[str, Any]

TOOL = "generateSandboxedUi"
ACTIVITY = "open-generative-ui"
"""The type of the activities."""

NOTED = "sandboxed"
"""Where the note of a stream has the calls."""

TEXTS, LISTS = ("css", "html", "jsFunctions"), ("placeholderMessages", "jsExpressions")
"""Arguments, besides `initialHeight`."""

MAX_CHARS = 1_000_000
"""Characters of the arguments that are looked at; what comes behind is not drawn."""

MAX_ITEMS = 1000
"""Of a list; each is a patch of its own."""

MAX_HEIGHT = 100_000

STEP = 64
"""Characters of arguments between two looks at them at least."""

SHARE = 8
"""Of what is written, the part that comes between two looks: all looks together cost as much as a few of the whole."""

CLOSING = re.compile(r'[^\\]"')
"""The end of a string that is being written; within one, there are no such quotes."""

HIDDEN = {"initialHeight": 0, "generating": False}
"""Activities cannot be taken back: this one takes no room."""


@dataclass
class _Call:
    id: str
    pieces: list[str] = field(default_factory=list[str])
    length: int = 0
    last: str = ""
    """The last character."""
    next_look: int = STEP
    content: Json = field(default_factory=dict[str, Any])
    """What the page has."""

    @property
    def writes_html(self) -> bool:
        """Whether HTML is being written. Its end is looked for: the page fits its height to it before the call ends."""
        return "html" in self.content and "htmlComplete" not in self.content


class Sandboxes:
    """The sandboxes of one run.

    Args:
        note: of the stream; see `NOTED`.
    """

    def __init__(self, note: Json) -> None:
        self._note = note
        self._calls: dict[str, _Call] = {}

    def began(self, part: ToolCallPart) -> Iterable[BaseEvent]:
        """The model begins a call."""
        if part.tool_name == TOOL:
            self._calls[part.tool_call_id] = _Call(part.tool_call_id)
            self._note.setdefault(NOTED, []).append(part.tool_call_id)
            yield from self.grew(part.tool_call_id, part.args)

    def grew(self, tool_call_id: str, delta: str | dict[str, Any] | None) -> Iterable[BaseEvent]:
        """The model writes on."""
        call = self._calls.get(tool_call_id)
        if call is None or not isinstance(delta, str) or call.length > MAX_CHARS:
            return
        closed = call.writes_html and CLOSING.search(call.last + delta) is not None
        call.pieces.append(delta)
        call.length += len(delta)
        call.last = delta[-1:] or call.last
        if closed or call.length >= call.next_look:
            call.next_look = call.length + max(STEP, call.length // SHARE)
            text = "".join(call.pieces)[:MAX_CHARS]
            yield from _shown(call, _content(_read(text, growing=True), growing=True, closed=closed))

    def ended(self, part: ToolCallPart) -> Iterable[BaseEvent]:
        """The model has written the call to its end, or was cut off."""
        if call := self._calls.pop(part.tool_call_id, None):
            yield from _shown(call, _in_the_end(part.args))

    def answered(self, result: ToolReturnPart) -> Iterable[BaseEvent]:  # noqa: ARG002 - see `Surfaces`
        """Nothing."""
        return ()

    def left(self) -> Iterable[BaseEvent]:
        """Nothing: a call that is cut off has its end."""
        return ()


def sandboxes_in(segment: Segment, protocol: str) -> dict[Place, list[Json]]:
    """What a stored turn shows, as messages, by where they stand."""
    noted = segment.note(protocol).get(NOTED, ())
    found: dict[Place, list[Json]] = {}
    for part in (part for shown in segment.shown for part in shown.message.parts) if noted else ():
        if isinstance(part, ToolCallPart) and part.tool_call_id in noted and (content := _in_the_end(part.args)):
            activity = {"id": _id(part.tool_call_id), "role": "activity", "activityType": ACTIVITY, "content": content}
            found["assistant", part.tool_call_id] = [{**activity, "replace": True}]
    return found


def _in_the_end(arguments: Any) -> Json:
    """What a call shows when nothing more comes, also because it was cut off; nothing of what cannot be read."""
    text = (arguments if isinstance(arguments, str) else to_json(arguments or {}).decode())[:MAX_CHARS]
    held = _read(text, growing=False)
    content = _content(held) if held else _content(_read(text, growing=True), growing=True)
    if not content:
        return {}
    is_drawn = content.get("html") and (content.get("htmlComplete") or content.get("cssComplete"))
    return {**content, **({} if is_drawn else HIDDEN), "generating": False}


def _read(text: str, *, growing: bool) -> Json:
    try:
        held: Any = from_json(text, allow_partial="trailing-strings" if growing else False)
    except ValueError:
        return {}
    return cast("Json", held) if isinstance(held, dict) else {}


def _content(arguments: Json, *, growing: bool = False, closed: bool = False) -> Json:
    """Of arguments, what the page can use.

    Args:
        arguments: as they were read.
        growing: the last one may be the beginning of what it will be.
        closed: not if that is the HTML.
    """
    last = next(reversed(arguments), "") if growing else ""
    last = "" if closed and last == "html" else last
    content: Json = {}
    if last != "initialHeight" and _is_height(height := arguments.get("initialHeight")):
        content["initialHeight"] = height
    for name in (*LISTS, *TEXTS):
        if name in arguments:
            content.update(_part(name, arguments[name], growing=name == last))
    return {"generating": True, **content} if content else {}


def _is_height(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_HEIGHT


def _part(name: str, value: Any, *, growing: bool) -> Json:
    part: Json = {} if growing or name == "placeholderMessages" else {f"{name}Complete": True}
    if name in LISTS:
        items = cast("list[Any]", value) if isinstance(value, list) else []
        part[name] = [item for item in (items[:-1] if growing else items)[:MAX_ITEMS] if isinstance(item, str)]
    elif isinstance(value, str) and value and (name == "html" or not growing):
        part[name] = [value] if name == "html" else value
    return part


def _shown(call: _Call, content: Json) -> Iterator[BaseEvent]:
    """What the page has -> what it should have."""
    before, call.content = call.content, content
    if before and content:
        patch: Any = [{"op": "add", "path": f"/{path}", "value": value} for path, value in _changes(before, content)]
        if patch:
            yield ActivityDeltaEvent(message_id=_id(call.id), activity_type=ACTIVITY, patch=patch)
    elif before or content:
        yield ActivitySnapshotEvent(
            message_id=_id(call.id), activity_type=ACTIVITY, content=content or HIDDEN, replace=True
        )


def _changes(before: Mapping[str, Any], content: Json) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        old = before.get(name)
        if name == "html" and old and value[0].startswith(old[0]):
            yield from [("html/-", more)] if (more := value[0][len(old[0]) :]) else []
        elif name in LISTS and old is not None and value[: len(old)] == old:
            yield from ((f"{name}/-", more) for more in value[len(old) :])
        elif value != old:
            yield name, value


def _id(tool_call_id: str) -> str:
    return f"{tool_call_id}-activity"

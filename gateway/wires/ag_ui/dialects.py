"""Frames recorded for an AG-UI 1.0 client -> what a client of 0.0.59 understands.

0.0.59 (all of CopilotKit 1.75) parses strictly and ends the stream without a word at the first event that does not fit:
an unknown type of event, an outcome of `cancelled`, `pendingToolCallIds`, tool content in parts, a `file` source.
"""

from __future__ import annotations

import json
from typing import Any

from gateway.sse import Framing, numbered

EVENTS_0_0_59 = frozenset(
    f"{kind}_{step}"
    for kinds, steps in (
        ("TEXT_MESSAGE TOOL_CALL REASONING_MESSAGE", "START END CHUNK"),
        ("TEXT_MESSAGE REASONING_MESSAGE", "CONTENT"),
        ("TOOL_CALL", "ARGS RESULT"),
        ("STATE ACTIVITY", "SNAPSHOT DELTA"),
        ("MESSAGES", "SNAPSHOT"),
        ("RUN STEP SUBAGENT", "STARTED FINISHED"),
        ("RUN SUBAGENT", "ERROR"),
        ("REASONING", "START END ENCRYPTED_VALUE"),
    )
    for kind in kinds.split()
    for step in steps.split()
) | {"RAW", "CUSTOM"}
"""`EventType` of `@ag-ui/core` 0.0.59."""

_UNCHANGED = (b'data: {"type":"TEXT_MESSAGE_CONTENT"', b'data: {"type":"REASONING_MESSAGE_CONTENT"')
"""Beginnings of the frames that are most of a stream, and never need a look inside."""


def understands_1_0(dialect: str) -> bool:
    """Whether a client that declares that `protocolVersion` takes 1.0: one that declares none is older."""
    major, _, minor = dialect.partition(".")
    if not dialect:
        return False
    # The spec reads what is not MAJOR.MINOR as newer.
    return not (major.isdecimal() and minor.isdecimal()) or int(major) >= 1


def to_0_0_59(frame: bytes) -> bytes | None:
    """The frame for a client of 0.0.59; nothing for an event that it does not know. Comments pass."""
    if frame.startswith(_UNCHANGED) or not frame.startswith(b"data: "):
        return frame
    event: dict[str, Any] = json.loads(frame[6:])
    if event["type"] not in EVENTS_0_0_59:
        return None
    if not _convert(event):
        return frame
    return f"data: {json.dumps(event, separators=(',', ':'), ensure_ascii=False)}\n\n".encode()


def _numbered_for_0_0_59(number: int, frame: bytes) -> bytes:
    converted = to_0_0_59(frame)
    return numbered(number, converted) if converted else b""


AS_RECORDED = Framing()
FOR_0_0_59 = Framing(write=_numbered_for_0_0_59)


def _convert(event: dict[str, Any]) -> bool:
    """Change the event in place; whether there was something to change."""
    match event:
        case {"type": "RUN_FINISHED", "outcome": {"type": "cancelled"}}:
            del event["outcome"]
        case {"type": "RUN_FINISHED", "outcome": {"pendingToolCallIds": _}}:
            del event["outcome"]["pendingToolCallIds"]
        case {"type": "TOOL_CALL_RESULT", "content": list()}:
            event["content"] = _as_text(event["content"])
        case {"type": "MESSAGES_SNAPSHOT"}:
            converted = [_convert_message(message) for message in event["messages"]]
            return any(converted)
        case _:
            return False
    return True


def _convert_message(message: dict[str, Any]) -> bool:
    content = message.get("content")
    if not isinstance(content, list):
        return False
    if message.get("role") == "tool":
        message["content"] = _as_text(content)  # pyright: ignore[reportUnknownArgumentType]
        return True
    kept = [part for part in content if not _is_file(part)]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    message["content"] = kept or ""
    return len(kept) < len(content)  # pyright: ignore[reportUnknownArgumentType]


def _is_file(part: dict[str, Any]) -> bool:
    return part.get("source", {}).get("type") == "file"


def _as_text(parts: list[dict[str, Any]]) -> str:
    """Parts of a tool's result -> the one text that older clients take: the text alone, or all parts as JSON."""
    if all(part.get("type") == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return json.dumps(parts, separators=(",", ":"), ensure_ascii=False)

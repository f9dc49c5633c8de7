"""Frames of plain streams for one reader: server-sent events, lines of JSON, or bare text.

A frame is one server-sent event or more, with `event:` (where it has a name) and one `data:` line of JSON each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import from_json, to_json

from gateway.sse import Framing, StreamBroken

if TYPE_CHECKING:
    from collections.abc import Iterator

NDJSON = "application/x-ndjson"
TEXT = "text/plain"

UNNAMED = "message"
"""What the name of an event without one is (HTML standard, 9.2.6)."""


def server_sent(run_id: str) -> Framing:
    """Events whose ids name the run too: an `EventSource` knows nothing else when it comes back."""
    prefix = run_id.encode()
    return Framing(write=lambda number, frame: b"id: %b:%d\n%b" % (prefix, number, frame))


def lines(run_id: str) -> Framing:
    """`{"id", "event", "data"}` for each event."""
    prefix = run_id.encode()

    def write(number: int, frame: bytes) -> bytes:
        head = b'{"id":"%b:%d","event":' % (prefix, number)
        return b"".join([b'%b%b,"data":%b}\n' % (head, to_json(name), data) for name, data in events_in(frame)])

    return Framing({"content-type": NDJSON}, write, b'{"event":"heartbeat"}\n')


def _bare(number: int, frame: bytes) -> bytes:  # noqa: ARG001 - text has no numbers
    text = b""
    for name, data in events_in(frame):
        if name in ("error", "done") and from_json(data).get("outcome") != "finished":
            raise StreamBroken
        if name == UNNAMED:
            text += from_json(data)["text"].encode()
    return text


# A browser must not take for a page what a model has written.
BARE_TEXT = Framing({"content-type": f"{TEXT}; charset=utf-8", "x-content-type-options": "nosniff"}, _bare, b"")
"""The pieces of text and nothing else. It has no words for a failure: the response breaks off."""


def events_in(frame: bytes) -> Iterator[tuple[str, bytes]]:
    """(Name, data) of each event in a frame."""
    for event in frame.removesuffix(b"\n\n").split(b"\n\n"):
        name, _, data = event.rpartition(b"\n") if event.startswith(b"event: ") else (b"", b"", event)
        yield name.removeprefix(b"event: ").decode() or UNNAMED, data.removeprefix(b"data: ")

"""Bytes of an answer in `application/x-ndjson` -> events. What is not a whole line yet is kept, or dropped with it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from gateway.client.errors import UnexpectedAnswer
from gateway.client.shapes import Event

MEDIA_TYPE = "application/x-ndjson"
HEARTBEAT = "heartbeat"
"""Name of the event that has neither an id nor data."""


class Lines:
    """The lines of one response.

    Split at LF in bytes: `str.splitlines`, and with it httpx, also splits at characters that JSON leaves as they are.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that are complete with this chunk, heartbeats included. Raises `UnexpectedAnswer`."""
        *lines, rest = chunk.split(b"\n")
        if not lines:
            self._rest.append(rest)
            return []
        lines[0] = b"".join([*self._rest, lines[0]])
        self._rest = [rest]
        return [_event(line) for line in lines if line.strip()]


def number_of(event: Event) -> int:
    """The number in `{run_id}:{number}`. Raises `UnexpectedAnswer`."""
    number = event.id.rpartition(":")[2]
    if not (number.isascii() and number.isdecimal()):
        raise UnexpectedAnswer(200)
    return int(number)


def _event(line: bytes) -> Event:
    try:
        fields: dict[str, Any] = json.loads(line)
        return Event(id=fields.get("id", ""), name=fields["event"], data=fields.get("data"))
    except (ValueError, TypeError, KeyError, ValidationError):
        raise UnexpectedAnswer(200) from None

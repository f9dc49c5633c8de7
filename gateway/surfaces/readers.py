"""What a request says of its reader: where it left off, and in which media type it wants what comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import BadRequest
from gateway.wires.native.framing import NDJSON, TEXT

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_DIGITS = 15
"""Of a frame's number."""


def left_off(request: Request) -> tuple[str, int]:
    """(Run, number of the last frame that the reader has): `?after=`, or what an `EventSource` sends.

    The run is empty where only a number is said. Raises `BadRequest`.
    """
    value = request.query_params.get("after") or request.headers.get("last-event-id") or "0"
    run_id, _, number = value.rpartition(":")
    if not (number.isascii() and number.isdecimal() and len(number) <= MAX_DIGITS):
        msg = "`after` (or Last-Event-ID) must be the number of a frame, or the id of an event."
        raise BadRequest(msg)
    return run_id, int(number)


def media_type_asked(request: Request) -> str:
    """The media type that the reader names first, if it is one that plain streams can be had in; else empty."""
    # Some HTTP libraries name everything that they can take.
    first = request.headers.get("accept", "").partition(",")[0].partition(";")[0].strip().lower()
    return first if first in (NDJSON, TEXT) else ""

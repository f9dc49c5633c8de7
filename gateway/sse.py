"""Batches of frames -> a server-sent-events response with heartbeats that never ends in silence.

Starlette's `StreamingResponse` always sends the last chunk, so a source that dies looks like one that finished. Here a
source that raises leaves the response without its last chunk: uvicorn closes the connection, and every client sees a
broken stream instead of a short answer (DESIGN law 1).

Lines end in LF only: `@ag-ui/client` splits on a blank line of two LFs and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence  # noqa: TC003 - fields' types
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.responses import Response

from gateway.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

log = get_logger("gateway.sse")

HEARTBEAT = b": heartbeat\n\n"
"""A comment: all three client families skip it."""

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    # `no-transform` keeps proxies from compressing, which would hold frames back.
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}


class StreamBroken(Exception):
    """A stream that ended badly, in a framing that has no words for it: its response breaks off, quietly."""


def numbered(number: int, frame: bytes) -> bytes:
    """A server-sent event with its number."""
    return b"id: %d\n%b" % (number, frame)


@dataclass(frozen=True, slots=True)
class Framing:
    """How one reader gets the frames of a run: as server-sent events, unless it asks for something else."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Response headers, on top of `STREAM_HEADERS`."""
    write: Callable[[int, bytes], bytes] = numbered
    """(Number, frame) -> what is sent for it; nothing for a frame that this reader would not understand. May raise
    `StreamBroken`."""
    heartbeat: bytes = HEARTBEAT
    """What is sent after some silence; nothing where there is nothing that would not be read."""

    def written(self, first: int, frames: Sequence[bytes]) -> tuple[bytes, StreamBroken | None]:
        """What is sent for frames from that number on, and what breaks the stream off behind it."""
        write, sent = self.write, list[bytes]()
        try:
            for number, frame in enumerate(frames, first):
                sent.append(write(number, frame))
        except StreamBroken as broken:
            return b"".join(sent), broken
        return b"".join(sent), None


class EventStreamResponse(Response):
    """A response that sends what `source` yields, as it comes; a slow client slows its source and nothing else.

    Args:
        source: whole frames, as `framing` writes them; closed when the client goes away.
        headers: added to those of the framing.
        framing: says what they are, and what a heartbeat is.
        heartbeat: seconds of silence after which one is sent.
        cut_after: seconds after which the response breaks off, so that its client resumes.
    """

    def __init__(
        self,
        source: AsyncGenerator[bytes],
        *,
        headers: Mapping[str, str] | None = None,
        framing: Framing | None = None,
        heartbeat: float = 15.0,
        cut_after: float | None = None,
    ) -> None:
        self.status_code = 200
        self.background = None
        framing = framing or Framing()
        self.init_headers({**STREAM_HEADERS, **framing.headers, **(headers or {})})
        self._source = source
        self._silence = framing.heartbeat
        self._heartbeat = heartbeat
        self._cut_after = cut_after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if await _Sending(self._source, self._silence, receive, send).until_the_end(self._heartbeat, self._cut_after):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Sending:
    """One response under way: its source, and the three things that may end it early."""

    def __init__(self, source: AsyncGenerator[bytes], silence: bytes, receive: Receive, send: Send) -> None:
        self._source = source
        self._silence = silence
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._broken_off = False
        self._sent_at = self._loop.time()
        self._beats: set[asyncio.Task[None]] = set()

    async def until_the_end(self, heartbeat: float, cut_after: float | None) -> bool:
        """Send everything; whether the source came to its own end."""
        watcher = self._loop.create_task(self._watch())
        self._timer = self._loop.call_later(heartbeat, self._beat, heartbeat)
        cut = self._loop.call_later(cut_after, self._break_off) if cut_after else None
        try:
            async with aclosing(self._source) as source:
                async for frames in source:
                    await self._send({"type": "http.response.body", "body": frames, "more_body": True})
                    self._sent_at = self._loop.time()
        except asyncio.CancelledError:
            if not self._broken_off or self._task is None or self._task.uncancel() > 0:
                raise
            return False
        except StreamBroken:
            return False
        except Exception:
            log.exception("stream_broken_off")
            return False
        finally:
            self._timer.cancel()
            if cut:
                cut.cancel()
            watcher.cancel()
            for beat in self._beats:  # nothing may be sent after the last chunk
                beat.cancel()
        return not self._broken_off

    async def _watch(self) -> None:
        """Whether the run goes on when the client has gone is not decided here."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._break_off()

    def _break_off(self) -> None:
        if not self._broken_off and self._task is not None:
            self._broken_off = True
            self._task.cancel()

    def _beat(self, heartbeat: float) -> None:
        """One timer for the whole stream: a wait with a timeout for each frame would cost more than the frame."""
        silent = self._loop.time() - self._sent_at
        if silent >= heartbeat:
            silent = 0.0
            if self._silence and not self._beats:  # one at a time, however slow the client is
                beat = self._loop.create_task(self._send_heartbeat())
                self._beats.add(beat)
                beat.add_done_callback(self._beats.discard)
        self._timer = self._loop.call_later(heartbeat - silent, self._beat, heartbeat)

    async def _send_heartbeat(self) -> None:
        self._sent_at = self._loop.time()
        await self._send({"type": "http.response.body", "body": self._silence, "more_body": True})

"""Encoded frames -> a server-sent-events response with heartbeats that never ends in silence.

Starlette's `StreamingResponse` always sends the last chunk, so a producer that dies looks like one that finished. Here
a producer that raises leaves the response without its last chunk: the server closes the connection, and every client
sees a broken stream instead of a short answer (DESIGN law 1).

Lines end in LF only: `@ag-ui/client` splits on a blank line of two LFs and nothing else.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from starlette.types import Receive, Scope, Send

HEARTBEAT = b": heartbeat\n\n"
"""A comment: all three client families skip it."""

MAX_WAITING_BYTES = 1 << 20
"""Bytes of frames that may wait for a slow reader before their producer waits too."""

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    # `no-transform` keeps proxies from compressing, which would hold frames back.
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}


class EventStreamResponse(Response):
    """A response that sends `frames` as they come.

    Args:
        frames: encoded frames, each ending in a blank line; closed when the client goes away.
        headers: added to `STREAM_HEADERS`.
        heartbeat: seconds of silence after which a comment is sent.
    """

    def __init__(
        self, frames: AsyncGenerator[bytes], *, headers: Mapping[str, str] | None = None, heartbeat: float = 15.0
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({**STREAM_HEADERS, **(headers or {})})
        self._frames = frames
        self._outbox = _Outbox(heartbeat)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        producer = asyncio.create_task(self._produce())
        watcher = asyncio.create_task(self._watch(receive))
        try:
            while batch := await self._outbox.take():
                await send({"type": "http.response.body", "body": batch, "more_body": True})
        finally:
            watcher.cancel()
            if gone := not self._outbox.closed:
                producer.cancel()
            await asyncio.wait((producer, watcher))
        if not producer.cancelled():
            producer.result()  # raises what the producer raised, and so leaves the last chunk out
        elif not gone:
            msg = "the producer of a stream was cancelled from within"
            raise RuntimeError(msg)
        with suppress(OSError):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _produce(self) -> None:
        try:
            async with aclosing(self._frames) as frames:
                async for frame in frames:
                    await self._outbox.put(frame)
        finally:
            self._outbox.close()

    async def _watch(self, receive: Receive) -> None:
        """Ends the response when the client goes away. Whether the run goes on is not decided here."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._outbox.abandon()


class _Outbox:
    """Frames between one producer and one sender: bounded in bytes, joined when several wait, never silent for long."""

    def __init__(self, heartbeat: float) -> None:
        self.closed = False
        self._abandoned = False
        self._heartbeat = heartbeat
        self._waiting: list[bytes] = []
        self._size = 0
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()

    async def put(self, frame: bytes) -> None:
        """Hand over a frame; waits while more than `MAX_WAITING_BYTES` are waiting already."""
        self._waiting.append(frame)
        self._size += len(frame)
        self._filled.set()
        while self._size > MAX_WAITING_BYTES:
            self._drained.clear()
            await self._drained.wait()

    async def take(self) -> bytes:
        """All frames that wait, or a heartbeat after a silence; empty when there will be no more."""
        while not self._waiting:
            if self.closed or self._abandoned:
                return b""
            self._filled.clear()
            try:
                async with asyncio.timeout(self._heartbeat):
                    await self._filled.wait()
            except TimeoutError:
                return HEARTBEAT
        if self._abandoned:
            return b""
        batch = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        self._drained.set()
        return batch

    def close(self) -> None:
        """The producer has ended."""
        self.closed = True
        self._filled.set()

    def abandon(self) -> None:
        """The reader has gone."""
        self._abandoned = True
        self._filled.set()

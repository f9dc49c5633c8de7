"""`memory://`: frames in this process, bounded for each run and in total, gone some time after the run's end."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from gateway.errors import NotFound, StreamExpired, StreamFull
from gateway.streams import RUNNING, Batch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.config import StreamSettings
    from gateway.coordination import Lease
    from gateway.streams import StreamInfo

REMEMBERED = 10_000
"""Expired runs that still get the answer of an expired one."""


class MemoryStreams:
    """Streams in dicts; the event loop makes every step atomic."""

    def __init__(self, settings: StreamSettings) -> None:
        self._settings = settings
        self._running: dict[str, MemoryStream] = {}
        self._ended: OrderedDict[str, MemoryStream] = OrderedDict()
        self._expired: OrderedDict[str, StreamInfo] = OrderedDict()
        self._current: dict[tuple[str, str], MemoryStream] = {}
        self._size = 0

    async def open(self, info: StreamInfo, lease: Lease) -> MemoryStream:
        """See `StreamLog`."""
        stream = MemoryStream(self, info, lease)
        self._running[info.run_id] = self._current[info.scope, info.thread_id] = stream
        return stream

    async def read(self, run_id: str, after: int = 0) -> AsyncGenerator[Batch]:
        """See `StreamLog`."""
        stream = self._find(run_id)
        stream.readers += 1
        try:
            while True:
                if after < len(stream.frames):
                    frames = stream.frames[after:]
                    yield Batch(after + 1, frames)
                    after += len(frames)
                elif stream.ending:
                    return
                else:
                    await stream.grown.wait()
        finally:
            stream.readers -= 1

    async def info(self, run_id: str) -> tuple[StreamInfo, str]:
        """See `StreamLog`."""
        stream = self._find(run_id)
        return stream.info, stream.ending

    async def find(self, scope: str, thread_id: str) -> StreamInfo | None:
        """See `StreamLog`."""
        stream = self._current.get((scope, thread_id))
        return stream.info if stream else None

    async def watched(self, run_id: str) -> bool:
        """See `StreamLog`."""
        stream = self._running.get(run_id)
        return stream is not None and stream.readers > 0

    async def close(self) -> None:
        """See `StreamLog`."""

    def take(self, stream: MemoryStream, frame: bytes) -> None:
        """Count a frame of a stream that has room for it, and make room among the ended ones."""
        settings = self._settings
        if len(stream.frames) >= settings.max_run_frames or stream.size + len(frame) > settings.max_run_bytes:
            raise StreamFull
        while self._size + len(frame) > settings.max_total_bytes:
            if not self._ended:
                raise StreamFull
            self._expire_oldest()
        self._size += len(frame)

    def end(self, stream: MemoryStream) -> None:
        """The stream has ended: it may be let go from now on."""
        self._running.pop(stream.info.run_id, None)
        self._ended[stream.info.run_id] = stream
        key = (stream.info.scope, stream.info.thread_id)
        if self._current.get(key) is stream:
            del self._current[key]

    def _find(self, run_id: str) -> MemoryStream:
        self._expire_old()
        if stream := self._running.get(run_id) or self._ended.get(run_id):
            return stream
        if expired := self._expired.get(run_id):
            raise StreamExpired(expired.scope, expired.thread_id)
        raise NotFound

    def _expire_old(self) -> None:
        until = time.monotonic() - self._settings.keep
        while self._ended and next(iter(self._ended.values())).ended_at <= until:
            self._expire_oldest()

    def _expire_oldest(self) -> None:
        run_id, stream = self._ended.popitem(last=False)
        self._size -= stream.size
        self._expired[run_id] = stream.info
        if len(self._expired) > REMEMBERED:
            self._expired.popitem(last=False)


class MemoryStream:
    """A run's frames, and its writer."""

    def __init__(self, log: MemoryStreams, info: StreamInfo, lease: Lease) -> None:
        self.info = info
        self.frames: list[bytes] = []
        self.size = 0
        self.ending = RUNNING
        self.ended_at = 0.0
        self.readers = 0
        self.grown = asyncio.Event()
        """Set at the next change, and then replaced: all that wait for it wake once."""
        self.on_failed: Callable[[], None] = lambda: None
        self._log = log
        self._lease = lease

    def append(self, frame: bytes) -> None:
        """See `StreamWriter`."""
        if self.ending or not self._lease.held:
            return
        self._log.take(self, frame)
        self._add(frame)

    async def close(self, ending: str, last: bytes = b"") -> None:
        """See `StreamWriter`."""
        if self.ending:
            return
        self.ending, self.ended_at = ending, time.monotonic()
        if last:
            self._add(last)
        self._log.end(self)
        self.grown.set()

    def _add(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.size += len(frame)
        if self.grown.is_set():
            return
        grown, self.grown = self.grown, asyncio.Event()
        grown.set()

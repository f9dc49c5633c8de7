"""Frames of this process's runs -> Redis, many in each round trip.

A writer keeps all frames of its run until some time after the end: the readers of its own process read them there, up
to the last one that Redis has acknowledged. One task stores for all writers. What is being stored keeps its bounds
until it is acknowledged, so that a repeated append is the same append; a server that comes back with fewer frames than
it had acknowledged is given them again.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from redis.exceptions import RedisError

from gateway.errors import StreamFull
from gateway.redisconn import Attempts, fence_key, lease_key
from gateway.streams import RUNNING
from gateway.streams.redis_frames import dump, pack
from gateway.streams.redis_scripts import APPEND, OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.config import StreamSettings
    from gateway.coordination import Lease
    from gateway.redisconn import Link
    from gateway.streams import StreamInfo
    from gateway.streams.redis_frames import Names

ENTRY_BYTES = 64_000
"""Bytes after which an entry is full; readers that are behind read whole entries."""
ENTRY_FRAMES = 2_000
RUNS_AT_ONCE = 64
PACE = 0.004
"""Seconds from the start of one round to the next, so that what comes in the meantime shares it."""
RUNNING_TTL = 3_600
"""Seconds that a run is kept that nobody ends and nobody asks for."""
TOUCH = 600.0
"""Seconds of silence after which a running stream is told that it is still wanted."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Frames on their way."""

    first: int
    last: int
    blob: bytes
    ending: str


class RedisWriter:
    """See `StreamWriter`."""

    def __init__(self, flusher: Flusher, info: StreamInfo, lease: Lease) -> None:
        self.info = info
        self.frames: list[bytes] = []
        self.acked = 0
        """Frames that the readers of this process may see."""
        self.ending = RUNNING
        """Set when the end is acknowledged."""
        self.ended_at = 0.0
        self.failed = False
        """Redis could not be reached for too long."""
        self.fenced = False
        """The log takes nothing more: it belongs to another, or was ended by another."""
        self.readers = 0
        self.grown = asyncio.Event()
        self.on_failed: Callable[[], None] = lambda: None
        self.size = 0
        self.sent_at = time.monotonic()
        self.entry: Entry | None = None
        self._flusher = flusher
        self._lease = lease
        self._stored = 0
        self._closing = ""
        self.over = asyncio.Event()
        """Set when nothing more will be stored."""
        self._attempts = Attempts(flusher.link.budget)
        self._bounds = flusher.settings.max_run_frames, flusher.settings.max_run_bytes

    def append(self, frame: bytes) -> None:
        """See `StreamWriter`."""
        if self._closing or self.over.is_set() or not self._lease.held:
            return
        frames, size = self._bounds
        if len(self.frames) >= frames or self.size + len(frame) > size or not self._flusher.room(len(frame)):
            raise StreamFull
        self._add(frame)
        self._flusher.wake(self)

    async def close(self, ending: str, last: bytes = b"") -> None:
        """See `StreamWriter`."""
        if not self._closing and not self.over.is_set():
            if not self._lease.held:
                self._attempts.budget = 0.0  # it was lost by waiting for the same server: one more try, no second wait
            if last:
                self._add(last)
            self._closing = ending
            self._flusher.wake(self)
        await self.over.wait()

    def _add(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.size += len(frame)
        self._flusher.size += len(frame)

    def next_entry(self) -> Entry:
        """What to store now: the same until it is acknowledged."""
        if self.entry is None:
            first = self._stored + 1
            size, last = 0, self._stored
            for frame in self.frames[self._stored : self._stored + ENTRY_FRAMES]:
                size += len(frame)
                last += 1
                if size >= ENTRY_BYTES:
                    break
            ending = self._closing if last == len(self.frames) else ""
            blob = pack(self.frames[first - 1 : last]) if last >= first else b""
            self.entry = Entry(first, last, blob, ending)
        return self.entry

    def arguments(self, names: Names) -> tuple[str | bytes | float, ...]:
        """The call that stores it."""
        entry, run_id, key = self.next_entry(), self.info.run_id, self._lease.key
        self.sent_at = time.monotonic()
        return (
            4,
            names.run(run_id),
            names.frames(run_id),
            lease_key(names.prefix, key),
            fence_key(names.prefix, key),
            names.prefix,
            run_id,
            self._lease.token,
            RUNNING_TTL * 1000,
            entry.first,
            entry.last,
            entry.blob,
            entry.ending,
            names.keep_ms,
            names.gone_ms,
        )

    def stored(self, number: int) -> bool:
        """The entry is there. Whether there is more to store."""
        entry, self.entry = self.entry, None
        self._attempts.succeeded()
        self._stored = number
        self.acked = max(self.acked, number)
        if entry and entry.ending:
            self.ending, self.ended_at = entry.ending, time.monotonic()
            self.over.set()
        self._wake_readers()
        return not self.over.is_set() and (self._stored < len(self.frames) or bool(self._closing))

    def rewind(self, number: int) -> None:
        """The server has other frames than it had acknowledged: go on from there."""
        self.entry = None
        self._stored = min(number, len(self.frames))

    def not_stored(self) -> None:
        """It could not be stored; past the budget it never will be."""
        self._attempts.failed()
        if self._attempts.over:
            self.give_up(fenced=False)

    def give_up(self, *, fenced: bool) -> None:
        """Nothing more can be stored."""
        if self.over.is_set():
            return
        self.failed, self.fenced = not fenced, fenced
        self.over.set()
        self._wake_readers()
        asyncio.get_running_loop().call_soon(self.on_failed)

    def _wake_readers(self) -> None:
        grown, self.grown = self.grown, asyncio.Event()
        grown.set()

    def opening(self, names: Names) -> tuple[str | bytes | float, ...]:
        """The call that begins the stream."""
        info, key = self.info, self._lease.key
        return (
            4,
            names.run(info.run_id),
            names.thread(info.scope, info.thread_id),
            lease_key(names.prefix, key),
            fence_key(names.prefix, key),
            info.run_id,
            dump(info),
            info.lost,
            self._lease.token,
            RUNNING_TTL * 1000,
        )


class Flusher:
    """The one task that stores what the writers of this process have."""

    def __init__(self, link: Link, names: Names, settings: StreamSettings) -> None:
        self.link = link
        self.settings = settings
        self.size = 0
        """Bytes of all frames that are kept here."""
        self.writers: set[RedisWriter] = set()
        """The running ones."""
        self._names = names
        self._dirty: set[RedisWriter] = set()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[object] | None = None

    def room(self, size: int) -> bool:
        """Whether so many bytes more may be kept in this process."""
        return self.size + size <= self.settings.max_total_bytes

    def add(self, writer: RedisWriter) -> None:
        """Store for this one too."""
        self.writers.add(writer)
        if self._task is None or self._task.done():
            self._task = self.link.spawn(self._flush_forever())

    def wake(self, writer: RedisWriter) -> None:
        """This one has something to store."""
        if not self._dirty:
            self._wanted.set()
        self._dirty.add(writer)

    async def _flush_forever(self) -> None:
        attempts = Attempts(self.link.budget)
        while True:
            try:
                async with asyncio.timeout(TOUCH / 10):
                    await self._wanted.wait()
            except TimeoutError:
                before = time.monotonic() - TOUCH
                self._dirty.update(writer for writer in self.writers if writer.sent_at < before)
            self._wanted.clear()
            began = time.monotonic()
            dirty, self._dirty = list(self._dirty), set[RedisWriter]()
            more: list[RedisWriter] = []
            pause = 0.0
            for start in range(0, len(dirty), RUNS_AT_ONCE):
                chunk = [writer for writer in dirty[start : start + RUNS_AT_ONCE] if not writer.over.is_set()]
                try:
                    more += await self._round(chunk)
                    attempts.succeeded()
                except (RedisError, OSError):
                    pause = pause or attempts.failed()
                    for writer in chunk:
                        writer.not_stored()
                    more += chunk
            for writer in more:
                if not writer.over.is_set():
                    self.wake(writer)
            self.writers = {writer for writer in self.writers if not writer.over.is_set()}
            await asyncio.sleep(pause or max(0.0, began + PACE - time.monotonic()))

    async def _round(self, writers: Sequence[RedisWriter]) -> list[RedisWriter]:
        """Store one entry of each. Those that have more to store."""
        if not writers:
            return []
        results = await self.link.all(APPEND, [writer.arguments(self._names) for writer in writers])
        more: list[RedisWriter] = []
        for writer, result in zip(writers, results, strict=True):
            if isinstance(result, Exception):
                writer.not_stored()
                more.append(writer)
                continue
            verdict, number = cast("tuple[bytes, int]", result)
            if verdict == b"stored":
                if writer.stored(number):
                    more.append(writer)
            elif verdict == b"fenced":
                writer.give_up(fenced=True)
            elif verdict == b"gap" or await self.link.once(OPEN, *writer.opening(self._names)):
                writer.rewind(number)
                more.append(writer)
            else:
                writer.give_up(fenced=True)
        return more

"""Runs of other processes -> readers of this one.

However many readers follow a run, it is heard once, over the one pub/sub connection, and handed to all of them. What
is heard is kept only for a moment; a reader that is behind reads from Redis, a bounded piece at a time. Correctness
does not depend on what is heard: runs that are silent are asked for in one call for all, and that call also ends the
runs whose owner has died.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, cast

from redis.exceptions import RedisError

from gateway.errors import StreamExpired, StreamUnavailable
from gateway.redisconn import Attempts, Listener
from gateway.streams import RUNNING, Batch
from gateway.streams.redis_frames import unpack
from gateway.streams.redis_scripts import LOOK

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from gateway.redisconn import Link
    from gateway.streams import StreamInfo
    from gateway.streams.redis_frames import Names

RECENT_BYTES = 256_000
"""Bytes of one run that are kept for readers which are nearly up to date."""
READ_BYTES = 256_000
"""About as much is read at once by a reader that is behind."""
LOOK_EVERY = 0.4
"""Seconds between two looks at the runs that are silent."""
GRACE_MS = 1_000
"""How long an owner whose lease ran out is waited for."""
RUNS_AT_ONCE = 100
WATCH_EVERY, WATCH_MS = 2.0, 6_000
CONFIRMED_WITHIN = 0.5


class Follow:
    """A run as its readers in this process know it."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.last = 0
        self.ended = False
        self.unavailable = False
        self.readers = 0
        self.heard_at = 0.0
        self.grown = asyncio.Event()
        self.missing: Attempts | None = None
        self._recent: deque[tuple[int, list[bytes], int]] = deque()
        self._size = 0

    def hear(self, message: bytes) -> None:
        """A message of the run's channel."""
        head, _, blob = message.partition(b"\n")
        first, last, ended = map(int, head.split(b" "))
        self.heard_at = time.monotonic()
        if last > self.last and blob:
            if first != self.last + 1:
                self._recent.clear()
                self._size = 0
            self._recent.append((first, unpack(blob), len(blob)))
            self._size += len(blob)
            while self._size > RECENT_BYTES and len(self._recent) > 1:
                self._size -= self._recent.popleft()[2]
        self.know(last, ended=bool(ended))

    def know(self, last: int, *, ended: bool) -> None:
        """There are so many frames."""
        if last > self.last or ended > self.ended:
            self.last = max(last, self.last)
            self.ended = self.ended or ended
            self.wake()

    def wake(self) -> None:
        """Let all readers look."""
        grown, self.grown = self.grown, asyncio.Event()
        grown.set()

    def after(self, number: int) -> list[bytes]:
        """Frames that follow a number, if they were heard lately."""
        for first, frames, _ in reversed(self._recent):
            if first <= number + 1:
                return frames[number + 1 - first :]
        return []


class Tail:
    """All runs that this process follows."""

    def __init__(self, link: Link, names: Names) -> None:
        self._link = link
        self._names = names
        self._listener = Listener(link)
        self._follows: dict[str, Follow] = {}
        self._task: asyncio.Task[object] | None = None

    async def look(self, run_ids: Sequence[str], *, watch: bool) -> list[tuple[bytes, bytes, int]]:
        """How each run is: `here`, `expired` or `gone`, its ending, its last number."""
        names = self._names
        args = (names.prefix, GRACE_MS, names.keep_ms, names.gone_ms, WATCH_MS if watch else 0, *run_ids)
        return cast("list[tuple[bytes, bytes, int]]", await self._link.once(LOOK, 0, *args))

    async def read(self, info: StreamInfo, after: int) -> AsyncGenerator[Batch]:
        """Frames of a run that is known to be there."""
        run_id = info.run_id
        follow = await self._begin(run_id)
        size = READ_BYTES // 64
        try:
            while True:
                frames = follow.after(after)
                if not frames and after < follow.last:
                    frames, size = await self._fetch(run_id, after, size)
                if frames:
                    yield Batch(after + 1, frames)
                    after += len(frames)
                elif after < follow.last and follow.ended:
                    raise StreamExpired(info.scope, info.thread_id)
                elif follow.ended:
                    return
                elif follow.unavailable:
                    raise StreamUnavailable
                else:
                    await follow.grown.wait()
        finally:
            await self._leave(follow)

    def close(self) -> None:
        """Let go of all readers."""
        for follow in list(self._follows.values()):
            self._give_up(follow)

    async def _begin(self, run_id: str) -> Follow:
        """Hear the run from now on, and only then ask how far it is: nothing falls between the two."""
        follow = self._follows.setdefault(run_id, Follow(run_id))
        follow.readers += 1
        try:
            if follow.readers == 1:
                channel = f"{self._names.prefix}live:{run_id}"
                await self._listener.subscribe(channel, follow.hear, within=CONFIRMED_WITHIN)
            if self._task is None or self._task.done():
                self._task = self._link.spawn(self._look_forever())
            ((state, ending, last),) = await self._link.repeat(lambda: self.look([run_id], watch=True))
            if state != b"gone":
                follow.know(last, ended=ending.decode() != RUNNING)
        except BaseException:
            await self._leave(follow)
            raise
        return follow

    async def _leave(self, follow: Follow) -> None:
        follow.readers -= 1
        if not follow.readers and self._follows.get(follow.run_id) is follow:
            del self._follows[follow.run_id]
            await self._listener.unsubscribe(f"{self._names.prefix}live:{follow.run_id}")

    async def _fetch(self, run_id: str, after: int, size: int) -> tuple[list[bytes], int]:
        """Some frames after a number, and the size of an entry; `size` is what to reckon with."""
        key, count = self._names.frames(run_id), max(4, READ_BYTES // max(size, 64))

        async def read() -> list[tuple[bytes, dict[bytes, bytes]]]:
            async with self._link.bounded():
                found = await self._link.client.xrange(key, f"{after + 1}-0", "+", count)
                return cast("list[tuple[bytes, dict[bytes, bytes]]]", found)

        entries: list[tuple[bytes, dict[bytes, bytes]]] = await self._link.repeat(read)
        frames: list[bytes] = []
        total = 0
        for name, fields in entries:
            last = int(name.partition(b"-")[0])
            found = unpack(fields[b"f"])
            total += len(fields[b"f"])
            first = last - len(found) + 1
            frames += found[max(0, after + 1 - first) :] if not frames else found
        return frames, total // len(entries) if entries else size

    async def _look_forever(self) -> None:
        """Ask for runs that are silent, and tell their owners that they are watched."""
        attempts = Attempts(self._link.budget)
        watched_at = 0.0
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = time.monotonic()
            watch = now - watched_at > WATCH_EVERY
            if watch:
                watched_at = now
            silent = [
                follow
                for follow in self._follows.values()
                if not follow.ended and (watch or now - follow.heard_at > LOOK_EVERY)
            ]
            try:
                for start in range(0, len(silent), RUNS_AT_ONCE):
                    await self._look_at(silent[start : start + RUNS_AT_ONCE], watch=watch)
                attempts.succeeded()
            except (RedisError, OSError):
                attempts.failed()
                if attempts.over:
                    for follow in silent:
                        self._give_up(follow)

    async def _look_at(self, follows: Sequence[Follow], *, watch: bool) -> None:
        states = await self.look([follow.run_id for follow in follows], watch=watch)
        for follow, (state, ending, last) in zip(follows, states, strict=True):
            if state != b"gone":
                follow.missing = None
                follow.know(last, ended=ending.decode() != RUNNING)
                continue
            # A server that has lost its memory is told again by the run's owner, if there is one.
            follow.missing = follow.missing or Attempts(self._link.budget)
            follow.missing.failed()
            if follow.missing.over:
                self._give_up(follow)

    def _give_up(self, follow: Follow) -> None:
        follow.unavailable = True
        # Whoever comes from now on tries for itself.
        with contextlib.suppress(KeyError):
            del self._follows[follow.run_id]
        follow.wake()

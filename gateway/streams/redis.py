"""`redis://`: frames in Redis Streams, readable from every process.

The readers of the writer's own process read what it keeps, as far as Redis has acknowledged it: a frame that a client
has seen is never missing from the log. Everybody else reads from Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

from redis.exceptions import RedisError

from gateway.errors import NotFound, RunLost, StreamExpired, StreamUnavailable
from gateway.redisconn import Link
from gateway.streams import RUNNING, Batch
from gateway.streams.redis_frames import Names, load
from gateway.streams.redis_reader import GRACE_MS, Tail
from gateway.streams.redis_scripts import FIND, INFO, OPEN
from gateway.streams.redis_writer import Flusher, RedisWriter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.config import StreamSettings
    from gateway.coordination import Lease
    from gateway.streams import StreamInfo

CONNECTIONS = 10
LINGER = 10.0
"""Seconds after the end for which the frames stay in the writer's process too."""
REMEMBER = 86_400.0
"""Seconds for which an expired run still gets the answer of an expired one."""


class RedisStreams:
    """Streams in Redis.

    Args:
        url: of the server.
        settings: bounds and times.
        prefix: of all keys; the same as that of the leases.
        remember: seconds for which an expired run is known.
    """

    def __init__(
        self, url: str, settings: StreamSettings, prefix: str = "gateway:", *, remember: float = REMEMBER
    ) -> None:
        self._settings = settings
        self._names = Names(prefix, int(settings.keep * 1000), int(remember * 1000))
        timeout = max(0.5, min(5.0, settings.lease / 2))
        self._link = Link(url, connections=CONNECTIONS, timeout=timeout, budget=settings.retry)
        self._flusher = Flusher(self._link, self._names, settings)
        self._tail = Tail(self._link, self._names)
        self._writers: dict[str, RedisWriter] = {}
        self._current: dict[tuple[str, str], RedisWriter] = {}

    async def open(self, info: StreamInfo, lease: Lease) -> RedisWriter:
        """See `StreamLog`."""
        writer = RedisWriter(self._flusher, info, lease)
        keys, *call = writer.opening(self._names)
        number = cast("int", keys)
        opened = await self._link.run(OPEN, cast("list[str]", call[:number]), call[number:])
        if not opened:
            raise RunLost
        self._writers[info.run_id] = self._current[info.scope, info.thread_id] = writer
        self._flusher.add(writer)
        self._link.spawn(self._drop_later(writer))
        return writer

    async def _drop_later(self, writer: RedisWriter) -> None:
        """Keep a writer's frames here until some time after its end."""
        await writer.over.wait()
        info = writer.info
        if self._current.get((info.scope, info.thread_id)) is writer:
            del self._current[info.scope, info.thread_id]
        try:
            if writer.ending:
                await asyncio.sleep(min(LINGER, self._settings.keep))
        finally:
            self._writers.pop(info.run_id, None)
            self._flusher.size -= writer.size

    async def read(self, run_id: str, after: int = 0) -> AsyncGenerator[Batch]:
        """See `StreamLog`."""
        if writer := self._writers.get(run_id):
            writer.readers += 1
            try:
                while not writer.fenced or after < writer.acked:
                    if after < writer.acked:
                        frames = writer.frames[after : writer.acked]
                        yield Batch(after + 1, frames)
                        after += len(frames)
                    elif writer.ending:
                        return
                    elif writer.failed:
                        raise StreamUnavailable
                    else:
                        await writer.grown.wait()
            finally:
                writer.readers -= 1
        info, _ = await self.info(run_id)
        async with contextlib.aclosing(self._tail.read(info, after)) as batches:
            async for batch in batches:
                yield batch

    async def info(self, run_id: str) -> tuple[StreamInfo, str]:
        """See `StreamLog`."""
        writer = self._writers.get(run_id)
        if writer and not writer.over.is_set():
            return writer.info, RUNNING
        names = self._names
        args = (names.prefix, GRACE_MS, names.keep_ms, names.gone_ms, run_id)
        state, ending, info, lost = cast("list[bytes]", await self._link.run(INFO, [], args))
        if state == b"gone":
            raise NotFound
        found = load(info, lost)
        if state == b"expired":
            raise StreamExpired(found.scope, found.thread_id)
        return found, ending.decode()

    async def find(self, scope: str, thread_id: str) -> StreamInfo | None:
        """See `StreamLog`."""
        if writer := self._current.get((scope, thread_id)):
            return writer.info
        names = self._names
        args = (names.prefix, GRACE_MS, names.keep_ms, names.gone_ms)
        found = cast("list[bytes] | None", await self._link.run(FIND, [names.thread(scope, thread_id)], args))
        return load(*found) if found else None

    async def watched(self, run_id: str) -> bool:
        """See `StreamLog`. While that cannot be known: yes, for an unwatched run may be stopped."""
        writer = self._writers.get(run_id)
        if writer and writer.readers:
            return True
        try:
            async with self._link.bounded():
                return bool(await self._link.client.exists(f"{self._names.prefix}watch:{run_id}"))
        except (RedisError, OSError):
            return True

    async def close(self) -> None:
        """See `StreamLog`."""
        for writer in list(self._writers.values()):
            writer.give_up(fenced=False)
        self._tail.close()
        await self._link.close()
        self._writers.clear()
        self._current.clear()

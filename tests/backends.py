"""Leases and streams of one gateway process, over each backend."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, cast

from gateway.config import StreamSettings
from gateway.coordination.memory import MemoryCoordination
from gateway.coordination.redis import RedisCoordination
from gateway.streams import StreamInfo
from gateway.streams.memory import MemoryStreams
from gateway.streams.redis import RedisStreams

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

    from gateway.coordination import Coordination, Lease
    from gateway.streams import StreamLog, StreamWriter

LOST_FRAME = b"data: lost\n\n"
BOUND = 15.0
"""Seconds that anything may take in a test."""


class Process:
    """What one gateway process has of the two seams."""

    def __init__(self, coordination: Coordination, streams: StreamLog) -> None:
        self.coordination = coordination
        self.streams = streams

    async def start(self, run_id: str = "run", **info: Any) -> tuple[Lease, StreamWriter]:
        """Take the lease of a thread, and open a run's stream on it."""
        thread_id = info.setdefault("thread_id", "thread")
        lease = await self.coordination.acquire(f"thread:{thread_id}", run_id)
        assert lease
        return lease, await self.streams.open(make_info(run_id, **info), lease)

    async def read(self, run_id: str = "run", after: int = 0, *, pause: float = 0.0) -> list[bytes]:
        """All frames of a run, in the order of their numbers, which is checked."""
        frames: list[bytes] = []
        async with asyncio.timeout(BOUND * 2), contextlib.aclosing(self.streams.read(run_id, after)) as batches:
            async for batch in batches:
                assert batch.first == after + len(frames) + 1
                assert batch.frames
                frames += batch.frames
                if pause:
                    await asyncio.sleep(pause)
        return frames

    def stop_renewing(self) -> Callable[[], None]:
        """What a process does that stands still. Call the result to let it go on."""
        held: dict[str, Any] = cast("Any", self.coordination)._held
        kept = dict(held)
        held.clear()
        return lambda: held.update(kept)

    def deaf(self) -> None:
        """No message reaches this process."""
        cast("Any", self.coordination)._heard = _ignore

    def mute(self) -> None:
        """It is gone from one moment to the next, and cannot say that it leaves."""
        cast("Any", self.coordination)._link.spawn = _never

    @property
    def connections(self) -> int:
        """How many connections the streams have."""
        pool = cast("Any", self.streams)._link.client.connection_pool
        return len(pool._available_connections) + len(pool._in_use_connections)

    async def die(self) -> None:
        """What kill -9 leaves: nothing is released, nothing is ended."""
        await self.coordination.close()
        await self.streams.close()


class Backend:
    """Makes processes that share one backend."""

    def __init__(self, url: str, prefix: str = "", **settings: Any) -> None:
        self.url = url
        self.settings = StreamSettings.model_validate({"lease": 1.0, "retry": 5.0, **settings})
        self._prefix = prefix
        self._processes: list[Process] = []

    @property
    def in_memory(self) -> bool:
        return self.url == "memory://"

    def process(self, url: str | None = None, **settings: Any) -> Process:
        """One more process; in memory there is only one."""
        chosen = self.settings.model_copy(update=settings)
        if not self.in_memory:
            to = url or self.url
            coordination = RedisCoordination(to, chosen, self._prefix)
            process = Process(coordination, RedisStreams(to, chosen, self._prefix, remember=1.0))
        elif self._processes:
            return self._processes[0]
        else:
            process = Process(MemoryCoordination(), MemoryStreams(chosen))
        self._processes.append(process)
        return process

    async def close(self) -> None:
        for process in self._processes:
            await process.die()


@contextlib.asynccontextmanager
async def opened(backend: Backend) -> AsyncGenerator[Backend]:
    try:
        yield backend
    finally:
        await backend.close()


def make_info(run_id: str = "run", **info: Any) -> StreamInfo:
    defaults: dict[str, Any] = {
        "agent": "support",
        "surface": "ag-ui",
        "scope": "alice",
        "thread_id": "thread",
        "started_at": 1.5,
        "lost": LOST_FRAME,
        "dialect": "1.0",
    }
    return StreamInfo(run_id, **{**defaults, **info})


def _ignore(_message: bytes) -> None: ...


def _never(work: Coroutine[Any, Any, object]) -> None:
    work.close()


async def queued(coordination: Coordination, key: str, how_many: int) -> None:
    """Until so many wait for the key."""
    seam: Any = coordination

    async def are_waiting() -> bool:
        if isinstance(coordination, RedisCoordination):
            waiting: int = await seam._link.client.zcard(seam._keys(key)[2])
        else:
            waiting = len(seam._waiting.get(key, ()))
        return waiting == how_many

    await eventually(are_waiting)


async def stored(process: Process, how_many: int, run_id: str = "run") -> None:
    """Until a process can read so many frames."""
    async with asyncio.timeout(BOUND), contextlib.aclosing(process.streams.read(run_id, how_many - 1)) as batches:
        assert await anext(batches)


async def eventually(check: Callable[[], Awaitable[object]], within: float = BOUND) -> float:
    """Wait until something is so. Seconds that it took."""
    began = time.monotonic()
    async with asyncio.timeout(within):
        while not await check():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.02)
    return time.monotonic() - began

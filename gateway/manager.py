"""Turns -> runs, one at a time on each thread, each once; and what happens to them when readers go and processes stop.

Everything that is the same on every replica is asked of the seams (`coordination`, `streams`); this process's own runs
are tasks here. A live response, a resume, a second tab and another replica all read the stream log.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from gateway.calls import MAX_THREADS
from gateway.coordination import CANCEL, Coordination, open_coordination
from gateway.errors import (
    NOT_A_REDIS_URL,
    REDIS_IS_AN_EXTRA,
    ConfigError,
    ConfigProblem,
    Draining,
    NotFound,
    RunConflict,
    RunInterrupted,
    StreamExpired,
)
from gateway.ids import new_id
from gateway.runs import Run, thread_key
from gateway.stores import Store, open_store
from gateway.stores.fenced import FencedStore
from gateway.streams import StreamLog, open_streams
from gateway.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.auth import Principal
    from gateway.config import StoreSettings, StreamSettings
    from gateway.coordination import Lease
    from gateway.runs import RunRequest
    from gateway.streams import Batch, StreamInfo

    Convert = Callable[[bytes], bytes | None] | None

log = get_logger("gateway.runs")

FIRST_READER = 5.0
"""Seconds until a run that nobody reads is treated like one whose last reader has gone."""

QUEUE_TIMEOUT = 60.0
"""Seconds that a turn waits for the run before it (`concurrency: enqueue`)."""

INTERRUPT_TIMEOUT = 10.0
"""Seconds that a stopped run has to let go of its thread (`concurrency: interrupt`)."""

WATCH_INTERVAL = 2.0
"""Seconds between two looks at whether a run still has a reader in another process."""

JOIN_TIMEOUT = QUEUE_TIMEOUT + INTERRUPT_TIMEOUT
"""Seconds until a repeated request gives up on a first one that has not started its run."""


class RunManager:
    """The runs of one process, and the way to all others."""

    def __init__(self, store: Store, streams: StreamLog, coordination: Coordination, keep: float) -> None:
        self.streams = streams
        self.draining = False
        self._store = store
        self._coordination = coordination
        self._keep = keep
        self._runs: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="sync call")

    @classmethod
    def from_config(cls, stores: StoreSettings, settings: StreamSettings, store: Store | None = None) -> RunManager:
        """What `stores:` and `streams:` say. Raises `ConfigError` for a store that cannot be used here."""
        try:
            streams, coordination = open_streams(stores, settings), open_coordination(stores, settings)
        except ImportError:
            message = REDIS_IS_AN_EXTRA
        except ValueError:
            message = NOT_A_REDIS_URL
        else:
            return cls(store or open_store(stores.conversations), streams, coordination, settings.keep)
        raise ConfigError([ConfigProblem(message, key="stores.streams")])

    @property
    def running(self) -> int:
        """Runs of this process that have not ended, abandoned calls included."""
        return len(self._runs)

    def open(self) -> None:
        """Take turns, also again after a `close`: a host may enter its lifespan more than once."""
        self.draining = False

    async def start(self, request: RunRequest) -> StreamInfo:
        """Start a run for the request, or find the one that the same request has started before.

        Raises:
            Draining: this process is being stopped.
            RunConflict: a run goes on on the thread, and the agent's policy does not let this one wait or take over.
            MalformedBody: see `Run.prepare`.
            AgentUnready: the agent's toolsets do not open.
        """
        if self.draining:
            raise Draining(headers={"Retry-After": "1"})
        await request.entry.lifetime.ready()
        run_id = new_id()
        if not request.repeat_key:
            return await self._start(request, run_id)
        name, seconds = request.repeat_name, request.entry.timeout + self._keep  # frames are kept from the run's end on
        if (known := await self._coordination.remember(name, run_id, seconds)) != run_id:
            return await self._join(known, name, seconds)
        try:
            return await self._start(request, run_id)
        except BaseException:
            await self._coordination.forget(name, run_id)  # it may be tried again
            raise

    async def read(self, run_id: str, after: int = 0, convert: Convert = None) -> AsyncGenerator[bytes]:
        """The run's frames with their numbers, as server-sent events, until the run has ended.

        `convert` turns each frame into what this reader understands; a frame that it turns into nothing is left out.
        """
        run = self._runs.get(run_id)
        if run:
            run.readers += 1
        try:
            async with aclosing(self.streams.read(run_id, after)) as batches:
                async for batch in batches:
                    if events := _numbered(batch, convert):
                        yield events
        finally:
            if run:
                run.readers -= 1
                self._left(run)

    async def find(self, run_id: str, principal: Principal) -> tuple[StreamInfo, str]:
        """The principal's run and its ending. Raises `NotFound` (for a foreign one too) or `StreamExpired`."""
        try:
            info, ending = await self.streams.info(run_id)
        except StreamExpired as expired:
            if expired.scope != principal.scope:
                raise NotFound from None
            raise
        if info.scope != principal.scope or not principal.may_use(info.agent):
            raise NotFound
        return info, ending

    async def find_running(self, agent: str, surface: str, thread_id: str, principal: Principal) -> StreamInfo | None:
        """The run of that agent and surface that goes on on the principal's thread."""
        info = await self.streams.find(principal.scope, thread_id)
        return info if info and (info.agent, info.surface) == (agent, surface) else None

    async def cancel(self, info: StreamInfo) -> bool:
        """Stop a run, wherever it is. Whether there was something to stop."""
        return await self._coordination.signal(thread_key(info), info.run_id, CANCEL)

    async def drained(self, seconds: float) -> None:
        """Take no more turns, give the running ones that long, and end the rest. For the server's drain."""
        self.draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_ended()
        for run in list(self._runs.values()):
            run.end(RunInterrupted())
        await asyncio.sleep(0)

    async def close(self) -> None:
        """End what still runs, and let go of the backends."""
        await self.drained(0)
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._all_ended()
        for task in self._tasks:
            task.cancel()
        await self.streams.close()
        await self._coordination.close()

    async def _all_ended(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _start(self, request: RunRequest, run_id: str) -> StreamInfo:
        info = request.info(run_id)
        lease = await self._lock(request, info)
        try:
            run = Run(request, info, lease, self._threads)
            run.prepare(FencedStore(self._store.view(info.scope), lease, self._coordination), await request.deps())
            writer = await self.streams.open(info, lease)
        except BaseException:
            await self._coordination.release(lease)
            raise
        self._runs[run_id] = run
        self._spawn(self._run(run, run.execute(writer)))
        # The client may be gone before its response begins to read.
        asyncio.get_running_loop().call_later(FIRST_READER, self._left, run)
        return info

    async def _run(self, run: Run, execution: Any) -> None:
        try:
            await execution
        finally:
            del self._runs[run.info.run_id]
            # Only now: the thread is locked for as long as anything of the run may still touch the world.
            await self._coordination.release(run.lease)

    async def _lock(self, request: RunRequest, info: StreamInfo) -> Lease:
        key, entry = thread_key(info), request.entry
        match entry.concurrency:
            case "reject":
                lease = await self._coordination.acquire(key, info.run_id)
            case "enqueue":
                acquire = self._coordination.acquire
                lease = await acquire(key, info.run_id, queue=entry.max_queue, timeout=QUEUE_TIMEOUT)
            case "interrupt":
                lease = await self._take_over(key, info.run_id)
        if lease is None:
            running = await self._coordination.holder(key) or ""
            raise RunConflict(headers={"x-run-id": running, "Retry-After": "1"}, members={"run_id": running})
        if self.draining:  # since this turn began to wait
            await self._coordination.release(lease)
            raise Draining(headers={"Retry-After": "1"})
        return lease

    async def _take_over(self, key: str, run_id: str) -> Lease | None:
        lease = await self._coordination.acquire(key, run_id)
        if lease is None:
            if running := await self._coordination.holder(key):
                await self._coordination.signal(key, running, CANCEL)
            lease = await self._coordination.acquire(key, run_id, queue=1, timeout=INTERRUPT_TIMEOUT)
        return lease

    async def _join(self, run_id: str, name: str, seconds: float) -> StreamInfo:
        """The run of a request that came before; it may still be waiting for its thread."""
        with suppress(TimeoutError):
            async with asyncio.timeout(JOIN_TIMEOUT):
                while True:
                    try:
                        info, _ = await self.streams.info(run_id)
                    except NotFound:
                        if await self._coordination.remember(name, run_id, seconds) != run_id:
                            break
                        await asyncio.sleep(0.05)
                    else:
                        return info
        raise RunConflict

    def _left(self, run: Run) -> None:
        """A reader has gone: was it the last, the agent's policy says what its run does."""
        if run.readers or run.info.run_id not in self._runs:
            return
        policy = run.request.entry.on_disconnect.for_surface(run.request.wire.surface)
        self._watch(run, 0.0 if policy == "cancel" else run.request.entry.orphan_timeout)

    def _watch(self, run: Run, seconds: float) -> None:
        """Look in that time whether the run is an orphan, and not before: a reader that came back starts it anew."""
        if run.orphaned:
            run.orphaned.cancel()
        loop, stop = asyncio.get_running_loop(), self._stop_orphan
        run.orphaned = loop.call_later(seconds, lambda: self._spawn(stop(run, seconds)))

    async def _stop_orphan(self, run: Run, seconds: float) -> None:
        watched = await self.streams.watched(run.info.run_id)
        if run.readers or run.info.run_id not in self._runs:
            return
        if watched:
            # By a reader in another process: nobody tells this one when it goes.
            self._watch(run, max(seconds, WATCH_INTERVAL))
            return
        log.info("run_orphaned", run_id=run.info.run_id, agent=run.request.entry.id)
        run.stop()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _numbered(batch: Batch, convert: Convert) -> bytes:
    if convert is None:
        return b"".join([b"id: %d\n%b" % numbered for numbered in enumerate(batch.frames, batch.first)])
    converted = [(number, convert(frame)) for number, frame in enumerate(batch.frames, batch.first)]
    return b"".join([b"id: %d\n%b" % (number, frame) for number, frame in converted if frame is not None])

"""Turns -> runs, one at a time on each thread, each once; and what happens to them when readers go and processes stop.

Everything that is the same on every replica is asked of the seams (`coordination`, `streams`); this process's own runs
are tasks here. A live response, a resume, a second tab and another replica all read the stream log.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from gateway.answers import ids_of
from gateway.calls import MAX_THREADS
from gateway.config import ThreadSettings
from gateway.coordination import Coordination, open_coordination
from gateway.errors import (
    NOT_A_REDIS_URL,
    REDIS_IS_AN_EXTRA,
    ConfigError,
    ConfigProblem,
    Draining,
    GatewayError,
    NotFound,
    RunConflict,
    RunInterrupted,
    StreamExpired,
)
from gateway.ids import new_id
from gateway.locks import INTERRUPT_TIMEOUT, QUEUE_TIMEOUT, ThreadLocks, thread_key
from gateway.orphans import Orphans
from gateway.runs import Run
from gateway.stops import Stops
from gateway.stores import Store, open_store
from gateway.streams import RUNNING, StreamLog, open_streams
from gateway.threads import Threads

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.auth import Principal
    from gateway.config import StoreSettings, StreamSettings
    from gateway.runs import RunRequest
    from gateway.sse import Framing
    from gateway.streams import StreamInfo, StreamWriter

PATIENCE = (0.02, 0.1, 0.3)
"""Seconds between looks at whether the run in the way is taking the same answers."""

JOIN_TIMEOUT = QUEUE_TIMEOUT + INTERRUPT_TIMEOUT
"""Seconds until a repeated request gives up on a first one that has not started its run."""


class RunManager:
    """The runs of one process, and the way to all others."""

    def __init__(self, threads: Threads, streams: StreamLog, coordination: Coordination, keep: float) -> None:
        self.threads = threads
        self.streams = streams
        self.locks = ThreadLocks(coordination, streams)
        self.stops = Stops(coordination, streams)
        self.draining = False
        self._coordination = coordination
        self._keep = keep
        self._orphans = Orphans(streams, self._spawn)
        self._runs: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="sync call")

    @classmethod
    def from_config(
        cls,
        stores: StoreSettings,
        settings: StreamSettings,
        threads: ThreadSettings | None = None,
        store: Store | None = None,
    ) -> RunManager:
        """What `stores:`, `streams:` and `threads:` say. Raises `ConfigError` for a store that cannot be used here."""
        try:
            streams, coordination = open_streams(stores, settings), open_coordination(stores, settings)
        except ImportError:
            message = REDIS_IS_AN_EXTRA
        except ValueError:
            message = NOT_A_REDIS_URL
        else:
            ttl = (threads or ThreadSettings()).approval_ttl
            kept = Threads(store or open_store(stores.conversations), ttl)
            return cls(kept, streams, coordination, settings.keep)
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
            TurnRejected, ApprovalExpired, ThreadChanged, StoreUnavailable: see `Threads.open`.
            AgentUnready: the agent's toolsets do not open.
        """
        if self.draining:
            raise Draining(headers={"Retry-After": "1"})
        await request.entry.lifetime.ready()
        if answered := await self._answered(request):
            return answered
        run_id = new_id()
        if not request.repeat_key:
            return await self._start(request, run_id)
        name, seconds = request.repeat_name, request.entry.timeout + self._keep  # frames are kept from the run's end on
        if (known := await self._coordination.remember(name, run_id, seconds)) != run_id:
            return await self._join(known, name, seconds)
        started = ""
        try:
            info = await self._start(request, run_id)
            started = info.run_id
            return info
        finally:
            if started != run_id:
                await self._coordination.forget(name, run_id)  # it may be tried again

    async def read(self, run_id: str, after: int, framing: Framing) -> AsyncGenerator[bytes]:
        """The run's frames after that number, as the framing writes them, until the run has ended."""
        run = self._runs.get(run_id)
        if run:
            run.readers += 1
        try:
            async with aclosing(self.streams.read(run_id, after)) as batches:
                async for batch in batches:
                    sent, broken = framing.written(batch.first, batch.frames)
                    if sent:
                        yield sent
                    if broken:
                        raise broken
        finally:
            if run:
                run.readers -= 1
                self._orphans.left(run)

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

    async def find_on_thread(self, scope: str, thread_id: str) -> StreamInfo | None:
        """The run that goes on on a thread."""
        return await self.streams.find(scope, thread_id)

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

    async def _answered(self, request: RunRequest) -> StreamInfo | None:
        """The run that took the same answers before, if its frames can still be read."""
        if request.turn.whole:
            return None
        scope = request.principal.scope
        run_id = await self.threads.answered_run(scope, request.turn)
        if not run_id:
            return None
        try:
            info, ending = await self.streams.info(run_id)
        except (NotFound, StreamExpired):
            return None
        if not request.principal.may_use(info.agent):
            return None
        if info.surface == request.wire.surface:
            return info
        if ending == RUNNING:
            raise RunConflict(headers={"x-run-id": run_id, "Retry-After": "1"}, members={"run_id": run_id})
        return None

    async def _answered_meanwhile(self, request: RunRequest) -> StreamInfo | None:
        """The run that is just taking the same answers: a button was pressed twice."""
        for wait in PATIENCE:
            await asyncio.sleep(wait)
            if taking := await self._answered(request):
                return taking
        return None

    async def _start(self, request: RunRequest, run_id: str) -> StreamInfo:
        info = request.info(run_id)
        key = thread_key(info.scope, info.thread_id)
        lease = await self._coordination.acquire(key, run_id)
        if lease is None:
            # Before anything is refused or stopped: the run in the way may be the one that is asked for.
            only_answers = ids_of(request.turn.answers) and not request.turn.messages
            if only_answers and (taking := await self._answered_meanwhile(request)):
                return taking
            lease = await self.locks.lock(info, request.entry)
        run = Run(request, info, lease, self._threads)  # hears from here on that it is to stop
        try:
            writer = await self._prepare(run)
        except BaseException:
            await self.stops.forget(info)
            await self._coordination.release(lease)
            raise
        self._runs[run_id] = run
        self._spawn(self._run(run, run.execute(writer)))
        self._orphans.began(run)
        return info

    async def _prepare(self, run: Run) -> StreamWriter:
        request, info, lease, opened = run.request, run.info, run.lease, None
        if self.draining:  # since this turn began to wait
            raise Draining(headers={"Retry-After": "1"})
        if not request.turn.whole:
            opened = await self.threads.open(request.turn, info, lease, request.principal.may_use)
        run.prepare(opened, await request.deps())
        writer = await self.streams.open(info, lease)
        try:
            if await self.stops.came_before(info):
                run.stop()
            if opened:
                await opened.begin()
        except BaseException as error:
            # Last, so that no approval is taken by a run that cannot begin.
            code = error.code if isinstance(error, GatewayError) else GatewayError.code
            await writer.close(code, info.lost)
            raise
        return writer

    async def _run(self, run: Run, execution: Any) -> None:
        try:
            await execution
        finally:
            run.ended = True
            del self._runs[run.info.run_id]
            # Only now: the thread is locked for as long as anything of the run may still touch the world.
            await self._coordination.release(run.lease)

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

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

"""One run at a time on each thread, over all processes: how a turn gets its thread, or is refused."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway.coordination import CANCEL, GIVE_WAY
from gateway.errors import RunConflict
from gateway.ids import new_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.coordination import Coordination, Lease
    from gateway.registry import AgentEntry
    from gateway.streams import StreamInfo, StreamLog

QUEUE_TIMEOUT = 60.0
"""Seconds that a turn waits for the run before it (`concurrency: enqueue`)."""

INTERRUPT_TIMEOUT = 10.0
"""Seconds that a stopped run has to let go of its thread (`concurrency: interrupt`)."""


LETTING_GO = 1.0
"""Seconds that a run which has said its last word has to let go of its thread: its reader may be quicker."""

YOUNG = 0.3
"""Seconds in which a run finds its first reader, that of the response to the request that started it."""

WAITING = 8
"""Turns that may wait for that."""


CHANGE = "change-"
"""How holders of a lease are called that change a thread and run nothing."""


def thread_key(scope: str, thread_id: str) -> str:
    """The key of the lease on a thread: one for each owner and thread, whatever the agent and the surface."""
    return f"thread/{scope}/{thread_id}"


class ThreadLocks:
    """Leases on threads, as the agents' policies want them.

    Args:
        coordination: has the leases.
        streams: knows which runs have not said their last word.
    """

    def __init__(self, coordination: Coordination, streams: StreamLog) -> None:
        self._coordination = coordination
        self._streams = streams

    async def lock(self, info: StreamInfo, entry: AgentEntry) -> Lease:
        """The lease for a run of that agent. Raises `RunConflict`, with the run in the way."""
        acquire = self._coordination.acquire
        key, run_id = thread_key(info.scope, info.thread_id), info.run_id
        match entry.concurrency:
            case "reject":
                lease = await self._free(info.scope, info.thread_id, run_id)
                lease = lease or await self._forsaken(info.scope, info.thread_id, run_id)
            case "enqueue":
                lease = await acquire(key, run_id, queue=entry.max_queue, timeout=QUEUE_TIMEOUT)
            case "interrupt":
                lease = await self._take_over(key, run_id)
        if lease is None:
            raise await self._conflict(key)
        return lease

    @asynccontextmanager
    async def held(self, scope: str, thread_id: str, *, by_its_owner: bool = False) -> AsyncGenerator[int]:
        """The fencing token of a lease for those who change a thread without a run. Raises `RunConflict`.

        A run that nobody reads any more gives way to the thread's owner, as it does to a new turn.
        """
        holder = f"{CHANGE}{new_id()}"
        lease = await self._free(scope, thread_id, holder)
        if lease is None and by_its_owner:
            lease = await self._forsaken(scope, thread_id, holder)
        if lease is None:
            raise await self._conflict(thread_key(scope, thread_id))
        try:
            yield lease.token
        finally:
            await self._coordination.release(lease)

    async def _free(self, scope: str, thread_id: str, holder: str) -> Lease | None:
        """A lease on a thread where nothing goes on."""
        key = thread_key(scope, thread_id)
        lease = await self._coordination.acquire(key, holder)
        if lease or await self._streams.find(scope, thread_id):
            return lease
        return await self._coordination.acquire(key, holder, queue=WAITING, timeout=LETTING_GO)

    async def _forsaken(self, scope: str, thread_id: str, holder: str) -> Lease | None:
        """The lease of a run that nobody reads any more: whoever says something new has left that answer.

        Only the process that runs it knows, so it is asked.
        """
        running = await self._streams.find(scope, thread_id)
        if running is None or time.time() - running.started_at < YOUNG:
            return None
        key = thread_key(scope, thread_id)
        await self._coordination.signal(key, running.run_id, GIVE_WAY)
        return await self._coordination.acquire(key, holder, queue=WAITING, timeout=LETTING_GO)

    async def _take_over(self, key: str, run_id: str) -> Lease | None:
        lease = await self._coordination.acquire(key, run_id)
        if lease is None:
            if running := await self._coordination.holder(key):
                await self._coordination.signal(key, running, CANCEL)
            lease = await self._coordination.acquire(key, run_id, queue=1, timeout=INTERRUPT_TIMEOUT)
        return lease

    async def _conflict(self, key: str) -> RunConflict:
        holder = await self._coordination.holder(key) or ""
        running = "" if holder.startswith(CHANGE) else holder
        return RunConflict(headers={"x-run-id": running, "Retry-After": "1"}, members={"run_id": running})

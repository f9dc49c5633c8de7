"""A stop -> the run hears of it, wherever it is, and also when it has not come as far as the stream log.

Between a turn and the first frame of its run lie the queue for its thread, the store, and the making of the agent's
dependencies. A page shows its stop button for all of that time, and does not leave when it is pressed.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from gateway.coordination import CANCEL
from gateway.errors import NotFound, StreamExpired
from gateway.locks import INTERRUPT_TIMEOUT, QUEUE_TIMEOUT, thread_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.coordination import Coordination
    from gateway.streams import StreamInfo, StreamLog

STOPPED = "stopped"

WAITING = QUEUE_TIMEOUT + INTERRUPT_TIMEOUT
"""Seconds that a stop is remembered for a turn that waits for its thread: as long as one may wait."""

MOMENT = 1.0
"""Seconds that a beginning is remembered: for a stop that has just seen that there was none."""


class Stops:
    """How runs are stopped, over all processes.

    Args:
        coordination: knows who holds a thread, and tells them; remembers stops for those who wait for one.
        streams: knows the runs that have begun.
    """

    def __init__(self, coordination: Coordination, streams: StreamLog) -> None:
        self._coordination = coordination
        self._streams = streams

    async def cancel(self, info: StreamInfo) -> bool:
        """Stop a run. Whether there was something to stop."""
        return await self._coordination.signal(thread_key(info.scope, info.thread_id), info.run_id, CANCEL)

    async def on_thread(
        self, scope: str, thread_id: str, is_meant: Callable[[StreamInfo], bool], request_id: str = ""
    ) -> bool:
        """Stop what goes on on a thread, or is about to.

        Args:
            scope: whose thread it is.
            thread_id: the thread.
            is_meant: whether a run that goes on on it is to be stopped.
            request_id: the client's own id of the run that is meant; empty for whichever it is.

        Returns:
            Whether there was something to stop. A turn that waits behind another run is stopped as soon as it begins,
            but nobody can tell here that it waits.
        """
        if running := await self._running(scope, thread_id, is_meant):
            return await self.cancel(running)
        key = thread_key(scope, thread_id)
        holder = await self._coordination.holder(key)
        if holder is None:
            return False
        begun = await self._begun(holder)
        if not request_id:
            return begun is None and await self._coordination.signal(key, holder, CANCEL)
        if begun and begun.request_id == request_id:
            return False  # it has ended: a later run may have the same id (`useInterrupt`)
        if await self._coordination.remember(_name(scope, thread_id, request_id), STOPPED, WAITING) == STOPPED:
            return begun is None
        running = await self._running(scope, thread_id, is_meant)
        return running is not None and await self.cancel(running)

    async def came_before(self, info: StreamInfo) -> bool:
        """Whether a run was stopped before it was in the stream log, where every stop finds it from now on."""
        if not info.request_id:
            return False
        name = _name(info.scope, info.thread_id, info.request_id)
        if await self._coordination.remember(name, info.run_id, MOMENT) != STOPPED:
            return False
        await self._coordination.forget(name, STOPPED)
        return True

    async def _running(self, scope: str, thread_id: str, is_meant: Callable[[StreamInfo], bool]) -> StreamInfo | None:
        running = await self._streams.find(scope, thread_id)
        return running if running and is_meant(running) else None

    async def _begun(self, run_id: str) -> StreamInfo | None:
        try:
            info, _ = await self._streams.info(run_id)
        except (NotFound, StreamExpired):
            return None
        return info


def _name(scope: str, thread_id: str, request_id: str) -> str:
    """Of bounded length, whatever a client sends."""
    return f"stop/{sha256(request_id.encode(errors='surrogatepass')).hexdigest()}/{scope}/{thread_id}"

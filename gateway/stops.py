"""A stop -> the run hears of it, wherever it is, and also when it has not come as far as the stream log.

Between a turn and the first frame of its run lie the queue for its thread, the store, and the making of the agent's
dependencies. A page shows its stop button for all of that time, and does not leave when it is pressed. (Before it all
lies the opening of the agent's toolsets, where nothing is known of the turn yet.)
"""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - a field's type
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from gateway.coordination import CANCEL
from gateway.errors import NotFound, StreamExpired
from gateway.locks import CHANGE, INTERRUPT_TIMEOUT, QUEUE_TIMEOUT, thread_key
from gateway.streams import RUNNING

if TYPE_CHECKING:
    from gateway.coordination import Coordination
    from gateway.streams import StreamInfo, StreamLog

STOPPED = "stopped"

KEPT = QUEUE_TIMEOUT + INTERRUPT_TIMEOUT
"""Seconds that a stop is remembered for a turn that waits for its thread: as long as one may wait."""

MOMENT = 1.0
"""Seconds that a beginning is remembered: for a stop that has just seen that there was none."""


@dataclass(frozen=True, slots=True)
class Stop:
    """What somebody wants to stop."""

    scope: str
    """Whose thread it is on."""
    thread_id: str
    is_meant: Callable[[StreamInfo], bool]
    """Whether a run that goes on on the thread is to be stopped."""
    unbegun: str
    """What tells a run that has not begun, and so is not known, that it is to stop: see `signal_for`."""
    request_id: str = ""
    """The client's own id of the run; empty for whichever goes on."""

    @property
    def name(self) -> str:
        """The name under which it is remembered."""
        return _name(self.scope, self.thread_id, self.request_id)


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

    async def on_thread(self, stop: Stop) -> bool:
        """Stop what goes on on a thread, or is about to. Whether there was something to stop.

        A turn that waits behind another run is stopped as soon as it begins, but nobody can tell here that it waits.
        """
        if running := await self._running(stop):
            return await self.cancel(running)
        key = thread_key(stop.scope, stop.thread_id)
        holder = await self._coordination.holder(key)
        if holder is None or holder.startswith(CHANGE):
            return False
        begun, ending = await self._begun(holder)
        if begun and ending == RUNNING and stop.is_meant(begun):
            return await self.cancel(begun)  # since the look above
        if stop.request_id:
            return await self._early(stop, holder, begun)
        return begun is None and await self._coordination.signal(key, holder, stop.unbegun)

    async def _early(self, stop: Stop, holder: str, begun: StreamInfo | None) -> bool:
        """Stop a run that has not begun: the one that holds the thread, or one that waits for it."""
        if begun and begun.request_id == stop.request_id:
            return False  # it has ended: a later run may have the same id (`useInterrupt`)
        kept = await self._coordination.remember(stop.name, STOPPED, KEPT)
        if kept not in (STOPPED, holder):  # an earlier run had the same id
            await self._coordination.forget(stop.name, kept)
            kept = await self._coordination.remember(stop.name, STOPPED, KEPT)
        if kept == STOPPED:
            return begun is None
        running = await self._running(stop)  # it has just begun
        return running is not None and await self.cancel(running)

    async def came_before(self, info: StreamInfo) -> bool:
        """Whether a run was stopped before it was in the stream log, where every stop finds it from now on."""
        if not info.request_id:
            return False
        name = _name(info.scope, info.thread_id, info.request_id)
        if await self._coordination.remember(name, info.run_id, MOMENT) != STOPPED:
            return False
        await self.forget(info)
        await self._coordination.remember(name, info.run_id, MOMENT)
        return True

    async def forget(self, info: StreamInfo) -> None:
        """Let go of a stop for a run that will not begin: its request may be sent again, under the same id."""
        if info.request_id:
            await self._coordination.forget(_name(info.scope, info.thread_id, info.request_id), STOPPED)

    async def _running(self, stop: Stop) -> StreamInfo | None:
        running = await self._streams.find(stop.scope, stop.thread_id)
        return running if running and stop.is_meant(running) else None

    async def _begun(self, run_id: str) -> tuple[StreamInfo | None, str]:
        try:
            return await self._streams.info(run_id)
        except (NotFound, StreamExpired):
            return None, ""


def signal_for(agent: str, surface: str = "") -> str:
    """The signal that stops a run only if it is one of that agent, and of that surface, if one is named."""
    return f"{CANCEL} {agent} {surface}"


def _name(scope: str, thread_id: str, request_id: str) -> str:
    """Of bounded length, whatever a client sends."""
    return f"stop/{sha256(request_id.encode(errors='surrogatepass')).hexdigest()}/{scope}/{thread_id}"

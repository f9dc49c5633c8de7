"""Runs that nobody reads -> stopped, at once or after a while, as their agents' policies say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gateway.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.runs import Run
    from gateway.streams import StreamLog

log = get_logger("gateway.runs")

FIRST_READER = 5.0
"""Seconds until a run that nobody reads is treated like one whose last reader has gone."""

WATCH_INTERVAL = 2.0
"""Seconds between two looks at whether a run still has a reader in another process."""


class Orphans:
    """Watches over the runs of one process.

    Args:
        streams: knows whether a run is read in another process.
        spawn: starts a task.
    """

    def __init__(self, streams: StreamLog, spawn: Callable[[Any], None]) -> None:
        self._streams = streams
        self._spawn = spawn

    def began(self, run: Run) -> None:
        """A run has begun; its client may be gone before its response begins to read."""
        run.on_give_way = lambda: self._spawn(self._give_way(run))
        asyncio.get_running_loop().call_later(FIRST_READER, self.left, run)

    def left(self, run: Run) -> None:
        """A reader has gone: was it the last, the agent's policy says what its run does."""
        if run.readers or run.ended:
            return
        self._watch(run, run.request.entry.orphan_timeout if run.request.continues else 0.0)

    async def _give_way(self, run: Run) -> None:
        """A new turn wants the thread: it gets it, if nobody reads the run any more."""
        if not run.readers and not run.ended and not await self._streams.watched(run.info.run_id):
            run.stop()

    def _watch(self, run: Run, seconds: float) -> None:
        """Look in that time whether the run is an orphan, and not before: a reader that came back starts it anew."""
        if run.orphaned:
            run.orphaned.cancel()
        loop = asyncio.get_running_loop()
        run.orphaned = loop.call_later(seconds, lambda: self._spawn(self._stop(run, seconds)))

    async def _stop(self, run: Run, seconds: float) -> None:
        watched = await self._streams.watched(run.info.run_id)
        if run.readers or run.ended:
            return
        if watched:
            # By a reader in another process: nobody tells this one when it goes.
            self._watch(run, max(seconds, WATCH_INTERVAL))
            return
        log.info("run_orphaned", run_id=run.info.run_id, agent=run.request.entry.id)
        run.stop()

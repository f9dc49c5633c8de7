"""The sync calls of one run -> threads of a pool, and when the last of them has ended.

A thread cannot be stopped. A run that is stopped lets go of its calls, and only this knows that they still go on.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

MAX_THREADS = 40
"""Sync calls at a time, of all runs of a process (as many as anyio allows, which would take them otherwise)."""


class Calls(Executor):
    """What pydantic-ai runs the sync functions of one run on."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._running: set[Future[Any]] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `Executor`."""
        call = self._pool.submit(fn, *args, **kwargs)
        self._running.add(call)
        call.add_done_callback(self._running.discard)
        return call

    @property
    def running(self) -> int:
        """Calls that have not ended."""
        return len(self._running)

    async def ended(self) -> None:
        """Return when none is running. What they return or raise is of no interest any more."""
        await asyncio.gather(*map(asyncio.wrap_future, list(self._running)), return_exceptions=True)

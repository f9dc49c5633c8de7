"""Threads that nobody has used for `threads.keep_days` -> nothing.

A thread is deleted as it was when it was found old: one that is saved meanwhile stays, and one with a run on it too.
Several processes may sweep at once; what one has begun, another can go on with. Only counts are logged.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic_ai.conversation_store import ConversationConflict

from gateway.errors import RunConflict
from gateway.telemetry import get_logger

if TYPE_CHECKING:
    from gateway.manager import RunManager
    from gateway.stores import Store

log = get_logger("gateway.retention")

FIRST = 30.0
"""Seconds from the start of the process to the first sweep: there is enough to do at a start."""

INTERVAL = 3_600.0
"""Seconds from the end of a sweep to the next one."""

PAUSE = 0.2
"""Seconds between two batches, so that requests get their turn at the store."""


async def keep_sweeping(
    store: Store, runs: RunManager, keep_days: float | None, *, first: float = FIRST, interval: float = INTERVAL
) -> None:
    """Sweep until cancelled; a sweep that fails is told in the log, and tried again at its next time.

    Args:
        store: all threads.
        runs: who knows where a run goes on.
        keep_days: days that an unused thread is kept; none for ever, and then there is nothing to do.
        first: seconds before the first sweep.
        interval: seconds between two sweeps.
    """
    if keep_days is None:
        return
    await asyncio.sleep(first)
    while True:
        try:
            await sweep(store, runs, keep_days)
        except Exception:
            log.exception("threads_sweep_failed")
        await asyncio.sleep(interval)


async def sweep(store: Store, runs: RunManager, keep_days: float, *, batch: int = 100, pause: float = PAUSE) -> int:
    """Delete what was last saved longer than `keep_days` ago, `batch` threads at a time. How many there were."""
    before = datetime.now(UTC) - timedelta(days=keep_days)
    deleted, passed_over = 0, set[tuple[str, str]]()
    while True:
        found = [each for each in await store.unused_since(before, batch + len(passed_over)) if each not in passed_over]
        for scope, thread_id in found:
            if await _delete(store, runs, scope, thread_id, before):
                deleted += 1
            else:
                passed_over.add((scope, thread_id))
        if not found:
            break
        await asyncio.sleep(pause)
    if deleted or passed_over:
        log.info("threads_swept", deleted=deleted, passed_over=len(passed_over))
    return deleted


async def _delete(store: Store, runs: RunManager, scope: str, thread_id: str, before: datetime) -> bool:
    """Whether the thread was still old, and free, and is no more."""
    view = store.view(scope)
    try:
        async with runs.locks.held(scope, thread_id):
            record = await view.read_record(thread_id)
            if record is None or record.updated_at >= before:
                return False
            await view.delete_record(thread_id, expected_revision=record.revision)
    except (RunConflict, ConversationConflict):
        return False
    return True

"""Frames through a stream log and to one reader -> the CPU that each costs beyond a pump that has no log.

In one process, without agents and sockets: what detaching a run from its connection costs.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from gateway.config import StoreSettings, StreamSettings
from gateway.coordination import open_coordination
from gateway.ids import new_id
from gateway.streams import StreamInfo, open_streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gateway.streams import Batch

FRAME = b'data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"07d3e2f9-fc55-4b57-8cc4-7babe5961df9","delta":"lorem "}\n\n'

BURST = 8
"""Frames that come before the event loop gets its turn, as from a provider that is ahead."""


def overhead(url: str, frames: int, rounds: int) -> list[float]:
    """Microseconds of CPU per frame, for each round, with the streams at `url` over the same pump without a log."""
    return asyncio.run(_overhead(url, frames, rounds))


async def _overhead(url: str, frames: int, rounds: int) -> list[float]:
    stores, settings = StoreSettings(streams=url), StreamSettings()
    streams, coordination = open_streams(stores, settings), open_coordination(stores, settings)
    figures: list[float] = []
    try:
        for turn in range(rounds + 1):
            bare = await _bare(frames)
            run_id = new_id()
            lease = await coordination.acquire(f"benchmark/{run_id}", run_id)
            if lease is None:
                raise RuntimeError("the lease of a new run is not free")
            info = StreamInfo(run_id, "words", "ag-ui", "nobody", run_id, time.time(), b"")
            began = time.process_time()
            writer = await streams.open(info, lease)
            reader = asyncio.create_task(_read(streams.read(run_id)))
            await _pump(frames, writer.append)
            await writer.close("finished")
            if await reader != frames:
                raise RuntimeError("the reader did not get every frame")
            logged = time.process_time() - began
            await coordination.release(lease)
            if turn:  # the first one warms up
                figures.append((logged - bare) / frames * 1e6)
    finally:
        await streams.close()
        await coordination.close()
    return figures


async def _pump(frames: int, append: Callable[[bytes], None]) -> None:
    for number in range(frames):
        append(FRAME)
        if number % BURST == 0:
            await asyncio.sleep(0)


async def _bare(frames: int) -> float:
    began = time.process_time()
    await _pump(frames, lambda _frame: None)
    return time.process_time() - began


async def _read(batches: AsyncIterator[Batch]) -> int:
    return sum([len(batch.frames) async for batch in batches])

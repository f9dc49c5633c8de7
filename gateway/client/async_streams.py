"""Streams of the async client: async iterators and async context managers over runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio

from gateway.client.answers import Answer, TextAnswer
from gateway.client.shapes import Event

if TYPE_CHECKING:
    from types import TracebackType

    from gateway.client.ending import RunResult

I = TypeVar("I")  # noqa: E741 - of items, as T is of results
T = TypeVar("T")

_leaving: set[asyncio.Task[None]] = set()
"""Tasks that close what was dropped; a loop itself does not hold on to its tasks."""


class AsyncStream(Answer[I, T]):
    """A run that is read while it goes on. It starts with the `async with` block, or with the first item.

    A connection that breaks is taken up again where it broke. Leaving early, by whichever way, cancels the run.
    """

    _loop: asyncio.AbstractEventLoop | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> I:
        self._loop = asyncio.get_running_loop()
        return await self._next()

    async def __aenter__(self) -> Self:
        await self._reading.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def finish(self) -> RunResult[T]:
        """Read what is left; how the run ended. Raises `ClientError`, `RunFailed` among them."""
        self._loop = asyncio.get_running_loop()
        return await self._finish()

    async def cancel(self) -> bool:
        """Stop the run; the stream then comes to its end. Whether there was something to stop."""
        return await self._cancel()

    async def close(self) -> None:
        """Leave: a run that was not read to its end is cancelled, and its end waited for. Raises nothing."""
        with anyio.CancelScope(shield=True):  # a task that is cancelled leaves, too
            await self._close()

    def __del__(self) -> None:
        # A loop that was left without `async with`: what asyncio itself does for async generators.
        reading, loop = getattr(self, "_reading", None), self._loop
        if reading is not None and loop is not None and reading.run_id and not reading.closed and not loop.is_closed():
            loop.call_soon_threadsafe(_leave, loop, reading)


def _leave(loop: asyncio.AbstractEventLoop, reading: Any) -> None:
    task = loop.create_task(reading.close())
    _leaving.add(task)
    task.add_done_callback(_leaving.discard)


class AsyncTextStream(AsyncStream[str, str], TextAnswer):
    """An answer in text: iterates over its pieces, or over the text so far (`delta=False`); see `TextStream`."""


class AsyncOutputStream(AsyncStream[T, T]):
    """Structured output: iterates over values of the type as they fill in; see `OutputStream`."""


class AsyncEventStream(AsyncStream[Event, Any]):
    """Every event of a run."""

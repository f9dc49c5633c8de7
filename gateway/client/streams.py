"""Streams of the sync client: iterators and context managers over runs."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

from gateway.client.answers import Answer, TextAnswer
from gateway.client.blocking import finished
from gateway.client.shapes import Event

if TYPE_CHECKING:
    from types import TracebackType

    from gateway.client.ending import RunResult

I = TypeVar("I")  # noqa: E741 - of items, as T is of results
T = TypeVar("T")


class Stream(Answer[I, T]):
    """A run that is read while it goes on. It starts with the `with` block, or with the first item.

    A connection that breaks is taken up again where it broke. Leaving early, by whichever way, cancels the run.
    """

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> I:
        try:
            return finished(self._next())
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> Self:
        finished(self._reading.begin())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def finish(self) -> RunResult[T]:
        """Read what is left; how the run ended. Raises `ClientError`, `RunFailed` among them."""
        return finished(self._finish())

    def cancel(self) -> bool:
        """Stop the run, from whatever thread; the stream then comes to its end. Whether there was something to stop."""
        return finished(self._cancel())

    def close(self) -> None:
        """Leave: a run that was not read to its end is cancelled, and its end waited for. Raises nothing."""
        finished(self._close())

    def __del__(self) -> None:
        # A loop that was left without `with`. In a thread of its own, for this may happen anywhere, also where httpx
        # holds a lock; not while the interpreter ends, when none can be started: the gateway then sees a reader go.
        reading = getattr(self, "_reading", None)
        if reading is not None and reading.run_id and not reading.closed and not sys.is_finalizing():
            threading.Thread(target=lambda: finished(reading.close()), name="leave run").start()


class TextStream(Stream[str, str], TextAnswer):
    """An answer in text: iterates over its pieces, or over the text so far (`delta=False`).

    What was streamed may turn out not to be the answer, when the agent goes on to call tools or a validator sends the
    model back. Then the iterator just goes on with the new text; `text` starts over, and `resets` counts. So pages show
    `text` at each step, and whoever puts pieces together looks at `resets`.
    """


class OutputStream(Stream[T, T]):
    """Structured output: iterates over values of the type as they fill in; `result` is the final, validated one.

    Every item is a valid `T`. A model with required fields has its first one when those are there: give fields
    defaults, or ask for a `TypedDict` with `total=False`, to see more.
    """


class EventStream(Stream[Event, Any]):
    """Every event of a run."""

"""A run as its caller sees it: what is known of it, and its items one by one. Shared by both kinds of streams."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gateway.client import calls
from gateway.client.ending import Ending, RunResult
from gateway.client.errors import NoResult, UnexpectedAnswer
from gateway.client.items import TextItems, output_of
from gateway.client.shapes import Deferred, Usage

if TYPE_CHECKING:
    from gateway.client.connection import Connection
    from gateway.client.items import Items
    from gateway.client.reading import Reading

I = TypeVar("I")  # noqa: E741 - of items, as T is of results
T = TypeVar("T")


class Answer(Generic[I, T]):
    """What the two kinds of streams have in common; not made by callers.

    Args:
        connection: the way to the gateway.
        reading: the run.
        items: what its events are to the caller.
    """

    def __init__(self, connection: Connection, reading: Reading, items: Items[I, T]) -> None:
        self._connection = connection
        self._reading = reading
        self._form = items
        self._ending = Ending()
        self._ready: deque[I] = deque()
        self._final: tuple[T, ...] = ()

    @property
    def run_id(self) -> str | None:
        """The run's id, from the first response on."""
        return self._reading.run_id

    @property
    def thread_id(self) -> str | None:
        """The thread that the run was asked on; none where none was named."""
        return self._reading.thread_id

    @property
    def outcome(self) -> str | None:
        """How the run ended: `finished`, `deferred`, `cancelled` or the code of an error. `None` before its end."""
        return self._ending.outcome

    @property
    def usage(self) -> Usage | None:
        """What the run used, after its end, whichever that was."""
        return self._ending.usage

    @property
    def deferred(self) -> Deferred | None:
        """What the run waits for: answer with `approvals` and `results` on the same thread."""
        return self._ending.deferred

    @property
    def result(self) -> T:
        """What the run came to. Raises `NoResult` before its end, and when it was stopped or waits for somebody."""
        if not self._final:
            raise NoResult(self.outcome, self.deferred)
        return self._final[0]

    @property
    def raw_output(self) -> Any:
        """The output as it came, in JSON data; `None` where there is none.

        Not the same as `result` for an agent whose output function makes something else of its text.
        """
        return output_of(self._ending.result) if self._ending.result is not None else None

    async def _next(self) -> I:
        """The next item. Raises `ClientError`, or `StopAsyncIteration` behind the last item."""
        while not self._ready:
            event = await self._reading.read()
            if event is None:
                raise StopAsyncIteration
            self._ending.take(event)
            self._ready.extend(self._form.take(event))
            if self._reading.complete:
                self._settle()
        return self._ready.popleft()

    def _settle(self) -> None:
        if self._ending.failure:
            raise self._ending.failure
        if self._ending.result is not None:
            self._final = (self._form.final(self._ending.result),)

    async def _finish(self) -> RunResult[T]:
        with suppress(StopAsyncIteration):
            while True:
                await self._next()
        if self.outcome is None or self.run_id is None:
            raise NoResult(None)
        return RunResult(
            run_id=self.run_id,
            thread_id=self.thread_id,
            outcome=self.outcome,
            text=self._whole_text(),
            usage=self.usage or Usage(),
            deferred=self.deferred,
            final=self._final,
        )

    def _whole_text(self) -> str | None:
        return self.raw_output if isinstance(self.raw_output, str) else None

    async def _close(self) -> None:
        for event in await self._reading.close():
            with suppress(UnexpectedAnswer):
                self._ending.take(event)

    async def _cancel(self) -> bool:
        if self.run_id is None or self._reading.complete:
            return False
        return await calls.made(self._connection, calls.cancel(self.run_id))


class TextAnswer(Answer[str, str]):
    """An answer in text."""

    def __init__(self, connection: Connection, reading: Reading, *, delta: bool) -> None:
        self._said = TextItems(delta=delta)
        super().__init__(connection, reading, self._said)

    @property
    def text(self) -> str:
        """The answer so far: all text since the last reset."""
        return self._said.text

    @property
    def resets(self) -> int:
        """How often the text started over, because what had been streamed was not the answer."""
        return self._said.resets

    def _whole_text(self) -> str | None:
        return self._final[0] if self._final else None

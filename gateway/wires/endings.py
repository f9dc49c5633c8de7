"""Ending an event stream from outside, while what feeds it is stuck: a tool that cannot be cancelled, say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.ui import UIEventStream

    Base = UIEventStream[Any, Any, Any, Any]
else:
    Base = object


class Endable(Base):
    """Mixed into a wire's event stream.

    The stream knows which text and which tool calls are open. `end` runs its own closing code for an error as if the
    source had raised it, beside the generator that still waits for the source.
    """

    _begun = False

    async def before_stream(self) -> AsyncIterator[Any]:
        """The opening events, once."""
        if not self._begun:
            self._begun = True
            async for event in super().before_stream():
                yield event

    async def end(self, error: Exception) -> AsyncIterator[Any]:
        """The events that close what is open, and the terminal event for `error`."""
        async for event in self.transform_stream(_raising(error)):
            yield event


async def _raising(error: Exception) -> AsyncIterator[Any]:
    raise error
    yield

"""Ending an event stream before its time: from outside, while what feeds it is stuck, and with calls cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_ai.exceptions import RunCancelled

from gateway.wires.shown import broken_off

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from pydantic_ai.messages import (
        FinalResultEvent,
        FunctionToolCallEvent,
        FunctionToolResultEvent,
        OutputToolCallEvent,
        ToolReturnPart,
    )
    from pydantic_ai.ui import UIEventStream

    Base = UIEventStream[Any, Any, Any, Any]
else:
    Base = object


class Endable(Base):
    """Mixed into a wire's event stream.

    The stream knows which text and which tool calls are open. `end` runs its own closing code for an error as if the
    source had raised it, beside the generator that still waits for the source.
    """

    wire_ids: dict[str, Any]
    """JSON: the wire's note of the ids that it streamed, whole whenever the run's outcome is there to be stored.

    On every wire, `cut_off` holds the calls that the model began and no tool was given.
    """

    emit: Callable[[Any], None]
    """Adds an event to the run's frames, for what waits for a moment and not for an event. Set by the run."""

    results: Sequence[ToolReturnPart] = ()
    """What tools of the agent have given back so far."""

    _begun = False

    async def before_stream(self) -> AsyncIterator[Any]:
        """The opening events, once."""
        if not self._begun:
            self._begun = True
            async for event in super().before_stream():
                yield event

    def handle_tool_call_start(self, part: Any) -> AsyncIterator[Any]:
        """Counts the call as cut off, until a tool is given it."""
        self.wire_ids.setdefault("cut_off", []).append(part.tool_call_id)
        return super().handle_tool_call_start(part)

    async def handle_function_tool_call(self, event: FunctionToolCallEvent) -> AsyncIterator[Any]:
        """The call has come through."""
        self._came_through(event.part.tool_call_id)
        async for each in super().handle_function_tool_call(event):
            yield each

    async def handle_output_tool_call(self, event: OutputToolCallEvent) -> AsyncIterator[Any]:
        """The call has come through."""
        self._came_through(event.part.tool_call_id)
        async for each in super().handle_output_tool_call(event):
            yield each

    async def handle_final_result(self, event: FinalResultEvent) -> AsyncIterator[Any]:
        """Keeps pydantic-ai from closing the call of an output that is cut off: it is closed with the others."""
        self._final_result_event = None
        async for each in super().handle_final_result(event):
            yield each

    def cut_off(self, error: Exception) -> list[ToolReturnPart]:
        """Results for the calls that `error` has cut off."""
        failed = not isinstance(error, RunCancelled)
        return [broken_off(call, failed=failed) for call in self.wire_ids.get("cut_off", ())]

    async def handle_function_tool_result(self, event: FunctionToolResultEvent) -> AsyncIterator[Any]:
        """Keeps the result: a run that is ended from outside has not got it into its messages yet."""
        self.results = [*self.results, event.part]
        async for each in super().handle_function_tool_result(event):
            yield each

    async def end(self, error: Exception) -> AsyncIterator[Any]:
        """The events that close what is open, and the terminal event for `error`."""
        async for event in self.transform_stream(_raising(error)):
            yield event

    def _came_through(self, tool_call_id: str) -> None:
        cut_off = self.wire_ids.get("cut_off", [])
        if tool_call_id in cut_off:
            cut_off.remove(tool_call_id)
        if not cut_off:
            self.wire_ids.pop("cut_off", None)


async def _raising(error: Exception) -> AsyncIterator[Any]:
    raise error
    yield

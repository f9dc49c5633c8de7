"""The events of a run -> the events themselves, by name, or the steps of the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.frontend.events import AgUiEvent
from gateway.wires.native.following import StepBegan
from gateway.wires.native.shapes import deferred_of, event_of, message_of, results_of
from gateway.wires.native.telling import Said, Telling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pydantic_ai.messages import CustomEvent, DeferredToolRequestsEvent, DeferredToolResultsEvent
    from pydantic_ai.run import AgentRunResultEvent


@dataclass
class NodesTelling(Telling):
    """`nodes`: each step when it begins."""

    _prompted: bool = False

    async def handle_event(self, event: Any) -> AsyncIterator[Said]:
        """The step, and what it begins with."""
        if isinstance(event, StepBegan):
            for each in self._steps(event):
                yield each
        async for each in super().handle_event(event):
            yield each

    async def handle_run_result(self, event: AgentRunResultEvent[Any]) -> AsyncIterator[Said]:
        """The last step."""
        yield Said({"node": "end"})
        async for each in super().handle_run_result(event):
            yield each

    def _steps(self, step: StepBegan) -> Iterator[Said]:
        last = [message_of(message) for message in step.context.messages[-1:]]
        if not self._prompted:
            self._prompted = True
            yield Said({"node": "user_prompt"})
        if step.asks_model:
            yield Said({"node": "model_request", **({"request": last[0]} if last else {})})
        else:
            yield Said({"node": "call_tools", **({"response": last[0]} if last else {})})


def _told(handler: str) -> Any:
    """Tells of each event that comes to that handler; some of them only do when a run breaks off."""

    async def handle(self: EventsTelling, event: Any) -> AsyncIterator[Said]:
        async for each in getattr(super(EventsTelling, self), handler)(event):
            yield each
        yield Said(event_of(event, self.max_tool_result_chars), event.event_kind)

    return handle


@dataclass
class EventsTelling(Telling):
    """`events`: every event by its name, with its fields.

    What capabilities and later versions add is between them and the agent, and not told.
    """

    handle_part_start = _told("handle_part_start")
    handle_part_delta = _told("handle_part_delta")
    handle_part_end = _told("handle_part_end")
    handle_final_result = _told("handle_final_result")
    handle_function_tool_call = _told("handle_function_tool_call")
    handle_function_tool_result = _told("handle_function_tool_result")
    handle_output_tool_call = _told("handle_output_tool_call")
    handle_output_tool_result = _told("handle_output_tool_result")

    async def handle_custom_event(self, event: CustomEvent) -> AsyncIterator[Said]:
        """What the agent tells, but for what it tells in another protocol."""
        if not isinstance(event, AgUiEvent):
            yield Said(event_of(event, self.max_tool_result_chars), event.event_kind)

    async def handle_deferred_tool_requests(self, event: DeferredToolRequestsEvent) -> AsyncIterator[Said]:
        """Calls that are left to somebody."""
        yield Said(deferred_of(event.requests), event.event_kind)

    async def handle_deferred_tool_results(self, event: DeferredToolResultsEvent) -> AsyncIterator[Said]:
        """What has come of them."""
        yield Said(results_of(event.results, self.max_tool_result_chars), event.event_kind)

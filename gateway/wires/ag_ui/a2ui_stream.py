"""A2UI in AG-UI's adapter and event stream: whose tool it is, and the surfaces among the events of its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_ai.toolsets import FunctionToolset

from gateway.frontend.a2ui import RENDER, A2ui, a2ui_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from ag_ui.core import BaseEvent, RunAgentInput
    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.messages import FunctionToolResultEvent, NativeToolCallPart, ToolCallPart, ToolCallPartDelta
    from pydantic_ai.toolsets import AbstractToolset
    from pydantic_ai.ui.ag_ui import AGUIEventStream

    from gateway.wires.ag_ui.a2ui import Repeated, Surfaces

    Base = AGUIEventStream[Any, Any]
    Capabilities = Sequence[AbstractCapability[Any]]
else:
    Base = object


class ShowsSurfaces(Base):
    """Mixed into the event stream. Text goes by untouched, and so do calls of other tools until their result."""

    surfaces: Surfaces | Repeated | None = None
    """None for an agent without A2UI."""

    def handle_tool_call_start(self, part: ToolCallPart | NativeToolCallPart) -> AsyncIterator[BaseEvent]:
        """The call, and a placeholder for its surface."""
        events = super().handle_tool_call_start(part)
        if self.surfaces is None or part.tool_name != RENDER or part.part_kind != "tool-call":
            return events
        return _followed(events, self.surfaces.began(part))

    def handle_tool_call_delta(self, delta: ToolCallPartDelta) -> AsyncIterator[BaseEvent]:
        """More of the arguments, and of the surface."""
        events = super().handle_tool_call_delta(delta)
        if self.surfaces is None or not delta.tool_call_id:
            return events
        return _followed(events, self.surfaces.grew(delta.tool_call_id, delta.args_delta))

    def handle_tool_call_end(self, part: ToolCallPart) -> AsyncIterator[BaseEvent]:
        """The end of the arguments, and all of the surface."""
        events = super().handle_tool_call_end(part)
        return events if self.surfaces is None else _followed(events, self.surfaces.ended(part))

    async def handle_function_tool_result(self, event: FunctionToolResultEvent) -> AsyncIterator[BaseEvent]:
        """The result, and the surfaces in it."""
        async for each in super().handle_function_tool_result(event):
            yield each
        if self.surfaces:
            for each in self.surfaces.answered(event.part):
                yield each

    async def after_stream(self) -> AsyncIterator[BaseEvent]:
        """The end, and before that of surfaces that will not be finished."""
        for each in self.unfinished():
            yield each
        async for each in super().after_stream():
            yield each

    def unfinished(self) -> Iterable[BaseEvent]:
        """The end of surfaces that will not be finished, once."""
        return self.surfaces.left() if self.surfaces else ()


def with_one_a2ui(
    agent: AbstractAgent[Any, Any], given: Capabilities, added: Capabilities
) -> tuple[Capabilities, A2ui | None]:
    """The capabilities of a run, and its `A2ui`, if it has one: the author's before the one that the page asks for.

    An agent that has a tool of that name by itself keeps that.

    Args:
        agent: the agent.
        given: capabilities that its config adds.
        added: those that the wire adds.
    """
    own = a2ui_of(agent, given)
    asked = next((each for each in added if isinstance(each, A2ui)), None)
    if asked and (own or _has_own_tool(agent)):
        return [*given, *(each for each in added if each is not asked)], own
    return [*given, *added], own or asked


def without_clients_tool(run_input: RunAgentInput) -> RunAgentInput:
    """The request without a tool of that name of the front end's, as a Node runtime before the gateway adds it."""
    return run_input.model_copy(update={"tools": [tool for tool in run_input.tools or () if tool.name != RENDER]})


def _has_own_tool(agent: AbstractAgent[Any, Any]) -> bool:
    found: list[str] = []

    def visit(toolset: AbstractToolset[Any]) -> None:
        if isinstance(toolset, FunctionToolset):
            found.extend(toolset.tools)

    for toolset in agent.toolsets:
        toolset.apply(visit)
    return RENDER in found


async def _followed(events: AsyncIterator[BaseEvent], more: Iterable[BaseEvent]) -> AsyncIterator[BaseEvent]:
    async for event in events:
        yield event
    for event in more:
        yield event

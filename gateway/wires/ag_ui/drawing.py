"""What is drawn of calls in AG-UI's adapter and event stream, among their events, and whose A2UI it is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from pydantic_ai.toolsets import FunctionToolset

from gateway.frontend.a2ui import RENDER, A2ui, a2ui_of
from gateway.wires.ag_ui.a2ui import Repeated, surfaces_in
from gateway.wires.ag_ui.sandboxed_ui import Sandboxes, sandboxes_in
from gateway.wires.shown import segments

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from ag_ui.core import BaseEvent, RunAgentInput
    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.messages import FunctionToolResultEvent, NativeToolCallPart, ToolCallPart, ToolCallPartDelta
    from pydantic_ai.toolsets import AbstractToolset
    from pydantic_ai.ui.ag_ui import AGUIEventStream

    from gateway.wires import Repetition
    from gateway.wires.ag_ui.a2ui import Place, Surfaces
    from gateway.wires.shown import Segment

    Base = AGUIEventStream[Any, Any]
    Capabilities = Sequence[AbstractCapability[Any]]
    Drawer = Surfaces | Sandboxes | Repeated
    Json = dict[str, Any]
else:
    Base = object


@dataclass(frozen=True)
class Drawing:
    """What a page draws of a run."""

    results: bool = False
    """Operations in results of tools, for every agent, also for one whose author says nothing of surfaces."""
    sandboxes: bool = False
    """What the page's own tool for that is called with."""


class Draws(Base):
    """Mixed into the event stream. Text goes by untouched."""

    drawers: Sequence[Drawer] = ()
    """None for most runs."""

    def handle_tool_call_start(self, part: ToolCallPart | NativeToolCallPart) -> AsyncIterator[BaseEvent]:
        """The call, and a placeholder for what it draws."""
        events = super().handle_tool_call_start(part)
        if not self.drawers or part.part_kind != "tool-call":
            return events
        return _followed(events, chain.from_iterable(each.began(part) for each in self.drawers))

    def handle_tool_call_delta(self, delta: ToolCallPartDelta) -> AsyncIterator[BaseEvent]:
        """More of the arguments, and of what they draw."""
        events = super().handle_tool_call_delta(delta)
        if not self.drawers or not (call := delta.tool_call_id):
            return events
        return _followed(events, chain.from_iterable(each.grew(call, delta.args_delta) for each in self.drawers))

    def handle_tool_call_end(self, part: ToolCallPart) -> AsyncIterator[BaseEvent]:
        """The end of the arguments, and all that they draw."""
        events = super().handle_tool_call_end(part)
        if not self.drawers:
            return events
        return _followed(events, chain.from_iterable(each.ended(part) for each in self.drawers))

    async def handle_function_tool_result(self, event: FunctionToolResultEvent) -> AsyncIterator[BaseEvent]:
        """The result, and what is drawn of it."""
        async for each in super().handle_function_tool_result(event):
            yield each
        for drawer in self.drawers:
            for each in drawer.answered(event.part):
                yield each

    async def after_stream(self) -> AsyncIterator[BaseEvent]:
        """The end, and before that of what will not be finished."""
        for each in self.unfinished():
            yield each
        async for each in super().after_stream():
            yield each

    def unfinished(self) -> Iterable[BaseEvent]:
        """The end of what will not be finished, once."""
        return chain.from_iterable(each.left() for each in self.drawers)


def drawers_of(note: Json, repeats: Repetition | None, protocol: str, drawing: Drawing) -> list[Drawer]:
    """What draws in a stream from its beginning.

    Args:
        note: of the stream.
        repeats: what it says again.
        protocol: the key of the stream's note.
        drawing: what its page draws.
    """
    if repeats:
        places = [drawn_in(segment, protocol) for segment in segments(repeats.line)]
        return [Repeated({place: drawn for each in places for place, drawn in each.items()})]
    return [Sandboxes(note)] if drawing.sandboxes else []


def drawn_in(segment: Segment, protocol: str) -> Mapping[Place, list[Json]]:
    """What a stored turn draws, as messages, by where they stand."""
    return {**surfaces_in(segment, protocol), **sandboxes_in(segment, protocol)}


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

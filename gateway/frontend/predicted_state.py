"""Predictive state: what the model writes into a tool's argument, shown as shared state while it is being written.

A page that shows `state.document` sees the document grow, long before the tool that stores it has run. To AG-UI and
CopilotKit clients it goes as `STATE_DELTA` (RFC 6902); other wires have no shared state, and leave it out.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from ag_ui.core import StateDeltaEvent, StateSnapshotEvent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import (
    AgentStreamEvent,
    FunctionToolResultEvent,
    OutputToolResultEvent,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    ToolCallPart,
    ToolCallPartDelta,
)
from pydantic_core import from_json

from gateway.frontend.events import AgUiEvent
from gateway.state import state_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Sequence

    from ag_ui.core import BaseEvent
    from pydantic_ai.tools import RunContext

STEP = 16
"""Characters of arguments between two looks at them at least, and the share of them in longer ones."""

_MISSING: Any = object()


@dataclass
class PredictState(AbstractCapability[Any]):
    """Shows an argument of a tool's calls as part of the state, for an agent whose deps have one (`StateHandler`).

    When a call has its result, whichever that is, the page gets the state as it then is: a prediction never outlives
    its call. One that was cut off, or that waits for an approval, stands on the page until then; reloaded, it is gone.

        Agent(..., deps_type=StateDeps[Draft], capabilities=[PredictState("write", argument="text", state="document")])
    """

    tool: str
    """The name of the tool, as the model calls it."""
    argument: str | None = None
    """The argument; all of them as an object when left out."""
    state: str = ""
    """The member of the state that it becomes; the argument's name when left out."""
    _written: dict[int, _Written] = field(default_factory=dict[int, "_Written"], init=False, repr=False)
    """The calls of one response of the model, by the index of their part."""
    has_begun: bool = field(default=False, init=False, repr=False)
    """Whether it has told anything in this run."""

    def __post_init__(self) -> None:
        self.state = self.state or self.argument or self.tool

    async def for_run(self, ctx: RunContext[Any]) -> PredictState:  # noqa: ARG002 - the same for all
        """See `AbstractCapability`."""
        return replace(self)

    async def wrap_run_event_stream(
        self, ctx: RunContext[Any], *, stream: AsyncIterable[AgentStreamEvent]
    ) -> AsyncIterator[AgentStreamEvent]:
        """The same events, each followed by what it makes of the state."""
        async with aclosing(cast("Any", stream)) as events:
            async for event in events:
                yield event
                made = self._made_of(event, ctx)
                if made and self._is_first(ctx):
                    # A patch of what nobody has been told yet; CopilotKit's runtime on Node would not survive it.
                    made = [*_snapshot(ctx), *made]
                self.has_begun = self.has_begun or bool(made)
                for each in made:
                    yield AgUiEvent(event=each)

    def _is_first(self, ctx: RunContext[Any]) -> bool:
        """Whether no prediction has told anything yet, this one or another."""
        found = (each for each in ctx.capabilities.values() if isinstance(each, PredictState))
        return not any(each.has_begun for each in found)

    def _made_of(self, event: AgentStreamEvent, ctx: RunContext[Any]) -> Sequence[BaseEvent]:
        match event:
            case PartDeltaEvent(delta=ToolCallPartDelta(args_delta=delta)) if event.index in self._written:
                return self._predicted(self._written[event.index].grown(delta))
            case PartStartEvent(part=ToolCallPart(tool_name=self.tool, args=args)):
                self._written[event.index] = _Written()
                return self._predicted(self._written[event.index].grown(args))
            case PartEndEvent(part=ToolCallPart(args=args)) if event.index in self._written:
                return self._predicted(self._written.pop(event.index).ended(args))
            case FunctionToolResultEvent(part=part) | OutputToolResultEvent(part=part) if part.tool_name == self.tool:
                return _snapshot(ctx)
            case _:
                return []

    def _predicted(self, arguments: Any) -> Sequence[BaseEvent]:
        """What the state becomes by arguments as far as they are; nothing, if that says nothing new."""
        if isinstance(arguments, dict) and self.argument is not None:
            arguments = cast("dict[str, Any]", arguments).get(self.argument, _MISSING)
        elif not isinstance(arguments, dict):
            arguments = _MISSING
        if arguments is _MISSING:
            return []
        path = "/" + self.state.replace("~", "~0").replace("/", "~1")
        # `add` replaces a member that is there already (RFC 6902, 4.1).
        return [StateDeltaEvent.model_validate({"delta": [{"op": "add", "path": path, "value": arguments}]})]


def _snapshot(ctx: RunContext[Any]) -> Sequence[BaseEvent]:
    state = state_of(ctx.deps)
    return [] if state is None else [StateSnapshotEvent(snapshot=state)]


class _Written:
    """The arguments of one call as the model writes them.

    They are looked at whenever they have grown by a sixteenth, so that all looks together cost about as much as a few.
    """

    def __init__(self) -> None:
        self._text = ""
        self._next_look = STEP

    def grown(self, delta: Any) -> Any:
        """The arguments with what has come, if it is time to look at them."""
        if not isinstance(delta, str):
            return delta or _MISSING
        self._text += delta
        if len(self._text) < self._next_look:
            return _MISSING
        self._next_look = len(self._text) + max(STEP, len(self._text) // STEP)
        return _read(self._text)

    def ended(self, args: Any) -> Any:
        """All of them."""
        return _read(args) if isinstance(args, str) else args


def _read(text: str) -> Any:
    try:
        return from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return _MISSING

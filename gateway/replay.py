"""Stored messages -> the events that a run which says them would have, for a reader whose frames are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic import TypeAdapter
from pydantic_ai.exceptions import RunCancelled, RunTimedOut
from pydantic_ai.messages import (
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    ModelRequest,
    ModelResponse,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    ToolReturnPart,
)
from pydantic_ai.run import AgentRunResult, AgentRunResultEvent

from gateway.errors import RunError, RunLost, RunTimeout, all_errors
from gateway.history import CANCELLED, FINISHED, RUNNING
from gateway.wires.sent_along import typed
from gateway.wires.shown import segments

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Container, Iterator

    from pydantic_ai.messages import ModelMessage

    from gateway.wires import Repetition


_RESULT: TypeAdapter[AgentRunResult[Any]] = TypeAdapter(AgentRunResult[Any])
"""A result that no run made can be had in its documented JSON shape only."""


async def as_events(repetition: Repetition, outcome: str = FINISHED) -> AsyncGenerator[Any]:
    """The events of a run that said what is repeated, and ended as `outcome` says; well, with what is waited for.

    Raises what the run ended with, if it did not end well.
    """
    cut_off = {call for segment in segments(repetition.line) for call in segment.cut_off}
    for message in repetition.said:
        for event in _events_of(message, cut_off):
            yield event
    if outcome == CANCELLED:
        raise RunCancelled("The run was stopped.")
    if outcome == RunTimeout.code:
        raise RunTimedOut("The run timed out.")
    if outcome != FINISHED:
        raise _failure(outcome)
    before = [entry.message for entry in repetition.line.entries[-2:]]
    said = (*reversed(repetition.said), *reversed(before))
    last = next((message for message in said if isinstance(message, ModelResponse)), ModelResponse([]))
    output = repetition.waiting or "".join(part.content for part in last.parts if isinstance(part, TextPart))
    yield AgentRunResultEvent(_RESULT.validate_python({"output": output, "messages": [last]}))


def _failure(code: str) -> RunError:
    """The error of that code; one that is still `running` died."""
    kind = next((error for error in all_errors(RunError) if error.code == code), RunError)
    return RunLost() if code == RUNNING else cast("type[RunError]", kind)()


def _events_of(message: ModelMessage, cut_off: Container[str]) -> Iterator[Any]:
    if isinstance(message, ModelRequest):
        for part in message.parts:
            if isinstance(part, ToolReturnPart):
                yield FunctionToolResultEvent(typed(part))
        return
    for index, part in enumerate(message.parts):
        yield PartStartEvent(index=index, part=part)
        yield PartEndEvent(index=index, part=part)
    for call in message.tool_calls:
        if call.tool_call_id not in cut_off:
            yield FunctionToolCallEvent(call, args_valid=True)

"""Agents that show one behaviour each, for tests with real clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic_ai import Agent, DeferredToolRequests, ExternalToolset
from pydantic_ai.messages import TextPart, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import ToolDefinition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage

    Stream = AsyncIterator[str | dict[int, DeltaToolCall]]


def _transcript(messages: list[ModelMessage]) -> str:
    said = {UserPromptPart: "user", TextPart: "agent", ToolReturnPart: "tool"}
    return " | ".join(
        f"{said[type(part)]}: {part.content}"
        for message in messages
        for part in message.parts
        if isinstance(part, UserPromptPart | TextPart | ToolReturnPart)
    )


async def _recounts(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    yield f"({_transcript(messages)})"


async def _asks(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    if isinstance(last := messages[-1].parts[-1], ToolReturnPart):
        yield f"You picked {last.model_response_str()}."
    else:
        yield "Which one?"
        yield {0: DeltaToolCall("pick_color", json.dumps({"colors": ["red", "blue"]}), tool_call_id="pick-1")}


async def _fails_once(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    yield "Well, "
    if not failures:
        failures.append("once")
        raise RuntimeError("not this time")
    yield _transcript(messages)


recounting = Agent(FunctionModel(stream_function=_recounts), name="recounting")
"""Answers with all that it sees of the conversation."""

asking = Agent(
    FunctionModel(stream_function=_asks),
    name="asking",
    output_type=[str, DeferredToolRequests],
    toolsets=[ExternalToolset([ToolDefinition(name="pick_color")])],
)
"""Has a tool of its own that runs in the browser: the AI SDK has no way to offer one with the request."""

failures: list[str] = []
flaky = Agent(FunctionModel(stream_function=_fails_once), name="flaky")
"""Fails while `failures` is empty."""

paid: list[int] = []
"""What `paying` has really done."""

paying = Agent(TestModel(), name="paying", output_type=[str, DeferredToolRequests])


@paying.tool_plain(requires_approval=True)
def pay(amount: int) -> str:
    """Pays."""
    paid.append(amount)
    return f"paid {amount}"

"""Agents that show one behaviour each, for tests with real clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic_ai import Agent, DeferredToolRequests, ExternalToolset, ModelRetry
from pydantic_ai.messages import TextPart, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import ToolDefinition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage

    Stream = AsyncIterator[str | dict[int, DeltaToolCall] | dict[int, DeltaThinkingPart]]


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
        yield {
            0: DeltaToolCall(
                "pick_color", json.dumps({"colors": ["red", "blue"]}), tool_call_id=f"pick-{len(messages)}"
            )
        }


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


async def _is_busy(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    results = sum(isinstance(part, ToolReturnPart) for part in messages[-1].parts)
    number = len(messages)
    if not results:
        yield {0: DeltaThinkingPart(content="Well. ")}
        yield "First, "
        yield {1: DeltaToolCall("fails", '{"n": 1}', tool_call_id=f"a{number}")}
        yield {2: DeltaToolCall("works", None, tool_call_id=f"b{number}")}
    elif results == len("ab"):
        yield {0: DeltaToolCall("works", "{}", tool_call_id=f"c{number}")}
    else:
        yield {0: DeltaThinkingPart(content="Hm. ")}
        yield "last."


busy = Agent(FunctionModel(stream_function=_is_busy), name="busy")
"""Thinks, speaks and calls tools, several at once and several times; one of them wants another try."""


@busy.tool_plain
def fails(n: int) -> str:
    """Wants another try."""
    raise ModelRetry(f"not {n}")


@busy.tool_plain
def works() -> dict[str, Any]:
    """Works."""
    return {"kind": "x", "list": [1, None]}

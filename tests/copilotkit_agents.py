"""Agents that work with tools of the front end, and with what a tool gives besides text."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pydantic_ai import Agent, ApprovalRequired, BinaryContent, DeferredToolRequests, RunContext
from pydantic_ai.messages import ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from run_probes import gates
from thread_probes import transcript

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage

    Stream = AsyncIterator[str | dict[int, DeltaToolCall]]

PIXEL = b"\x89PNG\r\n\x1a\n"


async def _waits_for_page(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    """Calls the page, and when that has answered waits at the gate that the prompt names."""
    result = messages[-1].parts[-1]
    if not isinstance(result, ToolReturnPart):
        yield {0: DeltaToolCall("browse", "{}", tool_call_id=f"browse-{len(messages)}")}
        return
    yield "Seen "
    prompt = messages[0].parts[-1]
    await gates[str(prompt.content) if isinstance(prompt, UserPromptPart) else ""].passed()
    yield result.model_response_str()


async def _browses(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    """Calls the page, unless it was told something else meanwhile; then it tells all that it knows."""
    if len(messages) == 1:
        yield {0: DeltaToolCall("browse", "{}", tool_call_id="browse-1")}
    else:
        yield f"Told: {transcript(messages)}."


async def _draws(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    if isinstance(messages[-1].parts[-1], ToolReturnPart) or len(messages[-1].parts) > 1:
        yield "Drawn."
    else:
        yield {0: DeltaToolCall("draw", "{}", tool_call_id=f"draw-{len(messages)}")}


waits_for_page = Agent(FunctionModel(stream_function=_waits_for_page), output_type=[str, DeferredToolRequests])
browses = Agent(FunctionModel(stream_function=_browses), output_type=[str, DeferredToolRequests])
draws = Agent(FunctionModel(stream_function=_draws))


@draws.tool_plain
def draw() -> list[Any]:
    """Gives a text and a picture."""
    return ["A picture:", BinaryContent(PIXEL, media_type="image/png")]


async def _wires(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    if isinstance(messages[-1].parts[-1], ToolReturnPart):
        yield "Wired."
    else:
        yield {0: DeltaToolCall("wire", "{}", tool_call_id=f"wire-{len(messages)}")}


wires_twice = Agent(FunctionModel(stream_function=_wires), output_type=[str, DeferredToolRequests])
"""Has a tool that asks again after the first yes."""

asked_for: Counter[str] = Counter()
"""By conversation."""


@wires_twice.tool
async def wire(ctx: RunContext[object]) -> str:
    """Wires money, when it was told twice to."""
    asked_for[ctx.conversation_id or ""] += 1
    if asked_for[ctx.conversation_id or ""] <= len(("one yes", "another")):
        raise ApprovalRequired
    return "sent"

"""An agent whose structured output a test holds in the middle, at the gate that its prompt names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pydantic_ai import Agent
from pydantic_ai.messages import ModelRequest, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from run_probes import gates

from agents.extractor import Contact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage

    Stream = AsyncIterator[dict[int, DeltaToolCall]]


async def _half_a_contact(messages: list[ModelMessage], info: AgentInfo) -> Stream:
    yield {0: DeltaToolCall(info.output_tools[0].name, '{"name": "Ada",', tool_call_id="call-1")}
    passing = asyncio.ensure_future(gates[_prompt(messages)].passed())
    while not passing.done():  # pieces are gathered, so the name comes with the next ones
        await asyncio.wait([passing], timeout=0.02)
        yield {0: DeltaToolCall(json_args=" ")}
    yield {0: DeltaToolCall(json_args='"company": "Analytical Engines"}')}


def _prompt(messages: list[ModelMessage]) -> str:
    parts = [part for message in messages if isinstance(message, ModelRequest) for part in message.parts]
    return str(next(part.content for part in parts if isinstance(part, UserPromptPart)))


filling = Agent(FunctionModel(stream_function=_half_a_contact), name="filling", output_type=Contact)

"""Agents for tests of CopilotKit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic_ai import Agent
from pydantic_ai.messages import TextPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from run_probes import gates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage

SUGGEST = "copilotkitSuggest"


async def _suggests(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
    forced = (info.model_settings or {}).get("tool_choice")
    if forced != [SUGGEST]:
        yield f"Not asked to suggest anything, but {forced}."
        return
    kinds = [part.part_kind for message in messages for part in message.parts]
    suggestions = [{"title": "Kinds", "message": " ".join(kinds)}, {"title": "More", "message": "Tell me more"}]
    yield {0: DeltaToolCall(SUGGEST, json.dumps({"suggestions": suggestions}), tool_call_id=f"s-{len(messages)}")}


async def _waits(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    yield "Well, "
    await gates[_texts(messages)[-1]].passed()


async def _tells(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[dict[int, DeltaToolCall]]:
    """What it was told of the conversation."""
    yield {0: DeltaToolCall(SUGGEST, json.dumps({"told": _texts(messages)}), tool_call_id="s-1")}


def _texts(messages: list[ModelMessage]) -> list[str]:
    parts = [part for message in messages for part in message.parts]
    return [str(part.content) for part in parts if isinstance(part, UserPromptPart | TextPart)]


suggesting = Agent(FunctionModel(stream_function=_suggests), name="suggesting")
waiting = Agent(FunctionModel(stream_function=_waits), name="waiting")
telling = Agent(FunctionModel(stream_function=_tells), name="telling")


@suggesting.tool_plain(requires_approval=True)
def pay() -> str:
    """Pay."""
    return "Paid."

"""Agents for tests of CopilotKit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic_ai import Agent
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

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


suggesting = Agent(FunctionModel(stream_function=_suggests), name="suggesting")


@suggesting.tool_plain(requires_approval=True)
def pay() -> str:
    """Pay."""
    return "Paid."

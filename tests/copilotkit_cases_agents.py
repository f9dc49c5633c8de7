"""Agents for the cases that are played on more than one CopilotKit runtime; nothing in them knows of the gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ag_ui.core import ActivitySnapshotEvent, StateDeltaEvent, StateSnapshotEvent
from pydantic import BaseModel
from pydantic_ai import Agent, RunContext, ToolReturn
from pydantic_ai.messages import ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.ui import StateDeps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage

    Stream = AsyncIterator[str | dict[int, DeltaToolCall]]

SUGGEST = "copilotkitSuggest"


async def _suggests(messages: list[ModelMessage], info: AgentInfo) -> Stream:
    if SUGGEST in {tool.name for tool in info.function_tools}:
        suggestions = [{"title": "More", "message": "Tell me more"}]
        yield {0: DeltaToolCall(SUGGEST, json.dumps({"suggestions": suggestions}), tool_call_id=f"s-{len(messages)}")}
    else:
        yield "Nothing to suggest."


async def _searches(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    if isinstance(messages[-1].parts[-1], ToolReturnPart):
        yield "Found."
    else:
        yield {0: DeltaToolCall("search", "{}", tool_call_id=f"search-{len(messages)}")}


class Count(BaseModel):
    """State that an agent and its page share."""

    number: int = 0


async def _counts(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    asked = messages[-1].parts[-1]
    if isinstance(asked, UserPromptPart) and asked.content in ("count", "change"):
        yield {0: DeltaToolCall(str(asked.content), "{}", tool_call_id=f"count-{len(messages)}")}
    else:
        yield "Counted."


suggesting = Agent(FunctionModel(stream_function=_suggests))
searching = Agent(FunctionModel(stream_function=_searches))
counting = Agent(FunctionModel(stream_function=_counts), deps_type=StateDeps[Count])


@searching.tool_plain
def search() -> ToolReturn:
    """Shows what it does while it does it."""
    shown = ActivitySnapshotEvent(message_id="activity-1", activity_type="search", content={"pages": 3})
    return ToolReturn("3 pages", metadata=[shown])


@counting.tool
def count(ctx: RunContext[StateDeps[Count]]) -> ToolReturn:
    """Adds one, and tells the whole state."""
    ctx.deps.state.number += 1
    return ToolReturn("one more", metadata=[StateSnapshotEvent(snapshot=ctx.deps.state.model_dump())])


@counting.tool
def change(ctx: RunContext[StateDeps[Count]]) -> ToolReturn:
    """Adds one, and tells what has changed."""
    ctx.deps.state.number += 1
    patch = {"op": "replace", "path": "/number", "value": ctx.deps.state.number}
    return ToolReturn("one more", metadata=[StateDeltaEvent.model_validate({"delta": [patch]})])


def make_count(_principal: object) -> StateDeps[Count]:
    """Fresh state."""
    return StateDeps(Count())

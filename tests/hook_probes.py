"""Agents that show what only a front end of the AI SDK can, for tests with its clients."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelRequest, ToolReturn, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.ui.vercel_ai.response_types import DataChunk, FileChunk, SourceDocumentChunk, SourceUrlChunk
from run_probes import gates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage

    Stream = AsyncIterator[str | dict[int, DeltaToolCall]]

PIXEL = "data:image/png;base64,iVBORw0KGgo="


async def _shows(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    if isinstance(messages[-1].parts[-1], ToolReturnPart):
        yield "There."
    else:
        yield {0: DeltaToolCall("show", "{}", tool_call_id=f"show-{len(messages)}")}


showing = Agent(FunctionModel(stream_function=_shows), name="showing")
"""Its tool sends everything to the front end that a tool can."""


@showing.tool_plain
def show() -> ToolReturn:
    """Shows."""
    progress = [DataChunk(type="data-progress", id="p", data={"percent": percent}) for percent in (10, 100)]
    return ToolReturn(
        "shown",
        metadata=[
            DataChunk(type="data-toast", data={"text": "Working"}, transient=True),
            *progress,
            DataChunk(type="data-nothing", id="n", data=None),
            SourceUrlChunk(source_id="s1", url="https://docs.example/a", title="A"),
            SourceDocumentChunk(source_id="s2", media_type="application/pdf", title="B", filename="b.pdf"),
            FileChunk(url=PIXEL, media_type="image/png"),
            FileChunk(url="https://files.example/c.png", media_type="image/png"),
        ],
    )


def _prompt(messages: list[ModelMessage]) -> str:
    request = messages[-1]
    assert isinstance(request, ModelRequest)
    return str(next(part.content for part in request.parts if isinstance(part, UserPromptPart)))


async def _fails_late(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    yield "Half an "
    await gates[_prompt(messages)].passed()
    raise RuntimeError


failing_late = Agent(FunctionModel(stream_function=_fails_late), name="failing_late")
"""Says something, waits at the gate that its prompt names, and fails."""


class Contact(BaseModel):
    """An answer in data."""

    name: str
    email: str


async def _fills_in(messages: list[ModelMessage], info: AgentInfo) -> Stream:
    yield {0: DeltaToolCall(info.output_tools[0].name, '{"name": "Ann"', tool_call_id="c")}
    await asyncio.sleep(0.15)  # no more than ten times a second is looked at what there is
    yield {0: DeltaToolCall(json_args=", ", tool_call_id="c")}
    await gates[_prompt(messages)].passed()
    if _prompt(messages).startswith("fail"):
        raise RuntimeError
    yield {0: DeltaToolCall(json_args='"email": "ann@acme.example"}', tool_call_id="c")}


filling_in = Agent(FunctionModel(stream_function=_fills_in), name="filling_in", output_type=Contact)
"""Gives one field, waits at the gate that its prompt names, and gives the other; or fails, if it is told so."""

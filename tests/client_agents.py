"""Agents for tests of the Python clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import BaseModel
from pydantic_ai import Agent, DeferredToolRequests, TextOutput
from pydantic_ai.messages import ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage

    Stream = AsyncIterator[str | dict[int, DeltaToolCall]]


class Contact(BaseModel):
    """Whom to call."""

    name: str
    city: str | None = None
    languages: list[str] = []


ADA = Contact(name="Ada Lovelace", city="London", languages=["English", "French"])


async def _says_then_asks(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    """Says something that is not the answer, and pays."""
    results = [part for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
    if results:
        yield f"The result: {results[0].model_response_str(wrap_if_error=False)}"
    else:
        yield "Let me "
        yield "see. "
        yield {0: DeltaToolCall("look", '{"place": "here"}', tool_call_id="call-1")}


async def _fills_in(_messages: list[ModelMessage], info: AgentInfo) -> Stream:
    """A contact, in pieces."""
    text = json.dumps(ADA.model_dump())
    yield {0: DeltaToolCall(info.output_tools[0].name, tool_call_id="call-1")}
    for at in range(0, len(text), 5):
        yield {0: DeltaToolCall(json_args=text[at : at + 5])}


def count_words(text: str) -> dict[str, int]:
    """An output function."""
    return {"words": len(text.split())}


counting = Agent(
    TestModel(custom_output_text="Three short words"), name="counting", output_type=TextOutput(count_words)
)
asking = Agent(FunctionModel(stream_function=_says_then_asks), name="asking", output_type=[str, DeferredToolRequests])
contact = Agent(FunctionModel(stream_function=_fills_in), name="contact", output_type=Contact)


@asking.tool_plain
def look(place: str) -> str:
    """Looks."""
    return f"nothing {place}"

"""Agents for tests of plain streams: each shows one thing that a stream has to tell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_ai import (
    Agent,
    ModelRetry,
    RunContext,
    TextOutput,
)
from pydantic_ai.messages import ModelRequest, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel
from run_probes import gates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.settings import ModelSettings

    Stream = AsyncIterator[Any]

SECRET = "postgres://admin:hunter2@db.internal/prod"
"""What nobody outside may read."""


def prompt_of(messages: list[ModelMessage]) -> str:
    """The last thing that the user said."""
    parts = [part for message in messages if isinstance(message, ModelRequest) for part in message.parts]
    return str(next(part.content for part in reversed(parts) if isinstance(part, UserPromptPart)))


def has_result(messages: list[ModelMessage]) -> bool:
    """Whether a tool has just answered."""
    return isinstance(messages[-1].parts[-1], ToolReturnPart)


def model(function: Any) -> FunctionModel:
    """A model that streams what the function yields."""
    return FunctionModel(stream_function=function)


async def _improves(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    retried = len(messages) > 1
    yield "Bad " if not retried else "Good "
    yield "answer."


wavering = Agent(model(_improves), name="wavering")


@wavering.output_validator
def is_good(ctx: RunContext[Any], output: str) -> str:
    """Sends the model back once, with words that are meant for it alone."""
    if not ctx.partial_output and output.startswith("Bad"):
        raise ModelRetry(SECRET)
    return output


def shout(text: str) -> str:
    """An output function from text to text."""
    return text.upper()


shouting = Agent(model(_improves), name="shouting", output_type=TextOutput(shout))

counted: list[int] = []
"""Calls of the output function below."""


def count_words(text: str) -> int:
    """An output function."""
    counted.append(1)
    return len(text.split())


counting = Agent(model(_improves), name="counting", output_type=TextOutput(count_words))


async def _thinks(_messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    yield {0: DeltaThinkingPart(content="Hm, ")}
    yield {0: DeltaThinkingPart(content="seven?")}
    yield "Seven."


thinking = Agent(model(_thinks), name="thinking")


class Person(BaseModel):
    """Structured output."""

    name: str
    age: int
    tags: list[str] = []


PERSON = '{"name": "Ada Lovelace", "age": 36, "tags": ["maths", "engines"]}'


async def _describes(messages: list[ModelMessage], info: AgentInfo) -> Stream:
    text = PERSON if prompt_of(messages) == "Hello" else prompt_of(messages)
    yield {0: DeltaToolCall(info.output_tools[0].name, tool_call_id=f"out-{len(messages)}")}
    for start in range(0, len(text), 4):
        yield {0: DeltaToolCall(json_args=text[start : start + 4])}


describing = Agent(model(_describes), name="describing", output_type=Person)


async def _describes_half(messages: list[ModelMessage], info: AgentInfo) -> Stream:
    yield {0: DeltaToolCall(info.output_tools[0].name, tool_call_id="out-1")}
    for piece in ('{"na', 'me": "Ada', " Love", 'lace", "age": 3'):
        yield {0: DeltaToolCall(json_args=piece)}
    if "wait" in prompt_of(messages):
        await gates[prompt_of(messages)].passed()
    raise RuntimeError(SECRET)


breaking = Agent(model(_describes_half), name="breaking", output_type=Person)

made: list[Person] = []
"""What the output function below was given."""


def make(person: Person) -> dict[str, str]:
    """An output function with an effect."""
    made.append(person)
    return {"made": person.name}


making = Agent(model(_describes), name="making", output_type=make)


async def _corrects(messages: list[ModelMessage], info: AgentInfo) -> Stream:
    age = "36" if len(messages) > 1 else '"old"'
    yield {0: DeltaToolCall(info.output_tools[0].name, tool_call_id=f"out-{len(messages)}")}
    for piece in ('{"name": "Ad', f'a", "age": {age}', "}"):
        yield {0: DeltaToolCall(json_args=piece)}


correcting = Agent(model(_corrects), name="correcting", output_type=Person, retries=2)


async def _never_fits(messages: list[ModelMessage], info: AgentInfo) -> Stream:
    yield {0: DeltaToolCall(info.output_tools[0].name, '{"name": 1', tool_call_id=f"out-{len(messages)}")}
    yield {0: DeltaToolCall(json_args=', "age": "x"}')}


unfit = Agent(model(_never_fits), name="unfit", output_type=Person)

either = Agent(model(_improves), name="either", output_type=[str, Person])

settings: list[ModelSettings | None] = []
"""What the model below was asked with."""


async def _tells_settings(_messages: list[ModelMessage], info: AgentInfo) -> Stream:
    settings.append(info.model_settings)
    yield "Noted."


modest = Agent(model(_tells_settings), name="modest", model_settings={"max_tokens": 500})


async def _trickles(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    for letter in "abcdefghij":
        await asyncio.sleep(0)
        yield letter
    if prompt_of(messages).startswith("wait"):
        await gates[prompt_of(messages)].passed()
        yield "!"


trickling = Agent(model(_trickles), name="trickling")

"""Agents for tests of threads: what they say shows what they were told, and what they did is written down."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from pydantic import BaseModel
from pydantic_ai import Agent, DeferredToolRequests, RunContext
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.ui import StateDeps
from run_probes import gates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage

    Stream = AsyncIterator[str | dict[int, DeltaToolCall]]

paid: list[tuple[str, float]] = []
"""Payments that were really made: (recipient, amount)."""


def transcript(messages: list[ModelMessage]) -> str:
    """The history in a line: what a model is told."""
    lines: list[str] = []
    for message in messages:
        for part in message.parts:
            if isinstance(part, UserPromptPart):
                lines.append(f"U:{part.content if isinstance(part.content, str) else len(part.content)}")
            elif isinstance(part, TextPart):
                lines.append(f"A:{part.content}")
            elif isinstance(part, ToolReturnPart):
                lines.append(f"{part.outcome}:{part.model_response_str(wrap_if_error=False)}")
    return " | ".join(lines)


def _last(messages: list[ModelMessage]) -> tuple[str, list[ToolReturnPart]]:
    """The last prompt, and the results that came after the last answer."""
    prompt, results = "", list[ToolReturnPart]()
    for message in messages:
        if isinstance(message, ModelResponse):
            results = []
            continue
        results += [part for part in message.parts if isinstance(part, ToolReturnPart)]
        prompts = [part.content for part in message.parts if isinstance(part, UserPromptPart)]
        if prompts and isinstance(prompts[-1], str):
            prompt = prompts[-1]
    return prompt, results


async def _tells(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    """Says how many messages it was told and what the user said; some prompts make it stop half-way."""
    prompt, _ = _last(messages)
    said = [
        part.content
        for m in messages
        if isinstance(m, ModelRequest)
        for part in m.parts
        if isinstance(part, UserPromptPart)
    ]
    yield "You said: " + ", ".join(item if isinstance(item, str) else "a file" for item in said)
    if prompt.startswith("fail"):
        raise RuntimeError("as asked")
    if prompt.startswith("wait"):
        await gates[prompt].passed()
    yield "."


teller = Agent(FunctionModel(stream_function=_tells), name="teller")

instructed = Agent(FunctionModel(stream_function=_tells), name="instructed", instructions="Tell what was said.")


async def _pays(messages: list[ModelMessage], info: AgentInfo) -> Stream:
    prompt, results = _last(messages)
    tools = {tool.name for tool in info.function_tools}
    if results:
        yield "; ".join(f"{part.outcome} {part.model_response_str(wrap_if_error=False)}" for part in results)
        return
    payments = re.findall(r"pay (\w+) (\d+)", prompt)
    for number, (recipient, amount) in enumerate(payments):
        args = json.dumps({"recipient": recipient, "amount": int(amount)})
        yield {number: DeltaToolCall("pay", args, tool_call_id=f"pay-{recipient}-{len(messages)}")}
    if "browse" in prompt and "browse" in tools:
        yield {len(payments): DeltaToolCall("browse", '{"page": "home"}', tool_call_id=f"browse-{len(messages)}")}
    elif not payments:
        yield "Told: " + transcript(messages)


payer = Agent(FunctionModel(stream_function=_pays), name="payer", output_type=[str, DeferredToolRequests])


@payer.tool_plain(requires_approval=True)
async def pay(recipient: str, amount: float) -> str:
    """Pays, really; `slow` waits for a gate before it does."""
    if recipient == "slow":
        await gates["slow"].passed()
    paid.append((recipient, amount))
    return f"paid {amount:g} to {recipient}"


class Notes(BaseModel):
    """State that an agent and its front end share."""

    items: list[str] = []


def make_notes(_principal: object) -> StateDeps[Notes]:
    """Fresh state."""
    return StateDeps(Notes())


async def _notes(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    prompt, results = _last(messages)
    if results:
        yield results[-1].model_response_str()
    else:
        yield {0: DeltaToolCall("note", json.dumps({"item": prompt}), tool_call_id=f"note-{len(messages)}")}


noting = Agent(FunctionModel(stream_function=_notes), name="noting", deps_type=StateDeps[Notes])


@noting.tool
def note(ctx: RunContext[StateDeps[Notes]], item: str) -> str:
    """Notes something in the state; `!` notes nothing."""
    if item != "!":
        ctx.deps.state.items.append(item)
    return "notes: " + ", ".join(ctx.deps.state.items)

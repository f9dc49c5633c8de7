"""Agents that look at the page they talk to, and write into it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict
from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai.messages import ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.ui import StateDeps
from run_probes import gates
from thread_probes import transcript

from gateway import ContextInstructions, PredictState, client_input

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage

    Stream = AsyncIterator[str | dict[int, DeltaToolCall]]


class Page(BaseModel):
    """The properties that a page is to send."""

    model_config = ConfigDict(extra="forbid")

    plan: str
    nested: dict[str, list[int]] = {}
    seats: int = 1


async def _asks_the_page(messages: list[ModelMessage], info: AgentInfo) -> Stream:
    """Calls its tool, then tells all that the model knows."""
    if isinstance(messages[-1].parts[-1], ToolReturnPart):
        yield f"{transcript(messages)} / {info.instructions or 'no instructions'}"
    else:
        yield {0: DeltaToolCall("look", "{}", tool_call_id=f"look-{len(messages)}")}


looking = Agent(FunctionModel(stream_function=_asks_the_page), name="looking")
"""Has a tool that looks at what the page sent."""

instructed = Agent(FunctionModel(stream_function=_asks_the_page), capabilities=[ContextInstructions(max_chars=200)])
"""And an author who passes the page's context on to the model."""


@looking.tool
@instructed.tool
async def look(ctx: RunContext[object]) -> dict[str, Any]:
    """Looks at the page."""
    page = client_input(ctx)
    return {"path": page.value("path"), "items": len(page.context), "properties": dict(page.properties)}


typed = Agent(FunctionModel(stream_function=_asks_the_page), name="typed")


@typed.tool(name="look")
def look_at_plan(ctx: RunContext[object]) -> str:
    """Looks at the page's plan, in a thread."""
    page = client_input(ctx).properties_as(Page)
    return f"{page.plan} for {page.seats}"


class Draft(BaseModel):
    """State."""

    document: str = ""
    kept: str = "as it was"


@dataclass
class Writing:
    """How a test wants the document written: the pieces of the arguments, with gates between them."""

    prefix: str
    text: str
    pieces: int = 4


async def _writes(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    """Calls `write` with its arguments in the pieces that the prompt says, with a gate before each but the first."""
    last = messages[-1].parts[-1]
    if not isinstance(last, UserPromptPart):
        yield "Written."
        return
    asked = Writing(**json.loads(str(last.content)))
    arguments = json.dumps({"title": "A/B", "text": asked.text})
    size = -(-len(arguments) // asked.pieces)
    for number, start in enumerate(range(0, len(arguments), size)):
        if number:
            await gates[f"{asked.prefix}-{number}"].passed()
        name = "" if number else "write"
        yield {0: DeltaToolCall(name or None, arguments[start : start + size], tool_call_id=f"write-{asked.prefix}")}


def _writer(*capabilities: PredictState) -> Agent[StateDeps[Draft], str]:
    agent = Agent(FunctionModel(stream_function=_writes), deps_type=StateDeps[Draft], capabilities=capabilities)

    @agent.tool
    async def write(ctx: RunContext[StateDeps[Draft]], title: str, text: str) -> str:
        """Writes the document."""
        if "refuse" in text:
            raise ModelRetry("Not that.")
        if "break" in text:
            raise RuntimeError("broken")
        ctx.deps.state.document = f"{title}: {text}"
        return "Kept."

    return agent


def make_draft(_principal: object) -> StateDeps[Draft]:
    """Fresh dependencies."""
    return StateDeps(Draft())


writing = _writer(PredictState("write", argument="text", state="document"))
writing_all = _writer(PredictState("write", state="a/b~c"))
writing_two = _writer(PredictState("write", argument="text", state="one"), PredictState("write", argument="title"))
writing_unseen = _writer()

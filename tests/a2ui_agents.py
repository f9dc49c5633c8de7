"""Agents that show interfaces. What their model writes, piece by piece, is in the prompt: see `Script`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.messages import ModelRequest, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from run_probes import gates

from gateway import A2ui

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from pydantic_ai.messages import ModelMessage

    Stream = AsyncIterator[str | dict[int, DeltaToolCall]]
    Json = dict[str, Any]

COMPONENTS: list[Json] = [
    {"id": "root", "component": "Column", "children": ["title", "list", "buy"]},
    {"id": "title", "component": "Text", "text": {"path": "/title"}},
    {"id": "list", "component": "List", "children": {"componentId": "row", "path": "/items"}},
    {"id": "row", "component": "Text", "text": {"path": "name"}},
    {"id": "buy", "component": "Button", "child": "buy-text", "action": {"event": {"name": "buy"}}},
    {"id": "buy-text", "component": "Text", "text": "Buy"},
]
ITEMS: list[Json] = [{"name": f"Item {number}", "note": "x" * 60} for number in range(6)]
ARGUMENTS: Json = {"surfaceId": "shop", "components": COMPONENTS, "data": {"title": "Shop", "items": ITEMS}}
OPERATIONS: list[Json] = [
    {"version": "v0.9", "createSurface": {"surfaceId": name, "catalogId": "c"}} for name in ("one", "two")
]


def script(*attempts: Sequence[str | Json] | Json, gate: str = "", tool: str = "render_a2ui") -> str:
    """A prompt.

    Args:
        attempts: the arguments of one call after another until one is right; in pieces, with `{"gate": name}` where
            the model waits, and `{"repeat": text, "times": number}` for more than fits into a prompt.
        gate: where it waits when the call is answered.
        tool: what it calls.
    """
    written = [[json.dumps(each)] if isinstance(each, dict) else list(each) for each in attempts]
    return json.dumps({"attempts": written, "gate": gate, "tool": tool})


def cut(text: str, pieces: int) -> list[str]:
    """The text in that many pieces."""
    size = -(-len(text) // pieces)
    return [text[at : at + size] for at in range(0, len(text), size)]


async def _writes(messages: list[ModelMessage], info: AgentInfo) -> Stream:
    prompt, since = _prompt(messages)
    asked: Any = json.loads(prompt) if prompt.startswith('{"attempts"') else None
    tools = {tool.name: tool for tool in info.function_tools}
    results = [part for message in since for part in message.parts if isinstance(part, ToolReturnPart)]
    if prompt == "tools":
        yield json.dumps({name: [tool.description, tool.parameters_json_schema] for name, tool in tools.items()})
    elif asked is None:
        yield f"Heard: {prompt}"
    elif asked["tool"] not in tools:
        yield "I cannot show anything."
    elif results and results[-1].outcome == "success":
        yield "Shown "
        if asked["gate"]:
            await gates[asked["gate"]].passed()
        yield "now."
    elif len(results) == len(asked["attempts"]):
        yield "I give up."
    else:
        yield {0: DeltaToolCall(asked["tool"], "", tool_call_id=f"call-{len(messages)}")}
        async for written in _pieces(asked["attempts"][len(results)]):
            yield {0: DeltaToolCall(json_args=written)}


async def _pieces(pieces: list[Any]) -> AsyncIterator[str]:
    for piece in pieces:
        if isinstance(piece, str):
            yield piece
        elif "repeat" in piece:
            for _ in range(piece["times"]):
                yield piece["repeat"]
        else:
            await gates[piece["gate"]].passed()


def _prompt(messages: list[ModelMessage]) -> tuple[str, list[ModelMessage]]:
    """What the user said last, and what came after it."""
    for at in reversed(range(len(messages))):
        prompts = [part.content for part in messages[at].parts if isinstance(part, UserPromptPart)]
        if isinstance(messages[at], ModelRequest) and prompts:
            return str(prompts[-1]), messages[at:]
    return "", messages


MODEL = FunctionModel(stream_function=_writes)

plain = Agent(MODEL, output_type=[str, DeferredToolRequests])
own = Agent(MODEL, capabilities=[A2ui(guidelines="Be brief.")], output_type=[str, DeferredToolRequests])


@own.tool_plain
def report(surfaces: int) -> dict[str, Any]:
    """Gives operations for so many surfaces."""
    return {"a2ui_operations": OPERATIONS[:surfaces]}


@plain.tool_plain(name="report")
def report_of_plain(surfaces: int) -> dict[str, Any]:
    """The same."""
    return {"a2ui_operations": OPERATIONS[:surfaces]}


async def _browses(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    """Answers an action by calling the page, and tells what it heard when that has answered."""
    prompt, since = _prompt(messages)
    if not prompt.startswith("Action"):
        yield "Hello."
    elif len(since) == 1:
        yield {0: DeltaToolCall("browse", "{}", tool_call_id=f"browse-{len(messages)}")}
    else:
        prompts = [part for each in messages for part in each.parts if isinstance(part, UserPromptPart)]
        yield f"Seen, after {len(prompts)} messages."


async def _asks_first(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    answered = [part.tool_name for each in messages for part in each.parts if isinstance(part, ToolReturnPart)]
    if not answered:
        yield {0: DeltaToolCall("permit", "{}", tool_call_id="permit-1")}
    elif answered == ["permit"]:
        yield {0: DeltaToolCall("render_a2ui", json.dumps(ARGUMENTS), tool_call_id="render-1")}
    elif len(answered) == 2:
        yield {0: DeltaToolCall("report", '{"surfaces": 2}', tool_call_id="report-1")}
    else:
        yield "Done."


homemade = Agent(MODEL, output_type=[str, DeferredToolRequests])
browses = Agent(FunctionModel(stream_function=_browses), output_type=[str, DeferredToolRequests])
asks_first = Agent(
    FunctionModel(stream_function=_asks_first),
    output_type=[str, DeferredToolRequests],
    capabilities=[A2ui()],
)


@homemade.tool_plain
def render_a2ui(surface: str) -> str:
    """A tool of the author's, that only has the name."""
    return f"drawn {surface}"


@asks_first.tool_plain(requires_approval=True)
def permit() -> str:
    """Asks for a permission."""
    return "permitted"


@asks_first.tool_plain(name="report")
def report_of_asks_first(surfaces: int) -> str:
    """The same as text."""
    return json.dumps({"a2ui_operations": OPERATIONS[:surfaces]})

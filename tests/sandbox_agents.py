"""What a model writes for a sandbox in the page (open generative UI), and agents whose models do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ag_ui.core import ActivitySnapshotEvent
from pydantic_ai import Agent, DeferredToolRequests, ToolReturn
from pydantic_ai.messages import ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from run_probes import gates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage

    Stream = AsyncIterator[str | dict[int, DeltaToolCall]]
    Json = dict[str, Any]

NAME = "generateSandboxedUi"
TOOL: Json = {
    "name": NAME,
    "description": "Generate sandboxed UI.",
    "parameters": {"type": "object", "properties": {"html": {"type": "string"}}},
}
"""As a CopilotKit page brings it along, by and large."""

ARGUMENTS: Json = {
    "initialHeight": 320,
    "placeholderMessages": ["Mixing colours", "Painting"],
    "css": "body { font: 14px system-ui; }\n.é { color: red; }",
    "html": "<main>\n"
    + "".join(f'<p class="é">Row {number} \U0001f600 \\o/</p>\n' for number in range(12))
    + "</main>",
    "jsFunctions": "function paint(n) { document.title = n; }",
    "jsExpressions": ["paint(1)", 'paint("2")'],
}
DRAWN: Json = {
    "generating": False,
    "initialHeight": 320,
    "placeholderMessages": ARGUMENTS["placeholderMessages"],
    "css": ARGUMENTS["css"],
    "cssComplete": True,
    "html": [ARGUMENTS["html"]],
    "htmlComplete": True,
    "jsFunctions": ARGUMENTS["jsFunctions"],
    "jsFunctionsComplete": True,
    "jsExpressions": ARGUMENTS["jsExpressions"],
    "jsExpressionsComplete": True,
}
"""What the page has of that in the end."""


def joined(content: Json) -> Json:
    """The same with the pieces of HTML in one, as the page draws them."""
    return {**content, "html": ["".join(content["html"])]} if "html" in content else content


async def _paints(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    """Waits in mid-HTML at the gate that the prompt names, and tells what the page gives back."""
    asked = messages[-1].parts[-1]
    if isinstance(asked, UserPromptPart):
        text = json.dumps(ARGUMENTS)
        middle = text.index("Row 6")
        yield {0: DeltaToolCall(NAME, text[:middle], tool_call_id=f"ui-{len(messages)}")}
        await gates[str(asked.content)].passed()
        yield {0: DeltaToolCall(json_args=text[middle:])}
    else:
        yield f"Painted: {asked.content if isinstance(asked, ToolReturnPart) else asked}."


paints = Agent(FunctionModel(stream_function=_paints), output_type=[str, DeferredToolRequests])


async def _asks_first(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    answered = [part.tool_name for each in messages for part in each.parts if isinstance(part, ToolReturnPart)]
    if not answered:
        yield {0: DeltaToolCall("permit", "{}", tool_call_id="permit-1")}
    elif answered == ["permit"]:
        yield {0: DeltaToolCall(NAME, json.dumps(ARGUMENTS), tool_call_id="ui-1")}
        yield {1: DeltaToolCall("mark", '{"html": "<b>"}', tool_call_id="mark-1")}
    else:
        yield "Done."


asks_first = Agent(FunctionModel(stream_function=_asks_first), output_type=[str, DeferredToolRequests])


@asks_first.tool_plain(requires_approval=True)
def permit() -> str:
    """Asks for a permission."""
    return "permitted"


@asks_first.tool_plain
def mark(html: str) -> ToolReturn:
    """Shows an activity of its own."""
    return ToolReturn(html, metadata=[ActivitySnapshotEvent(message_id="its-own", activity_type="mark", content={})])


homemade = Agent(FunctionModel(stream_function=_asks_first), output_type=[str, DeferredToolRequests])


@homemade.tool_plain(name="permit")
def permit_of_homemade() -> str:
    """The same without a question."""
    return "permitted"


@homemade.tool_plain(name="mark")
def mark_of_homemade(html: str) -> str:
    """Shows nothing."""
    return html


@homemade.tool_plain(name=NAME)
def homemade_ui(html: str, **_rest: Any) -> str:
    """A tool of the author's, that draws by its name alone."""
    return f"{len(html)} characters"

"""The body of an AG-UI request -> what is new in it: the user's messages, answers to interrupts, results of tools.

`RunAgentInput` repeats the whole conversation with every run. With the server's history all of it up to the last answer
is cut off while it is plain JSON, so that its length costs no more than its parsing, and its shape does not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ag_ui.core import AssistantMessage, FunctionCall, TextInputContent, ToolCall, ToolMessage, UserMessage
from pydantic_ai.exceptions import UserError
from pydantic_ai.tools import DeferredToolResults
from pydantic_ai.ui.ag_ui import AGUIAdapter
from pydantic_core import from_json, to_json

from gateway.errors import MalformedBody
from gateway.frontend.client_input import ClientInput, ContextItem
from gateway.wires.untrusted import failure, prompt_in, result_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ag_ui.core import Message, RunAgentInput, Tool
    from pydantic_ai.exceptions import ToolFailed
    from pydantic_ai.messages import ModelRequest, ToolReturn

CLIENTS_OWN = frozenset(("a2uiAction", "a2uiCatalogAvailable", "injectA2UITool", "toolChoice", "__proxiedMCPRequest"))
"""Members of `forwardedProps` that CopilotKit adds to those of the page."""

NOT_A_TURN = frozenset(("system", "developer", "reasoning", "activity"))
"""Roles of messages that may stand behind the last answer and say nothing new."""


def new_in(body: bytes) -> RunAgentInput:
    """The request without the messages that a client only repeats. Raises `ValueError`."""
    try:
        data: Any = from_json(body)
    except ValueError:
        return whole(body)  # which says what is wrong with it
    if not isinstance(data, dict) or not isinstance(data.get("messages"), list):  # pyright: ignore[reportUnknownMemberType]
        return whole(body)
    fields = cast("dict[str, Any]", data)
    return whole(to_json({**fields, "messages": _behind_the_answer(fields["messages"])}))


def whole(body: bytes) -> RunAgentInput:
    """The request with all of its messages. Raises `ValueError`."""
    return AGUIAdapter[Any, Any].build_run_input(body)


def repeat_key(run_input: RunAgentInput, *, whole: bool) -> str:
    """`runId`; with the interrupts that are answered, since CopilotKit's `useInterrupt` answers as the run that asked.

    None for answers alone to a stored thread, which knows itself what was answered: a call may be asked about again.
    """
    asked = [entry.interrupt_id for entry in run_input.resume or ()]
    only_answers = bool(asked) and not whole and not prompts(run_input)
    return "" if only_answers else "/".join((run_input.run_id, *asked))


def prompts(run_input: RunAgentInput) -> list[UserMessage]:
    """The user's messages behind the last answer, oldest first."""
    found: list[UserMessage] = []
    for message in reversed(run_input.messages):
        if isinstance(message, AssistantMessage):
            break
        if isinstance(message, UserMessage):
            found.append(message)
    return found[::-1]


def text(message: UserMessage) -> str:
    """What the user wrote, without what is no text."""
    if isinstance(message.content, str):
        return message.content
    return "\n".join(part.text for part in message.content if isinstance(part, TextInputContent))


def tool_length(tools: Iterable[Tool]) -> int:
    """Characters of what the model reads of the client's tools."""
    return sum(len(tool.name) + len(tool.description) + len(to_json(tool.parameters).decode()) for tool in tools)


def request_of(message: UserMessage) -> ModelRequest:
    """A message of the user as the agent gets it. Raises `ValueError` for media that cannot be decoded."""
    return prompt_in(_load([message]))


def answers(run_input: RunAgentInput) -> DeferredToolResults:
    """`resume`, and the tool messages, by the calls that they answer. Raises `MalformedBody` or `ValueError`."""
    return DeferredToolResults(
        approvals=dict(_approvals(run_input)),
        calls={message.tool_call_id: _result(message) for message in tool_messages(run_input)},
    )


def state(run_input: RunAgentInput) -> dict[str, Any] | None:
    """The client's copy of the shared state; an empty one, which every client sends that has none, says nothing."""
    held: Any = run_input.state
    return held if isinstance(held, dict) and held else None  # pyright: ignore[reportUnknownVariableType]


def client_input(run_input: RunAgentInput) -> ClientInput:
    """`context`, and the page's own `forwardedProps`."""
    sent: Any = run_input.forwarded_props
    context = tuple(ContextItem(item.description, item.value) for item in run_input.context or ())
    members = cast("dict[str, Any]", sent) if isinstance(sent, dict) else {}
    return ClientInput(context, {name: value for name, value in members.items() if name not in CLIENTS_OWN})


def tool_messages(run_input: RunAgentInput) -> list[ToolMessage]:
    """Results for calls of the last answer, of a request without what a client repeats."""
    return [message for message in run_input.messages if isinstance(message, ToolMessage)]


def _behind_the_answer(messages: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for message in reversed(messages):
        role = message.get("role") if isinstance(message, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if role == "assistant":
            break
        if not isinstance(role, str) or role not in NOT_A_TURN:
            kept.append(message)
    return kept[::-1]


def _approvals(run_input: RunAgentInput) -> dict[str, Any]:
    # The adapter's own reading of `resume`: the ids that it gave the interrupts, and the schema that it gave them.
    reader = AGUIAdapter[Any, Any](cast("Any", None), run_input)
    try:
        results = reader.deferred_tool_results
    except UserError as error:
        msg = "resume: an entry does not fit the interrupt that it answers"
        raise MalformedBody(msg) from error
    return dict(results.approvals) if results else {}


def _result(message: ToolMessage) -> ToolReturn | ToolFailed:
    if message.error is not None:
        content = message.content
        return failure(content if isinstance(content, str) and content else message.error)
    # It has no name of its own; what `encrypted_value` claims of the outcome goes no further than the loading.
    call = ToolCall(id=message.tool_call_id, function=FunctionCall(name="client", arguments="{}"))
    return result_in(_load([AssistantMessage(id="", tool_calls=[call]), message]), message.tool_call_id)


def _load(messages: list[Message]) -> Any:
    return AGUIAdapter[Any, Any].load_messages(messages)

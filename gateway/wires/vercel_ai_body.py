"""The body of an AI SDK request -> what is new in it: the user's messages, approvals, results of tools.

`DefaultChatTransport` repeats the whole conversation with every request. With the server's history all of it before the
last answer is cut off while it is plain JSON, so that its length costs no more than its parsing, and its shape does not
matter. Of the last answer only the parts are kept that a client has said something in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from pydantic_ai import BinaryContent
from pydantic_ai.tools import DeferredToolResults
from pydantic_ai.ui.vercel_ai import VercelAIAdapter
from pydantic_ai.ui.vercel_ai.request_types import (
    DynamicToolOutputAvailablePart,
    DynamicToolOutputErrorPart,
    FileUIPart,
    RegenerateMessage,
    TextUIPart,
    ToolOutputAvailablePart,
    ToolOutputErrorPart,
    UIMessage,
)
from pydantic_core import from_json, to_json

from gateway.wires.untrusted import failure, prompt_in, result_in

if TYPE_CHECKING:
    from pydantic_ai.exceptions import ToolFailed
    from pydantic_ai.messages import ModelRequest, ToolReturn
    from pydantic_ai.ui.vercel_ai.request_types import RequestData, UIMessagePart

SdkVersion = Literal[5, 6, 7]
NEWEST: SdkVersion = 7

SAID_IN: dict[str, str] = {"approval-responded": "approval", "output-available": "output", "output-error": "errorText"}
"""States of a tool part in which a client has said something (or repeats what a tool of the server did), and where."""

ABOUT = ("type", "toolCallId", "state", "providerExecuted")
"""The fields that say what about. SDK 7 adds others at will, which pydantic-ai's models refuse."""


def new_in(body: bytes) -> RequestData:
    """The request without the messages that a client only repeats. Raises `ValueError`."""
    data = _fields(body)
    if data is None or not isinstance(data.get("messages"), list):
        return _whole(body)
    return _whole(to_json({**data, "messages": _from_the_answer(data["messages"])}))


def whole(body: bytes) -> RequestData:
    """The request with all of its messages. Raises `ValueError`."""
    data = _fields(body)
    return _whole(body if data is None else to_json(data))


def prompts(run_input: RequestData) -> list[UIMessage]:
    """The user's messages behind the last answer, oldest first."""
    found: list[UIMessage] = []
    for message in reversed(run_input.messages):
        if message.role == "assistant":
            break
        if message.role == "user":
            found.append(message)
    return found[::-1]


def text_length(message: UIMessage) -> int:
    """Characters of text."""
    return sum(len(part.text) for part in message.parts if isinstance(part, TextUIPart))


def request_of(message: UIMessage) -> ModelRequest:
    """A message of the user as the agent gets it. Raises `ValueError` for media that cannot be decoded."""
    for part in message.parts:
        if isinstance(part, FileUIPart) and part.url[:5].lower() == "data:":
            # pydantic-ai would take what cannot be decoded for the address of a picture.
            BinaryContent.from_data_uri(part.url)
    return prompt_in(VercelAIAdapter[Any, Any].load_messages([message]))


def answers(run_input: RequestData) -> DeferredToolResults:
    """What the last answer's tool parts hold, by the calls: of approvals, and of results."""
    # The adapter's own reading of approvals; an SDK without them has none to send.
    reader = VercelAIAdapter[Any, Any](cast("Any", None), run_input, sdk_version=NEWEST)
    approvals = reader.deferred_tool_results
    parts = [part for message in run_input.messages if message.role == "assistant" for part in message.parts]
    calls = {call: result for part in parts for call, result in _result(part)}
    return DeferredToolResults(approvals=dict(approvals.approvals) if approvals else {}, calls=calls)


def regenerate(run_input: RequestData) -> str | None:
    """The message to answer again: its id, or empty for the last one; none if the request asks for no such thing."""
    return run_input.message_id or "" if isinstance(run_input, RegenerateMessage) else None


def sdk_version(run_input: RequestData) -> SdkVersion:
    """The major version of the SDK to speak to."""
    asked: Any = (run_input.model_extra or {}).get("sdkVersion")
    return asked if asked in get_args(SdkVersion) else NEWEST


def continues(run_input: RequestData) -> bool:
    """Whether the request ends with an answer, which then goes on."""
    return bool(run_input.messages) and run_input.messages[-1].role == "assistant"


def _whole(body: bytes) -> RequestData:
    return VercelAIAdapter[Any, Any].build_run_input(body)


def _fields(body: bytes) -> dict[str, Any] | None:
    """The body's fields, with those that the documented persistence pattern `{id, message}` leaves out."""
    try:
        data: Any = from_json(body)
    except ValueError:
        return None
    if not isinstance(data, dict):
        return None
    fields = cast("dict[str, Any]", data)
    if {"trigger", "messages"} <= fields.keys():
        return fields
    fields = {"trigger": "submit-message", **fields}
    if "message" in fields:
        message = fields.pop("message")
        fields.setdefault("messages", [message])
    return fields


def _from_the_answer(messages: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "assistant":  # pyright: ignore[reportUnknownMemberType]
            kept.append(_said_in(cast("dict[str, Any]", message)))
            break
        kept.append(message)
    return kept[::-1]


def _said_in(answer: dict[str, Any]) -> dict[str, Any]:
    """An assistant's message, with no more than what the client may have said in it."""
    parts: Any = answer.get("parts")
    held = cast("list[Any]", parts) if isinstance(parts, list) else []
    said = [_said(cast("dict[str, Any]", part)) for part in held if isinstance(part, dict)]
    return {"id": "answer", "role": "assistant", "parts": [part for part in said if part]}


def _said(part: dict[str, Any]) -> dict[str, Any] | None:
    where = SAID_IN.get(str(part.get("state")))
    if where is None or part.get("preliminary"):
        return None
    said = {name: part[name] for name in ABOUT if name in part}
    if part.get("type") == "dynamic-tool":
        said["toolName"] = part.get("toolName")
    value: Any = part.get(where)
    if where == "approval" and isinstance(value, dict):
        approval = cast("dict[str, Any]", value)
        value = {name: approval[name] for name in ("id", "approved", "reason") if name in approval}
    return {**said, "input": None, where: value}


def _result(part: UIMessagePart) -> list[tuple[str, ToolReturn | ToolFailed]]:
    if isinstance(part, ToolOutputErrorPart | DynamicToolOutputErrorPart) and not part.provider_executed:
        return [(part.tool_call_id, failure(part.error_text))]
    if isinstance(part, ToolOutputAvailablePart | DynamicToolOutputAvailablePart) and not part.provider_executed:
        return [(part.tool_call_id, _output(part))]
    return []


def _output(part: ToolOutputAvailablePart | DynamicToolOutputAvailablePart) -> ToolReturn:
    plain = ToolOutputAvailablePart(type="tool-client", tool_call_id=part.tool_call_id, output=part.output)
    message = UIMessage(id="", role="assistant", parts=[plain])
    try:
        loaded = VercelAIAdapter[Any, Any].load_messages([message])
    except ValueError:
        # A file that is none. The message may only repeat what a tool of the server said, so it is not refused.
        plain.output = to_json(part.output).decode()
        loaded = VercelAIAdapter[Any, Any].load_messages([message])
    return result_in(loaded, part.tool_call_id)

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

from gateway.errors import MalformedBody
from gateway.frontend.client_input import ClientInput
from gateway.wires.untrusted import failure, prompt_in, result_in
from gateway.wires.vercel_ai.forward import messages_in, request_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_ai.exceptions import ToolFailed
    from pydantic_ai.messages import ModelRequest, ToolReturn
    from pydantic_ai.ui.vercel_ai.request_types import RequestData, UIMessagePart

    from gateway.wires.vercel_ai.forward import Place

SdkVersion = Literal[5, 6, 7]
NEWEST: SdkVersion = 7

SAID_IN: dict[str, str] = {"approval-responded": "approval", "output-available": "output", "output-error": "errorText"}
"""States of a tool part in which a client has said something (or repeats what a tool of the server did), and where."""

ABOUT = ("type", "toolCallId", "toolName", "state", "providerExecuted")
"""The fields that say what about."""

OWN_FIELDS = ("sdkVersion", "messageId")
"""What is known of a request beside the fields of pydantic-ai's models."""

NO_OBJECT = "body: Input should be a JSON object with `id` and `messages` (or `message`, the new one alone)"
NO_FILE = "url: The data URL of a file cannot be read"
NO_MESSAGES = "messages: Field required (or `message`, the new one alone)"


def new_in(body: bytes) -> RequestData:
    """The request without the messages that a client only repeats. Raises `MalformedBody`."""
    fields, messages = _fields(body)
    return _request(fields, _from_the_answer(messages))


def whole(body: bytes) -> RequestData:
    """The request with all of its messages. Raises `MalformedBody`."""
    return _request(*_fields(body))


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
    """A message of the user as the agent gets it. Raises `MalformedBody` for media that cannot be decoded."""
    for part in message.parts:
        if isinstance(part, FileUIPart) and part.url[:5].lower() == "data:":
            # pydantic-ai would take what cannot be decoded for the address of a picture.
            try:
                BinaryContent.from_data_uri(part.url)
            except ValueError as error:
                raise MalformedBody(NO_FILE) from error
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


def client_input(run_input: RequestData) -> ClientInput:
    """What `body` of `useChat` or of its transport adds to a request."""
    added = {name: value for name, value in (run_input.model_extra or {}).items() if name not in OWN_FIELDS}
    return ClientInput(properties=added)


def continues(run_input: RequestData) -> bool:
    """Whether the request ends with an answer, which then goes on."""
    return bool(run_input.messages) and run_input.messages[-1].role == "assistant"


def _request(fields: dict[str, Any], messages: Sequence[tuple[Place, Any]]) -> RequestData:
    request = request_in(fields)
    request.messages = [each for place, message in messages for each in messages_in(message, *place)]
    return request


def _fields(body: bytes) -> tuple[dict[str, Any], list[tuple[Place, Any]]]:
    """The body's fields, and its messages with their places: all, or the one of the pattern `{id, message}`."""
    try:
        data: Any = from_json(body)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise MalformedBody(NO_OBJECT)
    fields = cast("dict[str, Any]", data)
    one, messages = fields.pop("message", None), fields.pop("messages", None)
    if messages is None and one is not None:
        return fields, [(("message",), one)]
    if not isinstance(messages, list):
        raise MalformedBody(NO_MESSAGES if messages is None else "messages: Input should be a list")
    return fields, [(("messages", index), message) for index, message in enumerate(cast("list[Any]", messages))]


def _from_the_answer(messages: Sequence[tuple[Place, Any]]) -> list[tuple[Place, Any]]:
    kept: list[tuple[Place, Any]] = []
    for place, message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "assistant":  # pyright: ignore[reportUnknownMemberType]
            kept.append((place, _said_in(cast("dict[str, Any]", message))))
            break
        kept.append((place, cast("Any", message)))
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
    return {**{name: part[name] for name in ABOUT if name in part}, "input": None, where: part.get(where)}


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

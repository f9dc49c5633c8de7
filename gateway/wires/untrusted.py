"""What clients may say: messages that pydantic-ai loaded from a request -> a user's prompt, a tool's result.

A client can put anything into its messages: system prompts, other people's files, the mark of the framework's own
feedback, the outcome of a call. Only the content of prompts and results is taken from them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.messages import (
    ModelRequest,
    ModelResponse,
    ToolCallPart,
    ToolReturn,
    ToolReturnPart,
    UserPromptPart,
    sanitize_messages,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_ai.messages import ModelMessage


RESERVED = "__pydantic_ai__"
"""Metadata in which pydantic-ai's loaders keep the client's id of a message; here it is kept beside the message."""


def prompt_in(messages: Sequence[ModelMessage]) -> ModelRequest:
    """What was loaded from one message of the user -> one request.

    Nothing but prompts and the application's metadata are left in it. A message without any prompt is an empty one: the
    client has it in its list, and so has the thread.
    """
    requests = _requests(sanitize_messages(_requests(messages)))
    prompts = [part for request in requests for part in request.parts if isinstance(part, UserPromptPart)]
    metadata = next((request.metadata for request in requests if request.metadata), None)
    return ModelRequest(parts=prompts or [UserPromptPart(content="")], metadata=metadata)


def result_in(messages: Sequence[ModelMessage], tool_call_id: str) -> ToolReturn:
    """What was loaded from a call and the client's result for it -> the result.

    Wrapped, since a bare result of `{"kind": "tool-return", ...}` would be read back as the wrapper that it is not,
    with whatever else the client has put there.
    """
    call = ModelResponse(parts=[ToolCallPart(tool_name="client", tool_call_id=tool_call_id)])
    parts = [part for message in sanitize_messages([call, *_requests(messages)]) for part in message.parts]
    return ToolReturn(next((part.content for part in parts if isinstance(part, ToolReturnPart)), None))


def _requests(messages: Sequence[ModelMessage]) -> list[ModelRequest]:
    return [
        replace(message, metadata={k: v for k, v in (message.metadata or {}).items() if k != RESERVED} or None)
        for message in messages
        if isinstance(message, ModelRequest)
    ]


def failure(text: str) -> ToolFailed:
    """A client's word that its tool failed."""
    return ToolFailed(text or "The tool failed.")

"""The Vercel AI SDK: a chat request in, UI message chunks out. pydantic-ai's adapter with safe errors.

The request carries no version of the SDK, so the newest wire is spoken, which 6 and 7 understand. Version 5 refuses
approvals, and early releases of it every field that they do not know: a front end on it says so with `sdkVersion: 5` in
the body.
"""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import ValidationError
from pydantic_ai import BinaryContent
from pydantic_ai.exceptions import RunCancelled, RunTimedOut
from pydantic_ai.ui.vercel_ai import VercelAIAdapter, VercelAIEventStream
from pydantic_ai.ui.vercel_ai.request_types import FileUIPart, TextUIPart
from pydantic_ai.ui.vercel_ai.response_types import (
    AbortChunk,
    FinishStepChunk,
    MessageMetadataChunk,
    StartStepChunk,
)
from pydantic_core import from_json, to_json

from gateway.ids import new_id
from gateway.wires import History, Turn, checked_thread_id, parsed
from gateway.wires.endings import Endable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.messages import OutputToolResultEvent
    from pydantic_ai.ui.vercel_ai.request_types import RequestData, UIMessage
    from pydantic_ai.ui.vercel_ai.response_types import BaseChunk

    from gateway.config import Surface
    from gateway.errors import RunError
    from gateway.failures import Report

SdkVersion = Literal[5, 6, 7]
NEWEST: SdkVersion = 7


@dataclass
class _EventStream(Endable, VercelAIEventStream[Any, Any]):
    _: KW_ONLY
    report: Report

    async def on_error(self, error: Exception) -> AsyncIterator[BaseChunk]:
        failure = self.report(error, self._turn is not None)
        async for chunk in super().on_error(RuntimeError(_error_text(failure))):
            yield chunk

    async def handle_output_tool_result(self, event: OutputToolResultEvent) -> AsyncIterator[BaseChunk]:
        async for chunk in super().handle_output_tool_result(event):
            yield chunk
        if event.part.outcome == "success":
            # A message whose last step is a finished tool call looks to `lastAssistantMessageIsCompleteWithToolCalls`
            # (ai/src/ui) like one to go on from: the chat would send it again, for ever. So the output ends its step.
            yield FinishStepChunk()
            yield StartStepChunk()

    async def on_cancelled(self, cancelled: RunCancelled) -> AsyncIterator[BaseChunk]:
        # Nobody asked for a timeout: as an `abort` it would leave `useChat` in `ready`, as if all were well.
        chunks = self.on_error(cancelled) if isinstance(cancelled, RunTimedOut) else super().on_cancelled(cancelled)
        async for chunk in chunks:
            if isinstance(chunk, AbortChunk):
                # As above: stopped right after a tool, the chat would send its result again. The metadata changes
                # nothing, but without one more chunk the SDK does not look at the new step.
                yield StartStepChunk()
                yield MessageMetadataChunk(message_metadata={})
            yield chunk


@dataclass
class _Adapter(VercelAIAdapter[Any, Any]):
    _: KW_ONLY
    report: Report

    def build_event_stream(self) -> _EventStream:
        return _EventStream(
            self.run_input,
            accept=self.accept,
            sdk_version=self.sdk_version,
            server_message_id=self.server_message_id,
            report=self.report,
        )


class VercelAi:
    """The AI SDK wire. Stateless."""

    surface: Surface = "vercel-ai"
    headers: Mapping[str, str] = {"x-vercel-ai-ui-message-stream": "v1"}

    def read(self, body: bytes) -> Turn:
        """A body of `DefaultChatTransport`, or `{id, message}` of its documented persistence pattern -> turn."""
        run_input = parsed(_run_input, body)
        added = _added(run_input)
        parsed(lambda _: _check_media(added), b"")
        return Turn(
            thread_id=checked_thread_id(run_input.id),
            prompt_chars=sum(len(part.text) for m in added for part in m.parts if isinstance(part, TextUIPart)),
            run_input=run_input,
        )

    def adapter(self, agent: AbstractAgent[Any, Any], turn: Turn, history: History, report: Report) -> _Adapter:
        """An adapter over the owner's stored history."""
        return _Adapter(
            agent,
            turn.run_input,
            sdk_version=_sdk_version(turn.run_input),
            server_message_id=_message_id(turn.run_input),
            conversation_store=history.store,
            conversation_scope=history.scope,
            report=report,
        )

    def last_words(self, error: RunError) -> bytes:
        """An `error` chunk and the end marker."""
        chunk = json.dumps({"type": "error", "errorText": _error_text(error)})
        return f"data: {chunk}\n\ndata: [DONE]\n\n".encode()


def _message_id(run_input: RequestData) -> str | None:
    """The id of the answer, by which a resumed stream finds the message that was cut; none for a message that goes on.

    After an approval or a tool's result the last message is the assistant's, and an id would begin another one.
    """
    continued = run_input.messages and run_input.messages[-1].role == "assistant"
    return None if continued else new_id()


def _error_text(error: RunError) -> str:
    """The one string that an `error` chunk has room for: the sentence for the user, the code for the front end."""
    return f"{error.detail} [{error.code}]"


def _run_input(body: bytes) -> RequestData:
    try:
        return VercelAIAdapter.build_run_input(body)
    except ValidationError:
        data: Any = from_json(body)
        if not isinstance(data, dict) or {"trigger", "messages"} <= data.keys():
            raise
    # The documented persistence pattern sends `{id, message}`, without a trigger.
    body_of_one: dict[str, Any] = {"trigger": "submit-message", **data}
    if "message" in body_of_one:
        body_of_one.setdefault("messages", [body_of_one.pop("message")])
    return VercelAIAdapter.build_run_input(to_json(body_of_one))


def _sdk_version(run_input: RequestData) -> SdkVersion:
    asked: Any = (run_input.model_extra or {}).get("sdkVersion")
    return asked if asked in get_args(SdkVersion) else NEWEST


def _check_media(added: list[UIMessage]) -> None:
    """Decodes what the messages carry, so that broken base64 is a 422 and not a picture that the model never sees."""
    for part in (part for message in added for part in message.parts):
        if isinstance(part, FileUIPart) and part.url[:5].lower() == "data:":
            BinaryContent.from_data_uri(part.url)
    VercelAIAdapter.load_messages(added)


def _added(run_input: RequestData) -> list[UIMessage]:
    """The user's messages after the last answer."""
    added: list[UIMessage] = []
    for message in reversed(run_input.messages):
        if message.role == "assistant":
            break
        if message.role == "user":
            added.append(message)
    return added

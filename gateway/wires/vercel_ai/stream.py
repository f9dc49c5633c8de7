"""A run's events -> UI message chunks: pydantic-ai's, with safe errors, the ids of what is streamed, and an account.

Every `finish` chunk has a reason: the model's, `stop` where it gives none, `tool-calls` where the run waits for
somebody.
"""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_ai.exceptions import RunCancelled, RunTimedOut
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.ui.vercel_ai import VercelAIEventStream
from pydantic_ai.ui.vercel_ai.response_types import (
    AbortChunk,
    DataChunk,
    FinishStepChunk,
    MessageMetadataChunk,
    ReasoningStartChunk,
    StartStepChunk,
    ToolInputAvailableChunk,
    ToolInputErrorChunk,
    ToolOutputAvailableChunk,
    ToolOutputDeniedChunk,
    ToolOutputErrorChunk,
)

from gateway.frontend.events import AgUiEvent
from gateway.wires.endings import Endable
from gateway.wires.vercel_ai.metadata import NOTED, Account, metadata, repeated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from pydantic_ai.messages import (
        CustomEvent,
        FunctionToolCallEvent,
        FunctionToolResultEvent,
        NativeToolCallPart,
        OutputToolResultEvent,
        ToolCallPart,
    )
    from pydantic_ai.run import AgentRunResult, AgentRunResultEvent
    from pydantic_ai.ui.vercel_ai.response_types import BaseChunk, FinishReason

    from gateway.errors import RunError
    from gateway.failures import Report

    Ended = AgentRunResult[Any] | RunCancelled

ABOUT_A_CALL = (
    ToolInputAvailableChunk,
    ToolInputErrorChunk,
    ToolOutputAvailableChunk,
    ToolOutputDeniedChunk,
    ToolOutputErrorChunk,
)


@dataclass
class EventStream(Endable, VercelAIEventStream[Any, Any]):
    """The event stream of one run."""

    _: KW_ONLY
    report: Report
    account: Account
    in_message: bool
    """The calls at the end of the history are in the message that the client goes on with."""
    wire_ids: dict[str, Any] = field(init=False)
    _calls: set[str] = field(default_factory=set[str], init=False)

    def __post_init__(self) -> None:
        self.wire_ids = {"message": self.server_message_id} if self.server_message_id else {}
        repeats = self.account.opened.repeats
        if repeats and (noted := repeated(repeats)):
            self.wire_ids[NOTED] = noted

    def transform_stream(self, stream: AsyncIterator[Any], on_complete: Any = None, on_cancel: Any = None) -> Any:
        # The account is in the note when the callbacks store that, and so in what is sent after it.
        return super().transform_stream(stream, self._accounting(on_complete), self._accounting(on_cancel))

    async def before_response(self) -> AsyncIterator[BaseChunk]:
        self.account.speaks()
        async for chunk in super().before_response():
            yield chunk

    async def handle_run_result(self, event: AgentRunResultEvent) -> AsyncIterator[BaseChunk]:
        async for chunk in super().handle_run_result(event):
            if isinstance(chunk, MessageMetadataChunk):
                # The one chunk of metadata, in which pydantic-ai has its own already.
                chunk.message_metadata = {**chunk.message_metadata, **metadata(self.wire_ids)}
            yield chunk
        waits = isinstance(event.result.output, DeferredToolRequests)
        self._finish_reason = "tool-calls" if waits else _without_calls(self._finish_reason)

    def encode_event(self, event: BaseChunk) -> str:
        # Here, where it costs a call for each chunk and not one more generator.
        match event:
            case ReasoningStartChunk():
                self.wire_ids.setdefault("reasoning", []).append(event.id)
            case ToolOutputAvailableChunk(output=None) | DataChunk(data=None):
                return self._with_null(event, "output" if isinstance(event, ToolOutputAvailableChunk) else "data")
            case _:
                pass
        return super().encode_event(event)

    def _with_null(self, event: BaseChunk, name: str) -> str:
        """A chunk whose payload is null: the SDK asks for the field, which pydantic-ai leaves out with all nulls."""
        return f"data: {json.dumps({**json.loads(event.encode(self.sdk_version)), name: None})}\n\n"

    async def on_error(self, error: Exception) -> AsyncIterator[BaseChunk]:
        failure = self.report(error)
        for chunk in self._closing(error):
            yield chunk
        async for chunk in super().on_error(RuntimeError(error_text(failure))):
            yield chunk

    def handle_tool_call_start(self, part: ToolCallPart | NativeToolCallPart) -> AsyncIterator[BaseChunk]:
        self._calls.add(part.tool_call_id)
        return super().handle_tool_call_start(part)

    async def handle_function_tool_call(self, event: FunctionToolCallEvent) -> AsyncIterator[BaseChunk]:
        async for chunk in super().handle_function_tool_call(event):
            if self._is_in_message(event.part.tool_call_id):
                yield chunk

    async def handle_function_tool_result(self, event: FunctionToolResultEvent) -> AsyncIterator[BaseChunk]:
        call = event.part.tool_call_id
        async for chunk in super().handle_function_tool_result(event):
            is_sent_along = not isinstance(chunk, ABOUT_A_CALL)
            if is_sent_along and call not in self.wire_ids.get("answered", ()):
                self.wire_ids.setdefault("answered", []).append(call)
            if is_sent_along or self._is_in_message(call):
                yield chunk

    async def handle_custom_event(self, event: CustomEvent) -> AsyncIterator[BaseChunk]:
        if not isinstance(event, AgUiEvent):
            async for chunk in super().handle_custom_event(event):
                yield chunk

    async def handle_output_tool_result(self, event: OutputToolResultEvent) -> AsyncIterator[BaseChunk]:
        async for chunk in super().handle_output_tool_result(event):
            yield chunk
        if event.part.outcome == "success":
            # A message whose last step is a finished tool call looks to `lastAssistantMessageIsCompleteWithToolCalls`
            # (ai/src/ui) like one to go on from: the chat would send it again, for ever. So the output ends its step.
            self.wire_ids["outputs"] = self.wire_ids.get("outputs", 0) + 1
            yield FinishStepChunk()
            yield StartStepChunk()

    async def on_cancelled(self, cancelled: RunCancelled) -> AsyncIterator[BaseChunk]:
        # Nobody asked for a timeout: as an `abort` it would leave `useChat` in `ready`, as if all were well.
        if isinstance(cancelled, RunTimedOut):
            async for chunk in self.on_error(cancelled):
                yield chunk
            return
        for chunk in self._closing(cancelled):
            yield chunk
        async for chunk in super().on_cancelled(cancelled):
            if isinstance(chunk, AbortChunk):
                # As above: stopped right after a tool, the chat would send its result again. The metadata changes
                # nothing, but without one more chunk the SDK does not look at the new step.
                yield StartStepChunk()
                yield MessageMetadataChunk(message_metadata=metadata(self.wire_ids))
            yield chunk

    def _accounting(self, told: Callable[[Any], Awaitable[None]] | None) -> Callable[[Ended], Awaitable[None]] | None:
        if told is None or self.account.opened.repeats or not self.account.opened.run_id:
            return told

        async def accounted(ended: Ended) -> None:
            self.wire_ids[NOTED] = self.account.of(ended.new_messages(), ended.usage)
            await told(ended)

        return accounted

    def _closing(self, error: Exception) -> Iterator[BaseChunk]:
        """Errors for the calls that are cut off, whose input stays as far as the client has it.

        No input is made available, though pydantic-ai does that after a failure: a client may have a tool of that name.
        """
        for result in self.cut_off(error):
            self._streamed_call_parts.pop(result.tool_call_id, None)
            yield ToolOutputErrorChunk(tool_call_id=result.tool_call_id, error_text=str(result.content))

    def _is_in_message(self, tool_call_id: str) -> bool:
        """Whether the client finds that call in the message of this stream; it breaks off the stream if it does not.

        A user who sends a message instead of an answer declines the calls of the message before.
        """
        return self.in_message or tool_call_id in self._calls


def _without_calls(reason: FinishReason) -> FinishReason:
    """Why a model stopped whose run waits for nobody: an answer in data is the call of a tool to it."""
    return "stop" if reason in (None, "tool-calls") else reason


def error_text(error: RunError) -> str:
    """The one string that an `error` chunk has room for: the sentence for the user, the code for the front end."""
    return f"{error.detail} [{error.code}]"

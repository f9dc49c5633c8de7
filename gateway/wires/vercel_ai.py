"""The Vercel AI SDK: a chat request in, UI message chunks out. pydantic-ai's adapter with safe errors.

The request carries no version of the SDK, so the newest wire is spoken, which 6 and 7 understand. Version 5 refuses
approvals, and early releases of it every field that they do not know: a front end on it says so with `sdkVersion: 5` in
the body.
"""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic_ai.exceptions import RunCancelled, RunTimedOut
from pydantic_ai.ui.vercel_ai import VercelAIAdapter, VercelAIEventStream
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

from gateway.ids import new_id
from gateway.sse import Framing
from gateway.wires import Turn, checked_thread_id, parsed, vercel_ai_body
from gateway.wires.endings import Endable
from gateway.wires.states import StateForHandlers
from gateway.wires.vercel_ai_dump import dumped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.messages import (
        FunctionToolCallEvent,
        FunctionToolResultEvent,
        ModelMessage,
        NativeToolCallPart,
        OutputToolResultEvent,
        ToolCallPart,
    )
    from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults
    from pydantic_ai.ui.vercel_ai.response_types import BaseChunk

    from gateway.config import Surface
    from gateway.errors import RunError
    from gateway.failures import Report
    from gateway.history import Line
    from gateway.wires import Opening

CHUNKS = Framing({"x-vercel-ai-ui-message-stream": "v1"})

ABOUT_A_CALL = (
    ToolInputAvailableChunk,
    ToolInputErrorChunk,
    ToolOutputAvailableChunk,
    ToolOutputDeniedChunk,
    ToolOutputErrorChunk,
)


@dataclass
class _EventStream(Endable, VercelAIEventStream[Any, Any]):
    _: KW_ONLY
    report: Report
    in_message: bool
    """The calls at the end of the history are in the message that the client goes on with."""
    wire_ids: dict[str, Any] = field(init=False)
    _calls: set[str] = field(default_factory=set[str], init=False)

    def __post_init__(self) -> None:
        self.wire_ids = {"message": self.server_message_id} if self.server_message_id else {}

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
        async for chunk in super().on_error(RuntimeError(_error_text(failure))):
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
                yield MessageMetadataChunk(message_metadata={})
            yield chunk

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


@dataclass
class _Adapter(StateForHandlers, VercelAIAdapter[Any, Any]):
    _: KW_ONLY
    report: Report
    opened: Opening
    whole: bool

    def build_event_stream(self) -> _EventStream:
        return _EventStream(
            self.run_input,
            accept=self.accept,
            sdk_version=self.sdk_version,
            server_message_id=self.server_message_id,
            report=self.report,
            in_message=self.whole or self.opened.continues,
        )

    @cached_property
    def messages(self) -> list[ModelMessage]:
        return self.load_messages(self.run_input.messages) if self.whole else []

    @cached_property
    def deferred_tool_results(self) -> DeferredToolResults | None:
        return super().deferred_tool_results if self.whole else None

    @cached_property
    def state(self) -> dict[str, Any] | None:
        return self.opened.state


class VercelAi:
    """The AI SDK wire. Stateless."""

    surface: Surface = "vercel-ai"
    protocol = "vercel-ai"
    comes_back = True

    def read(self, body: bytes, history: Literal["server", "client"] = "server") -> Turn:
        """A body of `DefaultChatTransport`, or `{id, message}` of its documented persistence pattern -> turn."""
        whole = history == "client"
        run_input = parsed(vercel_ai_body.whole if whole else vercel_ai_body.new_in, body)
        prompts = vercel_ai_body.prompts(run_input)
        # Decodes what the messages carry, so that broken base64 is a 422 here and not a failed run.
        messages = parsed(lambda _: [vercel_ai_body.request_of(prompt) for prompt in prompts], b"")
        turn = Turn(
            thread_id=checked_thread_id(run_input.id),
            prompt_chars=sum(map(vercel_ai_body.text_length, prompts)),
            run_input=run_input,
            whole=whole,
        )
        if whole:
            return turn
        return replace(
            turn,
            messages=messages,
            message_ids=[prompt.id for prompt in prompts],
            regenerate=vercel_ai_body.regenerate(run_input),
            answers=parsed(lambda _: vercel_ai_body.answers(run_input), b""),
        )

    def adapter(self, agent: AbstractAgent[Any, Any], turn: Turn, opened: Opening, report: Report) -> _Adapter:
        """An adapter that runs on the messages that it is given; on the client's, if the turn was read with those."""
        # The id is how a resumed stream finds the message that was cut; where an answer goes on it would begin another.
        continued = opened.continues or (turn.whole and vercel_ai_body.continues(turn.run_input))
        return _Adapter(
            agent,
            turn.run_input,
            sdk_version=vercel_ai_body.sdk_version(turn.run_input),
            server_message_id=None if continued else new_id(),
            report=report,
            opened=opened,
            whole=turn.whole,
        )

    def dump(self, line: Line, waiting: DeferredToolRequests | None) -> list[dict[str, Any]]:
        """See `Wire`. As `process-ui-message-stream.ts` of the AI SDK 7 builds them from the chunks."""
        return dumped(line, waiting)

    def last_words(self, error: RunError) -> bytes:
        """An `error` chunk and the end marker."""
        chunk = json.dumps({"type": "error", "errorText": _error_text(error)})
        return f"data: {chunk}\n\ndata: [DONE]\n\n".encode()

    def framing(self, run_id: str, recorded: str, asked: str) -> Framing:  # noqa: ARG002 - one for all
        """UI message chunks."""
        return CHUNKS


def _error_text(error: RunError) -> str:
    """The one string that an `error` chunk has room for: the sentence for the user, the code for the front end."""
    return f"{error.detail} [{error.code}]"

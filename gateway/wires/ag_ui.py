"""AG-UI: `RunAgentInput` in, events out. pydantic-ai's adapter with safe errors.

Clients of 1.0 and of 0.0.59 (all of CopilotKit 1.75) send the same body but for `protocolVersion`; the adapter leaves
out what the older one would choke on when that is missing.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from ag_ui.core import (
    AssistantMessage,
    BaseEvent,
    RunAgentInput,
    RunErrorEvent,
    TextInputContent,
    ToolCallArgsEvent,
    UserMessage,
)
from ag_ui.encoder import EventEncoder
from pydantic_ai.exceptions import RunCancelled, RunTimedOut
from pydantic_ai.ui.ag_ui import AGUIAdapter, AGUIEventStream

from gateway.wires import History, Turn, checked_thread_id, parsed
from gateway.wires.endings import Endable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.messages import ToolCallPart

    from gateway.config import Surface
    from gateway.errors import RunError
    from gateway.failures import Report


@dataclass
class _EventStream(Endable, AGUIEventStream[Any, Any]):
    _: KW_ONLY
    report: Report

    async def on_error(self, error: Exception) -> AsyncIterator[BaseEvent]:
        failure = self.report(error, self._turn is not None)
        async for event in super().on_error(failure):
            yield _with_code(event, failure)

    async def handle_tool_call_end(self, part: ToolCallPart) -> AsyncIterator[BaseEvent]:
        if not part.args:
            # Clients keep the arguments as text and parse it when the call has ended: of a call without any, "".
            yield ToolCallArgsEvent(tool_call_id=part.tool_call_id, delta="{}")
        async for event in super().handle_tool_call_end(part):
            yield event

    async def on_cancelled(self, cancelled: RunCancelled) -> AsyncIterator[BaseEvent]:
        # Nobody asked for a timeout, so it is a failure and not the `cancelled` outcome.
        events = self.on_error(cancelled) if isinstance(cancelled, RunTimedOut) else super().on_cancelled(cancelled)
        async for event in events:
            yield event


@dataclass
class _Adapter(AGUIAdapter[Any, Any]):
    _: KW_ONLY
    report: Report

    def build_event_stream(self) -> _EventStream:
        return _EventStream(self.run_input, accept=self.accept, ag_ui_version=self.ag_ui_version, report=self.report)


class AgUi:
    """The AG-UI wire. Stateless."""

    surface: Surface = "ag-ui"
    headers: Mapping[str, str] = {}

    def read(self, body: bytes) -> Turn:
        """`RunAgentInput` (spec 1.0, section 1.1 of the request) -> turn."""
        run_input = parsed(AGUIAdapter.build_run_input, body)
        added = _added(run_input)
        # Decodes what the messages carry, so that broken base64 is a 422 here and not a failed run.
        parsed(lambda _: AGUIAdapter.load_messages(added), b"")
        return Turn(
            thread_id=checked_thread_id(run_input.thread_id),
            prompt_chars=sum(map(_text_length, added)),
            run_input=run_input,
            client_tools=frozenset(tool.name for tool in run_input.tools or ()),
            request_id=run_input.run_id,
            dialect=run_input.protocol_version or "",
        )

    def adapter(self, agent: AbstractAgent[Any, Any], turn: Turn, history: History, report: Report) -> _Adapter:
        """An adapter over the owner's stored history."""
        return _Adapter(
            agent, turn.run_input, conversation_store=history.store, conversation_scope=history.scope, report=report
        )

    def last_words(self, error: RunError) -> bytes:
        """`RUN_ERROR`, which is legal at any point of the stream."""
        return EventEncoder().encode(RunErrorEvent(message=error.detail, code=error.code)).encode()


def _with_code(event: BaseEvent, failure: RunError) -> BaseEvent:
    if isinstance(event, RunErrorEvent):
        event.code = failure.code
    return event


def _added(run_input: RunAgentInput) -> list[UserMessage]:
    """The user's messages after the last answer."""
    added: list[UserMessage] = []
    for message in reversed(run_input.messages):
        if isinstance(message, AssistantMessage):
            break
        if isinstance(message, UserMessage):
            added.append(message)
    return added


def _text_length(message: UserMessage) -> int:
    if isinstance(message.content, str):
        return len(message.content)
    return sum(len(part.text) for part in message.content if isinstance(part, TextInputContent))

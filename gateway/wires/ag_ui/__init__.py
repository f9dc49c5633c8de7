"""AG-UI: `RunAgentInput` in, events out. pydantic-ai's adapter with safe errors, and the ids of what it streams.

Clients of 1.0 and of 0.0.59 (all of CopilotKit 1.75) send the same body but for `protocolVersion`; the adapter leaves
out what the older one would choke on when that is missing.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ag_ui.core import (
    BaseEvent,
    ReasoningEncryptedValueEvent,
    RunErrorEvent,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
    ToolCallArgsEvent,
    ToolCallResultEvent,
)
from ag_ui.encoder import EventEncoder
from pydantic_ai.exceptions import RunCancelled, RunTimedOut
from pydantic_ai.messages import FunctionToolResultEvent
from pydantic_ai.ui.ag_ui import AGUIAdapter, AGUIEventStream

from gateway.frontend.a2ui_catalogue import catalogue_for
from gateway.wires import Turn, checked_thread_id, parsed
from gateway.wires.ag_ui import body as ag_ui_body
from gateway.wires.ag_ui.a2ui import Surfaces
from gateway.wires.ag_ui.a2ui_action import action_in, with_action
from gateway.wires.ag_ui.dialects import AS_RECORDED, FOR_0_0_59, understands_1_0
from gateway.wires.ag_ui.drawing import Drawing, Draws, drawers_of, with_one_a2ui, without_clients_tool
from gateway.wires.ag_ui.dump import dumped, repeated
from gateway.wires.ag_ui.ids import Noting, Renaming
from gateway.wires.endings import Endable
from gateway.wires.states import StateForHandlers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.messages import (
        FunctionToolCallEvent,
        ModelMessage,
        NativeToolReturnPart,
        OutputToolResultEvent,
        ToolCallPart,
    )
    from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults

    from gateway.config import Surface
    from gateway.errors import RunError
    from gateway.failures import Report
    from gateway.frontend.client_input import ClientInput
    from gateway.history import Line
    from gateway.sse import Framing
    from gateway.wires import Opening


@dataclass
class _EventStream(Draws, Endable, AGUIEventStream[Any, Any]):
    _: KW_ONLY
    report: Report
    opened: Opening
    noting: Noting
    renaming: Renaming | None
    approval: str
    wire_ids: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.wire_ids = self.noting.note

    def encode_event(self, event: BaseEvent) -> str:
        # Here, where it costs a call for each event and not one more generator.
        if self.renaming:
            self.renaming.rename(event)
        self.noting.take(event)
        return super().encode_event(event)

    async def handle_tool_call_end(self, part: ToolCallPart) -> AsyncIterator[BaseEvent]:
        if not part.args:
            # Clients keep the arguments as text and parse it when the call has ended: of a call without any, "".
            yield ToolCallArgsEvent(tool_call_id=part.tool_call_id, delta="{}")
        async for event in super().handle_tool_call_end(part):
            yield event

    async def handle_function_tool_call(self, event: FunctionToolCallEvent) -> AsyncIterator[BaseEvent]:
        self.noting.result(event.part.tool_call_id)
        async for each in super().handle_function_tool_call(event):
            yield each

    async def handle_function_tool_result(self, event: FunctionToolResultEvent) -> AsyncIterator[BaseEvent]:
        async for each in self._with_noted_id(super().handle_function_tool_result(event)):
            yield each

    async def handle_output_tool_result(self, event: OutputToolResultEvent) -> AsyncIterator[BaseEvent]:
        async for each in self._with_noted_id(super().handle_output_tool_result(event)):
            yield each

    async def handle_builtin_tool_return(self, part: NativeToolReturnPart) -> AsyncIterator[BaseEvent]:
        async for each in self._with_noted_id(super().handle_builtin_tool_return(part)):
            yield each

    async def on_error(self, error: Exception) -> AsyncIterator[BaseEvent]:
        failure = self.report(error)
        async for event in self._closing(error):
            yield event
        async for event in super().on_error(failure):
            yield _with_code(event, failure)

    async def on_cancelled(self, cancelled: RunCancelled) -> AsyncIterator[BaseEvent]:
        # Nobody asked for a timeout, so it is a failure and not the `cancelled` outcome.
        if isinstance(cancelled, RunTimedOut):
            events = [self.on_error(cancelled)]
        else:
            events = [self._closing(cancelled), super().on_cancelled(cancelled)]
        for each in events:
            async for event in each:
                yield event

    async def after_stream(self) -> AsyncIterator[BaseEvent]:
        async for event in super().after_stream():
            if isinstance(event, RunFinishedEvent) and isinstance(event.outcome, RunFinishedInterruptOutcome):
                for interrupt in event.outcome.interrupts:
                    interrupt.reason, interrupt.expires_at = self.approval, self._expires_at
            yield event

    @property
    def _expires_at(self) -> str | None:
        at = self.opened.expires_at
        return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None

    async def _closing(self, error: Exception) -> AsyncIterator[BaseEvent]:
        """Results for the calls that are cut off."""
        for result in self.cut_off(error):
            # Past `Endable`, for which it would be one that a tool gave.
            events = AGUIEventStream.handle_function_tool_result(self, FunctionToolResultEvent(result))
            async for event in self._with_noted_id(events):
                yield event
        for event in self.unfinished():
            yield event

    async def _with_noted_id(self, events: AsyncIterator[BaseEvent]) -> AsyncIterator[BaseEvent]:
        """The events of one result; without the result if the client gave it, which would have it twice."""
        streamed = noted = ""
        async for event in events:
            if isinstance(event, ToolCallResultEvent):
                streamed, noted = event.message_id, self.noting.result(event.tool_call_id)
                if self.noting.has_result(event.tool_call_id):
                    continue
                event.message_id = noted
            elif isinstance(event, ReasoningEncryptedValueEvent) and event.entity_id == streamed:
                event.entity_id = noted
            yield event


@dataclass
class _Adapter(StateForHandlers, AGUIAdapter[Any, Any]):
    _: KW_ONLY
    report: Report
    opened: Opening
    whole: bool
    approval: str
    answered: Collection[str]
    added: Sequence[AbstractCapability[Any]]
    page: ClientInput
    drawing: Drawing
    _stream: _EventStream | None = None

    def run_stream_native(self, **options: Any) -> AsyncIterator[Any]:
        given = options.pop("capabilities", None) or ()
        capabilities, a2ui = with_one_a2ui(self.agent, given, self.added)
        if a2ui and self._stream:
            # What a page asks for makes no surfaces of results that their author did not mean to be shown.
            results = self.drawing.results or not any(a2ui is each for each in self.added)
            surfaces = Surfaces(a2ui.catalogue_for(self.page), self._stream.wire_ids, results=results)
            self._stream.drawers = [*self._stream.drawers, surfaces]
            self.run_input = without_clients_tool(self.run_input)
        return super().run_stream_native(capabilities=capabilities, **options)

    def build_event_stream(self) -> _EventStream:
        given = {} if self.whole else {each.tool_call_id: each.id for each in ag_ui_body.tool_messages(self.run_input)}
        for call in self.answered:
            # Clients may say a decision in a tool message, too: that is not the result of the tool.
            given.pop(call, None)
        repeats = self.opened.repeats
        self._stream = _EventStream(
            self.run_input,
            accept=self.accept,
            ag_ui_version=self.ag_ui_version,
            report=self.report,
            opened=self.opened,
            noting=Noting(given),
            renaming=Renaming(repeated(repeats)) if repeats else None,
            approval=self.approval,
        )
        self._stream.drawers = drawers_of(self._stream.wire_ids, repeats, AgUi.protocol, self.drawing)
        return self._stream

    @cached_property
    def messages(self) -> list[ModelMessage]:
        return self.load_messages(self.run_input.messages) if self.whole else []

    @cached_property
    def deferred_tool_results(self) -> DeferredToolResults | None:
        return super().deferred_tool_results if self.whole else None

    @cached_property
    def state(self) -> dict[str, Any] | None:
        return super().state if self.whole else self.opened.state


class AgUi:
    """The AG-UI wire. Stateless."""

    surface: Surface = "ag-ui"
    protocol = "ag-ui"
    comes_back = resumes = True
    approval = "tool_call"
    """The `reason` of an interrupt that asks for an approval."""

    def read(self, body: bytes, history: Literal["server", "client"] = "server") -> Turn:
        """`RunAgentInput` (spec 1.0, section 1.1 of the request) -> turn."""
        whole = history == "client"
        sent = parsed(ag_ui_body.whole if whole else ag_ui_body.new_in, body)
        action = action_in(sent, whole=whole)
        run_input = with_action(sent, action) if action else sent
        page = ag_ui_body.client_input(run_input)
        # Here, where a large body does not hold up others: the run finds it read.
        catalogue_for(page)
        prompts = ag_ui_body.prompts(run_input)
        # Decodes what the messages carry, so that broken base64 is a 422 here and not a failed run.
        messages = parsed(lambda _: [ag_ui_body.request_of(prompt) for prompt in prompts], b"")
        turn = Turn(
            thread_id=checked_thread_id(run_input.thread_id),
            prompt_chars=sum(len(ag_ui_body.text(prompt)) for prompt in prompts),
            run_input=run_input,
            client_tools=frozenset(tool.name for tool in run_input.tools or ()),
            tool_chars=ag_ui_body.tool_length(run_input.tools or ()),
            request_id=run_input.run_id,
            repeat_key=ag_ui_body.repeat_key(run_input, whole=whole),
            dialect=run_input.protocol_version or "",
            client_input=page,
            acts_on=action.surfaceId if action else "",
            whole=whole,
        )
        if whole:
            return turn
        return replace(
            turn,
            messages=messages,
            message_ids=[prompt.id for prompt in prompts],
            answers=parsed(lambda _: ag_ui_body.answers(run_input), b""),
            state=ag_ui_body.state(run_input),
        )

    def adapter(self, agent: AbstractAgent[Any, Any], turn: Turn, opened: Opening, report: Report) -> _Adapter:
        """An adapter that runs on the messages that it is given; on the client's, if the turn was read with those."""
        return _Adapter(
            agent,
            turn.run_input,
            report=report,
            opened=opened,
            whole=turn.whole,
            approval=self.approval,
            answered=turn.answers.approvals,
            added=self.capabilities(turn),
            page=turn.client_input,
            drawing=self.drawing(turn),
        )

    def capabilities(self, turn: Turn) -> Sequence[AbstractCapability[Any]]:  # noqa: ARG002 - none for all
        """What a run of the turn gets besides the agent's own."""
        return ()

    def drawing(self, turn: Turn) -> Drawing:  # noqa: ARG002 - nothing for all
        """What the page of the turn draws of it without the agent's having asked for that."""
        return Drawing()

    def dump(self, line: Line, waiting: DeferredToolRequests | None) -> list[dict[str, Any]]:
        """See `Wire`. As `apply/default.ts` of `@ag-ui/client` builds them from the events."""
        return dumped(line, waiting)

    def last_words(self, error: RunError) -> bytes:
        """`RUN_ERROR`, which is legal at any point of the stream."""
        return EventEncoder().encode(RunErrorEvent(message=error.detail, code=error.code)).encode()

    def framing(self, run_id: str, recorded: str, asked: str) -> Framing:  # noqa: ARG002 - one for all runs
        """As recorded, or converted for an older client than the run was made for."""
        return FOR_0_0_59 if understands_1_0(recorded) and not understands_1_0(asked) else AS_RECORDED


def _with_code(event: BaseEvent, failure: RunError) -> BaseEvent:
    if isinstance(event, RunErrorEvent):
        event.code = failure.code
    return event

"""CopilotKit's runtime wire: AG-UI as `@ag-ui/client` 0.0.59 has it, suggestions, and a stored thread as one stream.

All of CopilotKit 1.75 declares no `protocolVersion`, so runs are encoded for the older dialect. `connect` is read
without the rules of a single run (`connect-replay.ts` of `@copilotkit/core`): what was said so far comes as one
finished run, with the interrupts that it left, and the run that goes on may follow in the same stream.

A suggestion (`suggestion-engine.ts`) is a question about a conversation, on a thread of its own that nobody asks for
again, to be answered with a call of one tool. It is stored nowhere, and of the client's messages it has the text alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from ag_ui.core import AssistantMessage, UserMessage
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.settings import ModelSettings
from pydantic_core import to_json

from gateway.frontend.a2ui import A2ui
from gateway.wires import checked_thread_id, parsed
from gateway.wires.ag_ui import AgUi
from gateway.wires.ag_ui import body as ag_ui_body
from gateway.wires.ag_ui.dialects import to_0_0_59, understands_1_0
from gateway.wires.ag_ui.drawing import Drawing
from gateway.wires.ag_ui.sandboxed_ui import TOOL as SANDBOX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ag_ui.core import Message, RunAgentInput

    from gateway.config import Surface
    from gateway.wires import Turn

    Json = dict[str, Any]

SUGGEST = "copilotkitSuggest"
"""The tool of suggestions."""

MAX_READ = 20_000
"""Characters at the end of a conversation that suggestions are made of: a page may send any, and stores none."""

APPROVAL = "pydantic_ai:approval"
"""The `reason` of an interrupt that asks for an approval. For AG-UI's `tool_call` a client would take the decision for
the result of the tool, and drop the one that comes (`interrupt-state.ts`, `state-manager.ts`)."""


class CopilotKit(AgUi):
    """The wire of a runtime's runs. Stateless.

    Args:
        a2ui: whether all agents show interfaces; when none, for pages that say that they have components for that.
        open_generative_ui: whether HTML that the model writes is drawn; when none, for pages with the tool for that.
    """

    surface: Surface = "copilotkit"
    resumes = False  # 1.75 shows an error
    approval = APPROVAL

    def __init__(self, *, a2ui: bool | None = None, open_generative_ui: bool | None = None) -> None:
        self._a2ui = a2ui
        self._open_generative_ui = open_generative_ui

    def read(self, body: bytes, history: Literal["server", "client"] = "server") -> Turn:
        """A `RunAgentInput`; one that asks for suggestions brings all that there is to know. Raises `MalformedBody`."""
        if SUGGEST.encode() in body and is_suggestion(asked := parsed(ag_ui_body.whole, body)):
            return _suggestion(super().read(body, "client"), asked)
        return super().read(body, history)

    def capabilities(self, turn: Turn) -> Sequence[AbstractCapability[Any]]:
        """See `AgUi`. A suggestion makes the model call its tool."""
        if is_suggestion(turn.run_input):
            return [_Forced()]
        draws = has_components(turn.run_input) if self._a2ui is None else self._a2ui
        return [A2ui()] if draws else ()

    def drawing(self, turn: Turn) -> Drawing:
        """See `AgUi`."""
        asked = self._open_generative_ui
        return Drawing(results=self._a2ui is True, sandboxes=SANDBOX in turn.client_tools if asked is None else asked)


def has_components(run_input: RunAgentInput) -> bool:
    """Whether the page says that it has components to show interfaces with."""
    match run_input.forwarded_props:
        case {"a2uiCatalogAvailable": True}:
            return True
        case _:
            return False


def is_suggestion(run_input: RunAgentInput) -> bool:
    """Whether a request asks for suggestions: with `forwardedProps.toolChoice`, on whichever route."""
    match run_input.forwarded_props:
        case {"toolChoice": {"function": {"name": name}}}:
            return name == SUGGEST and any(tool.name == SUGGEST for tool in run_input.tools or ())
        case _:
            return False


def _suggestion(turn: Turn, asked: RunAgentInput) -> Turn:
    """A turn that nothing is left of that a client could forge: no calls, results, approvals or state."""
    said = _last(text for message in reversed(asked.messages) for text in _text(message))
    tools = [tool for tool in asked.tools or () if tool.name == SUGGEST]
    run_input = asked.model_copy(update={"messages": said, "tools": tools, "resume": None, "state": {}})
    return replace(
        turn,
        thread_id=checked_thread_id(asked.thread_id),
        run_input=run_input,
        client_tools=frozenset((SUGGEST,)),
        tool_chars=ag_ui_body.tool_length(tools),
        fleeting=True,
        whole=True,
    )


def _last(said: Iterable[Message]) -> list[Message]:
    """Of messages, the last one first, the end that is read; oldest first."""
    kept: list[Message] = []
    left = MAX_READ
    for message in said:
        if left <= 0:
            break
        text = str(message.content)
        kept.append(message.model_copy(update={"content": text[-left:]}))
        left -= len(text)
    return kept[::-1]


def _text(message: Message) -> list[Message]:
    if isinstance(message, UserMessage):
        text = ag_ui_body.text(message)
        return [UserMessage(id=message.id, content=text)] if text else []
    if isinstance(message, AssistantMessage) and message.content:
        return [AssistantMessage(id=message.id, content=message.content)]
    return []


class _Forced(AbstractCapability[Any]):
    """Makes the model call the tool of suggestions; the run ends with it, for it is the client's."""

    def get_model_settings(self) -> ModelSettings:
        return ModelSettings(tool_choice=[SUGGEST])


def told(thread_id: str, run_id: str, messages: Sequence[Json], state: Any, interrupts: Sequence[Json]) -> list[Json]:
    """What a thread holds, as the AG-UI events of one finished run.

    Args:
        thread_id: the thread.
        run_id: its last run.
        messages: as `AgUi.dump` has them.
        state: the shared state; none when there is none.
        interrupts: AG-UI `Interrupt`s that nobody has answered.
    """
    place = {"threadId": thread_id, "runId": run_id}
    asked = [{**interrupt, "reason": APPROVAL} for interrupt in interrupts]
    outcome = {"outcome": {"type": "interrupt", "interrupts": asked}} if asked else {}
    return [
        {"type": "RUN_STARTED", **place},
        {"type": "MESSAGES_SNAPSHOT", "messages": [*messages]},
        *([] if state is None else [{"type": "STATE_SNAPSHOT", "snapshot": state}]),
        {"type": "RUN_FINISHED", **place, **outcome},
    ]


def frames(events: Sequence[Json], dialect: str) -> bytes:
    """The events for a client of that `protocolVersion`, as server-sent events without numbers: no run has them."""
    encoded = [b"data: %b\n\n" % to_json(event) for event in events]
    return b"".join(encoded if understands_1_0(dialect) else [to_0_0_59(frame) or b"" for frame in encoded])

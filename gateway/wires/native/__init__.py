"""The plain wire: a question in, server-sent events of the gateway's own out. See `docs/plain-streams.md`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic_ai.ui import UIAdapter
from pydantic_core import to_json

from gateway.process import ServerSettings
from gateway.wires.native import body as native_body
from gateway.wires.native.events import EventsTelling, NodesTelling
from gateway.wires.native.following import Following, Looks
from gateway.wires.native.framing import BARE_TEXT, NDJSON, TEXT, lines, server_sent
from gateway.wires.native.outputs import Looking, ObjectTelling, OutputTelling, ResponsesTelling
from gateway.wires.native.shapes import messages_of
from gateway.wires.native.telling import Telling
from gateway.wires.native.text import TextTelling

if TYPE_CHECKING:
    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.tools import DeferredToolRequests

    from gateway.config import Surface
    from gateway.errors import RunError
    from gateway.failures import Report
    from gateway.history import Line
    from gateway.sse import Framing
    from gateway.wires import Opening, Turn

Form = Literal["text", "output", "responses", "events", "nodes", "whole", "object"]
"""What is told of a run. `whole` is its result and nothing before it, for `/run`; `object` is for `useObject`."""

FORMS: tuple[Form, ...] = get_args(Form)

STREAMED: tuple[Form, ...] = ("text", "output", "responses", "events", "nodes")

TELLINGS: dict[Form, type[Telling]] = {
    "text": TextTelling,
    "output": OutputTelling,
    "responses": ResponsesTelling,
    "events": EventsTelling,
    "nodes": NodesTelling,
    "whole": Telling,
    "object": ObjectTelling,
}

LOOKS: dict[Form, Looks] = {"output": "output", "object": "output", "responses": "responses"}

Body = Literal["question", "message", "anything"]
"""How a body is read: `PlainRequest`, `ChatRequest`, or any JSON as the question."""


@dataclass
class _Adapter(UIAdapter[Any, Any, Any, Any, Any]):
    _: KW_ONLY
    following: Following
    form: Form
    report: Report
    opened: Opening
    turn: Turn
    max_tool_result_chars: int

    def build_event_stream(self) -> Telling:
        telling = TELLINGS[self.form](
            self.run_input,
            report=self.report,
            told=self.run_input,
            run_id=self.opened.run_id,
            thread_id=None if self.turn.whole else self.turn.thread_id,
            max_tool_result_chars=self.max_tool_result_chars,
        )
        if isinstance(telling, Looking):
            self.following.tell_late = telling.tell_late
        return telling

    @cached_property
    def messages(self) -> list[ModelMessage]:
        return self.turn.run_input[1]

    @cached_property
    def toolset(self) -> None:
        return None

    @cached_property
    def state(self) -> dict[str, Any] | None:
        return self.opened.state

    @classmethod
    def build_run_input(cls, body: bytes) -> Any:
        raise NotImplementedError

    @classmethod
    def load_messages(cls, messages: Any) -> list[ModelMessage]:
        raise NotImplementedError


class Native:
    """The plain wire, in one form of telling. Stateless.

    Args:
        form: what to tell.
        body: how bodies are read.
        max_tool_result_chars: where results of tools are cut in `events`.
    """

    surface: Surface = "native"
    protocol = "native"

    def __init__(
        self,
        form: Form = "text",
        body: Body = "question",
        max_tool_result_chars: int = ServerSettings.model_fields["max_tool_result_chars"].default,
    ) -> None:
        self.form: Form = form
        self.comes_back = self.resumes = form in STREAMED
        self._body: Body = body
        self._max_tool_result_chars = max_tool_result_chars

    def read(self, body: bytes, history: Literal["server", "client"] = "server") -> Turn:
        """A body as `native_body` describes it -> turn."""
        turn = self._read(body, history)
        return replace(turn, dialect=self.form)

    def _read(self, body: bytes, history: Literal["server", "client"]) -> Turn:
        match self._body:
            case "question":
                return native_body.question(body, history)
            case "message":
                return native_body.message(body, history)
            case "anything":
                return native_body.anything(body)

    def adapter(self, agent: AbstractAgent[Any, Any], turn: Turn, opened: Opening, report: Report) -> _Adapter:
        """An adapter that follows the agent's run as closely as the form asks for."""
        told = turn.run_input[0]
        following = Following(agent, LOOKS.get(self.form), told.debounce)
        return _Adapter(
            following,
            told,
            following=following,
            form=self.form,
            report=report,
            opened=opened,
            turn=turn,
            max_tool_result_chars=self._max_tool_result_chars,
        )

    def dump(self, line: Line, waiting: DeferredToolRequests | None) -> list[dict[str, Any]]:  # noqa: ARG002 - they say it themselves
        """See `Wire`. pydantic-ai's own JSON."""
        return messages_of([entry.message for entry in line.entries])

    def last_words(self, error: RunError) -> bytes:
        """`error` and `done`."""
        run = error.members.get("run_id")
        said = {"code": error.code, "message": error.detail, "id": run}
        done = {"run_id": run, "outcome": error.code}
        return b"event: error\ndata: %b\n\nevent: done\ndata: %b\n\n" % (to_json(said), to_json(done))

    def framing(self, run_id: str, recorded: str, asked: str) -> Framing:
        """Server-sent events, lines of JSON, or bare text, as the reader asks for it."""
        if recorded == "object" or (asked == TEXT and recorded == "text"):
            return BARE_TEXT
        return lines(run_id) if asked == NDJSON else server_sent(run_id)

"""What every wire does, without I/O: read a request into a turn, make the adapter that runs it, say last words.

A wire never sees a `Request` and never decides who may do what; the same code encodes a live response, and later a
replay and a test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from pydantic import ValidationError
from pydantic_ai.tools import DeferredToolResults

from gateway.errors import MalformedBody, first_problem
from gateway.frontend.client_input import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.messages import ModelMessage, ModelRequest
    from pydantic_ai.tools import DeferredToolRequests
    from pydantic_ai.ui import UIAdapter

    from gateway.config import Surface
    from gateway.errors import RunError
    from gateway.failures import Report
    from gateway.frontend.client_input import ClientInput
    from gateway.history import Line
    from gateway.sse import Framing


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turn:
    """A request as its wire understood it: the thread, and what the client adds to it.

    What else the client sent of the conversation is not here: the thread is the gateway's. (`history: client` is the
    exception: then `run_input` holds all of it, and nothing else counts.)
    """

    thread_id: str
    prompt_chars: int
    """Characters of text in the user's new messages."""
    run_input: Any
    """The wire's own model of the request, with no more messages than the new ones."""
    messages: Sequence[ModelRequest] = ()
    """The user's messages behind the last answer, one request each, stripped of all that a client may not say."""
    message_ids: Sequence[str] = ()
    """The client's id of each."""
    regenerate: str | None = None
    """The id of a message to answer again (or of the answer itself); empty for the last one."""
    answers: DeferredToolResults = field(default_factory=DeferredToolResults)
    """Approvals and results of tools that the client ran. Whether the thread waits for them is not known here."""
    state: dict[str, Any] | None = None
    """The client's copy of the shared state; none when it has none."""
    client_tools: frozenset[str] = field(default_factory=frozenset[str])
    """Names of the tools that the client offers to run itself."""
    tool_chars: int = 0
    """Characters of what the client says of those, which the model reads."""
    request_id: str = ""
    """The client's own id of the request, the same when it repeats it; empty when the wire has none."""
    repeat_key: str = ""
    """What two requests have in common of which one repeats the other; empty when the wire has nothing of the kind."""
    dialect: str = ""
    """What the client understands, such as AG-UI `1.0`; empty for the oldest."""
    client_input: ClientInput = NOTHING
    """What the page says of itself, and its own properties."""
    acts_on: str = ""
    """The surface (A2UI) on which the user did what the last message says, if it says that."""
    max_tokens: int | None = None
    """Most tokens of one answer of the model, where the client wants fewer than the agent may use."""
    unnamed: bool = False
    """The client named no thread: the id is made up, and another one when the request is repeated."""
    fleeting: bool = False
    """Its answer is of no use to anybody but the reader of this one response."""
    whole: bool = False
    """`run_input` holds the whole conversation: the client's own history, or a question on no thread. Nothing of it is
    stored."""


class Wire(Protocol):
    """One protocol."""

    surface: Surface
    protocol: str
    """The key of an event stream's `wire_ids` in `TurnRecord.wire_ids`: one for all surfaces that speak it."""
    comes_back: bool
    """Whether a reader that has lost its run's stream can find it again. If not, the run is stopped when the last one
    goes; if so, the agent's `on_disconnect` says what happens."""

    resumes: bool
    """Whether a client goes on reading where a response broke off, so that one may be cut."""

    def read(self, body: bytes, history: Literal["server", "client"] = "server") -> Turn:
        """Request body -> turn. Raises `MalformedBody`.

        With the server's history all messages but the new ones are cut off before anything is validated (law 9).
        """
        ...

    def adapter(
        self, agent: AbstractAgent[Any, Any], turn: Turn, opened: Opening, report: Report
    ) -> UIAdapter[Any, Any, Any, Any, Any]:
        """pydantic-ai's adapter for the turn, reporting failures through `report`.

        Its `messages` are none with the server's history, since the thread gives the run all of them. Its event stream
        is an `Endable`.
        """
        ...

    def dump(self, line: Line, waiting: DeferredToolRequests | None) -> list[dict[str, Any]]:
        """A stored line -> the messages that a client of this wire would hold, as JSON.

        The ids are those that were streamed; a message that was never streamed on this wire gets the same id each time.

        Args:
            line: the thread's messages.
            waiting: the requests that the thread waits on; other calls without a result were interrupted.
        """
        ...

    def last_words(self, error: RunError) -> bytes:
        """The terminal frame for a failure outside of the adapter's own stream."""
        ...

    def framing(self, run_id: str, recorded: str, asked: str) -> Framing:
        """How a reader gets the frames of a run.

        Args:
            run_id: of the run.
            recorded: what they were encoded for, `Turn.dialect`.
            asked: what the reader asks for: AG-UI's `protocolVersion`, or a media type.
        """
        ...


@dataclass(frozen=True, slots=True)
class Opening:
    """What the thread has to say about how a run's stream begins and ends."""

    run_id: str = ""
    state: dict[str, Any] | None = None
    """The shared state to run with: the client's, or else the stored one."""
    continues: bool = False
    """The run goes on with the answer that the client has already, so the stream begins no new message."""
    expires_at: datetime | None = None
    """When the requests that the run may end with can no longer be approved."""
    repeats: Repetition | None = None
    """What is only said once more; none when the agent runs."""
    agent: str = ""
    """The name in the registry."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """Stored messages that a stream repeats, for a client that will know them by the ids with which it loads them."""

    line: Line
    """The thread's messages, those among them."""
    said: Sequence[ModelMessage]
    waiting: DeferredToolRequests | None
    """See `Wire.dump`."""

    @property
    def entry_ids(self) -> frozenset[str]:
        """The entries of the messages."""
        said = {id(message) for message in self.said}
        return frozenset(entry.id for entry in self.line.entries if id(entry.message) in said)


CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""Characters that no id needs, and PostgreSQL cannot keep all of."""

MAX_THREAD_ID = 256
"""Characters. A thread id is a key in stores and a response header, not a place to keep things."""


def checked_thread_id(value: str) -> str:
    """The thread id, or `MalformedBody`. `new` has a meaning of its own in pydantic-ai."""
    if not 0 < len(value) <= MAX_THREAD_ID or value == "new" or CONTROL.search(value):
        msg = f"The thread id must have 1 to {MAX_THREAD_ID} characters, none for control, and not be 'new'."
        raise MalformedBody(msg)
    return value


def parsed(parse: Callable[[bytes], T], body: bytes) -> T:
    """`parse(body)`, with the first thing that does not fit said in one short sentence."""
    try:
        return parse(body)
    except ValidationError as error:
        raise MalformedBody(first_problem(error)) from error
    except ValueError as error:
        raise MalformedBody from error

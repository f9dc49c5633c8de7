"""What every wire does, without I/O: read a request into a turn, make the adapter that runs it, say last words.

A wire never sees a `Request` and never decides who may do what; the same code encodes a live response, and later a
replay and a test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import ValidationError

from gateway.errors import MalformedBody

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.conversation_store import ConversationStore
    from pydantic_ai.ui import UIAdapter

    from gateway.config import Surface
    from gateway.errors import RunError
    from gateway.failures import Report


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turn:
    """A request as its wire understood it."""

    thread_id: str
    prompt_chars: int
    """Characters of text that the client added since the last answer."""
    run_input: Any
    """The wire's own model of the request."""
    client_tools: frozenset[str] = field(default_factory=frozenset[str])
    """Names of the tools that the client offers to run itself."""
    request_id: str = ""
    """The client's own id of the request, the same when it repeats it; empty when the wire has none."""
    dialect: str = ""
    """What the client understands, such as AG-UI `1.0`; empty for the oldest."""


@dataclass(frozen=True, slots=True)
class History:
    """Where a turn's conversation is kept: the owner's view of the store, and the owner's key."""

    store: ConversationStore
    scope: str


class Wire(Protocol):
    """One protocol."""

    surface: Surface
    headers: Mapping[str, str]
    """Response headers that the protocol asks for."""

    def read(self, body: bytes) -> Turn:
        """Request body -> turn. Raises `MalformedBody`."""
        ...

    def adapter(
        self, agent: AbstractAgent[Any, Any], turn: Turn, history: History, report: Report
    ) -> UIAdapter[Any, Any, Any, Any, Any]:
        """pydantic-ai's adapter for the turn, reporting failures through `report`."""
        ...

    def last_words(self, error: RunError) -> bytes:
        """The terminal frame for a failure outside of the adapter's own stream."""
        ...


MAX_THREAD_ID = 256
"""Characters. A thread id is a key in stores and a response header, not a place to keep things."""


def checked_thread_id(value: str) -> str:
    """The thread id, or `MalformedBody`. `new` has a meaning of its own in pydantic-ai."""
    if not 0 < len(value) <= MAX_THREAD_ID or value == "new":
        msg = f"The thread id must have 1 to {MAX_THREAD_ID} characters, and not be 'new'."
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


def first_problem(error: ValidationError, *within: str) -> str:
    """The first thing that does not fit, and its place in the body; `within` is the place of what was validated.

    pydantic's own report repeats the input and links to its documentation; an AI SDK front end would show all of it.
    """
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in (*within, *first["loc"][:4]))
    # These repeat the input, or the words of whoever wrote the validator.
    vague = first["type"] in ("union_tag_invalid", "value_error", "assertion_error")
    return f"{place or 'body'}: {'Not a value that fits here' if vague else first['msg']}"[:200]

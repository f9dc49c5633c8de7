"""What is said of one operation of the API, as data: `document.py` writes it down as OpenAPI.

Operations stand in tables, one file for each noun, by their method and path as the routes have it. A test holds the
tables against the routes of a gateway, in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - fields' types
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import GatewayError
from gateway.wires.native import STREAMED

Errors = tuple[type[GatewayError], ...]

EVENTS = ("text/event-stream",)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query or a header. Those in the path are all in `IN_PATH`."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    where: str = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent with a request, as JSON."""

    model: Any
    """A pydantic model, or any type that pydantic can describe."""
    example: Any
    required: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back when nothing is refused."""

    description: str
    model: Any = None
    """As in `Body`; none for an answer without a body, or with one that JSON Schema has no words for."""
    media: tuple[str, ...] = ()
    """Media types; JSON where there is a model."""
    headers: tuple[str, ...] = ()
    """Names out of `HEADERS`."""
    always: bool = True
    """Whether it has those headers in every case."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route."""

    id: str
    """`operationId`: what generated clients call it."""
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    errors: Errors = ()
    """Refusals of its own, besides those that every operation has."""
    guards: Errors | None = None
    """What is refused around it, if it asks for no credentials."""


def _in_path(name: str, description: str, **schema: Any) -> Parameter:
    return Parameter(name, description, {"type": "string", "minLength": 1, **schema}, where="path", required=True)


IN_PATH = (
    _in_path("agent", "The agent's name, as `GET /agents` lists it."),
    _in_path("form", "What to tell of the run.", enum=list(STREAMED)),
    _in_path("id", "The thread's id, URL-encoded, slashes included."),
    _in_path("chat_id", "The chat's id, URL-encoded, slashes included."),
    _in_path("run_id", "The run's id: the response header `x-run-id` of the request that started it."),
    _in_path("entry", "The last entry of a turn: `entry` of a branch, or of one of the thread's `turns`."),
)

HEADERS = {
    "x-run-id": "The run: resume it at `/runs/{run_id}/stream`, stop it at `/runs/{run_id}/cancel`.",
    "x-thread-id": "The thread, URL-encoded where it needs to be.",
    "location": "Where the new thread is.",
    "retry-after": "Seconds after which to try again.",
    "www-authenticate": "How to sign in.",
}

IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "A request with the key of one before it joins that one's run.",
    {"type": "string", "maxLength": 255},
    where="header",
)

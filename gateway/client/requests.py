"""What a caller asks for -> requests as data. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - fields' types
from dataclasses import dataclass, field
from typing import Any, TypedDict
from urllib.parse import quote
from uuid import uuid4

from gateway.client.lines import MEDIA_TYPE


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to the gateway."""

    method: str
    path: str
    """Encoded."""
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Mapping[str, Any] | None = None
    """Sent as JSON."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    repeatable: bool = True
    """Whether it may be sent again when nobody knows whether it arrived."""
    timeout: float | None = None
    """Seconds, in place of the client's."""
    retries: int | None = None
    """In place of the client's."""


class RunOptions(TypedDict, total=False):
    """What may be said about a run besides its prompt."""

    thread_id: str
    """The thread to ask on: its history is read, and the turn is stored. Without one, nothing is stored."""
    max_tokens: int
    """Most tokens of one answer of the model."""
    approvals: Mapping[str, bool | Mapping[str, Any]]
    """Tool call id -> whether it may run: True, False, or `{"approved": ..., "reason": ..., "override_args": ...}`."""
    results: Mapping[str, Any]
    """Tool call id -> result of a call that the client ran itself."""
    messages: Sequence[Mapping[str, str]]
    """The conversation so far, `{"role", "content"}` each, for agents with `history: client`."""


class StreamOptions(RunOptions, total=False):
    """What may be said about a stream besides its prompt."""

    debounce: float
    """Seconds for which pieces are gathered, 0 to 10; 0.1 when left out, 0 for every token."""


class ChatOptions(TypedDict, total=False):
    """What may be said about a message of a session."""

    debounce: float
    """As for every stream."""
    max_tokens: int
    """Most tokens of one answer of the model."""


STREAMED = {"accept": MEDIA_TYPE, "accept-encoding": "identity"}
"""Whoever compresses a stream on the way holds it back."""


def encoded(name: str) -> str:
    """A name as one segment of a path, slashes included."""
    return quote(name, safe="")


def start(agent: str, kind: str, prompt: str | None, options: Mapping[str, Any]) -> Request:
    """Start a run and stream it, as `text`, `output`, `events` or `nodes`."""
    asked = {"prompt": prompt, **options}
    return _streamed(f"/agents/{encoded(agent)}/stream/{kind}", asked)


def chat(agent: str, session_id: str, message: str, options: Mapping[str, Any]) -> Request:
    """Say something in a session."""
    return _streamed(f"/agents/{encoded(agent)}/chat", {"session_id": session_id, "message": message, **options})


def resume(run_id: str, after: int, timeout: float | None = None) -> Request:
    """The events of a run behind that number; never starts one."""
    headers = {**STREAMED, "last-event-id": f"{run_id}:{after}"}
    return Request("GET", f"/runs/{encoded(run_id)}/stream", headers=headers, timeout=timeout)


def _streamed(path: str, asked: Mapping[str, Any]) -> Request:
    body = {name: value for name, value in asked.items() if value is not None}
    # The key makes it safe to send the request again: what comes second joins the run of the first.
    return Request("POST", path, body=body, headers={**STREAMED, "idempotency-key": str(uuid4())})

"""Requests with one answer: what to send, and the answer -> a typed value. Nothing here does I/O but `made`."""

from __future__ import annotations

import json
from collections.abc import Callable  # noqa: TC003 - a field's type
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pydantic import ValidationError

from gateway.client import history
from gateway.client.connection import answer
from gateway.client.errors import NotFound, StreamExpired, UnexpectedAnswer
from gateway.client.requests import Request, encoded
from gateway.client.shapes import AgentInfo, Branch, Message, ThreadInfo, ThreadSummary, Turn

if TYPE_CHECKING:
    from gateway.client.connection import Connection

T = TypeVar("T")

CANCEL_TIMEOUT = 5.0
"""Seconds. Whoever leaves does not want to wait."""

Archived = Literal["exclude", "include", "only"]
"""What a list does with archived threads."""

Page = tuple[list[ThreadSummary], str | None]
"""Threads, and the cursor of the next page, if there is one."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and how its answer is read."""

    request: Request
    read: Callable[[Any], T]
    """JSON -> value. May raise `ValidationError`, or `KeyError` and the like, for an answer of another shape."""
    instead: tuple[T, ...] = ()
    """The value, if there is one, for a thing that is not there (any more)."""


async def made(connection: Connection, call: Call[T]) -> T:
    """The value. Raises `ClientError`."""
    try:
        status, body = await answer(connection, call.request)
    except (NotFound, StreamExpired):
        if call.instead:
            return call.instead[0]
        raise
    try:
        return call.read(json.loads(body) if body else None)
    except (ValidationError, ValueError, TypeError, KeyError):
        raise UnexpectedAnswer(status) from None


def agents() -> Call[list[AgentInfo]]:
    """`GET /agents`."""
    return Call(Request("GET", "/agents"), lambda data: [AgentInfo.model_validate(each) for each in data["agents"]])


def agent(agent_id: str) -> Call[AgentInfo]:
    """`GET /agents/{agent}`."""
    return Call(Request("GET", f"/agents/{encoded(agent_id)}"), AgentInfo.model_validate)


def cancel(run_id: str) -> Call[bool]:
    """`POST /runs/{run_id}/cancel`. There is nothing to stop of a run that is not there."""
    request = Request("POST", f"/runs/{encoded(run_id)}/cancel", timeout=CANCEL_TIMEOUT, retries=0)
    return Call(request, lambda data: bool(data["stopped"]), instead=(False,))


def threads(agent_id: str | None, archived: Archived, limit: int, cursor: str | None) -> Call[Page]:
    """`GET /threads`: one page."""
    asked = {"limit": str(limit), "agent": agent_id, "archived": archived, "cursor": cursor}
    params = {name: value for name, value in asked.items() if value is not None}

    def page(data: Any) -> Page:
        return [ThreadSummary.model_validate(each) for each in data["threads"]], data.get("next_cursor")

    return Call(Request("GET", "/threads", params=params), page)


def thread(thread_id: str) -> Call[ThreadInfo]:
    """`GET /threads/{id}`."""
    return Call(_on(thread_id), ThreadInfo.model_validate)


def running(thread_id: str) -> Call[str | None]:
    """The run that goes on on a thread, if any."""
    return Call(_on(thread_id), lambda data: ThreadInfo.model_validate(data).run_id, instead=(None,))


def messages(thread_id: str, shape: str) -> Call[list[dict[str, Any]]]:
    """`GET /threads/{id}/messages`, as they are."""
    return Call(_messages(thread_id, shape), lambda data: list(data["messages"]))


def said(thread_id: str, *instead: list[Message]) -> Call[list[Message]]:
    """The same, to be shown."""
    return Call(_messages(thread_id, "native"), lambda data: history.said(data["messages"]), instead)


def turns(thread_id: str) -> Call[list[Turn]]:
    """The turns of `GET /threads/{id}/messages`."""
    request = _messages(thread_id, "native")
    return Call(request, lambda data: [Turn.model_validate(each) for each in data["turns"]])


def change(thread_id: str, **changes: str | bool | None) -> Call[ThreadInfo]:
    """`PATCH /threads/{id}`."""
    return Call(_on(thread_id, method="PATCH", body=changes), ThreadInfo.model_validate)


def delete(thread_id: str, *instead: bool) -> Call[bool]:
    """`DELETE /threads/{id}`. Not repeatable: the second answer would be that the thread is not there."""
    return Call(_on(thread_id, method="DELETE", repeatable=False), lambda _: True, instead)


def fork(thread_id: str, entry: str | None, new_id: str | None) -> Call[ThreadInfo]:
    """`POST /threads/{id}/fork`."""
    body = {name: value for name, value in (("entry", entry), ("id", new_id)) if value is not None}
    return Call(_on(thread_id, "/fork", method="POST", body=body, repeatable=False), ThreadInfo.model_validate)


def branches(thread_id: str) -> Call[list[Branch]]:
    """`GET /threads/{id}/branches`."""
    request = _on(thread_id, "/branches")
    return Call(request, lambda data: [Branch.model_validate(each) for each in data["branches"]])


def switch(thread_id: str, entry: str) -> Call[ThreadInfo]:
    """`POST /threads/{id}/branches/{entry}`."""
    return Call(_on(thread_id, f"/branches/{encoded(entry)}", method="POST"), ThreadInfo.model_validate)


def _on(thread_id: str, verb: str = "", *, method: str = "GET", **more: Any) -> Request:
    return Request(method, f"/threads/{encoded(thread_id)}{verb}", **more)


def _messages(thread_id: str, shape: str) -> Request:
    return _on(thread_id, "/messages", params={"format": shape})

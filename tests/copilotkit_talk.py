"""A CopilotKit runtime over plain HTTP: what its client sends, without the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from talking import events_of

if TYPE_CHECKING:
    import httpx

    Json = dict[str, Any]


def body(thread: str, text: str = "", run: str = "", **fields: Any) -> Json:
    """`RunAgentInput` as `@copilotkit/core` sends it."""
    said = [{"id": str(uuid4()), "role": "user", "content": text}] if text else []
    more: Json = {"messages": said, "state": {}, "tools": [], "context": [], "forwardedProps": {}}
    return {"threadId": thread, "runId": run or str(uuid4()), **more, **fields}


def at(agent: str, what: str, thread: str = "") -> str:
    """A URL behind the gateway's own."""
    return f"/copilotkit/agent/{agent}/{what}" + (f"/{quote(thread, safe='')}" if thread else "")


async def ran(client: httpx.AsyncClient, agent: str, thread: str, text: str, **fields: Any) -> list[Json]:
    """A run, to its end."""
    response = await client.post(at(agent, "run"), json=body(thread, text, **fields))
    assert response.status_code == 200, response.text
    return events_of(response.text)


async def connected(client: httpx.AsyncClient, agent: str, thread: str, **fields: Any) -> list[Json]:
    """What `connect` says, to its end."""
    response = await client.post(at(agent, "connect"), json=body(thread, **fields))
    assert response.status_code == 200, response.text
    return events_of(response.text)


def snapshot(events: list[Json]) -> list[Json]:
    """The messages of the last snapshot."""
    return next(event["messages"] for event in reversed(events) if event["type"] == "MESSAGES_SNAPSHOT")


def contents(messages: list[Json]) -> list[tuple[str, Any]]:
    """Who said what."""
    return [(message["role"], message.get("content", "")) for message in messages]


async def stop(client: httpx.AsyncClient, agent: str, thread: str, **sent: Any) -> bool:
    """Whether there was something to stop."""
    response = await client.post(at(agent, "stop", thread), **sent)
    assert response.status_code == 200, response.text
    stopped: bool = response.json()["stopped"]
    return stopped


async def enveloped(client: httpx.AsyncClient, method: str, inner: Any = None, **params: Any) -> httpx.Response:
    """The same through the single endpoint."""
    sent: Json = {"method": method, "params": params}
    return await client.post("/copilotkit", json=sent if inner is None else {**sent, "body": inner})

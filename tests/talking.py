"""What front ends send and read: request bodies of both wires, and frames -> events."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
from described import assert_as_described

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

    from starlette.applications import Starlette

WIRES = ("ag-ui", "vercel-ai")


def turn(wire: str, text: str = "Hello", thread: str | None = None, **fields: Any) -> dict[str, Any]:
    """The body that `wire`'s client sends for one new message of the user; a thread of its own unless told."""
    thread, message = thread or f"thread-{uuid4()}", str(uuid4())
    if wire == "ag-ui":
        said = {"id": message, "role": "user", "content": text}
        return {
            "threadId": thread,
            "runId": str(uuid4()),
            "protocolVersion": "1.0",
            "state": {},
            "messages": [said],
            "tools": [],
            "context": [],
            "forwardedProps": {},
            **fields,
        }
    said = {"id": message, "role": "user", "parts": [{"type": "text", "text": text}]}
    return {"id": thread, "trigger": "submit-message", "messages": [said], **fields}


def run_url(wire: str, agent: str) -> str:
    """Where `wire`'s client posts its turns for `agent`."""
    return f"/agents/{agent}/{wire}"


def frames_of(body: str) -> list[str]:
    """The frames of a stream's body, in order, without the numbers before them and the comments between them."""
    frames = [re.sub(r"^id: \d+\n", "", frame) for frame in body.split("\n\n")]
    return [frame for frame in frames if frame.startswith("data: ")]


def numbers_of(body: str) -> list[int]:
    """The numbers of the frames of a stream's body."""
    return [int(number) for number in re.findall(r"^id: (\d+)$", body, re.MULTILINE)]


def events_of(body: str) -> list[dict[str, Any]]:
    """The events of a stream's body, comments and the end marker left out."""
    return [json.loads(frame[6:]) for frame in frames_of(body) if frame != "data: [DONE]"]


def text_of(events: Iterable[Mapping[str, Any]]) -> str:
    """The text that a front end would show."""
    return "".join(event["delta"] for event in events if event["type"] in ("TEXT_MESSAGE_CONTENT", "text-delta"))


def error_of(wire: str, body: str) -> tuple[str, str]:
    """`(code, sentence)` of the one error, with which the stream ends."""
    events = events_of(body)
    if wire == "ag-ui":
        assert events[-1]["type"] == "RUN_ERROR", events[-1]
        return events[-1]["code"], events[-1]["message"]
    # `useChat` stops at the error; what follows closes the message for other readers.
    [number] = [number for number, event in enumerate(events) if event["type"] == "error"]
    assert {event["type"] for event in events[number + 1 :]} <= {"finish-step", "finish"}, events[number:]
    sentence, _, code = events[number]["errorText"].rpartition(" [")
    return code.removesuffix("]"), sentence


@asynccontextmanager
async def calling(
    app: Starlette, *, address: str = "127.0.0.1", base_url: str = "http://localhost", **headers: str
) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of an app in memory, with the app's lifespan around it. Streams are read to their end.

    Whatever a gateway answers must be what its document says.
    """
    # What reaches the transport was not caught by the app; a server would close the connection.
    transport = httpx.ASGITransport(app, raise_app_exceptions=True, client=(address, 50_000))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=transport,
            base_url=base_url,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            timeout=15,
            event_hooks={"response": [_is_as_described] if hasattr(app.state, "registry") else []},
        ) as client,
    ):
        yield client


async def _is_as_described(response: httpx.Response) -> None:
    await response.aread()
    assert_as_described(response)


def assert_problem(response: httpx.Response, status: int, code: str, *members: str) -> dict[str, Any]:
    """The response is a short problem+json of that status and code, with those members more; returns its body."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["code"] == code, body
    assert body["status"] == status
    assert body["request_id"] == response.headers["x-request-id"]
    told = {"message"} if "/copilotkit" in response.request.url.path else set[str]()
    assert body.keys() == {"title", "status", "detail", "code", "request_id", *told, *members}
    assert len(response.content) < 500, body
    assert "pydantic" not in response.text
    assert "Traceback" not in response.text
    return body

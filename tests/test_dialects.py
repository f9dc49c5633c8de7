"""Frames recorded for an AG-UI 1.0 client, as a client of 0.0.59 reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ag_ui.core import EventType
from reading import client_for, held, reading, run_config, stop
from serving import serving
from talking import assert_problem, events_of, numbers_of, run_url, turn

from gateway.wires.ag_ui.dialects import EVENTS_0_0_59, to_0_0_59, understands_1_0

pytestmark = pytest.mark.anyio

FILE = {"type": "document", "source": {"type": "file", "value": "file-1"}}
IMAGE = {"type": "image", "source": {"type": "data", "value": "AA==", "mimeType": "image/png"}}
TEXT = {"type": "text", "text": "Hi"}


def frame(event: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(event, separators=(',', ':'), ensure_ascii=False)}\n\n".encode()


def finished(**fields: Any) -> dict[str, Any]:
    return {"type": "RUN_FINISHED", "threadId": "t", "runId": "r", **fields}


def snapshot(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"type": "MESSAGES_SNAPSHOT", "messages": list(messages)}


def result(content: Any) -> dict[str, Any]:
    return {"type": "TOOL_CALL_RESULT", "messageId": "m", "toolCallId": "c", "content": content}


def said(role: str, content: Any) -> dict[str, Any]:
    return {"id": "m", "role": role, "content": content}


CONVERTED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (finished(outcome={"type": "cancelled"}), finished()),
    (finished(outcome={"type": "success", "pendingToolCallIds": ["c"]}), finished(outcome={"type": "success"})),
    (result([TEXT]), result("Hi")),
    (result([TEXT, TEXT]), result("Hi\nHi")),
    (result([]), result("")),
    (result([TEXT, IMAGE]), result(json.dumps([TEXT, IMAGE], separators=(",", ":")))),
    (snapshot(said("tool", [TEXT])), snapshot(said("tool", "Hi"))),
    (snapshot(said("user", [TEXT, FILE, IMAGE])), snapshot(said("user", [TEXT, IMAGE]))),
    (snapshot(said("user", [FILE])), snapshot(said("user", ""))),
    (snapshot(said("user", "ünd"), said("tool", [TEXT])), snapshot(said("user", "ünd"), said("tool", "Hi"))),
]

UNCHANGED: list[dict[str, Any]] = [
    finished(),
    finished(outcome={"type": "success"}),
    finished(outcome={"type": "interrupt", "interrupts": [{"id": "i", "reason": "approval"}]}),
    result("Hi"),
    snapshot(said("user", "Hi"), said("user", [TEXT, IMAGE]), said("assistant", "ünd")),
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": 'NEW_EVENT "cancelled" ünd'},
    {"type": "RUN_STARTED", "threadId": "t", "runId": "r", "protocolVersion": "1.0"},
    {"type": "RUN_ERROR", "message": "No.", "code": "run_failed"},
    {"type": "CUSTOM", "name": "x", "value": {"outcome": {"type": "cancelled"}}},
]


@pytest.mark.parametrize(("event", "older"), CONVERTED, ids=lambda event: json.dumps(event)[:60])
def test_what_0_0_59_would_choke_on_is_converted(event: dict[str, Any], older: dict[str, Any]) -> None:
    assert to_0_0_59(frame(event)) == frame(older)


@pytest.mark.parametrize("event", UNCHANGED, ids=lambda event: event["type"])
def test_everything_else_stays_as_it_is_to_the_byte(event: dict[str, Any]) -> None:
    assert to_0_0_59(frame(event)) == frame(event)


def test_an_event_that_0_0_59_does_not_know_is_left_out() -> None:
    assert to_0_0_59(frame({"type": "SOMETHING_NEW", "value": 1})) is None


def test_a_comment_passes() -> None:
    assert to_0_0_59(b": heartbeat\n\n") == b": heartbeat\n\n"


def test_0_0_59_knows_all_events_of_1_0() -> None:
    """1.0 has changed the shape of events and added none; its python package still has names of long ago."""
    gone = {name for name in EventType.__members__ if name.startswith("THINKING")}
    assert set(EventType.__members__) - gone == EVENTS_0_0_59


@pytest.mark.parametrize(
    ("dialect", "newer"),
    [("", False), ("0.0", False), ("0.9", False), ("1.0", True), ("1.7", True), ("2.0", True), ("10.1", True)]
    + [(unreadable, True) for unreadable in ("1", "0.0.59", "one", "x.y", ".", "-1.0")],
)
def test_what_is_no_version_is_read_as_a_newer_one(dialect: str, *, newer: bool) -> None:
    assert understands_1_0(dialect) is newer


async def test_a_client_of_0_0_59_may_join_and_resume_a_run_of_a_1_0_client() -> None:
    with serving(run_config()) as url:
        async with client_for(url) as client, held(client, "ag-ui", runId="the-run") as run:
            body = {**turn("ag-ui", run.prompt, run.thread), "runId": "the-run"}
            del body["protocolVersion"]
            async with (
                reading(client, "POST", run_url("ag-ui", "gated"), json=body) as joined,
                reading(client, "GET", f"{run.path}/stream?protocolVersion=0.0") as resumed,
            ):
                assert joined.run_id == resumed.run_id == run.id
                assert await stop(client, run.id)
                newer, older = events_of(await run.reader.rest()), events_of(await joined.rest())
                assert await resumed.rest() == joined.text
            assert newer[-1]["outcome"] == {"type": "cancelled"}
            assert older == [*newer[:-1], {k: v for k, v in newer[-1].items() if k != "outcome"}]
            assert numbers_of(joined.text) == numbers_of(run.reader.text)
            same = await client.get(f"{run.path}/stream", params={"protocolVersion": "1.0"})
            assert same.text == (await client.get(f"{run.path}/stream")).text == run.reader.text


async def test_a_newer_client_joins_an_older_ones_run_as_it_is() -> None:
    with serving(run_config()) as url:
        async with client_for(url) as client, held(client, "ag-ui", protocolVersion=None) as run:
            await stop(client, run.id)
            body = await run.reader.rest()
            assert "outcome" not in events_of(body)[-1]
            again = await client.get(f"{run.path}/stream", params={"protocolVersion": "1.0"})
            assert again.text == body


async def test_the_dialect_of_a_reader_has_no_meaning_on_another_wire() -> None:
    with serving(run_config()) as url:
        async with client_for(url) as client:
            whole = await client.post(run_url("vercel-ai", "fast"), json=turn("vercel-ai", "5"))
            path = f"/runs/{whole.headers['x-run-id']}/stream"
            assert (await client.get(path, params={"protocolVersion": "0.0"})).text == whole.text
            assert_problem(await client.get(path, params={"after": "x", "protocolVersion": "?"}), 400, "bad_request")

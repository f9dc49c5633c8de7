"""Plain streams that are lost and found again, stopped, left alone; none of it starts a run twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
import run_probes
from fault_proxy import FaultProxy
from plain_reading import TEXT, begun, going_on, last_of
from plain_wire import FORMS, NDJSON, answer_in, events_in, lines_in, names, one
from reading import (
    NAMES,
    becomes,
    client_for,
    eventually,
    reading,
    run_config,
)
from redis_server import RedisServer
from replicas import Replica
from serving import serving
from talking import assert_problem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path


pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with serving(run_config()) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncGenerator[httpx.AsyncClient]:
    async with client_for(url) as client:
        yield client


@pytest.mark.parametrize("where", ["the same path", "the run's path"])
async def test_a_reader_that_was_cut_off_gets_what_it_has_not_got(client: httpx.AsyncClient, where: str) -> None:
    async with begun(client) as run:
        seen = await last_of(run)
    path = f"{TEXT}?q=ignored&debounce=0" if where == "the same path" else f"{run.path}/stream"
    run.gate.open()
    async with going_on(client, seen, path) as reader:
        events = events_in(await reader.rest())
    assert reader.run_id == run.id
    assert answer_in(events) == "ended."
    assert names(events) == ["message", "result", "usage", "done"]
    assert events[0].id == f"{run.id}:2"
    assert run_probes.runs[run.prompt] == 1
    assert run_probes.runs["ignored"] == 0


async def test_a_reader_that_was_cut_off_by_the_network_goes_on_in_a_run_that_has_not_ended(url: str) -> None:
    async with (
        FaultProxy(httpx.URL(url).port or 0) as proxy,
        client_for(f"http://127.0.0.1:{proxy.port}") as client,
        begun(client) as run,
    ):
        seen = await last_of(run)
        proxy.cut()
        with pytest.raises(httpx.TransportError):
            await run.reader.rest()
        async with going_on(client, seen) as reader:
            run.gate.open()
            assert answer_in(events_in(await reader.rest())) == "ended."
    assert run_probes.runs[run.prompt] == 1


async def test_lines_of_json_go_on_likewise(client: httpx.AsyncClient) -> None:
    async with begun(client, headers=NDJSON) as run:
        seen = lines_in(await run.reader.until("\n"))[-1].id
    run.gate.open()
    async with going_on(client, seen, **NDJSON) as reader:
        assert names(lines_in(await reader.rest())) == ["message", "result", "usage", "done"]
    async with going_on(client, seen, f"{run.path}/stream", **NDJSON) as reader:
        assert names(lines_in(await reader.rest())) == ["message", "result", "usage", "done"]


async def test_the_runs_path_gives_all_of_it_to_whoever_has_nothing_yet(client: httpx.AsyncClient) -> None:
    async with begun(client, method="POST") as run:
        run.gate.open()
        whole = await run.reader.rest()
    again = await client.get(f"{run.path}/stream")
    assert again.text == whole
    assert (await client.get(f"{run.path}/stream", params={"after": 1})).text == whole[whole.index("\n\n") + 2 :]


async def test_a_session_goes_on_as_a_stream_of_text(client: httpx.AsyncClient) -> None:
    gate = f"gate-{uuid4()}"
    body = {"session_id": f"s-{gate}", "message": gate, "debounce": 0}
    async with reading(client, "POST", "/agents/gated/chat", json=body) as chat:
        seen = events_in(await chat.until("Begun"))[-1].id
    run_probes.gates[gate].open()
    async with going_on(client, seen) as reader:
        assert answer_in(events_in(await reader.rest())) == "ended."


async def test_there_is_nothing_left_of_a_run_that_was_read_to_its_end(client: httpx.AsyncClient) -> None:
    response = await client.get("/agents/fast/stream/text", params={"q": "3", "debounce": 0})
    last = events_in(response.text)[-1].id
    await becomes(client, response.headers["x-run-id"], "finished")
    again = await client.get("/agents/fast/stream/text", params={"q": "3"}, headers={"last-event-id": last})
    assert (again.status_code, again.content) == (204, b"")
    assert "x-run-id" not in again.headers


async def test_a_post_with_the_id_of_an_event_goes_on_too_and_starts_nothing(client: httpx.AsyncClient) -> None:
    response = await client.get("/agents/fast/stream/text", params={"q": "3", "debounce": 0})
    events = events_in(response.text)
    await becomes(client, response.headers["x-run-id"], "finished")
    for seen, rest in ((events[1].id, events[2:]), (events[-1].id, [])):
        again = await client.post("/agents/fast/stream/text", json={"q": "3"}, headers={"last-event-id": seen})
        assert events_in(again.text) == rest
        assert again.headers.get("x-run-id") == (response.headers["x-run-id"] if rest else None)


@pytest.mark.parametrize("form", FORMS)
async def test_an_id_of_a_run_that_never_was_starts_none(client: httpx.AsyncClient, form: str) -> None:
    prompt = f"3 {uuid4()}"
    path = f"/agents/fast/stream/{form}"
    for unknown in ("no-such-run:1", f"{uuid4()}:7", "0"):
        response = await client.get(path, params={"q": prompt}, headers={"last-event-id": unknown})
        if form == "output":
            assert_problem(response, 422, "unsuitable_agent")
        else:
            assert response.status_code == 204


async def test_a_run_of_somebody_else_has_nothing_left_just_like_one_that_never_was(
    client: httpx.AsyncClient, url: str
) -> None:
    async with begun(client) as run, client_for(url, "bob") as bob:
        seen = await last_of(run)
        headers = {"last-event-id": seen}
        assert (await bob.get(TEXT, params={"q": "3"}, headers=headers)).status_code == 204
        assert_problem(await bob.get(f"{run.path}/stream", headers=headers), 404, "not_found")
        assert_problem(await bob.post(f"{run.path}/cancel"), 404, "not_found")


@pytest.mark.parametrize("path", ["/agents/fast/stream/text", "/agents/gated/stream/events"])
async def test_a_run_of_another_agent_or_form_has_nothing_left(client: httpx.AsyncClient, path: str) -> None:
    async with begun(client) as run:
        seen = await last_of(run)
        assert (await client.get(path, headers={"last-event-id": seen})).status_code == 204


@pytest.mark.parametrize("wrong", ["run:", "run:x", "run:-1", "run:1.5", "x", "run:" + "1" * 16])
async def test_an_id_that_is_none_is_refused(client: httpx.AsyncClient, wrong: str) -> None:
    for path in (TEXT, "/runs/run/stream"):
        response = await client.get(path, params={"q": "3"} if path == TEXT else {}, headers={"last-event-id": wrong})
        assert response.status_code in (400, 404), response.text
    assert_problem(await client.get(TEXT, headers={"last-event-id": wrong}), 400, "bad_request")


async def test_the_id_of_another_run_does_not_fit_the_path_of_this_one(client: httpx.AsyncClient) -> None:
    async with begun(client) as run:
        headers = {"last-event-id": "another:1"}
        assert_problem(await client.get(f"{run.path}/stream", headers=headers), 404, "not_found")


async def test_frames_that_are_no_longer_kept_are_not_begun_again() -> None:
    with serving(run_config(streams={"keep": 0.1})) as url:
        async with client_for(url) as client:
            prompt = f"3 {uuid4()}"
            response = await client.get("/agents/fast/stream/text", params={"q": prompt, "debounce": 0})
            headers = {"last-event-id": f"{response.headers['x-run-id']}:1"}

            async def is_gone() -> bool:
                again = await client.get("/agents/fast/stream/text", params={"q": prompt}, headers=headers)
                assert again.headers.get("x-run-id", response.headers["x-run-id"]) == response.headers["x-run-id"]
                return again.status_code == 204

            await eventually(is_gone)


@pytest.fixture(scope="module")
def redis_url() -> Generator[str]:
    server = RedisServer()
    try:
        yield server.url
    finally:
        server.stop()


def replica_sections(redis_url: str, tmp_path: Path) -> dict[str, Any]:
    agents = {name: {"import": f"run_probes:{name}"} for name in NAMES}
    stores = {"streams": redis_url, "limits": "memory://", "conversations": f"sqlite:///{tmp_path}/threads.db"}
    return {"agents": agents, "stores": stores, "streams": {"lease": 2}}


def test_plain_streams_go_on_at_another_replica_and_a_lost_one_is_told(redis_url: str, tmp_path: Path) -> None:
    sections = replica_sections(redis_url, tmp_path)
    one_, other = (Replica(tmp_path, name, sections) for name in ("one", "other"))
    try:
        one_.wait()
        other.wait()
        query = {"q": "30 numbers", "debounce": 0}
        whole = httpx.get(f"{one_.url}/agents/fast/stream/text", params=query, timeout=20)
        events = events_in(whole.text)
        rest = httpx.get(f"{other.url}/agents/fast/stream/text", headers={"last-event-id": events[10].id}, timeout=20)
        assert events_in(rest.text) == events[11:]
        assert rest.headers["x-run-id"] == whole.headers["x-run-id"]
        gate = f"gate-{uuid4()}"
        with httpx.stream("GET", f"{one_.url}{TEXT}", params={"q": gate, "debounce": 0}, timeout=20) as held:
            assert next(held.iter_text())
            run_id = held.headers["x-run-id"]
            one_.process.kill()
        lost = httpx.get(f"{other.url}{TEXT}", headers={"last-event-id": f"{run_id}:1"}, timeout=60)
        events = events_in(lost.text)
        assert names(events)[-2:] == ["error", "done"]
        assert (one(events, "error")["code"], one(events, "error")["id"]) == ("run_lost", run_id)
        assert one(events, "done") == {"run_id": run_id, "outcome": "run_lost"}
        json_lines = httpx.get(f"{other.url}/runs/{run_id}/stream", headers=NDJSON, timeout=20)
        assert [each["event"] for each in map(json.loads, json_lines.text.splitlines())][-2:] == ["error", "done"]
    finally:
        for replica in (one_, other):
            replica.process.kill()
            replica.process.wait()

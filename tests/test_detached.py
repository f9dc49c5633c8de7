"""Runs that belong to no connection: how they stand, their frames from any number on, and how long they are kept."""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import run_probes
import uvicorn
from copilotkit_talk import at, body
from reading import TIMEOUT, becomes, client_for, eventually, happens, held, of_chat, reading, run_config, status_of
from serving import running, serving
from talking import WIRES, assert_problem, error_of, events_of, numbers_of, run_url, text_of, turn

from gateway.app import create_app
from gateway.coordination.memory import MemoryCoordination

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator

    import httpx
    from starlette.types import Receive, Scope, Send

    from gateway.manager import RunManager

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(run_config()) as base:
        yield base


@pytest.fixture
async def client(url: str) -> AsyncGenerator[httpx.AsyncClient]:
    async with client_for(url) as ada:
        yield ada


async def finished(client: httpx.AsyncClient, wire: str, prompt: str = "30", agent: str = "fast") -> httpx.Response:
    response = await client.post(run_url(wire, agent), json=turn(wire, prompt))
    assert response.status_code == 200
    return response


def frames_after(body: str, number: int) -> str:
    """A stream's body without the frames up to that number."""
    found = re.search(rf"^id: {number + 1}$", body, re.MULTILINE)
    return body[found.start() :] if found else ""


# How a run stands


@pytest.mark.parametrize("wire", WIRES)
async def test_a_run_is_running_until_it_has_finished(client: httpx.AsyncClient, url: str, wire: str) -> None:
    async with held(client, wire) as run:
        state = (await client.get(run.path)).json()
        began = datetime.fromisoformat(state.pop("started_at"))
        assert abs((datetime.now(UTC) - began).total_seconds()) < 30
        assert state == {
            "id": run.id,
            "agent": "gated",
            "surface": wire,
            "thread_id": run.thread,
            "status": "running",
            "stream": f"{url}{run.path}/stream",
        }
        run.gate.open()
        await run.reader.rest()
        assert await status_of(client, run.id) == "finished"


@pytest.mark.parametrize("wire", WIRES)
async def test_the_status_of_a_failed_run_is_its_code(client: httpx.AsyncClient, wire: str) -> None:
    response = await finished(client, wire, agent="broken")
    assert await status_of(client, response.headers["x-run-id"]) == error_of(wire, response.text)[0] == "run_failed"


# Reading again


@pytest.mark.parametrize("wire", WIRES)
async def test_readers_that_start_before_during_and_after_the_run_see_the_same_bytes(
    client: httpx.AsyncClient, wire: str
) -> None:
    async with held(client, wire) as run:
        first = run.reader
        async with reading(client, "GET", f"{run.path}/stream") as during:
            await first.until("Begun")
            assert await during.until("Begun") == first.text
            run.gate.open()
            assert await during.rest() == await first.rest()
        after = await client.get(f"{run.path}/stream")
    assert after.text == first.text
    assert numbers_of(first.text) == list(range(1, len(numbers_of(first.text)) + 1))
    for header in ("x-run-id", "x-thread-id", "content-type", "cache-control", "x-accel-buffering"):
        assert after.headers[header] == first.response.headers[header]
    assert ("x-vercel-ai-ui-message-stream" in after.headers) is (wire == "vercel-ai")


@pytest.mark.parametrize("wire", WIRES)
async def test_a_reader_goes_on_behind_the_frame_that_it_names(client: httpx.AsyncClient, wire: str) -> None:
    whole = await finished(client, wire)
    path = f"/runs/{whole.headers['x-run-id']}/stream"
    last = numbers_of(whole.text)[-1]
    for number in (0, 1, 7, last - 1):
        by_query = await client.get(path, params={"after": number})
        by_header = await client.get(path, headers={"last-event-id": str(number)})
        assert by_query.text == by_header.text == frames_after(whole.text, number) != ""
    both = await client.get(path, params={"after": 3}, headers={"last-event-id": "5"})
    assert both.text == frames_after(whole.text, 3)
    assert (await client.get(path, params={"after": last})).text == ""


@pytest.mark.parametrize("wire", WIRES)
async def test_a_reader_may_wait_for_a_frame_that_is_not_there_yet(client: httpx.AsyncClient, wire: str) -> None:
    async with held(client, wire) as run:
        await run.reader.until("Begun")
        number = numbers_of(run.reader.text)[-1]
        async with reading(client, "GET", f"{run.path}/stream?after={number}") as tail:
            run.gate.open()
            assert await tail.rest() == frames_after(await run.reader.rest(), number)


@pytest.mark.parametrize("after", ["x", "-1", "1.5", " 1", "٣", "1e3", "9" * 16, "9" * 5_000, "0x1"])
async def test_what_is_no_number_of_a_frame_is_refused(client: httpx.AsyncClient, after: str) -> None:
    path = f"/runs/{(await finished(client, 'ag-ui')).headers['x-run-id']}/stream"
    assert_problem(await client.get(path, params={"after": after}), 400, "bad_request")
    if after.isascii() and after.strip() == after:
        assert_problem(await client.get(path, headers={"last-event-id": after}), 400, "bad_request")


# Whose runs, and for how long

PATHS = [("GET", ""), ("GET", "/stream"), ("POST", "/cancel")]


async def answers(client: httpx.AsyncClient, run_id: str) -> list[tuple[int, dict[str, Any]]]:
    responses = [await client.request(method, f"/runs/{run_id}{path}") for method, path in PATHS]
    return [(response.status_code, {**response.json(), "request_id": ""}) for response in responses]


@pytest.mark.parametrize("state", ["running", "finished", "expired"])
async def test_a_foreign_run_gets_exactly_the_answer_of_one_that_never_was(state: str) -> None:
    with serving(run_config(streams={"keep": 0.05 if state == "expired" else 300})) as url:
        async with client_for(url) as ada, client_for(url, "bob") as bob, held(ada, "ag-ui") as run:
            if state != "running":
                run.gate.open()
                await run.reader.rest()
            if state == "expired":
                await expires(ada, run.id)
            never_was = await answers(bob, "0" * len(run.id))
            assert [status for status, _ in never_was] == [404, 404, 404]
            assert await answers(bob, run.id) == never_was
            assert (await ada.get(run.path)).status_code == (410 if state == "expired" else 200)


async def expires(client: httpx.AsyncClient, run_id: str) -> None:
    async def has_expired() -> bool:
        return (await client.get(f"/runs/{run_id}")).status_code == 410

    await eventually(has_expired)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_run_whose_frames_are_gone_points_to_its_thread(wire: str) -> None:
    with serving(run_config(streams={"keep": 0.05})) as url:
        async with client_for(url) as client:
            response = await client.post(run_url(wire, "fast"), json=turn(wire, "3", "my thread"))
            run_id = response.headers["x-run-id"]
            await expires(client, run_id)
            for method, path in PATHS:
                gone = await client.request(method, f"/runs/{run_id}{path}")
                assert assert_problem(gone, 410, "stream_expired", "thread_id")["thread_id"] == "my thread"


# Bounds


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("bound", [{"max_run_frames": 20}, {"max_run_bytes": 3_000}, {"max_total_bytes": 3_000}])
async def test_an_answer_that_does_not_fit_is_ended_and_not_cut(wire: str, bound: dict[str, int]) -> None:
    with serving(run_config(streams=bound)) as url:
        async with client_for(url) as client:
            response = await finished(client, wire, "5000")
            assert error_of(wire, response.text)[0] == "stream_full"
            assert await status_of(client, response.headers["x-run-id"]) == "stream_full"
            again = await client.get(f"/runs/{response.headers['x-run-id']}/stream")
            assert again.text == response.text
            said = text_of(events_of(response.text))
            assert said
            assert said == "".join(f"{number} " for number in range(len(said.split())))


@pytest.mark.parametrize("wire", WIRES)
async def test_a_response_that_is_cut_goes_on_in_the_next_one_without_a_loss(wire: str) -> None:
    with serving(run_config(server={"max_stream_seconds": 1.5}, settings={"on_disconnect": "continue"})) as url:
        async with client_for(url) as client, held(client, wire) as run:
            body = await run.reader.broken_off()
            assert "Begun" in body
            run.gate.open()
            await becomes(client, run.id, "finished")
            rest = await client.get(f"{run.path}/stream", headers={"last-event-id": str(numbers_of(body)[-1])})
            whole = await client.get(f"{run.path}/stream")
            assert body + rest.text == whole.text
            assert text_of(events_of(whole.text)) == "Begun ünd ended."


async def test_a_response_is_not_cut_whose_client_could_not_go_on() -> None:
    """AG-UI stops its run when it goes, and CopilotKit takes up nothing by itself."""
    prompt, thread = str(uuid4()), f"thread-{uuid4()}"
    with serving(run_config(server={"max_stream_seconds": 0.3})) as url:
        async with (
            client_for(url) as client,
            held(client, "ag-ui") as run,
            reading(client, "POST", at("gated", "run"), json=body(thread, prompt)) as page,
            reading(client, "POST", at("gated", "connect"), json=body(run.thread)) as other,
            held(client, "vercel-ai") as chat,
        ):
            await chat.reader.broken_off()  # it was the last to begin
            run.gate.open()
            run_probes.gates[prompt].open()
            for reader in (run.reader, page, other):
                assert text_of(events_of(await reader.rest())) == "Begun ünd ended."


# The AI SDK's resume


@pytest.mark.parametrize("chat", ["chat-1", "a/b", "größe ✓", "a b+c%2F?&#", "x" * 256])
async def test_a_chat_is_resumed_from_its_start_by_two_readers_at_once(client: httpx.AsyncClient, chat: str) -> None:
    assert (await client.get(of_chat(chat, "stream"))).status_code == 204
    async with held(client, "vercel-ai", thread=chat) as run:
        await run.reader.until("Begun")
        async with (
            reading(client, "GET", of_chat(chat, "stream")) as one,
            reading(client, "GET", of_chat(chat, "stream"), headers={"last-event-id": "3"}) as two,
        ):
            for reader in (one, two):
                assert await reader.until("Begun") == run.reader.text
                assert events_of(reader.text)[0]["type"] == "start"
                assert reader.run_id == run.id
                assert reader.response.headers["x-vercel-ai-ui-message-stream"] == "v1"
            run.gate.open()
            assert await one.rest() == await two.rest() == await run.reader.rest()
    none = await client.get(of_chat(chat, "stream"))
    assert (none.status_code, none.content) == (204, b"")


async def test_a_chat_of_somebody_else_has_nothing_to_resume(client: httpx.AsyncClient, url: str) -> None:
    async with client_for(url, "bob") as bob, held(client, "vercel-ai") as run:
        assert (await client.get(of_chat(run.thread, "stream", "nobody"))).status_code == 404
        foreign, never_was = await bob.get(of_chat(run.thread, "stream")), await bob.get(of_chat("x", "stream"))
        assert foreign.status_code == never_was.status_code == 204
        assert {**foreign.headers, "x-request-id": "", "date": ""} == {
            **never_was.headers,
            "x-request-id": "",
            "date": "",
        }
        async with (
            held(bob, "vercel-ai", thread=run.thread) as own,
            reading(bob, "GET", of_chat(run.thread, "stream")) as resumed,
        ):
            assert resumed.run_id == own.id != run.id
            own.gate.open()
            await resumed.rest()


# The end of a process


class Process:
    """A gateway whose drain can be told to begin, without the signal."""

    def __init__(self, **settings: Any) -> None:
        self._app = create_app(run_config(settings=settings))
        self.runs: RunManager = self._app.state.runs
        self.url = ""
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        await self._app(scope, receive, send)

    def drain(self, seconds: float) -> asyncio.Future[None]:
        assert self._loop
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.runs.drained(seconds), self._loop))

    def has_queue(self) -> bool:
        coordination = self.runs._coordination  # pyright: ignore[reportPrivateUsage]
        assert isinstance(coordination, MemoryCoordination)
        return any(coordination._waiting.values())  # pyright: ignore[reportPrivateUsage]


@contextmanager
def draining(**settings: Any) -> Generator[Process]:
    process = Process(**settings)
    with running(uvicorn.Server(uvicorn.Config(process, port=0, lifespan="on", log_config=None))) as process.url:
        yield process


@pytest.mark.parametrize("wire", WIRES)
async def test_a_process_that_is_stopped_refuses_new_runs_and_ends_the_running_ones_in_words(wire: str) -> None:
    with draining() as process:
        async with client_for(process.url) as client, held(client, wire) as run:
            drained = process.drain(0.5)
            await happens(lambda: process.runs.draining)
            refused = await client.post(run_url(wire, "fast"), json=turn(wire, "3"))
            assert_problem(refused, 503, "draining")
            assert int(refused.headers["retry-after"]) > 0
            ready = await client.get("/readyz")
            assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
            assert (await client.get("/healthz")).status_code == 200
            body = await run.reader.rest()
            assert error_of(wire, body)[0] == "run_interrupted"
            assert (await client.get(f"{run.path}/stream")).text == body
            assert await status_of(client, run.id) == "run_interrupted"
            await drained


@pytest.mark.parametrize("wire", WIRES)
async def test_a_run_that_finishes_in_time_is_not_touched_by_a_drain(wire: str) -> None:
    with draining() as process:
        async with client_for(process.url) as client, held(client, wire) as run:
            drained = process.drain(TIMEOUT)
            await happens(lambda: process.runs.draining)
            run.gate.open()
            assert text_of(events_of(await run.reader.rest())) == "Begun ünd ended."
            await asyncio.wait_for(drained, TIMEOUT)


async def test_a_turn_that_waits_for_its_thread_is_refused_by_a_drain() -> None:
    with draining(concurrency="enqueue") as process:
        async with client_for(process.url) as client, held(client, "ag-ui", thread="t") as run:
            waiting = asyncio.create_task(client.post(run_url("ag-ui", "fast"), json=turn("ag-ui", "3", "t")))
            await happens(process.has_queue)
            drained = process.drain(0.1)
            assert_problem(await waiting, 503, "draining")
            assert error_of("ag-ui", await run.reader.rest())[0] == "run_interrupted"
            await drained

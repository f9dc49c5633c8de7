"""Plain streams that are stopped, left alone and ended: each says how it ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
import run_probes
from plain_reading import RUN, TEXT, begun, going_on, last_of
from plain_wire import NDJSON, answer_in, events_in, names, of, one
from reading import (
    NAMES,
    becomes,
    client_for,
    happens,
    reading,
    run_config,
    status_of,
    stop,
)
from replicas import Replica
from serving import make_config, serving

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


async def test_a_run_goes_on_for_a_while_without_a_reader_and_then_it_is_stopped() -> None:
    with serving(run_config(settings={"orphan_timeout": 1})) as url:
        async with client_for(url) as client:
            async with begun(client) as run:
                await run.reader.response.aclose()
                assert await status_of(client, run.id) == "running"
                await becomes(client, run.id, "cancelled")
            rest = events_in((await client.get(f"{run.path}/stream")).text)
    assert names(rest)[-2:] == ["usage", "done"]
    assert one(rest, "done")["outcome"] == "cancelled"


async def test_a_run_whose_reader_is_gone_ends_by_itself(client: httpx.AsyncClient) -> None:
    async with begun(client) as run:
        seen = await last_of(run)
    run.gate.open()
    await becomes(client, run.id, "finished")
    async with going_on(client, seen) as reader:
        assert answer_in(events_in(await reader.rest())) == "ended."


async def test_an_agent_may_have_its_runs_stopped_when_their_readers_go() -> None:
    with serving(run_config(settings={"on_disconnect": {"native": "cancel"}})) as url:
        async with client_for(url) as client, begun(client) as run:
            await run.reader.response.aclose()
            await becomes(client, run.id, "cancelled")


async def test_whoever_leaves_a_whole_answer_stops_it(client: httpx.AsyncClient) -> None:
    gate = f"gate-{uuid4()}"
    asking = asyncio.create_task(client.post(RUN, json={"prompt": gate}))
    await happens(run_probes.gates[gate].reached.is_set)
    asking.cancel()
    await happens(run_probes.gates[gate].left.is_set)
    assert run_probes.runs[gate] == 1


@pytest.mark.parametrize("form", ["text", "responses", "events", "nodes"])
async def test_a_run_that_is_stopped_says_so_in_the_end(client: httpx.AsyncClient, form: str) -> None:
    async with begun(client, f"/agents/gated/stream/{form}") as run:
        assert await stop(client, run.id)
        events = events_in(await run.reader.rest())
    assert names(events)[-2:] == ["usage", "done"]
    assert one(events, "done") == {"run_id": run.id, "outcome": "cancelled"}
    assert not of(events, "error")
    assert not of(events, "result")
    assert one(events, "usage")["requests"] <= 1
    assert not await stop(client, run.id)


async def test_text_that_was_gathered_comes_before_the_end_of_a_run_that_is_stopped(client: httpx.AsyncClient) -> None:
    async with begun(client, debounce=10) as run:
        assert await stop(client, run.id)
        events = events_in(await run.reader.rest())
    assert answer_in(events) == "Begun ünd "
    assert names(events)[-2:] == ["usage", "done"]


async def test_a_whole_answer_that_is_stopped_by_somebody_else_says_so(client: httpx.AsyncClient) -> None:
    gate, thread = f"gate-{uuid4()}", f"thread-{uuid4()}"
    asking = asyncio.create_task(client.post(RUN, json={"prompt": gate, "thread_id": thread}))
    await happens(run_probes.gates[gate].reached.is_set)
    about = (await client.get(f"/threads/{thread}")).json()
    assert await stop(client, about["run"]["id"] if isinstance(about.get("run"), dict) else about["run_id"])
    response = await asking
    assert response.status_code == 200
    assert response.json()["outcome"] == "cancelled"
    assert "output" not in response.json()


@pytest.mark.parametrize("agent", ["swallowing", "sleeping"])
async def test_a_tool_that_does_not_give_way_holds_up_no_reader(client: httpx.AsyncClient, agent: str) -> None:
    async with begun(client, f"/agents/{agent}/stream/events") as run:
        assert await stop(client, run.id)
        events = events_in(await run.reader.rest())
    assert names(events)[-2:] == ["usage", "done"]
    assert one(events, "done")["outcome"] == "cancelled"
    assert one(events, "function_tool_result")["part"]["outcome"] == "interrupted"


async def test_silence_is_filled_in_the_words_of_each_framing() -> None:
    with serving(run_config(server={"heartbeat": 0.2})) as url:
        async with client_for(url) as client:
            async with begun(client) as run:
                await run.reader.until(": heartbeat\n\n")
            async with begun(client, headers=NDJSON) as run:
                await run.reader.until('{"event":"heartbeat"}\n')
            async with begun(client, headers={"accept": "text/plain"}) as run:
                await asyncio.sleep(0.5)  # two heartbeats, if there were any
                run.gate.open()
                assert await run.reader.rest() == "Begun ünd ended."


async def test_a_process_that_is_stopped_says_so_to_its_readers(tmp_path: Path) -> None:
    agents = {name: {"import": f"run_probes:{name}"} for name in NAMES}
    replica = Replica(tmp_path, "only", {"agents": agents, "server": {"drain_timeout": 0.2}})
    try:
        await asyncio.to_thread(replica.wait)
        request: Any = {"params": {"q": f"gate-{uuid4()}", "debounce": 0}}
        async with (
            httpx.AsyncClient(base_url=replica.url, timeout=20) as client,
            reading(client, "GET", TEXT, **request) as reader,
        ):
            await reader.until("Begun")
            replica.process.terminate()
            events = events_in(await reader.rest())
    finally:
        replica.process.kill()
        replica.process.wait()
    assert names(events)[-3:] == ["error", "usage", "done"]
    assert one(events, "error")["code"] == one(events, "done")["outcome"] == "run_interrupted"


@pytest.mark.parametrize("form", ["text", "events", "responses"])
async def test_an_answer_that_is_too_large_ends_with_a_word(form: str) -> None:
    with serving(run_config(streams={"max_run_frames": 20})) as url:
        async with client_for(url) as client:
            response = await client.get(f"/agents/fast/stream/{form}", params={"q": "500", "debounce": 0})
    events = events_in(response.text)
    assert names(events)[-1] == "done"
    assert one(events, "done")["outcome"] == one(events, "error")["code"] == "stream_full"
    assert one(events, "done")["run_id"] == one(events, "error")["id"] == response.headers["x-run-id"]
    assert len(events) <= 22


async def test_what_was_gathered_comes_when_its_time_is_over_though_the_model_is_silent() -> None:
    gate = f"wait for {uuid4()}"
    request: Any = {"params": {"q": gate, "debounce": 0.1}}
    with serving(make_config(agents={"trickling": "plain_probes:trickling"})) as url:
        async with (
            httpx.AsyncClient(base_url=url, timeout=20) as client,
            reading(client, "GET", "/agents/trickling/stream/text", **request) as reader,
        ):
            assert answer_in(events_in(await reader.until('j"}'))) == "abcdefghij"
            run_probes.gates[gate].open()
            assert answer_in(events_in(await reader.rest())) == "abcdefghij!"

"""Stopping runs: by their id, by their chat, by going away, by their timeout; and what holds on nevertheless."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from reading import Held, becomes, client_for, happens, held, of_chat, reading, run_config, status_of, stop
from serving import serving
from talking import WIRES, assert_problem, error_of, events_of, run_url, text_of, turn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    import httpx

pytestmark = pytest.mark.anyio

CLIENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ag-ui-1.0": ("ag-ui", {"protocolVersion": "1.0"}),
    "ag-ui-0.0.59": ("ag-ui", {"protocolVersion": None}),
    "vercel-ai": ("vercel-ai", {}),
}
CLOSING = {"TEXT_MESSAGE_START": "TEXT_MESSAGE_END", "TOOL_CALL_START": "TOOL_CALL_END", "text-start": "text-end"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(run_config()) as base:
        yield base


@pytest.fixture
async def client(url: str) -> AsyncGenerator[httpx.AsyncClient]:
    async with client_for(url) as ada:
        yield ada


def assert_stopped(kind: str, body: str) -> None:
    """The stream ends as a stopped one does for that kind of client, with everything closed first."""
    events = events_of(body)
    types = [event["type"] for event in events]
    assert types.count("RUN_STARTED") + types.count("start") == 1, types
    for opening, closing in CLOSING.items():
        assert types.count(opening) == types.count(closing), types
    match kind:
        case "ag-ui-1.0":
            assert events[-1]["type"] == "RUN_FINISHED"
            assert events[-1]["outcome"] == {"type": "cancelled"}
        case "ag-ui-0.0.59":
            assert events[-1]["type"] == "RUN_FINISHED"
            assert "outcome" not in events[-1]
        case _:
            assert "abort" in types
            assert "error" not in types
            assert body.endswith("data: [DONE]\n\n")


async def stopped_soon(client: httpx.AsyncClient, run: Held) -> str:
    began = time.monotonic()
    assert await stop(client, run.id)
    body = await run.reader.rest()
    assert time.monotonic() - began < 5, "a tool that does not give way takes four times as long"
    return body


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("agent", ["gated", "half_a_call", "swallowing", "sleeping", "calling"])
async def test_a_stopped_run_ends_for_its_readers_soon_whatever_it_does(
    client: httpx.AsyncClient, kind: str, agent: str
) -> None:
    wire, fields = CLIENTS[kind]
    async with held(client, wire, agent, **fields) as run:
        assert_stopped(kind, await stopped_soon(client, run))
        assert await status_of(client, run.id) == "cancelled"


@pytest.mark.parametrize("agent", ["gated", "half_a_call", "calling"])
async def test_a_stopped_model_request_is_cancelled(client: httpx.AsyncClient, agent: str) -> None:
    async with held(client, "ag-ui", agent) as run:
        await stop(client, run.id)
        await happens(run.gate.left.is_set)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("agent", ["swallowing", "sleeping"])
async def test_a_thread_is_locked_until_a_tool_that_does_not_give_way_has_ended(
    client: httpx.AsyncClient, wire: str, agent: str
) -> None:
    async with held(client, wire, agent) as run:
        await stopped_soon(client, run)
        again = turn(wire, "3", run.thread)
        refused = await client.post(run_url(wire, "fast"), json=again)
        assert assert_problem(refused, 409, "run_conflict", "run_id")["run_id"] == run.id
        assert not await stop(client, run.id), "there is nothing left to stop"
        run.gate.open()
        await takes_turns_again(client, wire, run.thread)


async def takes_turns_again(client: httpx.AsyncClient, wire: str, thread: str) -> None:
    async with asyncio.timeout(5):
        while True:
            response = await client.post(run_url(wire, "fast"), json=turn(wire, "3", thread))
            if response.status_code != 409:
                break
            await asyncio.sleep(0.02)
    assert text_of(events_of(response.text)) == "0 1 2 "


@pytest.mark.parametrize("wire", WIRES)
async def test_a_thread_is_free_at_once_when_its_run_was_stopped(client: httpx.AsyncClient, wire: str) -> None:
    async with held(client, wire) as run:
        await stopped_soon(client, run)
        response = await client.post(run_url(wire, "fast"), json=turn(wire, "3", run.thread))
        assert text_of(events_of(response.text)) == "0 1 2 "


@pytest.mark.parametrize("wire", WIRES)
async def test_a_turn_waits_a_moment_for_a_stopped_run_to_let_go(client: httpx.AsyncClient, wire: str) -> None:
    async with held(client, wire, "swallowing") as run:
        await stopped_soon(client, run)
        waiting = asyncio.create_task(client.post(run_url(wire, "fast"), json=turn(wire, "3", run.thread)))
        await asyncio.sleep(0.2)  # it is refused at once, or not at all
        run.gate.open()
        assert text_of(events_of((await waiting).text)) == "0 1 2 "


@pytest.mark.parametrize("agent", ["gated", "sleeping"])
async def test_a_run_may_be_stopped_twice(client: httpx.AsyncClient, agent: str) -> None:
    async with held(client, "ag-ui", agent) as run:
        answers = await asyncio.gather(stop(client, run.id), stop(client, run.id))
        assert any(answers), "whichever came first"
        body = await run.reader.rest()
        assert_stopped("ag-ui-1.0", body)
        assert not await stop(client, run.id)
        assert body == (await client.get(f"{run.path}/stream")).text


@pytest.mark.parametrize("wire", WIRES)
async def test_a_run_that_has_finished_cannot_be_stopped(client: httpx.AsyncClient, wire: str) -> None:
    response = await client.post(run_url(wire, "fast"), json=turn(wire, "3"))
    run_id = response.headers["x-run-id"]
    assert not await stop(client, run_id)
    assert await status_of(client, run_id) == "finished"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("agent", ["gated", "swallowing", "sleeping"])
async def test_a_timeout_ends_the_stream_whatever_a_tool_does(wire: str, agent: str) -> None:
    # Long enough for the run to reach its gate, on whatever machine.
    with serving(run_config(settings={"timeout": 4})) as url:
        async with client_for(url) as client, held(client, wire, agent) as run:
            began = time.monotonic()
            assert error_of(wire, await run.reader.rest())[0] == "run_timeout"
            assert time.monotonic() - began < 8
            assert await status_of(client, run.id) == "run_timeout"


# By chat


CHATS = ["chat", "a/b", "a/stream", "stream/stop", "größe ✓", "a b+c%2F?&#", "x" * 256]


@pytest.mark.parametrize("chat", CHATS)
async def test_a_chat_is_stopped_by_its_id(client: httpx.AsyncClient, chat: str) -> None:
    assert (await client.post(of_chat(chat, "stop"))).json() == {"stopped": False}
    async with held(client, "vercel-ai", thread=chat) as run:
        began = time.monotonic()
        assert (await client.post(of_chat(chat, "stop"))).json() == {"stopped": True}
        assert_stopped("vercel-ai", await run.reader.rest())
        assert time.monotonic() - began < 5
    await takes_turns_again(client, "vercel-ai", chat)


async def test_a_chat_of_another_owner_agent_or_surface_is_one_that_never_was(
    client: httpx.AsyncClient, url: str
) -> None:
    async with client_for(url, "bob") as bob, held(client, "vercel-ai", thread="mine") as run:
        for who, agent in ((bob, "gated"), (client, "half_a_call")):
            assert (await who.post(of_chat("mine", "stop", agent))).json() == {"stopped": False}
            assert (await who.get(of_chat("mine", "stream", agent))).status_code == 204
        assert await status_of(client, run.id) == "running"
        run.gate.open()
        assert text_of(events_of(await run.reader.rest())) == "Begun ünd ended."
    async with held(client, "ag-ui", thread="mine"):
        assert (await client.get(of_chat("mine", "stream"))).status_code == 204


# Law 13


SITES: list[tuple[dict[str, str], int]] = [
    ({"origin": "https://evil.example"}, 403),
    ({"origin": "null"}, 403),
    ({"origin": "https://app.example.com.evil.example"}, 403),
    ({"sec-fetch-site": "cross-site"}, 403),
    ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, 403),
    ({"origin": "https://app.example.com", "sec-fetch-site": "cross-site"}, 200),
    ({"sec-fetch-site": "same-origin"}, 200),
    ({"sec-fetch-site": "none"}, 200),
    ({}, 200),
]


@pytest.fixture(scope="module")
def listed_url() -> Iterator[str]:
    with serving(run_config(cors={"allow_origins": ["https://app.example.com"]})) as base:
        yield base


@pytest.mark.parametrize(("headers", "status"), SITES)
@pytest.mark.parametrize("way", ["run", "chat"])
async def test_a_foreign_page_cannot_stop_a_run(
    listed_url: str, way: str, headers: dict[str, str], status: int
) -> None:
    async with client_for(listed_url) as client, held(client, "vercel-ai") as run:
        path = f"{run.path}/cancel" if way == "run" else of_chat(run.thread, "stop")
        response = await client.post(path, headers=headers)
        if status == 200:
            assert response.json() == {"stopped": True}
        else:
            assert_problem(response, 403, "cross_site")
            assert await status_of(client, run.id) == "running"


async def test_a_page_of_the_gateways_own_origin_may_stop_a_run(client: httpx.AsyncClient, url: str) -> None:
    async with held(client, "vercel-ai") as run:
        assert (await client.post(f"{run.path}/cancel", headers={"origin": url})).json() == {"stopped": True}


# Going away


POLICIES: dict[str, Any] = {"cancel": {"on_disconnect": "cancel"}, "continue": {"on_disconnect": "continue"}}


@pytest.mark.parametrize("wire", WIRES)
async def test_a_run_is_cancelled_with_its_last_reader(wire: str) -> None:
    with serving(run_config(settings=POLICIES["cancel"])) as url:
        async with (
            client_for(url) as client,
            held(client, wire) as run,
            reading(client, "GET", f"{run.path}/stream") as second,
        ):
            await second.until("Begun")
            await run.reader.response.aclose()
            for _ in range(20):
                assert await status_of(client, run.id) == "running"
            assert not run.gate.left.is_set(), "a second reader keeps the run alive"
            await second.response.aclose()
            await happens(run.gate.left.is_set)
            await becomes(client, run.id, "cancelled")


@pytest.mark.parametrize("wire", WIRES)
async def test_a_run_continues_without_readers_to_its_end(wire: str) -> None:
    with serving(run_config(settings=POLICIES["continue"])) as url:
        async with client_for(url) as client:
            async with held(client, wire) as run:
                await run.reader.response.aclose()
                assert await status_of(client, run.id) == "running"
                run.gate.open()
                await becomes(client, run.id, "finished")
            again = await client.get(f"{run.path}/stream")
    assert text_of(events_of(again.text)) == "Begun ünd ended."


@pytest.mark.parametrize("wire", WIRES)
async def test_an_orphan_is_stopped_after_its_time(wire: str) -> None:
    with serving(run_config(settings={**POLICIES["continue"], "orphan_timeout": 0.2})) as url:
        async with client_for(url) as client, held(client, wire) as run:
            began = time.monotonic()
            await run.reader.response.aclose()
            await happens(run.gate.left.is_set)
            assert time.monotonic() - began > 0.1
            await becomes(client, run.id, "cancelled")


async def test_a_reader_that_comes_back_gives_an_orphan_its_whole_time_again() -> None:
    with serving(run_config(settings={**POLICIES["continue"], "orphan_timeout": 3})) as url:
        async with client_for(url) as client, held(client, "vercel-ai") as run:
            began = time.monotonic()
            await run.reader.response.aclose()
            await asyncio.sleep(1.5)  # the time itself is what is tested
            async with client.stream("GET", f"{run.path}/stream") as response:
                await anext(response.aiter_text())
                left = time.monotonic()
            await happens(run.gate.left.is_set)
            assert time.monotonic() - left > 2.5, f"stopped {time.monotonic() - began:.2f} s after the first one left"

"""One run on a thread at a time, each request once: what a second turn and a repeated request get."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import pytest
import run_probes
from backends import queued as are_queued
from reading import becomes, client_for, eventually, happens, held, reading, run_config, status_of
from serving import running, serving
from talking import WIRES, assert_problem, events_of, run_url, text_of, turn

from gateway import Principal, locks
from gateway.locks import thread_key
from gateway.server import make_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    import httpx

    from gateway.server import Server

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def enqueuing_server() -> Server:
    return make_server(run_config(settings={"concurrency": "enqueue", "max_queue": 3}))


@pytest.fixture(scope="module")
def urls(enqueuing_server: Server) -> Iterator[dict[str, str]]:
    with (
        serving(run_config(settings={"on_disconnect": "continue"})) as reject,
        serving(run_config(settings={"concurrency": "interrupt"})) as interrupt,
        running(enqueuing_server) as enqueue,
    ):
        yield {"reject": reject, "interrupt": interrupt, "enqueue": enqueue}


@pytest.fixture
async def rejecting(urls: dict[str, str]) -> AsyncGenerator[httpx.AsyncClient]:
    async with client_for(urls["reject"]) as client:
        yield client


@pytest.fixture
async def interrupting(urls: dict[str, str]) -> AsyncGenerator[httpx.AsyncClient]:
    async with client_for(urls["interrupt"]) as client:
        yield client


@pytest.fixture
async def enqueuing(urls: dict[str, str]) -> AsyncGenerator[httpx.AsyncClient]:
    async with client_for(urls["enqueue"]) as client:
        yield client


@pytest.fixture
def queued(enqueuing_server: Server) -> Callable[[str, int], Awaitable[None]]:
    """What to await until so many turns wait for a thread."""
    coordination = cast("Any", enqueuing_server)._runs._coordination
    return lambda thread, how_many: are_queued(coordination, thread_key(Principal("ada").scope, thread), how_many)


async def post(client: httpx.AsyncClient, wire: str, thread: str, prompt: str = "3", **kw: Any) -> httpx.Response:
    return await client.post(run_url(wire, kw.pop("agent", "fast")), json=turn(wire, prompt, thread), **kw)


# A second turn


@pytest.mark.parametrize("wire", WIRES)
async def test_a_second_turn_is_refused_with_the_id_of_the_running_run(rejecting: httpx.AsyncClient, wire: str) -> None:
    async with held(rejecting, wire) as run:
        for other in WIRES:
            refused = await post(rejecting, other, run.thread)
            problem = assert_problem(refused, 409, "run_conflict", "run_id")
            assert problem["run_id"] == refused.headers["x-run-id"] == run.id
            assert refused.headers["retry-after"] == "1"
        assert (await post(rejecting, wire, "another thread")).status_code == 200
        run.gate.open()
        assert text_of(events_of(await run.reader.rest())) == "Begun ünd ended."
    assert await takes(rejecting, wire, run.thread)


async def takes(client: httpx.AsyncClient, wire: str, thread: str) -> bool:
    async def taken() -> bool:
        return (await post(client, wire, thread)).status_code == 200

    await eventually(taken)
    return True


async def test_threads_of_two_owners_do_not_lock_each_other(rejecting: httpx.AsyncClient, urls: dict[str, str]) -> None:
    async with client_for(urls["reject"], "bob") as bob, held(rejecting, "ag-ui") as run:
        assert (await post(bob, "ag-ui", run.thread)).status_code == 200


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("agent", ["gated", "half_a_call"])
async def test_a_second_turn_may_interrupt_the_first(interrupting: httpx.AsyncClient, wire: str, agent: str) -> None:
    async with held(interrupting, wire, agent) as run:
        second = await post(interrupting, wire, run.thread)
        assert text_of(events_of(second.text)) == "0 1 2 "
        assert second.headers["x-run-id"] != run.id
        body = await run.reader.rest()
        assert ("abort" if wire == "vercel-ai" else "RUN_FINISHED") in {event["type"] for event in events_of(body)}
        assert await status_of(interrupting, run.id) == "cancelled"


@pytest.mark.parametrize("wire", WIRES)
async def test_turns_that_wait_run_in_their_order_and_only_so_many_wait(
    enqueuing: httpx.AsyncClient, queued: Callable[[str, int], Awaitable[None]], wire: str
) -> None:
    prompts = [f"{name}-{uuid4()}" for name in "abc"]
    async with held(enqueuing, wire) as run:
        waiting: list[asyncio.Task[httpx.Response]] = []
        for prompt in prompts:
            run_probes.gates[prompt].open()
            waiting.append(asyncio.create_task(post(enqueuing, wire, run.thread, prompt, agent="gated")))
            await queued(run.thread, len(waiting))
        problem = assert_problem(await post(enqueuing, wire, run.thread), 409, "run_conflict", "run_id")
        assert problem["run_id"] == run.id
        assert not any(task.done() for task in waiting)
        run.gate.open()
        for response in await asyncio.gather(*waiting):
            assert text_of(events_of(response.text)) == "Begun ünd ended."
        await run.reader.rest()
    assert [prompt for prompt in run_probes.runs if prompt in prompts] == prompts, "as they reached the model"


async def test_a_waiting_turn_whose_client_goes_away_does_not_hold_up_the_others(
    enqueuing: httpx.AsyncClient, queued: Callable[[str, int], Awaitable[None]]
) -> None:
    async with held(enqueuing, "ag-ui") as run:
        gone = asyncio.create_task(post(enqueuing, "ag-ui", run.thread, f"gate-{uuid4()}", agent="gated"))
        await queued(run.thread, 1)
        second = asyncio.create_task(post(enqueuing, "ag-ui", run.thread))
        await queued(run.thread, 2)
        gone.cancel()
        run.gate.open()
        assert text_of(events_of((await second).text)) == "0 1 2 "


# The same request again


def again(wire: str, key: str) -> dict[str, str]:
    """The headers with which `wire` tells that a request is the same; AG-UI has an id in its body."""
    return {} if wire == "ag-ui" else {"idempotency-key": key}


@pytest.mark.parametrize("wire", WIRES)
async def test_a_repeated_request_joins_the_run_that_it_started(rejecting: httpx.AsyncClient, wire: str) -> None:
    prompt = f"gate-{uuid4()}"
    body, headers = turn(wire, prompt), again(wire, prompt)
    path = run_url(wire, "gated")
    async with (
        reading(rejecting, "POST", path, json=body, headers=headers) as first,
        reading(rejecting, "POST", path, json=body, headers=headers) as second,
    ):
        assert first.run_id == second.run_id
        await happens(run_probes.gates[prompt].reached.is_set)
        run_probes.gates[prompt].open()
        assert await first.rest() == await second.rest()
    third = await rejecting.post(path, json=body, headers=headers)
    assert third.text == first.text
    assert run_probes.runs[prompt] == 1


@pytest.mark.parametrize("wire", WIRES)
async def test_a_request_that_repeats_one_after_its_client_was_cut_off_gets_everything(
    rejecting: httpx.AsyncClient, wire: str
) -> None:
    prompt = f"gate-{uuid4()}"
    body, headers = turn(wire, prompt), again(wire, prompt)
    async with reading(rejecting, "POST", run_url(wire, "gated"), json=body, headers=headers) as first:
        await first.until("Begun")
    run_probes.gates[prompt].open()
    response = await rejecting.post(run_url(wire, "gated"), json=body, headers=headers)
    assert response.headers["x-run-id"] == first.run_id
    assert text_of(events_of(response.text)) == "Begun ünd ended."
    assert run_probes.runs[prompt] == 1


@pytest.mark.parametrize("wire", WIRES)
async def test_many_repetitions_at_once_run_once(rejecting: httpx.AsyncClient, wire: str) -> None:
    prompt = f"gate-{uuid4()}"
    run_probes.gates[prompt].open()
    body, headers = turn(wire, prompt), again(wire, prompt)
    path = run_url(wire, "gated")
    responses = await asyncio.gather(*(rejecting.post(path, json=body, headers=headers) for _ in range(20)))
    assert len({response.content for response in responses}) == 1
    assert run_probes.runs[prompt] == 1


async def test_a_key_is_of_one_owner_agent_surface_and_thread(
    rejecting: httpx.AsyncClient, urls: dict[str, str]
) -> None:
    key = {"idempotency-key": str(uuid4())}
    async with client_for(urls["reject"], "bob") as bob:
        responses = [
            await post(rejecting, "vercel-ai", "t", "3", headers=key),
            await post(bob, "vercel-ai", "t", "3", headers=key),
            await post(rejecting, "vercel-ai", "u", "3", headers=key),
            await post(rejecting, "ag-ui", "t", "3", headers=key),
            await post(rejecting, "vercel-ai", "t", "3", headers=key, agent="broken"),
        ]
    assert [response.status_code for response in responses] == [200] * 5
    assert len({response.headers["x-run-id"] for response in responses}) == 5
    same = await post(rejecting, "vercel-ai", "t", "something else", headers=key)
    assert same.text == responses[0].text


@pytest.mark.parametrize("wire", WIRES)
async def test_requests_of_the_same_text_without_a_key_are_turns_of_their_own(
    rejecting: httpx.AsyncClient, wire: str
) -> None:
    first, second = [await post(rejecting, wire, "same", "3") for _ in range(2)]
    assert first.headers["x-run-id"] != second.headers["x-run-id"]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_request_that_was_refused_may_be_tried_again(rejecting: httpx.AsyncClient, wire: str) -> None:
    async with held(rejecting, wire) as run:
        body, headers = turn(wire, "3", run.thread), again(wire, str(uuid4()))
        path = run_url(wire, "fast")
        assert (await rejecting.post(path, json=body, headers=headers)).status_code == 409
        run.gate.open()
        await becomes(rejecting, run.id, "finished")

        async def taken() -> bool:
            return (await rejecting.post(path, json=body, headers=headers)).status_code == 200

        await eventually(taken)


async def test_a_key_that_is_too_long_is_refused(rejecting: httpx.AsyncClient) -> None:
    assert (await post(rejecting, "ag-ui", "k", headers={"idempotency-key": "k" * 255})).status_code == 200
    refused = await post(rejecting, "ag-ui", "k", headers={"idempotency-key": "k" * 256})
    assert_problem(refused, 400, "bad_request")


@pytest.mark.parametrize("wire", WIRES)
async def test_a_run_that_nobody_reads_any_more_gives_way(rejecting: httpx.AsyncClient, wire: str) -> None:
    thread = f"thread-{uuid4()}"
    async with reading(rejecting, "POST", run_url(wire, "gated"), json=turn(wire, thread, thread)) as left:
        await left.until("Begun")
        await asyncio.sleep(locks.YOUNG)  # a younger one may still wait for its first reader
    assert await takes(rejecting, wire, thread), "as soon as the gateway has seen that the reader has gone"
    await becomes(rejecting, left.run_id, "cancelled")


@pytest.mark.parametrize("wire", WIRES)
async def test_a_run_that_another_page_reads_does_not_give_way(rejecting: httpx.AsyncClient, wire: str) -> None:
    thread = f"thread-{uuid4()}"
    async with reading(rejecting, "POST", run_url(wire, "gated"), json=turn(wire, thread, thread)) as left:
        await left.until("Begun")
        await asyncio.sleep(locks.YOUNG)
        async with reading(rejecting, "GET", f"/runs/{left.run_id}/stream") as other:
            await other.until("Begun")
            await left.leave()
            assert_problem(await post(rejecting, wire, thread), 409, "run_conflict", "run_id")
            run_probes.gates[thread].open()
            assert text_of(events_of(await other.rest())) == "Begun ünd ended."


async def test_a_request_is_known_by_the_whole_of_an_id_of_any_length(rejecting: httpx.AsyncClient) -> None:
    bodies = [turn("ag-ui", "3", runId="r" * 5000 + end) for end in ("a", "a", "b")]
    runs = [(await rejecting.post(run_url("ag-ui", "fast"), json=body)).headers["x-run-id"] for body in bodies]
    assert len(set(runs)) == 3, "on threads of their own"
    same = turn("ag-ui", "3", thread="one", runId="r" * 5000 + "a")
    first, again = [(await rejecting.post(run_url("ag-ui", "fast"), json=same)).headers["x-run-id"] for _ in "12"]
    assert first == again
    other = {**same, "runId": "r" * 5000 + "b"}
    assert (await rejecting.post(run_url("ag-ui", "fast"), json=other)).headers["x-run-id"] != first

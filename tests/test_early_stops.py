"""A stop that comes before the first frame of its run: the button is there as soon as a message was sent."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import run_probes
from copilotkit_talk import at, body, connected, contents, enveloped, snapshot, stop
from reading import KEYS, client_for, happens, reading
from redis_server import RedisServer
from run_probes import Gate, gates
from serving import make_config, serving
from talking import events_of, run_url, text_of, turn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    import httpx

pytestmark = pytest.mark.anyio

SLOW = {"import": "run_probes:gated", "deps": "run_probes:deps_behind_a_gate"}
AGENTS: dict[str, Any] = {
    "slow": SLOW,
    "waits": {"import": "run_probes:gated", "concurrency": "enqueue"},
    "pays": "probes:paying",
}
CONFIG: dict[str, Any] = {"agents": AGENTS, "auth": {"api_keys": KEYS}}


@pytest.fixture(scope="module", params=["one process", "two over Redis"])
def urls(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Where turns are sent, and where stops are."""
    with ExitStack() as stack:
        if request.param == "one process":
            yield [stack.enter_context(serving(make_config(**CONFIG)))] * 2
        else:
            redis = RedisServer()
            stack.callback(redis.close)
            stores = {"streams": redis.url}
            yield [stack.enter_context(serving(make_config(**CONFIG, stores=stores))) for _ in range(2)]


@pytest.fixture
async def ada(urls: list[str]) -> AsyncGenerator[httpx.AsyncClient]:
    async with client_for(urls[0]) as client:
        yield client


@pytest.fixture
async def stopper(urls: list[str]) -> AsyncGenerator[httpx.AsyncClient]:
    async with client_for(urls[1]) as client:
        yield client


@pytest.fixture
def thread() -> str:
    return f"thread/{uuid4()}"


@pytest.fixture
def deps() -> Iterator[Gate]:
    gates["deps of ada"] = gate = Gate()
    yield gate
    gate.open()


@pytest.mark.parametrize("asked", [{"json": {"runId": "r"}}, {}], ids=["by its id", "whichever it is"])
async def test_a_run_whose_agent_is_still_being_made_ready_says_nothing_after_a_stop(
    ada: httpx.AsyncClient, stopper: httpx.AsyncClient, thread: str, deps: Gate, asked: dict[str, Any]
) -> None:
    prompt = str(uuid4())
    answer = asyncio.create_task(ada.post(at("slow", "run"), json=body(thread, prompt, "r")))
    await happens(deps.reached.is_set)
    assert await stop(stopper, "slow", thread, **asked)
    deps.open()
    events = events_of((await answer).text)
    assert [event["type"] for event in events] == ["RUN_STARTED", "RUN_FINISHED"]
    assert not run_probes.runs[prompt]
    assert contents(snapshot(await connected(ada, "slow", thread))) == [("user", prompt)]


async def test_a_chat_of_the_ai_sdk_is_stopped_as_early(
    ada: httpx.AsyncClient, stopper: httpx.AsyncClient, deps: Gate
) -> None:
    chat, prompt = f"chat-{uuid4()}", str(uuid4())
    answer = asyncio.create_task(ada.post(run_url("vercel-ai", "slow"), json=turn("vercel-ai", prompt, chat)))
    await happens(deps.reached.is_set)
    stopped = await stopper.post(f"{run_url('vercel-ai', 'slow')}/{chat}/stop")
    assert stopped.json() == {"stopped": True}
    deps.open()
    types = [event["type"] for event in events_of((await answer).text)]
    assert "abort" in types
    assert "text-start" not in types
    assert not run_probes.runs[prompt]


async def test_a_stop_of_another_run_does_not_reach_one_that_is_being_made_ready(
    ada: httpx.AsyncClient, stopper: httpx.AsyncClient, thread: str, deps: Gate
) -> None:
    gates[prompt := str(uuid4())].open()
    answer = asyncio.create_task(ada.post(at("slow", "run"), json=body(thread, prompt, "r")))
    await happens(deps.reached.is_set)
    await stop(stopper, "slow", thread, json={"runId": "another"})
    assert not await stop(stopper, "slow", f"{thread}-2", json={"runId": "r"})
    deps.open()
    assert text_of(events_of((await answer).text)) == "Begun ünd ended."


async def test_a_turn_that_waits_for_its_thread_is_stopped_when_its_time_has_come(
    ada: httpx.AsyncClient, stopper: httpx.AsyncClient, thread: str
) -> None:
    first, second = str(uuid4()), str(uuid4())
    async with reading(ada, "POST", at("waits", "run"), json=body(thread, first, "r1")) as run:
        await run.until("Begun")
        waiting = asyncio.create_task(ada.post(at("waits", "run"), json=body(thread, second, "r2")))
        await ada.get("/copilotkit/info")  # sent later, and answered
        await stop(stopper, "waits", thread, json={"runId": "r2"})
        assert not waiting.done()
        gates[first].open()
        assert text_of(events_of(await run.rest())) == "Begun ünd ended."
    assert events_of((await waiting).text)[-1]["type"] == "RUN_FINISHED"
    assert not run_probes.runs[second]


async def test_a_stop_that_comes_too_late_does_not_stop_the_answer_to_what_was_asked(
    ada: httpx.AsyncClient, stopper: httpx.AsyncClient, thread: str
) -> None:
    """`useInterrupt` answers under the id of the run that asked."""
    asked = await ada.post(at("pays", "run"), json=body(thread, "Pay", "r"))
    [interrupt] = events_of(asked.text)[-1]["outcome"]["interrupts"]
    assert not await stop(stopper, "pays", thread, json={"runId": "r"})
    resume = [{"interruptId": interrupt["id"], "status": "resolved", "payload": {"approved": True}}]
    answer = await ada.post(at("pays", "run"), json=body(thread, "", "r", resume=resume))
    assert "TOOL_CALL_RESULT" in [event["type"] for event in events_of(answer.text)]


async def test_the_single_endpoint_stops_as_early(
    ada: httpx.AsyncClient, stopper: httpx.AsyncClient, thread: str, deps: Gate
) -> None:
    prompt = str(uuid4())
    answer = asyncio.create_task(ada.post(at("slow", "run"), json=body(thread, prompt, "r")))
    await happens(deps.reached.is_set)
    stopped = await enveloped(stopper, "agent/stop", {"runId": "r"}, agentId="slow", threadId=thread)
    assert stopped.json()["stopped"]
    deps.open()
    assert events_of((await answer).text)[-1]["type"] == "RUN_FINISHED"
    assert not run_probes.runs[prompt]

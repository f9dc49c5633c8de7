"""A stop that comes before the first frame of its run: the button is there as soon as a message was sent."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import pytest
import run_probes
from copilotkit_talk import at, body, connected, contents, enveloped, snapshot, stop
from reading import KEYS, client_for, happens, reading
from redis_server import RedisServer
from run_probes import Gate, gates
from serving import make_config, serving
from talking import calling, events_of, run_url, text_of, turn

from gateway.app import create_app
from gateway.config import StreamSettings
from gateway.coordination import CANCEL, LOST, Lease
from gateway.coordination.memory import MemoryCoordination
from gateway.locks import ThreadLocks, thread_key
from gateway.stops import Stop, Stops
from gateway.streams import StreamInfo
from gateway.streams.memory import MemoryStreams

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    import httpx

pytestmark = pytest.mark.anyio

SLOW = {"import": "run_probes:gated", "deps": "run_probes:deps_behind_a_gate"}
AGENTS: dict[str, Any] = {
    "slow": SLOW,
    "waits": {"import": "run_probes:gated", "concurrency": "enqueue"},
    "pays": "probes:paying",
    "pays_slowly": {"import": "probes:paying", "deps": "run_probes:deps_behind_a_gate"},
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


async def test_a_stop_of_another_agents_run_does_not_reach_one_that_is_being_made_ready(
    ada: httpx.AsyncClient, stopper: httpx.AsyncClient, thread: str, deps: Gate
) -> None:
    """Whose run it will be only the run itself knows."""
    gates[prompt := str(uuid4())].open()
    answer = asyncio.create_task(ada.post(at("slow", "run"), json=body(thread, prompt, "r")))
    await happens(deps.reached.is_set)
    await stop(stopper, "waits", thread)
    await stopper.post(f"{run_url('vercel-ai', 'slow')}/{quote(thread, safe='')}/stop")
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


async def test_an_answer_under_the_id_of_the_run_that_asked_is_stopped_as_early(
    ada: httpx.AsyncClient, stopper: httpx.AsyncClient, thread: str, deps: Gate
) -> None:
    deps.open()
    asked = await ada.post(at("pays_slowly", "run"), json=body(thread, "Pay", "r"))
    [interrupt] = events_of(asked.text)[-1]["outcome"]["interrupts"]
    gates["deps of ada"] = again = Gate()
    resume = [{"interruptId": interrupt["id"], "status": "resolved", "payload": {"approved": True}}]
    answer = asyncio.create_task(ada.post(at("pays_slowly", "run"), json=body(thread, "", "r", resume=resume)))
    await happens(again.reached.is_set)
    stopped = await stop(stopper, "pays_slowly", thread, json={"runId": "r"})
    again.open()
    types = [event["type"] for event in events_of((await answer).text)]
    assert stopped
    assert "TOOL_CALL_RESULT" not in types


async def test_a_run_that_loses_its_thread_while_it_is_made_ready_was_not_stopped_by_anybody() -> None:
    app = create_app(make_config(**CONFIG))
    gates["deps of ada"] = deps = Gate()
    async with calling(app, x_api_key="ada") as client:
        answer = asyncio.create_task(client.post(at("slow", "run"), json=body("t", str(uuid4()), "r")))
        await happens(deps.reached.is_set)
        coordination = app.state.runs._coordination
        [lease] = coordination._leases.values()
        assert await coordination.signal(lease.key, lease.holder, LOST)
        deps.open()
        last = events_of((await answer).text)[-1]
    assert (last["type"], last["code"]) == ("RUN_ERROR", "run_lost")


class Late(MemoryStreams):
    """A log in which a run begins just behind the first look."""

    late: StreamInfo | None = None

    async def find(self, scope: str, thread_id: str) -> StreamInfo | None:
        found = await super().find(scope, thread_id)
        if info := self.late:
            self.late = None
            await self.open(info, Lease("", info.run_id, 1))
        return found


@pytest.mark.parametrize("request_id", ["r", ""])
async def test_a_run_that_begins_between_two_looks_at_it_is_stopped(request_id: str) -> None:
    coordination, log = MemoryCoordination(), Late(StreamSettings())
    stops, heard = Stops(coordination, log), list[str]()
    info = StreamInfo("run-1", "slow", "copilotkit", "ada", "t", 0.0, b"", request_id="r")
    lease = await coordination.acquire(thread_key("ada", "t"), info.run_id)
    assert lease
    lease.on_signal = heard.append
    log.late = info
    asked = Stop("ada", "t", is_meant=lambda run: run == info, unbegun="", request_id=request_id)
    assert await stops.on_thread(asked)
    assert heard == [CANCEL]


async def test_there_is_nothing_to_stop_on_a_thread_that_is_only_being_changed() -> None:
    coordination, log = MemoryCoordination(), MemoryStreams(StreamSettings())
    stops, info = Stops(coordination, log), StreamInfo("run-1", "a", "copilotkit", "ada", "t", 0.0, b"", request_id="r")
    async with ThreadLocks(coordination, log).held("ada", "t"):
        for request_id in ("r", ""):
            asked = Stop("ada", "t", is_meant=lambda _: True, unbegun="", request_id=request_id)
            assert not await stops.on_thread(asked)
    assert not await stops.came_before(info)


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

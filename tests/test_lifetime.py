"""Agents are opened once for a process, and those that do not open do not keep the others from serving."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import probes
import pytest
from logs import capture_logs
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from serving import make_config
from talking import WIRES, assert_problem, calling, events_of, run_url, text_of, turn

from gateway import lifetime
from gateway.app import create_app
from gateway.errors import AgentUnready
from gateway.lifetime import AgentLifetime
from gateway.surfaces.ag_ui import to_ag_ui

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

pytestmark = pytest.mark.anyio

AGENTS = {"unreachable": "probes:unreachable", "plain": "probes:plain"}


@pytest.fixture(autouse=True)
def _out_of_reach() -> Iterator[None]:
    probes.unreachable_toolset.reachable = False
    yield
    probes.unreachable_toolset.reachable = False


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> probes.LifecycleToolset:
    """The toolset of the agent `probes:recorded`."""
    toolset = probes.LifecycleToolset()
    agent = Agent(TestModel(custom_output_text="Recorded."), name="recorded", toolsets=[toolset])
    monkeypatch.setattr(probes, "recorded", agent, raising=False)
    return toolset


async def until_ready(client: httpx.AsyncClient, ready: int) -> dict[str, Any]:
    """The answer of `/readyz` when so many agents are open."""
    async with asyncio.timeout(5):
        while True:
            body: dict[str, Any] = (await client.get("/readyz")).json()
            if body["agents"]["ready"] == ready:
                return body
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("wire", WIRES)
async def test_an_agent_whose_toolset_does_not_open_is_unready_and_the_others_serve(wire: str) -> None:
    with capture_logs() as logs:
        async with calling(create_app(make_config(agents=AGENTS))) as client:
            response = await client.post(run_url(wire, "unreachable"), json=turn(wire))
            body = assert_problem(response, 503, "agent_unready")
            assert response.headers["retry-after"] == "5"
            assert probes.SECRET not in str(body)
            response = await client.post(run_url(wire, "plain"), json=turn(wire))
            assert text_of(events_of(response.text)) == "Hello from the probe."
            listed = {agent["id"]: agent["ready"] for agent in (await client.get("/agents")).json()["agents"]}
            assert listed == {"unreachable": False, "plain": True}
    [entry] = [line for line in logs if line["event"] == "agent_unready" and "agent" in line]
    assert entry["agent"] == "unreachable"


async def test_an_agent_that_did_not_open_is_tried_again_by_a_later_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async with calling(create_app(make_config(agents=AGENTS))) as client:

        async def status() -> int:
            return (await client.post(run_url("ag-ui", "unreachable"), json=turn("ag-ui"))).status_code

        assert await status() == 503
        probes.unreachable_toolset.reachable = True
        assert await status() == 503, "not at once: a server that is down is not asked by each request"
        monkeypatch.setattr(lifetime, "RETRY_AFTER", 0.0)
        assert await status() == 200
        assert (await client.get("/readyz")).json() == {"status": "ready", "agents": {"ready": 2, "total": 2}}


async def test_readiness_is_yes_as_long_as_one_agent_serves() -> None:
    async with calling(create_app(make_config(agents=AGENTS))) as client:
        assert (await until_ready(client, 1))["status"] == "degraded"
        assert (await client.get("/readyz")).status_code == 200
    async with calling(create_app(make_config(agents={"unreachable": "probes:unreachable"}))) as client:
        await client.post(run_url("ag-ui", "unreachable"), json=turn("ag-ui"))
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert response.json() == {"status": "unready", "agents": {"ready": 0, "total": 1}}
        assert (await client.get("/healthz")).status_code == 200


async def test_agents_open_at_the_start_without_a_request() -> None:
    async with calling(create_app(make_config(agents={"plain": "probes:plain"}))) as client:
        assert (await until_ready(client, 1))["status"] == "ready"


async def test_a_toolset_is_opened_once_for_all_runs_and_closed_at_the_end_by_the_task_that_opened_it(
    recording: probes.LifecycleToolset,
) -> None:
    """The cancel scopes of an MCP client must be left in the task that entered them."""
    async with calling(create_app(make_config(agents={"recorded": "probes:recorded"}))) as client:
        for wire in WIRES:
            answers = await asyncio.gather(*(client.post(run_url(wire, "recorded"), json=turn(wire)) for _ in range(5)))
            assert all(text_of(events_of(answer.text)) == "Recorded." for answer in answers)
        assert [what for what, _ in recording.tasks] == ["opened"]
    assert [what for what, _ in recording.tasks] == ["opened", "closed"]
    (_, opener), (_, closer) = recording.tasks
    assert opener is closer
    assert opener is not asyncio.current_task()


async def test_requests_that_come_while_an_agent_opens_wait_for_the_one_opening(
    recording: probes.LifecycleToolset, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_open = asyncio.Event()
    enter = probes.LifecycleToolset.__aenter__

    async def slowly(self: probes.LifecycleToolset) -> probes.LifecycleToolset:
        await may_open.wait()
        return await enter(self)

    monkeypatch.setattr(probes.LifecycleToolset, "__aenter__", slowly)
    app = create_app(make_config(agents={"recorded": "probes:recorded", "plain": "probes:plain"}))
    async with calling(app) as client:
        waiting = [asyncio.create_task(client.post(run_url("ag-ui", "recorded"), json=turn("ag-ui"))) for _ in range(3)]
        assert (await client.post(run_url("ag-ui", "plain"), json=turn("ag-ui"))).status_code == 200
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        assert not any(task.done() for task in waiting[1:])
        may_open.set()
        answers = await asyncio.gather(*waiting[1:])
    assert [answer.status_code for answer in answers] == [200, 200], "one that went away took nothing with it"
    assert [what for what, _ in recording.tasks] == ["opened", "closed"]


async def test_an_agent_that_never_opens_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: probes.UnreachableToolset) -> probes.UnreachableToolset:
        await asyncio.Event().wait()
        return self

    monkeypatch.setattr(probes.UnreachableToolset, "__aenter__", never)
    monkeypatch.setattr(lifetime, "OPEN_TIMEOUT", 0.05)
    async with calling(create_app(make_config(agents=AGENTS))) as client:
        response = await client.post(run_url("ag-ui", "unreachable"), json=turn("ag-ui"))
        assert_problem(response, 503, "agent_unready")


async def test_a_stop_does_not_wait_for_an_agent_that_is_still_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: probes.UnreachableToolset) -> probes.UnreachableToolset:
        await asyncio.Event().wait()
        return self

    monkeypatch.setattr(probes.UnreachableToolset, "__aenter__", never)
    started = time.monotonic()
    async with calling(create_app(make_config(agents=AGENTS))) as client:
        await until_ready(client, 1)
    assert time.monotonic() - started < 5


async def test_a_toolset_that_fails_to_close_does_not_spoil_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_self: probes.UnreachableToolset, *_args: object) -> None:
        raise ConnectionError(probes.SECRET)

    monkeypatch.setattr(probes.UnreachableToolset, "__aexit__", fails)
    probes.unreachable_toolset.reachable = True
    with capture_logs() as logs:
        async with calling(create_app(make_config(agents=AGENTS))) as client:
            assert (await client.post(run_url("ag-ui", "unreachable"), json=turn("ag-ui"))).status_code == 200
    assert [line["agent"] for line in logs if line["event"] == "agent_close_failed"] == ["unreachable"]


async def test_an_agent_may_be_opened_again_after_it_was_closed(recording: probes.LifecycleToolset) -> None:
    held = AgentLifetime("recorded", getattr(probes, "recorded"))  # noqa: B009 - a fixture puts it there
    for _ in range(2):
        await held.ready()
        assert held.is_ready
        await held.close()
        assert not held.is_ready
    assert [what for what, _ in recording.tasks] == ["opened", "closed"] * 2
    await held.close()


async def test_an_unready_agent_says_so_at_once_until_it_is_tried_again() -> None:
    held = AgentLifetime("unreachable", probes.unreachable)
    for _ in range(2):
        with pytest.raises(AgentUnready):
            await held.ready()
    await held.close()


def test_each_event_loop_gets_an_opening_of_its_own(recording: probes.LifecycleToolset) -> None:
    """Test clients of a host app run each request on a loop of its own."""
    app = to_ag_ui(getattr(probes, "recorded"))  # noqa: B009 - a fixture puts it there

    async def once() -> None:
        async with calling(app) as client:
            response = await client.post("/", json=turn("ag-ui"))
            assert text_of(events_of(response.text)) == "Recorded."

    for _ in range(2):
        asyncio.run(once())
    assert [what for what, _ in recording.tasks] == ["opened", "closed"] * 2

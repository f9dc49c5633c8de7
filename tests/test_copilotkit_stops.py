"""Stop, concurrent runs, and who may ask: CopilotKit's routes over plain HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import run_probes
from copilotkit_talk import at, body, connected, contents, enveloped, snapshot, stop
from reading import KEYS, NAMES, client_for, happens, reading
from serving import make_config, serving
from talking import assert_problem, events_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

pytestmark = pytest.mark.anyio

ORIGIN = "https://app.example.com"
AGENTS: dict[str, Any] = {
    **{name: f"run_probes:{name}" for name in NAMES},
    "enqueues": {"import": "run_probes:gated", "concurrency": "enqueue"},
    "interrupts": {"import": "run_probes:gated", "concurrency": "interrupt"},
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(make_config(agents=AGENTS, auth={"api_keys": KEYS}, cors={"allow_origins": [ORIGIN]})) as url:
        yield url


@pytest.fixture
def thread() -> str:
    return f"thread/{uuid4()}"


@pytest.fixture
def gate() -> Iterator[str]:
    yield (gate := f"gate-{uuid4()}")
    run_probes.gates[gate].open()


async def test_only_the_run_that_is_meant_is_stopped_and_only_once(
    url: str, ada: httpx.AsyncClient, thread: str, gate: str
) -> None:
    async with reading(ada, "POST", at("gated", "run"), json=body(thread, gate, "run-1")) as run:
        await run.until("Begun")
        assert not await stop(ada, "gated", thread, json={"runId": "run-2"})
        assert not await stop(ada, "gated", thread, json={"runId": ""})
        async with client_for(url, "bob") as bob:
            assert not await stop(bob, "gated", thread, json={"runId": "run-1"})
        answer = await enveloped(ada, "agent/stop", {"runId": "run-1"}, agentId="gated", threadId=thread)
        assert answer.json() == {"stopped": True, "interrupt": {**answer.json()["interrupt"], "code": "STOPPED"}}
        assert events_of(await run.rest())[-1]["type"] == "RUN_FINISHED"
    assert not await stop(ada, "gated", thread, json={"runId": "run-1"})
    assert contents(snapshot(await connected(ada, "gated", thread))) == [("user", gate), ("assistant", "Begun ünd ")]


async def test_a_reader_at_another_agent_stops_what_it_is_shown(ada: httpx.AsyncClient, thread: str, gate: str) -> None:
    """A chat may go on with another agent: it shows the run that goes on, with a stop button."""
    async with reading(ada, "POST", at("gated", "run"), json=body(thread, gate)) as run:
        await run.until("Begun")
        async with reading(ada, "POST", at("fast", "connect"), json=body(thread)) as other:
            await other.until("Begun")
            assert await stop(ada, "fast", thread)
            assert events_of(await other.rest())[-1]["type"] == "RUN_FINISHED"
        assert text_of(events_of(await run.rest())) == "Begun ünd "


async def test_a_page_behind_a_proxy_that_has_made_another_host_of_it_stops_its_run(
    ada: httpx.AsyncClient, thread: str, gate: str
) -> None:
    async with reading(ada, "POST", at("gated", "run"), json=body(thread, gate)) as run:
        await run.until("Begun")
        of_page = {"origin": "https://public.example", "sec-fetch-site": "same-origin"}
        assert await stop(ada, "gated", thread, headers=of_page)
        await run.rest()


async def test_a_stop_without_a_body_may_say_that_it_is_json_and_is_asked_for_first_then(
    ada: httpx.AsyncClient, thread: str, gate: str
) -> None:
    """As `@copilotkit/core` sends it after a reload, also through the single endpoint."""
    asked = {"origin": "http://localhost:5173", "sec-fetch-site": "cross-site"}
    async with reading(ada, "POST", at("gated", "run"), json=body(thread, gate)) as run:
        await run.until("Begun")
        sent = {"content-type": "application/json", **asked}
        assert not await stop(ada, "gated", f"{thread}-2", headers=sent)
        assert await stop(ada, "gated", thread, headers=sent, content=b" ")
        await run.rest()
    params = {"agentId": "gated", "threadId": thread}
    answer = await ada.post("/copilotkit", json={"method": "agent/stop", "params": params}, headers=asked)
    assert answer.json()["stopped"] is False


async def test_a_tool_that_does_not_give_way_holds_the_thread_and_no_reader(
    ada: httpx.AsyncClient, thread: str, gate: str
) -> None:
    async with reading(ada, "POST", at("swallowing", "run"), json=body(thread, gate)) as run:
        await happens(run_probes.gates[gate].reached.is_set)
        assert await stop(ada, "swallowing", thread)
        await run.rest()
    told = await connected(ada, "swallowing", thread)
    assert told[-1]["type"] == "RUN_FINISHED"
    assert [role for role, _ in contents(snapshot(told))] == ["user", "assistant", "tool"]
    assert_problem(await ada.post(at("swallowing", "run"), json=body(thread, "more")), 409, "run_conflict", "run_id")


@pytest.mark.parametrize("what", ["run", "connect", "stop"])
async def test_a_page_of_another_origin_cannot_send_anything_without_asking(
    ada: httpx.AsyncClient, thread: str, gate: str, what: str
) -> None:
    async with reading(ada, "POST", at("gated", "run"), json=body(thread, gate)) as run:
        await run.until("Begun")
        path = at("gated", what, thread if what == "stop" else "")
        simple: dict[str, Any] = {
            "content": b'{"threadId": "t", "runId": "r"}',
            "headers": {"content-type": "text/plain"},
        }
        assert_problem(await ada.post(path, **simple), 415, "unsupported_media_type")
        assert_problem(await ada.post("/copilotkit", **simple), 415, "unsupported_media_type")
        assert_problem(await ada.post("/copilotkit", content=b"{}"), 415, "unsupported_media_type")
        if what == "stop":
            for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
                assert_problem(await ada.post(path, headers=headers), 403, "cross_site")
            assert await stop(ada, "gated", thread, headers={"origin": ORIGIN, "sec-fetch-site": "cross-site"})


@pytest.mark.parametrize("path", ["/info", "/agent/gated/run", "/agent/gated/connect", "/agent/gated/stop/t%2F1", ""])
async def test_a_page_of_an_allowed_origin_gets_its_preflights_answered(url: str, path: str) -> None:
    async with client_for(url) as client:
        del client.headers["x-api-key"]
        answer = await client.options(
            f"/copilotkit{path}",
            headers={
                "origin": ORIGIN,
                "access-control-request-method": "POST" if path != "/info" else "GET",
                "access-control-request-headers": "authorization,content-type,x-api-key",
            },
        )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("agent", ["gated", "interrupts", "enqueues"])
async def test_a_second_run_is_refused_takes_over_or_waits_as_the_agent_says(
    ada: httpx.AsyncClient, thread: str, gate: str, agent: str
) -> None:
    run_probes.gates[second := f"{gate}-2"].open()
    async with reading(ada, "POST", at(agent, "run"), json=body(thread, gate)) as run:
        await run.until("Begun")
        asked = asyncio.create_task(ada.post(at(agent, "run"), json=body(thread, second)))
        if agent == "enqueues":
            await ada.get("/copilotkit/info")  # sent later, and answered
            assert not asked.done()
            run_probes.gates[gate].open()
        answer = await asked
        run_probes.gates[gate].open()
        first = text_of(events_of(await run.rest()))
    if agent == "gated":
        assert_problem(answer, 409, "run_conflict", "run_id")
    else:
        assert text_of(events_of(answer.text)) == "Begun ünd ended."
    assert first == ("Begun ünd " if agent == "interrupts" else "Begun ünd ended.")


async def test_the_same_request_again_joins_its_run(ada: httpx.AsyncClient, thread: str, gate: str) -> None:
    sent = body(thread, gate)
    async with (
        reading(ada, "POST", at("gated", "run"), json=sent) as one,
        reading(ada, "POST", "/copilotkit", json=envelope(sent)) as two,
    ):
        await one.until("Begun")
        await two.until("Begun")
        run_probes.gates[gate].open()
        assert await one.rest() == await two.rest()
    assert one.run_id == two.run_id
    assert run_probes.runs[gate] == 1


def envelope(inner: Any) -> dict[str, Any]:
    return {"method": "agent/run", "params": {"agentId": "gated"}, "body": inner}

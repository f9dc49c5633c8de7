"""`connect`: a thread and the run on it, at every moment of that run, nothing twice and nothing missing."""

from __future__ import annotations

import asyncio
import gc
import hashlib
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import run_probes
from copilotkit_talk import at, body, connected, contents, ran, snapshot, stop
from reading import KEYS, NAMES, TIMEOUT, becomes, client_for, happens, held, reading
from serving import make_config, serving
from talking import assert_problem, events_of, run_url, text_of, turn

from gateway.surfaces.copilotkit.connection import Seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

pytestmark = pytest.mark.anyio

NARROW = {"id": "narrow", "sha256": hashlib.sha256(b"narrow").hexdigest(), "subject": "ada", "scopes": ["agents:plain"]}
AGENTS: dict[str, Any] = {
    **{name: f"run_probes:{name}" for name in NAMES},
    "too_slow": {"import": "run_probes:gated", "timeout": 1.5},
    "plain": "probes:plain",
    "broken": "probes:broken",
    "teller": "thread_probes:teller",
    "payer": "thread_probes:payer",
    "waits_for_page": "copilotkit_agents:waits_for_page",
}
BROWSE: dict[str, Any] = {
    "name": "browse",
    "description": "Opens a page.",
    "parameters": {"type": "object", "properties": {}},
}
STORED = ["RUN_STARTED", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    keys = [*KEYS, NARROW]
    with serving(make_config(agents=AGENTS, auth={"api_keys": keys}, server={"heartbeat": 0.2})) as url:
        yield url


@pytest.fixture
def thread() -> str:
    return f"thread-{uuid4()}"


async def test_a_reader_of_a_run_holds_nothing_of_what_was_said_before(ada: httpx.AsyncClient, thread: str) -> None:
    async with (
        held(ada, "ag-ui", "gated", thread=thread),
        reading(ada, "POST", at("gated", "connect"), json=body(thread)) as reader,
    ):
        await reader.until("Begun")
        await happens(lambda: not any(isinstance(each, Seen) for each in gc.get_objects()))


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


@pytest.mark.parametrize("wire", ["copilotkit", "ag-ui"])
@pytest.mark.parametrize(("agent", "seen"), [("gated", "Begun"), ("half_a_call", "Begun"), ("calling", "noted Begun")])
async def test_in_the_middle_of_a_run_comes_what_was_said_and_then_the_rest(
    ada: httpx.AsyncClient, thread: str, wire: str, agent: str, seen: str
) -> None:
    gate = f"gate-{uuid4()}"
    path = at(agent, "run") if wire == "copilotkit" else run_url(wire, agent)
    sent = body(thread, gate) if wire == "copilotkit" else turn(wire, gate, thread)
    async with reading(ada, "POST", path, json=sent) as first:
        await first.until(seen)
        async with reading(ada, "POST", at(agent, "connect"), json=body(thread)) as second:
            await second.until(seen)
            assert second.run_id == first.run_id
            run_probes.gates[gate].open()
            whole, replayed = events_of(await first.rest()), events_of(await second.rest())
    assert types(replayed[:3]) == STORED
    assert contents(snapshot(replayed)) == [("user", gate)]
    assert text_of(replayed[3:]) == text_of(whole)
    assert types(replayed[3:]) == types(whole)
    assert replayed[-1]["type"] == "RUN_FINISHED"


async def test_a_client_of_1_0_gets_what_an_older_one_would_not_understand(ada: httpx.AsyncClient, thread: str) -> None:
    async with held(ada, "ag-ui", thread=thread) as run:
        async with (
            reading(ada, "POST", at("gated", "connect"), json=body(thread)) as old,
            reading(ada, "POST", at("gated", "connect"), json=body(thread, protocolVersion="1.0")) as new,
        ):
            await old.until("Begun")
            await new.until("Begun")
            assert await stop(ada, "gated", thread)
            ends = events_of(await old.rest())[-1], events_of(await new.rest())[-1]
        await becomes(ada, run.id, "cancelled")
    assert "outcome" not in ends[0]
    assert ends[1]["outcome"] == {"type": "cancelled"}


@pytest.mark.parametrize("surface", ["vercel-ai", "stream/text"])
async def test_a_run_of_another_protocol_is_told_when_it_has_ended(
    ada: httpx.AsyncClient, thread: str, surface: str
) -> None:
    gate = f"gate-{uuid4()}"
    sent = turn("vercel-ai", gate, thread) if surface == "vercel-ai" else {"prompt": gate, "thread_id": thread}
    async with reading(ada, "POST", f"/agents/gated/{surface}", json=sent) as first:
        await first.until("Begun")
        async with reading(ada, "POST", at("gated", "connect"), json=body(thread)) as second:
            await second.until("RUN_FINISHED")
            await second.until(": heartbeat")
            run_probes.gates[gate].open()
            await first.rest()
            told = events_of(await second.rest())
    assert types(told) == STORED * 2
    assert contents(told[1]["messages"]) == [("user", gate)]
    assert contents(snapshot(told)) == [("user", gate), ("assistant", "Begun ünd ended.")]


async def test_between_an_approval_and_its_result_the_call_is_neither_open_nor_answered(
    ada: httpx.AsyncClient, thread: str
) -> None:
    asked = await ran(ada, "payer", thread, "pay slow 5")
    [interrupt] = asked[-1]["outcome"]["interrupts"]
    run_probes.gates.pop("slow", None)
    answer = {"interruptId": interrupt["id"], "status": "resolved", "payload": {"approved": True}}
    async with reading(ada, "POST", at("payer", "run"), json=body(thread, resume=[answer])) as run:
        await happens(run_probes.gates["slow"].reached.is_set)
        async with reading(ada, "POST", at("payer", "connect"), json=body(thread)) as second:
            await second.until('"RUN_FINISHED"')
            run_probes.gates["slow"].open()
            told = events_of(await second.rest())
        await run.rest()
    assert types(told[:3]) == STORED
    assert "outcome" not in told[2]
    assert [role for role, _ in contents(snapshot(told))] == ["user", "assistant"]
    assert [event["content"] for event in told if event["type"] == "TOOL_CALL_RESULT"] == ["paid 5 to slow"]


async def test_the_result_that_another_tab_gave_is_there_while_its_run_goes_on(
    ada: httpx.AsyncClient, thread: str
) -> None:
    """The run does not repeat it. Without it CopilotKit asks its user once more."""
    asked = await ran(ada, "waits_for_page", thread, gate := f"gate-{uuid4()}", tools=[BROWSE])
    call = next(event["toolCallId"] for event in asked if event["type"] == "TOOL_CALL_START")
    result = {"id": "r1", "role": "tool", "toolCallId": call, "content": "Welcome"}
    sent = body(thread, messages=[result], tools=[BROWSE])
    async with reading(ada, "POST", at("waits_for_page", "run"), json=sent) as run:
        await run.until("Seen")
        async with reading(ada, "POST", at("waits_for_page", "connect"), json=body(thread)) as second:
            await second.until("Seen")
            run_probes.gates[gate].open()
            told = events_of(await second.rest())
        await run.rest()
    assert contents(snapshot(told)) == [("user", gate), ("assistant", ""), ("tool", "Welcome")]
    assert "TOOL_CALL_RESULT" not in types(told)
    after = snapshot(await connected(ada, "waits_for_page", thread))
    assert contents(after)[2:] == [("tool", "Welcome"), ("assistant", "Seen Welcome")]


@pytest.mark.parametrize("ending", ["failed", "stopped"])
async def test_after_a_run_that_did_not_end_well_its_words_are_there_once(
    ada: httpx.AsyncClient, thread: str, ending: str
) -> None:
    if ending == "failed":
        await ran(ada, "teller", thread, text := "fail please")
        said = f"You said: {text}"
    else:
        async with held(ada, "ag-ui", thread=thread) as run:
            text, said = run.prompt, "Begun ünd "
            assert await stop(ada, "gated", thread)
            await run.reader.rest()
    told = await connected(ada, "teller", thread)
    assert types(told) == STORED
    assert contents(snapshot(told)) == [("user", text), ("assistant", said)]


async def test_a_run_that_begins_or_ends_while_it_is_looked_for_is_told_once(
    ada: httpx.AsyncClient, thread: str
) -> None:
    """Whatever the moment is, every question that is shown has its answer: in the snapshot, or behind it."""
    for turns in range(1, 16):
        run = asyncio.create_task(ran(ada, "fast", thread, f"40 turn {turns}"))
        while not run.done():
            told = await connected(ada, "fast", thread)
            stored, live = contents(snapshot(told)) if told else [], text_of(told)
            answers = [text for role, text in stored if role == "assistant"] + [live] * bool(live)
            assert len([role for role, _ in stored if role == "user"]) == len(answers)
            assert turns - 1 <= len(answers) <= turns
            assert {text.count("39") for text in answers} <= {1}
        await run


async def test_a_connection_that_is_dropped_stops_nothing(ada: httpx.AsyncClient, thread: str) -> None:
    gate = f"gate-{uuid4()}"
    async with reading(ada, "POST", at("gated", "run"), json=body(thread, gate)) as run:
        await run.until("Begun")
        run_id = run.run_id
        async with reading(ada, "POST", at("gated", "connect"), json=body(thread)) as second:
            await second.until("Begun")
    async with reading(ada, "POST", at("gated", "connect"), json=body(thread)) as third:
        await third.until("Begun")
        run_probes.gates[gate].open()
        assert text_of(events_of(await third.rest())) == "Begun ünd ended."
    await becomes(ada, run_id, "finished")


async def test_a_foreign_thread_is_one_that_never_was(url: str, ada: httpx.AsyncClient, thread: str) -> None:
    async with held(ada, "ag-ui", thread=thread), client_for(url, "bob") as bob:
        answers = [await bob.post(at("gated", "connect"), json=body(each)) for each in (thread, "never-was")]
        assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"")] * 2
        kept = [{k: v for k, v in answer.headers.items() if k not in ("x-request-id", "date")} for answer in answers]
        assert kept[0] == kept[1]
        assert not await stop(bob, "gated", thread)


async def test_a_run_of_an_agent_out_of_scope_is_not_shown(url: str, ada: httpx.AsyncClient, thread: str) -> None:
    """The same owner, with a key that may use less."""
    await ran(ada, "plain", thread, "Hello")
    async with held(ada, "ag-ui", thread=thread), client_for(url, "narrow") as narrow:
        async with asyncio.timeout(TIMEOUT):  # with heartbeats, a stream of it would never time out
            answer = await narrow.post(at("plain", "connect"), json=body(thread))
        assert (answer.status_code, answer.content) == (200, b"")
        assert "x-run-id" not in answer.headers
        assert not await stop(narrow, "plain", thread)
        refused = await narrow.post(at("gated", "connect"), json=body(thread))
        never_was = await narrow.post(at("nobody", "connect"), json=body(thread))
    ours = [assert_problem(each, 404, "agent_not_found", "error", "message") for each in (refused, never_was)]
    assert {**ours[0], "request_id": ""} == {**ours[1], "request_id": ""}


@pytest.mark.parametrize("odd", ["a/b", "a%2Fb", "../agents", "ünd 雪", "?x=1#y", "a//b/", "%", "a" * 256])
async def test_a_thread_id_may_be_anything_that_is_not_for_control(ada: httpx.AsyncClient, odd: str) -> None:
    gate, thread = f"gate-{uuid4()}", odd if len(odd) == 256 else f"{odd}{uuid4()}"
    async with reading(ada, "POST", at("gated", "run"), json=body(thread, gate)) as run:
        await run.until("Begun")
        assert await stop(ada, "gated", thread)
        await run.rest()
    assert contents(snapshot(await connected(ada, "gated", thread)))[0] == ("user", gate)


@pytest.mark.parametrize("odd", ["", "new", "a\nb", "a\0b", "a" * 257])
async def test_a_thread_id_that_no_run_could_have_is_refused(ada: httpx.AsyncClient, odd: str) -> None:
    assert_problem(await ada.post(at("gated", "connect"), json=body(odd)), 422, "malformed_body")
    if odd:
        assert not await stop(ada, "gated", odd)


async def test_what_a_run_said_before_its_time_was_over_is_there(ada: httpx.AsyncClient, thread: str) -> None:
    told = await ran(ada, "too_slow", thread, gate := f"gate-{uuid4()}")
    assert (told[-1]["type"], told[-1]["code"]) == ("RUN_ERROR", "run_timeout")
    again = await connected(ada, "too_slow", thread)
    assert types(again) == STORED
    assert contents(snapshot(again)) == [("user", gate), ("assistant", "Begun ünd ")]

"""Plain turns on threads: sessions, approvals, conversations over several wires, and whose they are."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from plain_probes import SECRET
from plain_wire import Plain, answer_in, events_in, of, one, plain
from run_probes import Gate, gates
from serving import make_config
from talking import assert_problem, calling
from thread_probes import paid
from threading_http import WIRES, Talk

from gateway.app import create_app
from gateway.errors import StoreUnavailable
from gateway.stores.memory import _View  # pyright: ignore[reportPrivateUsage]

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

pytestmark = pytest.mark.anyio

AGENTS = ("thread_probes:payer", "thread_probes:teller", "asking")


@pytest.fixture(autouse=True)
def _nothing_is_paid_yet() -> None:
    paid.clear()
    gates["slow"] = Gate()


@pytest.fixture(params=["memory", "sqlite"])
async def reader(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Plain]:
    """A gateway with the agents above, over each kind of store."""
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/threads.db"
    async with plain(*AGENTS, stores={"conversations": url}) as reader:
        yield reader


async def chat(reader: Plain, message: str, session: str = "s", **headers: str) -> str:
    """What the teller answers in a session."""
    body = {"session_id": session, "message": message, "debounce": 0}
    response = await reader.client.post("/agents/teller/chat", json=body, headers=headers)
    assert response.status_code == 200, response.text
    events = events_in(response.text)
    assert one(events, "done")["thread_id"] == session
    return answer_in(events)


async def asked(reader: Plain, prompt: str = "pay Bob 5", thread: str = "t") -> list[str]:
    """Ids of the calls that a turn of the payer leaves to somebody."""
    events = await reader.ask("payer", prompt=prompt, thread_id=thread)
    deferred = one(events, "deferred")
    assert one(events, "done")["outcome"] == "deferred"
    assert not of(events, "result")
    return [call["tool_call_id"] for call in deferred["approvals"]]


async def answer(reader: Plain, approvals: dict[str, Any], form: str = "text", **more: Any) -> Any:
    """The response to decisions."""
    return await reader.post("payer", form, None, **{"thread_id": "t", "approvals": approvals, **more})


async def test_a_session_keeps_its_history_on_the_server(reader: Plain) -> None:
    assert await chat(reader, "one") == "You said: one."
    assert await chat(reader, "two") == "You said: one, two."
    assert await chat(reader, "three", "other") == "You said: three."
    assert (await reader.client.get("/threads/s")).json()["title"] == "one"


async def test_a_thread_that_is_named_is_gone_on_with_and_read_by_every_form(reader: Plain) -> None:
    for number, form in enumerate(("text", "responses", "events", "nodes", "run")):
        response = await reader.post("teller", form, f"{number}", thread_id="t")
        assert f"You said: {', '.join(map(str, range(number + 1)))}" in response.text or form == "events"
    assert await chat(reader, "5", "t") == "You said: 0, 1, 2, 3, 4, 5."


async def test_a_session_id_of_somebody_else_means_ones_own_session_of_that_name() -> None:
    keys = [{"id": name, "sha256": hashlib.sha256(name.encode()).hexdigest()} for name in ("ada", "bob", "eve")]
    async with plain(*AGENTS, auth={"api_keys": keys}) as reader:
        await chat(reader, "mine", **{"x-api-key": "ada"})
        for who in ("bob", "eve"):
            assert_problem(await reader.client.get("/threads/s", headers={"x-api-key": who}), 404, "not_found")
        assert await chat(reader, "whose?", **{"x-api-key": "bob"}) == "You said: whose?."
        assert await chat(reader, "still mine", **{"x-api-key": "ada"}) == "You said: mine, still mine."
        assert_problem(await reader.client.get("/threads/s", headers={"x-api-key": "eve"}), 404, "not_found")


@pytest.mark.parametrize("form", ["text", "events", "run"])
async def test_an_approved_call_runs_once_and_the_thread_goes_on(reader: Plain, form: str) -> None:
    [call] = await asked(reader)
    assert (await reader.client.get("/threads/t")).json()["status"] == "waiting"
    response = await answer(reader, {call: True}, form)
    assert "success paid 5 to Bob" in response.text
    assert paid == [("Bob", 5)]
    assert (await reader.client.get("/threads/t")).json()["status"] == "finished"


async def test_a_denied_call_does_not_run_and_the_model_is_told_why(reader: Plain) -> None:
    [call] = await asked(reader)
    response = await answer(reader, {call: {"approved": False, "reason": "Too much."}})
    assert one(events_in(response.text), "result") == {"text": "denied Too much."}
    assert not paid


async def test_a_call_is_denied_without_a_reason(reader: Plain) -> None:
    [call] = await asked(reader)
    assert answer_in(events_in((await answer(reader, {call: False})).text)).startswith("denied ")
    assert not paid


async def test_an_approved_call_runs_with_the_arguments_of_the_approver(reader: Plain) -> None:
    [call] = await asked(reader)
    decision = {"approved": True, "override_args": {"recipient": "Eve", "amount": 1}}
    response = await answer(reader, {call: decision}, "run")
    assert response.json()["text"] == "success paid 1 to Eve"
    assert paid == [("Eve", 1)]


async def test_a_run_that_waits_is_told_by_run_too(reader: Plain) -> None:
    response = await reader.post("payer", "run", "pay Bob 5", thread_id="t")
    body = response.json()
    [call] = body["deferred"]["approvals"]
    assert body["outcome"] == "deferred"
    assert (call["tool_name"], call["args"]) == ("pay", {"recipient": "Bob", "amount": 5})
    assert "text" not in body


async def test_two_calls_may_be_answered_one_by_one(reader: Plain) -> None:
    first, second = await asked(reader, "pay Bob 5 and pay Eve 6")
    events = events_in((await answer(reader, {first: True})).text)
    assert one(events, "done")["outcome"] == "deferred"
    assert not paid
    result = one(events_in((await answer(reader, {second: False})).text), "result")
    assert "success paid 5 to Bob" in result["text"]
    assert paid == [("Bob", 5)]


@pytest.mark.parametrize("form", ["text", "responses", "events", "nodes", "run"])
async def test_the_same_answer_once_more_says_again_what_came_of_it_and_runs_nothing(reader: Plain, form: str) -> None:
    [call] = await asked(reader)
    first = await answer(reader, {call: True}, form)
    second = await answer(reader, {call: True}, form)
    assert "success paid 5 to Bob" in second.text
    assert first.headers["x-run-id"] == second.headers["x-run-id"]
    assert paid == [("Bob", 5)]


@pytest.mark.parametrize("form", ["text", "responses", "events", "nodes", "run"])
async def test_the_same_answer_after_the_frames_are_gone_is_said_from_the_thread(form: str, tmp_path: Path) -> None:
    stores = {"conversations": f"sqlite:///{tmp_path}/threads.db"}
    async with plain(*AGENTS, stores=stores) as reader:
        [call] = await asked(reader)
        await answer(reader, {call: True}, form)
    async with plain(*AGENTS, stores=stores) as reader:
        again = await answer(reader, {call: True}, form)
    assert again.status_code == 200
    assert "success paid 5 to Bob" in again.text
    if form != "run":
        assert one(events_in(again.text), "done")["outcome"] == "finished"
        assert one(events_in(again.text), "usage")["requests"] == 0
    assert paid == [("Bob", 5)]


async def test_an_answer_that_nothing_waits_for_is_refused(reader: Plain) -> None:
    [call] = await asked(reader)
    assert_problem(await answer(reader, {"forged": True}), 409, "turn_rejected")
    assert_problem(await answer(reader, {call: True}, thread_id="other"), 409, "turn_rejected")
    assert not paid


async def test_an_approved_call_whose_decision_comes_twice_at_once_runs_once(reader: Plain) -> None:
    [call] = await asked(reader, "pay slow 5")
    both = asyncio.gather(answer(reader, {call: True}), answer(reader, {call: True}))
    async with asyncio.timeout(15):
        while not gates["slow"].reached.is_set():  # noqa: ASYNC110 - set by another task of the app
            await asyncio.sleep(0.01)
    gates["slow"].open()
    first, second = await both
    assert first.headers["x-run-id"] == second.headers["x-run-id"]
    assert paid == [("slow", 5)]


async def test_calls_that_the_client_runs_are_answered_with_results(reader: Plain) -> None:
    events = await reader.ask("asking", thread_id="t")
    [call] = one(events, "deferred")["calls"]
    assert (call["tool_name"], call["args"]) == ("ask_browser", {"what": "place"})
    results = {call["tool_call_id"]: {"place": "Paris"}}
    events = await reader.ask("asking", prompt=None, thread_id="t", results=results)
    assert one(events, "result")["text"] == 'success {"place":"Paris"}'


@pytest.mark.parametrize("wire", WIRES)
async def test_a_thread_that_began_on_another_wire_goes_on_here_and_back(reader: Plain, wire: str) -> None:
    there = Talk(reader.client, wire, "teller", "t")
    assert (await there.say("one")).text == "You said: one."
    assert await chat(reader, "two", "t") == "You said: one, two."
    assert (await there.say("three")).text == "You said: one, two, three."
    assert await chat(reader, "four", "t") == "You said: one, two, three, four."


@pytest.mark.parametrize("wire", WIRES)
async def test_an_approval_that_was_asked_for_on_one_wire_is_given_on_the_other(reader: Plain, wire: str) -> None:
    there = Talk(reader.client, wire, "payer", "t")
    [call] = (await there.say("pay Bob 5")).asked
    assert "success paid 5 to Bob" in (await answer(reader, {call: True})).text
    here = Talk(reader.client, wire, "payer", "u")
    [call] = await asked(reader, thread="u")
    assert (await here.answer({call: True})).text == "success paid 5 to Bob"
    assert len(paid) == 2


async def test_a_plain_turn_can_be_loaded_by_every_front_end(reader: Plain) -> None:
    [call] = await asked(reader)
    await answer(reader, {call: True})
    shapes: dict[str, Any] = {}
    for shape in ("native", "ag-ui", "vercel-ai"):
        response = await reader.client.get("/threads/t/messages", params={"format": shape})
        assert response.status_code == 200, response.text
        shapes[shape] = response.json()["messages"]
    assert [message["kind"] for message in shapes["native"]] == ["request", "response", "request", "response"]
    assert [message["role"] for message in shapes["ag-ui"]] == ["user", "assistant", "tool", "assistant"]
    assert [message["role"] for message in shapes["vercel-ai"]] == ["user", "assistant"]
    for messages in shapes.values():
        assert "success paid 5 to Bob" in str(messages)
        assert "pay Bob 5" in str(messages)
    again = (await reader.client.get("/threads/t/messages", params={"format": "ag-ui"})).json()["messages"]
    assert again == shapes["ag-ui"], "ids stay the same"


async def test_a_state_that_an_agent_shares_stays_with_its_thread() -> None:
    async with calling(create_app(make_config())) as client:
        ask = {"thread_id": "t", "prompt": "Plan a party"}
        assert "3 steps" in (await client.post("/agents/planner/run", json=ask)).json()["text"]
        answer = await client.post("/agents/planner/run", json={**ask, "prompt": "Step 1 is done"})
    assert "Step 1 is now" in answer.json()["text"]


async def test_a_turn_that_failed_keeps_what_was_said(reader: Plain) -> None:
    events = await reader.ask("teller", prompt="fail please", thread_id="t")
    assert one(events, "error")["code"] == "run_failed"
    assert await chat(reader, "and now?", "t") == "You said: fail please, and now?."


async def test_a_thread_takes_one_run_at_a_time(reader: Plain) -> None:
    gate = f"wait for {id(reader)}"
    waiting = asyncio.create_task(reader.post("teller", prompt=gate, thread_id="t"))
    async with asyncio.timeout(15):
        while not gates[gate].reached.is_set():  # noqa: ASYNC110 - set by another task of the app
            await asyncio.sleep(0.01)
    problem = assert_problem(await reader.post("teller", thread_id="t"), 409, "run_conflict", "run_id")
    gates[gate].open()
    assert (await waiting).headers["x-run-id"] == problem["run_id"]
    assert await chat(reader, "now", "t") == f"You said: {gate}, now."


@pytest.mark.parametrize("form", ["text", "events", "nodes", "run"])
async def test_an_answer_that_cannot_be_stored_is_told_and_has_no_result(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = _View.write_record

    async def fails_the_second_time(*args: Any, **kwargs: Any) -> None:
        if kwargs["expected_revision"] is not None:
            raise StoreUnavailable from OSError(SECRET)
        await write(*args, **kwargs)

    monkeypatch.setattr(_View, "write_record", fails_the_second_time)
    async with plain(*AGENTS) as reader:
        response = await reader.post("teller", form, thread_id="t")
    assert SECRET not in response.text
    if form == "run":
        assert_problem(response, 503, "store_unavailable")
        return
    events = events_in(response.text)
    assert one(events, "error")["code"] == one(events, "done")["outcome"] == "store_unavailable"
    assert not of(events, "result")

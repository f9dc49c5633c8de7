"""What a fresh pair of eyes found in threads: each test is a rule that did not hold when it was written."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.tools import DeferredToolResults
from run_probes import Gate, gates
from serving import make_config
from stored_threads import add_turn
from talking import calling
from thread_machine import log
from thread_probes import paid
from threading_http import WIRES, Talk

from gateway.app import create_app
from gateway.errors import ApprovalExpired, StreamUnavailable, TurnRejected
from gateway.stores.memory import MemoryStore
from gateway.threads import Threads
from gateway.turns import plan
from gateway.wires import Turn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.manager import RunManager

    Json = dict[str, Any]

pytestmark = pytest.mark.anyio

NOTES = {"deps": "thread_machine:make_notes"}
AGENTS: Json = {
    "teller": "thread_probes:teller",
    "payer": "thread_probes:payer",
    "acting": {"import": "thread_machine:agent", **NOTES},
    "half_deaf": "thread_machine:half_deaf",
    "instructed": "thread_probes:instructed",
    "hasty": {"import": "thread_probes:payer", "concurrency": "interrupt"},
    "forgetting": {"import": "thread_machine:forgetting", "deps": "thread_machine:make_shapeless"},
}


@pytest.fixture(autouse=True)
def _nothing_was_done_yet() -> None:
    paid.clear()
    log.taken()
    gates["slow"] = Gate()


@asynccontextmanager
async def talking(wire: str, agent: str, **config: Any) -> AsyncGenerator[tuple[Talk, RunManager]]:
    app = create_app(make_config(agents=AGENTS, **config))
    async with calling(app) as client:
        yield Talk(client, wire, agent), app.state.runs


def _answered(call: str, *, approved: bool) -> Json:
    """The answer that an AI SDK client holds, once its user has pressed a button."""
    approval = {"id": call, "approved": approved}
    part = {"type": "tool-pay", "toolCallId": call, "state": "approval-responded", "input": {}, "approval": approval}
    return {"id": "assistant", "role": "assistant", "parts": [part]}


async def _frames_gone(talk: Talk, run_id: str) -> None:
    async with asyncio.timeout(10):
        while (await talk.client.get(f"/runs/{run_id}/stream")).status_code == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_call_has_one_result_when_the_message_that_declined_it_is_edited() -> None:
    async with talking("ag-ui", "acting") as (talk, _):
        await talk.say("1: pay ann")
        await talk.say("2: say", message="m2")
        log.taken()
        await talk.say("3: say", message="m2")
        [call], _executed = log.taken()
        assert not call.problem
        assert call.told == [("user", "1: pay ann"), ("call", "pay", "denied"), ("user", "3: say")]


@pytest.mark.parametrize("wire", WIRES)
async def test_what_was_said_before_a_drain_is_kept(wire: str) -> None:
    async with talking(wire, "teller") as (talk, runs):
        prompt = f"wait for a drain {uuid4()}"
        turn = asyncio.create_task(talk.say(prompt))
        await asyncio.to_thread(gates[prompt].reached.wait, 10)
        await runs.drained(0.05)
        shown = await turn
        assert shown.problem == "run_interrupted"
        assert shown.text == f"You said: {prompt}"
        runs.open()
        assert await talk.history() == f"U:{prompt} | A:You said: {prompt}"


@pytest.mark.parametrize("wire", WIRES)
async def test_a_button_that_is_pressed_twice_does_not_stop_what_it_started(
    wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = Threads.answered_run

    async def looks_slowly(self: Threads, scope: str, turn: Turn) -> str:
        found = await looked(self, scope, turn)
        await asyncio.sleep(0.05)
        return found

    monkeypatch.setattr(Threads, "answered_run", looks_slowly)
    async with talking(wire, "hasty") as (talk, _):
        [call] = (await talk.say("pay slow 5")).asked
        presses = [asyncio.create_task(talk.answer({call: True})) for _ in range(2)]
        await asyncio.sleep(0.3)
        gates["slow"].open()
        assert [(await press).text for press in presses] == ["success paid 5 to slow"] * 2
        assert paid == [("slow", 5)]


async def test_a_late_approval_does_not_keep_the_user_from_saying_something_new() -> None:
    """The AI SDK keeps the pressed button in its last answer, and sends it along with every later message."""
    async with talking("vercel-ai", "payer", threads={"approval_ttl": 0.1}) as (talk, _):
        [call] = (await talk.say("pay Bob 5")).asked
        await asyncio.sleep(0.15)
        pressed = _answered(call, approved=True)
        assert (await talk.send([pressed])).problem == "approval_expired"
        assert not (await talk.say("never mind", before=[pressed])).problem
        assert not paid


async def test_an_approval_that_was_given_up_does_not_keep_the_user_from_saying_something_new() -> None:
    async with talking("vercel-ai", "payer") as (talk, _):
        await talk.say("hello", message="m1")
        [call] = (await talk.say("pay Bob 5", message="m2")).asked
        await talk.say("HELLO", message="m1")  # in another tab
        pressed = _answered(call, approved=True)
        assert (await talk.send([pressed])).problem == "turn_rejected"
        assert not (await talk.say("never mind", before=[pressed])).problem
        assert not paid


async def test_an_edit_does_not_forget_which_calls_were_declined() -> None:
    async with talking("vercel-ai", "acting") as (talk, _):
        [call] = (await talk.say("1: pay ann", message="m1")).asked
        pressed = _answered(call, approved=False)
        await talk.say("2: say", message="m2", before=[pressed])
        await talk.say("3: drop", message="m2", before=[pressed])
        unanswered = talk.user("3: drop", "m2")
        assert not (await talk.say("4: say", message="m4", before=[pressed, unanswered])).problem


async def test_a_fork_does_not_lengthen_the_time_in_which_something_can_be_approved() -> None:
    async with talking("ag-ui", "payer", threads={"approval_ttl": 0.3}) as (talk, _):
        [call] = (await talk.say("pay Bob 5")).asked
        fork = (await talk.client.post(f"/threads/{talk.thread}/fork", json={})).json()["id"]
        await Talk(talk.client, "ag-ui", "payer", fork).send([])
        assert "expires_at" in await talk.about()
        await asyncio.sleep(0.35)
        assert (await talk.answer({call: True})).problem == "approval_expired"
        assert not paid


@pytest.mark.parametrize("wire", WIRES)
async def test_only_the_agent_that_asked_takes_the_approval(wire: str) -> None:
    async with talking(wire, "payer") as (talk, _):
        [call] = (await talk.say("pay Bob 5")).asked
        other = Talk(talk.client, wire, "teller", talk.thread)
        assert (await other.answer({call: True})).problem == "turn_rejected"
        assert (await talk.about())["status"] == "waiting"
        assert (await talk.answer({call: True})).text == "success paid 5 to Bob"


@pytest.mark.parametrize("wire", WIRES)
async def test_an_approval_whose_run_never_began_can_be_given_again(wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(wire, "payer") as (talk, runs):
        [call] = (await talk.say("pay Bob 5")).asked
        with monkeypatch.context() as broken:

            async def unreachable(*_: Any) -> Any:
                raise StreamUnavailable

            broken.setattr(runs.streams, "open", unreachable)
            assert (await talk.answer({call: True})).problem == "stream_unavailable"
        assert (await talk.answer({call: True})).text == "success paid 5 to Bob"
        assert paid == [("Bob", 5)]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_failed_run_is_not_repeated_as_if_it_had_finished(wire: str) -> None:
    async with talking(wire, "acting", streams={"keep": 0.1}) as (talk, _):
        [call] = (await talk.say("1: pay ann/fail")).asked
        first = await talk.answer({call: True})
        assert first.problem == "run_failed"
        await _frames_gone(talk, first.run_id)
        again = await talk.answer({call: True})
        assert again.text == first.text
        assert again.problem == "run_failed"


async def test_messages_keep_their_ids_when_a_client_runs_without_a_new_message() -> None:
    async with talking("ag-ui", "teller") as (talk, _):
        await talk.say("one", message="m1")
        path = f"/threads/{talk.thread}/messages?format=ag-ui"
        before = (await talk.client.get(path)).json()
        await talk.send([])
        assert (await talk.client.get(path)).json() == before


async def test_a_state_that_was_emptied_stays_empty() -> None:
    async with talking("ag-ui", "forgetting") as (talk, _):
        await talk.say("milk")
        assert (await talk.about())["state"] == {"noted": "milk"}
        await talk.say("nothing")
        assert (await talk.about())["state"] == {}


async def test_what_is_said_to_a_stopped_tool_is_kept_when_it_fails() -> None:
    """The run goes on with a request that has an earlier run's id already: it is not the first of its own."""
    async with talking("ag-ui", "acting") as (talk, _):
        log.holding = asyncio.Event()
        turn = asyncio.create_task(talk.say("1: hold/fail"))
        await log.holding.wait()
        await talk.client.post(f"/runs/{(await talk.about())['run_id']}/cancel")
        await turn
        shown = await talk.send([])
        assert shown.problem == "run_failed"
        assert shown.text
        assert shown.text in await talk.history()


async def test_an_answer_on_a_thread_with_an_empty_message_id_is_no_error_of_the_server() -> None:
    view = MemoryStore().view("owner")
    await add_turn(view, wire_ids={"user": [""]}, answer=ModelResponse(parts=[TextPart("Hello.")]))
    thread = await view.read_thread("t")
    assert thread
    line = await view.read_line(thread.record.head_id)
    turn = Turn("t", 0, None, answers=DeferredToolResults(approvals={"forged": True}))
    with pytest.raises((TurnRejected, ApprovalExpired)):
        plan(turn, thread, line, "agent")


@pytest.mark.parametrize("wire", WIRES)
async def test_an_answer_that_failed_before_a_word_leaves_no_branch(wire: str) -> None:
    async with talking(wire, "acting") as (talk, _):
        await talk.say("1: drop", message="m1")
        await talk.regenerate("1: drop", "m1")
        await talk.regenerate("1: drop", "m1")
        assert len((await talk.client.get(f"/threads/{talk.thread}/branches")).json()["branches"]) == 1


async def test_a_call_that_was_given_up_is_not_shown_as_open() -> None:
    async with talking("ag-ui", "payer") as (talk, _):
        [bob, _ann] = (await talk.say("pay Bob 5 and pay Ann 6")).asked
        await talk.answer({bob: False})
        fork = (await talk.client.post(f"/threads/{talk.thread}/fork", json={})).json()["id"]
        held = (await talk.client.get(f"/threads/{fork}/messages?format=ag-ui")).json()["messages"]
        assert len([message for message in held if message["role"] == "tool"]) == 2


async def test_what_a_tool_has_done_is_kept_when_another_one_does_not_stop() -> None:
    """Or the model does it once more."""
    async with talking("ag-ui", "half_deaf") as (talk, _):
        log.holding = asyncio.Event()
        turn = asyncio.create_task(talk.say("go"))
        await log.holding.wait()
        assert log.over
        try:
            await talk.client.post(f"/runs/{(await talk.about())['run_id']}/cancel")
            assert "done" in (await turn).results
        finally:
            log.over.set()
        async with asyncio.timeout(10):
            while (again := await talk.say("And?")).response.status_code == 409:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert again.text == "quick success, deaf interrupted"


async def test_a_repeated_request_that_joined_an_answer_is_not_remembered_as_a_run_of_its_own() -> None:
    async with talking("ag-ui", "payer", streams={"keep": 2}) as (talk, _):
        [call] = (await talk.say("pay Bob 5")).asked
        first = await talk.answer({call: True})
        again = await talk.answer({call: True}, runId="the same")
        assert again.run_id == first.run_id
        await _frames_gone(talk, first.run_id)
        async with asyncio.timeout(10):
            assert (await talk.answer({call: True}, runId="the same")).text == first.text


async def test_a_key_for_one_agent_neither_reads_nor_goes_on_with_a_thread_of_another() -> None:
    keys = [
        {"id": scope, "sha256": sha256(scope.encode()).hexdigest(), "subject": "ada", "scopes": [f"agents:{scope}"]}
        for scope in ("payer", "teller")
    ]
    async with talking("ag-ui", "payer", auth={"api_keys": keys}) as (talk, _):
        talk.headers = {"x-api-key": "payer"}
        [call] = (await talk.say("pay Bob 5")).asked
        other = talk.on_agent("teller")
        other.headers = {"x-api-key": "teller"}
        assert (await other.say("what was said?")).response.status_code == 404
        assert (await other.answer({call: True})).response.status_code == 404
        assert (await talk.answer({call: True})).text == "success paid 5 to Bob"
        assert (await other.answer({call: True})).response.status_code == 404


@pytest.mark.parametrize("wire", WIRES)
async def test_a_client_may_run_an_agent_with_instructions_without_a_new_message(wire: str) -> None:
    async with talking(wire, "instructed") as (talk, _):
        await talk.say("one")
        assert not (await talk.send([])).problem
        assert (await talk.say("two")).text == "You said: one, two."

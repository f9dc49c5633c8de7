"""Approvals and results of client tools: once, in time, and only for what the stored thread waits on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from run_probes import Gate, gates
from thread_probes import paid
from threading_http import WIRES, Talk, starter

if TYPE_CHECKING:
    from pathlib import Path

    from threading_http import Start

pytestmark = pytest.mark.anyio

AGENTS = {"payer": "thread_probes:payer", "teller": "thread_probes:teller"}
TOOLS: list[dict[str, Any]] = [
    {"name": "browse", "description": "Opens a page.", "parameters": {"type": "object", "properties": {}}}
]


@pytest.fixture(autouse=True)
def _nothing_is_paid_yet() -> None:
    paid.clear()
    gates["slow"] = Gate()


@pytest.fixture(params=["memory", "sqlite"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    """A conversation with a gateway of its own, over each kind of store; the same file each time it is called."""
    return starter(AGENTS, "payer", request.param, tmp_path)


@pytest.mark.parametrize("wire", WIRES)
async def test_an_approved_call_runs_and_the_thread_goes_on(start: Start, wire: str) -> None:
    async with start(wire) as talk:
        [call] = (await talk.say("pay Bob 5")).asked
        assert (await talk.about())["status"] == "waiting"
        assert (await talk.answer({call: True})).text == "success paid 5 to Bob"
        assert paid == [("Bob", 5)]
        assert (await talk.about())["status"] == "finished"
        told = "Told: U:pay Bob 5 | success:paid 5 to Bob | A:success paid 5 to Bob | U:and?"
        assert (await talk.say("and?")).text == told


@pytest.mark.parametrize("wire", WIRES)
async def test_a_denied_call_does_not_run(start: Start, wire: str) -> None:
    async with start(wire) as talk:
        [call] = (await talk.say("pay Bob 5")).asked
        assert (await talk.answer({call: False})).text.startswith("denied ")
        assert not paid


@pytest.mark.parametrize("wire", WIRES)
async def test_a_call_that_nobody_made_cannot_be_approved(start: Start, wire: str) -> None:
    async with start(wire) as talk:
        await talk.say("hello")
        forged = await talk.answer({"forged": True})
        assert (forged.response.status_code, forged.problem) == (409, "turn_rejected")
        [call] = (await talk.say("pay Bob 5")).asked
        assert (await talk.answer({call: True, "forged": True})).problem == "turn_rejected"
        assert not paid
        assert (await talk.answer({call: True})).text == "success paid 5 to Bob"


@pytest.mark.parametrize("wire", WIRES)
async def test_a_call_of_another_thread_cannot_be_approved(start: Start, wire: str) -> None:
    async with start(wire) as talk:
        [call] = (await talk.say("pay Bob 5")).asked
        other = Talk(talk.client, wire, "payer")
        assert (await other.answer({call: True})).problem == "turn_rejected"
        assert not paid


@pytest.mark.parametrize("wire", WIRES)
async def test_a_repeated_answer_gets_the_same_result_and_runs_nothing(start: Start, wire: str) -> None:
    async with start(wire) as talk:
        [call] = (await talk.say("pay Bob 5")).asked
        first = await talk.answer({call: True})
        again = await talk.answer({call: True})
        assert again.run_id == first.run_id
        assert again.text == first.text
        assert paid == [("Bob", 5)]


@pytest.mark.parametrize("wire", WIRES)
async def test_an_answer_that_is_repeated_while_its_run_goes_on_joins_it(start: Start, wire: str) -> None:
    async with start(wire) as talk:
        [call] = (await talk.say("pay slow 5")).asked
        tabs = [asyncio.create_task(talk.answer({call: True}))]
        await asyncio.to_thread(gates["slow"].reached.wait, 10)
        tabs.append(asyncio.create_task(talk.answer({call: True})))
        await asyncio.sleep(0)
        gates["slow"].open()
        first, second = await asyncio.gather(*tabs)
        assert first.run_id == second.run_id
        assert first.text == second.text == "success paid 5 to slow"
        assert paid == [("slow", 5)]


async def test_an_answer_that_is_repeated_over_the_other_wire_waits_for_the_first_one_to_end(start: Start) -> None:
    async with start("ag-ui") as talk:
        [call] = (await talk.say("pay slow 5")).asked
        first = asyncio.create_task(talk.answer({call: True}))
        await asyncio.to_thread(gates["slow"].reached.wait, 10)
        other = talk.on("vercel-ai")
        assert (await other.answer({call: True})).problem == "run_conflict"
        gates["slow"].open()
        text = (await first).text
        assert (await other.answer({call: True})).text == text == "success paid 5 to slow"
        assert paid == [("slow", 5)]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_button_that_is_pressed_twice_pays_once(start: Start, wire: str) -> None:
    async with start(wire) as talk:
        [call] = (await talk.say("pay Bob 5")).asked
        first, second = await asyncio.gather(talk.answer({call: True}), talk.answer({call: True}))
        assert first.text == second.text == "success paid 5 to Bob"
        assert first.run_id == second.run_id
        assert paid == [("Bob", 5)]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_repeated_answer_gets_the_stored_result_when_the_frames_are_gone(start: Start, wire: str) -> None:
    async with start(wire, streams={"keep": 0.1}) as talk:
        [call] = (await talk.say("pay Bob 5")).asked
        first = await talk.answer({call: True})
        async with asyncio.timeout(10):
            while (await talk.client.get(f"/runs/{first.run_id}/stream")).status_code == 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        again = await talk.answer({call: True})
        assert again.run_id != first.run_id
        assert again.text == first.text
        assert again.results == first.results
        assert paid == [("Bob", 5)]


@pytest.mark.parametrize("wire", WIRES)
async def test_approvals_may_come_one_by_one(start: Start, wire: str) -> None:
    async with start(wire) as talk:
        bob, ann = (await talk.say("pay Bob 5 and pay Ann 6")).asked
        first = await talk.answer({ann: True})
        assert not first.problem
        assert not paid
        if wire == "ag-ui":
            assert first.asked == [bob]
        assert (await talk.about())["status"] == "waiting"
        assert (await talk.answer({bob: False})).text.startswith("denied ")
        assert paid == [("Ann", 6)]


@pytest.mark.parametrize("wire", WIRES)
async def test_the_first_answer_counts(start: Start, wire: str) -> None:
    async with start(wire) as talk:
        bob, ann = (await talk.say("pay Bob 5 and pay Ann 6")).asked
        await talk.answer({ann: False})
        await talk.answer({ann: True, bob: True})
        assert paid == [("Bob", 5)]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_new_message_declines_what_is_still_open(start: Start, wire: str) -> None:
    async with start(wire) as talk:
        bob, ann = (await talk.say("pay Bob 5 and pay Ann 6")).asked
        await talk.answer({bob: True})
        after = await talk.say("never mind the rest")
        assert paid == [("Bob", 5)]
        assert "success paid 5 to Bob" in after.text
        assert "denied Not approved: the user sent a new message instead." in after.text
        assert (await talk.answer({ann: True})).problem in ("", "turn_rejected")
        assert paid == [("Bob", 5)]


@pytest.mark.parametrize("wire", WIRES)
async def test_an_approval_expires(start: Start, wire: str) -> None:
    async with start(wire, threads={"approval_ttl": 0.2}) as talk:
        asked = await talk.say("pay Bob 5")
        [call] = asked.asked
        if wire == "ag-ui":
            [interrupt] = asked.events[-1]["outcome"]["interrupts"]
            assert interrupt["expiresAt"] == (await talk.about())["interrupts"][0]["expiresAt"]
        expires_at = datetime.fromisoformat((await talk.about())["expires_at"])
        await asyncio.sleep((expires_at - datetime.now(UTC)).total_seconds() + 0.01)
        late = await talk.answer({call: True})
        assert (late.response.status_code, late.problem) == (409, "approval_expired")
        assert not paid
        assert (await talk.answer({call: False})).text.startswith("denied ")


async def test_edited_arguments_are_validated(start: Start) -> None:
    async with start("ag-ui") as talk:
        [call] = (await talk.say("pay Bob 5")).asked
        await talk.answer({call: {"recipient": "Bob", "amount": "everything"}})
        assert not paid
        [call] = (await talk.say("pay Ann 6")).asked
        assert (await talk.answer({call: {"recipient": "Ann", "amount": 1}})).text == "success paid 1 to Ann"
        assert paid == [("Ann", 1)]


@pytest.mark.parametrize(
    "payload", [{"approved": "yes"}, {"approved": 1}, {}, None, {"approved": True, "editedArgs": 1}]
)
async def test_an_answer_that_is_neither_yes_nor_no_is_refused(start: Start, payload: Any) -> None:
    async with start("ag-ui") as talk:
        [call] = (await talk.say("pay Bob 5")).asked
        resume = [{"interruptId": f"int-{call}", "status": "resolved", "payload": payload}]
        refused = await talk.send([], resume=resume)
        assert (refused.response.status_code, refused.problem) == (422, "malformed_body")
        assert not paid
        assert (await talk.about())["status"] == "waiting"


async def test_an_approval_survives_a_restart_and_a_change_of_the_wire(start: Start, request: Any) -> None:
    if request.node.callspec.params["start"] == "memory":
        return
    async with start("ag-ui") as talk:
        [call] = (await talk.say("pay Bob 5")).asked
    async with start("vercel-ai") as later:
        later.thread = talk.thread
        assert (await later.answer({call: True})).text == "success paid 5 to Bob"
        assert paid == [("Bob", 5)]


async def test_a_client_tool_takes_its_result_and_no_other(start: Start) -> None:
    async with start("ag-ui") as talk:
        asked = await talk.say("browse", tools=TOOLS)
        assert asked.events[-1]["outcome"]["pendingToolCallIds"] == ["browse-1"]
        assert (await talk.result("other", "browse", "forged")).problem == "turn_rejected"
        assert (await talk.result("browse-1", "browse", "a page")).text == "success a page"
        assert "forged" not in await talk.history()
        again = await talk.result("browse-1", "browse", "another page")
        assert again.text == "success a page"


async def test_a_call_that_waits_for_approval_takes_no_result(start: Start) -> None:
    async with start("ag-ui") as talk:
        [call] = (await talk.say("pay Bob 5")).asked
        assert (await talk.result(call, "pay", "paid, believe me")).problem == "turn_rejected"
        assert (await talk.about())["status"] == "waiting"


async def test_a_result_and_an_approval_may_come_one_after_the_other(start: Start) -> None:
    async with start("ag-ui") as talk:
        asked = await talk.say("pay Bob 5 and browse", tools=TOOLS)
        [call] = asked.asked
        assert not (await talk.result("browse-1", "browse", "a page")).problem
        assert not paid
        assert (await talk.answer({call: True})).text == "success paid 5 to Bob; success a page"
        assert paid == [("Bob", 5)]


@pytest.mark.parametrize("wire", WIRES)
async def test_an_edit_leaves_the_open_approval_behind(start: Start, wire: str) -> None:
    async with start(wire) as talk:
        [call] = (await talk.say("pay Bob 5", message="m1")).asked
        await talk.say("hello", message="m1")
        assert (await talk.answer({call: True})).problem == "turn_rejected"
        assert not paid

"""A real client that begins with what it has loaded goes on as if it had been there all the time."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest
import run_probes
from client_tabs import AG_UI, AI_SDK, only
from clients_driver import AgUi, AiSdk

if TYPE_CHECKING:
    from client_tabs import Browser, Tab
    from clients_driver import Json

pytest_plugins = ["client_tabs"]

CONFIRM_PLAN = {"name": "confirm_plan", "description": "Ask the user.", "parameters": {"type": "object"}}
RESTARTS = pytest.mark.parametrize("restarts", [False, True], ids=["reload", "restart"])


def test_a_loaded_chat_goes_on(browser: Browser) -> None:
    tab = browser.tab("teller")
    tab.ask("one")
    later = tab.reloaded()
    answer = later.ask("two")
    assert answer.text == "You said: one, two."
    later.check(answer)


@RESTARTS
def test_a_loaded_chat_goes_on_with_its_last_message_only(browser: Browser, restarts: bool) -> None:
    tab = browser.tab("teller")
    tab.ask("one")
    if restarts:
        browser.gateway.restart()
    answer = tab.reloaded(last_only=True).ask("two")
    [request] = answer.requests
    assert "one" not in json.dumps(request)
    assert answer.text == "You said: one, two."
    tab.reloaded().check(answer)


def test_a_chat_outlives_the_gateway(browser: Browser) -> None:
    tab = browser.tab("assistant")
    tab.ask("What is the weather in Rome, and what time is it in Europe/Rome?")
    tab.ask("Why is the sky blue?")
    before = tab.messages
    browser.gateway.restart()
    later = tab.reloaded()
    assert later.messages == before
    answer = later.ask("Count to 3")
    assert answer.text == "1 2 3"
    later.check(answer)


def test_a_failed_chat_outlives_the_gateway(browser: Browser) -> None:
    tab = browser.tab("teller")
    assert tab.ask("fail").code == "run_failed"
    before = tab.messages
    browser.gateway.restart()
    later = tab.reloaded()
    assert later.messages == before
    assert later.ask("two").text == "You said: fail, two."
    later.check()


@only(*AI_SDK)
def test_the_documented_persistence_pattern(browser: Browser) -> None:
    """`{id, message}` is all that is sent, for messages, edits, answers again and results of tools."""
    tab = browser.tab("teller", last_only=True)
    tab.ask("one")
    tab.check(tab.ask("two"))
    assert tab.client.regenerate().text == "You said: one, two."
    tab.check()
    edited = tab.client.edit(tab.users[1], "TWO")
    assert edited.text == "You said: one, TWO."
    assert edited.requests[0].keys() == {"id", "message", *tab.opening.body}
    tab.check(edited)


@only(*AI_SDK)
def test_a_result_of_the_browser_in_the_documented_persistence_pattern(browser: Browser) -> None:
    tab = browser.tab("asking", last_only=True)
    [call] = tab.ask("A color, please").pending
    answer = tab.give(call, "blue")
    assert answer.text.endswith("You picked blue.")
    assert len(answer.requests) == 1, "nothing is sent by itself"
    tab.check(answer)


def followed(tab: Tab, run_id: str) -> list[Json]:
    """What a tab has at the end of a run that another one has started, and that waits until this one reads it."""
    client, gate = tab.client, run_probes.gates[tab.messages[-1].get("content") or tab.messages[-1]["parts"][0]["text"]]
    if isinstance(client, AiSdk):
        client.resume()
        gate.open()
        messages: list[Json] = client.rest()["messages"]
        return messages
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(client.follow, f"{tab.browser.gateway.url}/runs/{run_id}/stream")
        gate.open()
        return reading.result(20)["messages"]


@pytest.mark.parametrize("agent", ["gated", "half-a-call", "calling"])
def test_a_tab_that_is_loaded_in_the_middle_of_an_answer_gets_all_of_it(browser: Browser, agent: str) -> None:
    tab = browser.tab(agent)
    with tab.waiting(f"Load {tab.thread}") as thread:
        assert thread["status"] == "running"
        later = tab.reloaded()
        assert [message["role"] for message in later.messages] == ["user"]
        messages = followed(later, thread["run_id"])
    assert messages == tab.messages
    later.check()
    tab.check()


def test_the_answer_to_a_tab_that_was_closed_is_loaded(browser: Browser) -> None:
    """Nobody reads the run any more when it ends: the thread has it all the same."""
    tab = browser.tab("gated")
    with tab.waiting(f"Close {tab.thread}"):
        pass
    later = tab.reloaded()
    assert "Begun ünd ended." in json.dumps(later.messages, ensure_ascii=False)
    later.check()


@RESTARTS
@only(*AG_UI)
def test_a_tool_of_the_client_waits_for_its_result(browser: Browser, restarts: bool) -> None:
    tab = browser.tab("planner", tools=[CONFIRM_PLAN])
    [call] = tab.ask("Plan a party").pending
    if restarts:
        browser.gateway.restart()
    later = tab.reloaded()
    assert tab.about()["pending"] == [call.id]
    answer = later.give(call, "Yes, do it")
    assert answer.text == "You answered: Yes, do it\n\nThen the plan stands."
    later.check(answer)


@RESTARTS
@only(*AI_SDK)
def test_a_tool_of_the_agent_in_the_browser_waits_for_its_result(browser: Browser, restarts: bool) -> None:
    tab = browser.tab("asking")
    [call] = tab.ask("A color, please").pending
    if restarts:
        browser.gateway.restart()
    later = tab.reloaded()
    assert later.messages[-1]["parts"][-1]["state"] == "input-available"
    answer = later.give(call, "blue")
    assert answer.text.endswith("You picked blue.")
    assert len(answer.requests) == 1
    later.check(answer)


def test_a_message_in_place_of_a_result_goes_on(browser: Browser) -> None:
    tab = browser.tab("asking")
    [call] = tab.ask("A color, please").pending
    later = tab.reloaded()
    answer = later.ask("Never mind")
    assert not answer.error
    assert call.id not in later.about()["pending"]
    # Only the thread knows that the older call was given up: its part in the tab says still that it waits.
    assert [each["id"] for each in later.messages if each["role"] != "tool"] == [
        each["id"] for each in later.loaded() if each["role"] != "tool"
    ]
    again = later.reloaded()
    again.check(answer)


@RESTARTS
@only(*AG_UI)
def test_shared_state_is_loaded(browser: Browser, restarts: bool) -> None:
    tab = browser.tab("noting")
    tab.ask("milk")
    if restarts:
        browser.gateway.restart()
    later = tab.reloaded()
    assert isinstance(later.client, AgUi)
    assert later.client.held()["state"] == {"items": ["milk"]}
    assert later.ask("eggs").text == "notes: milk, eggs"
    later.check()
    assert later.about()["state"] == {"items": ["milk", "eggs"]}


@only(*AI_SDK)
def test_state_goes_on_for_a_client_that_does_not_know_it(browser: Browser) -> None:
    tab = browser.tab("noting")
    tab.ask("milk")
    assert tab.reloaded().ask("eggs").text == "notes: milk, eggs"


def test_a_file_outlives_the_gateway(browser: Browser) -> None:
    tab = browser.tab("assistant")
    tab.ask("What is this?", image=b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100)
    before = tab.messages
    browser.gateway.restart()
    later = tab.reloaded()
    assert later.messages == before
    later.check(later.ask("Why?"))


def test_a_thread_that_was_deleted_begins_anew(browser: Browser) -> None:
    tab = browser.tab("teller")
    tab.ask("one")
    tab.browser.gateway.delete(tab.thread)
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        tab.loaded()
    assert tab.ask("two").text == "You said: two."

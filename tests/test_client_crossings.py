"""Two tabs on one thread, and one thread over both protocols, with real clients."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
import run_probes
import thread_probes
from client_tabs import AI_SDK, only

if TYPE_CHECKING:
    from collections.abc import Callable

    from client_tabs import Browser

    BrowserOf = Callable[[str], Browser]

pytest_plugins = ["client_tabs"]

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
CROSSINGS = pytest.mark.parametrize(
    ("one", "other"),
    [("ag-ui-1.0.0", "ai-7"), ("ai-7", "ag-ui-1.0.0"), ("ag-ui-0.0.59", "ai-5"), ("ai-6", "ag-ui-0.0.59")],
)


# Two tabs


def test_two_tabs_take_turns(browser: Browser) -> None:
    one = browser.tab("teller")
    one.ask("one")
    other = one.reloaded()
    assert other.ask("two").text == "You said: one, two."
    assert one.ask("three").text == "You said: one, two, three."
    assert other.ask("four").text == "You said: one, two, three, four."
    one.reloaded().check()


def test_of_two_tabs_at_once_one_is_refused_and_may_send_again(browser: Browser) -> None:
    one = browser.tab("teller")
    one.ask("one")
    other = one.reloaded()
    text = f"wait {one.thread}"
    with one.waiting(text):
        refused = other.ask("two")
        assert (refused.status, refused.code) == (409, "run_conflict")
        assert refused.error.endswith(".")
    again = other.client.edit(other.users[-1], "two")
    assert again.text == f"You said: one, {text}, two."
    one.reloaded().check(again)


@only(*AI_SDK)
def test_the_documented_button_for_errors_sends_a_refused_message_again(browser: Browser) -> None:
    """`regenerate()`, as the error handling page of the AI SDK has it, though there is no answer yet."""
    one = browser.tab("teller")
    other = browser.tab("teller", thread=one.thread)
    text = f"wait {one.thread}"
    with one.waiting(text):
        assert other.ask("two").code == "run_conflict"
    assert other.client.regenerate().text == f"You said: {text}, two."


def test_a_refused_message_may_be_followed_by_another(browser: Browser) -> None:
    """The tab still shows the message that was refused, and so sends it along with the next one."""
    one = browser.tab("teller")
    other = browser.tab("teller", thread=one.thread)
    text = f"wait {one.thread}"
    with one.waiting(text):
        assert other.ask("two").code == "run_conflict"
    assert other.ask("three").text == f"You said: {text}, two, three."
    one.reloaded().check()


def test_two_tabs_that_regenerate_one_after_the_other(browser: Browser) -> None:
    one = browser.tab("teller")
    one.ask("one")
    other = one.reloaded()
    one.client.regenerate()
    assert other.client.regenerate().text == "You said: one."
    assert len(one.branches()) == 3
    other.check()


# Both protocols


@CROSSINGS
def test_a_thread_goes_over_to_the_other_protocol_and_back(browser_of: BrowserOf, one: str, other: str) -> None:
    first = browser_of(one).tab("assistant")
    first.ask("What is this?", image=PIXEL)
    first.ask("What is the weather in Rome, and what time is it in Europe/Rome?")
    second = first.reloaded(browser_of(other))
    second.check(second.ask("Why is the sky blue?"))
    second.check(second.ask("And this?", image=PIXEL))
    second.check(second.ask("What is the weather in Paris?"))
    third = second.reloaded(browser_of(one))
    third.check(third.ask("What did I say first?"))
    assert third.messages[: len(first.messages)] == first.messages
    last = third.reloaded(browser_of(other))
    assert last.messages[: len(second.messages)] == second.messages
    assert json.dumps(last.messages).count(base64.b64encode(PIXEL).decode()) == 2


@CROSSINGS
def test_a_thread_of_several_agents_is_loaded_whole(browser_of: BrowserOf, one: str, other: str) -> None:
    tab = browser_of(one).tab("busy")
    tab.check(tab.ask("Go"))
    for number, agent in enumerate(["extractor", "noting", "busy", "teller", "broken", "gated"]):
        tab = tab.reloaded(browser_of((other, one)[number % 2]), agent)
        text = f"Call Bob Ray at ACME, {tab.thread}"
        tab.check(tab.stopped(text) if agent == "gated" else tab.ask(text))
    for client in (one, other):
        tab.reloaded(browser_of(client)).check()


@CROSSINGS
def test_the_same_text_is_in_both_shapes(browser_of: BrowserOf, one: str, other: str) -> None:
    tab = browser_of(one).tab("busy")
    tab.ask("Go")
    tab.reloaded(browser_of(other)).ask("Again")
    ag_ui, ai = tab.loaded("ag-ui"), tab.loaded("vercel-ai")
    parts = [part for message in ai for part in message["parts"]]
    assert [each["content"] for each in ag_ui if each["role"] == "reasoning"] == [
        part["text"] for part in parts if part["type"] == "reasoning"
    ]
    assert [each["content"] for each in ag_ui if each["role"] in {"user", "assistant"} and each["content"]] == [
        part["text"] for part in parts if part["type"] == "text"
    ]
    assert [call["id"] for each in ag_ui for call in each.get("toolCalls", ())] == [
        part["toolCallId"] for part in parts if part["type"].startswith("tool-")
    ]
    assert [each["id"] for each in ag_ui if each["role"] == "user"] == [
        each["id"] for each in ai if each["role"] == "user"
    ]


@CROSSINGS
def test_what_was_said_over_the_other_protocol_can_be_edited_and_answered_again(
    browser_of: BrowserOf, one: str, other: str
) -> None:
    tab = browser_of(one).tab("teller")
    tab.ask("one")
    tab.ask("two")
    second = tab.reloaded(browser_of(other))
    again = second.client.regenerate()
    assert again.text == "You said: one, two."
    second.check(again)
    edited = second.client.edit(second.users[0], "ONE")
    assert edited.text == "You said: ONE."
    second.check(edited)
    assert len(second.branches()) == 3


@CROSSINGS
def test_an_answer_over_the_other_protocol_is_asked_for_again_after_a_stop(
    browser_of: BrowserOf, one: str, other: str
) -> None:
    tab = browser_of(one).tab("teller")
    text = f"wait {tab.thread}"
    tab.stopped(text)
    run_probes.gates[text].open()
    second = tab.reloaded(browser_of(other))
    again = second.client.regenerate()
    assert again.text == f"You said: {text}."
    second.check(again)


@CROSSINGS
def test_a_result_of_the_browser_may_come_over_the_other_protocol(browser_of: BrowserOf, one: str, other: str) -> None:
    tab = browser_of(one).tab("asking")
    [call] = tab.ask("A color, please").pending
    second = tab.reloaded(browser_of(other))
    answer = second.give(call, "blue")
    assert answer.text.endswith("You picked blue.")
    second.check(answer)
    back = tab.reloaded()
    back.check(back.ask("Another one"))


@pytest.mark.parametrize(("one", "other"), [("ag-ui-1.0.0", "ai-7"), ("ai-7", "ag-ui-1.0.0"), ("ai-6", "ag-ui-0.0.59")])
def test_what_waits_is_loaded_in_both_shapes(browser_of: BrowserOf, one: str, other: str) -> None:
    thread_probes.paid.clear()
    tab = browser_of(one).tab("payer")
    asked = tab.ask("pay Bob 5")
    [call] = asked.pending
    [interrupt] = tab.about()["interrupts"]
    assert interrupt["toolCallId"] == call.id
    assert tab.loaded("ag-ui")[-1]["toolCalls"][0]["id"] == call.id
    part = tab.loaded("vercel-ai")[-1]["parts"][-1]
    assert (part["state"], part["approval"]["id"]) == ("approval-requested", call.id)
    second = tab.reloaded(browser_of(other))
    assert not second.answer(approved=True).error
    assert thread_probes.paid == [("Bob", 5)]

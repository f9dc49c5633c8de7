"""Real clients that ask for an answer again or edit what they said; what was there before is kept and can be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import run_probes
from client_tabs import AI_SDK, APPROVING, only

if TYPE_CHECKING:
    from client_tabs import Browser, Tab

pytest_plugins = ["client_tabs"]


def answers(tab: Tab) -> list[str]:
    """Ids of the assistant's messages."""
    return [message["id"] for message in tab.messages if message["role"] == "assistant"]


def talk(browser: Browser, *texts: str, agent: str = "teller") -> Tab:
    tab = browser.tab(agent)
    for text in texts:
        tab.ask(text)
    return tab


RELOADS = pytest.mark.parametrize("reloads", [False, True], ids=["as it is", "loaded again"])


@RELOADS
def test_the_last_answer_again(browser: Browser, reloads: bool) -> None:
    tab = talk(browser, "one", "two")
    tab = tab.reloaded() if reloads else tab
    before = answers(tab)
    again = tab.client.regenerate()
    assert again.text == "You said: one, two."
    assert answers(tab)[0] == before[0]
    assert answers(tab)[1] != before[1]
    tab.check(again)
    assert len(tab.branches()) == 2


@RELOADS
def test_the_answer_to_an_earlier_message_again(browser: Browser, reloads: bool) -> None:
    tab = talk(browser, "one", "two")
    tab = tab.reloaded() if reloads else tab
    again = tab.client.regenerate(tab.users[0])
    assert again.text == "You said: one."
    tab.check(again)
    assert tab.ask("three").text == "You said: one, three."


@RELOADS
@only(*AI_SDK)
def test_an_earlier_answer_again_by_its_own_id(browser: Browser, reloads: bool) -> None:
    tab = talk(browser, "one", "two")
    tab = tab.reloaded() if reloads else tab
    again = tab.client.regenerate(answers(tab)[0])
    assert again.text == "You said: one."
    tab.check(again)


@pytest.mark.parametrize("agent", ["busy", "assistant"])
def test_an_answer_with_tools_again(browser: Browser, agent: str) -> None:
    tab = talk(browser, "What is the weather in Rome?", agent=agent)
    tab.check(tab.client.regenerate())
    tab.check(tab.ask("What is the weather in Paris?"))


@only(*APPROVING)
def test_an_answer_after_a_decision_again_asks_again(browser: Browser) -> None:
    tab = talk(browser, "Pay 25 EUR to Bob", agent="approver")
    tab.answer(approved=True)
    again = tab.client.regenerate()
    assert again.approvals
    tab.check(again)
    done = tab.answer(approved=True)
    assert "Receipt: 25.00 EUR sent to Bob." in done.text
    tab.check(done)


@RELOADS
def test_an_edit_replaces_what_followed(browser: Browser, reloads: bool) -> None:
    tab = talk(browser, "one", "two", "three")
    tab = tab.reloaded() if reloads else tab
    edited = tab.client.edit(tab.users[1], "TWO")
    assert edited.text == "You said: one, TWO."
    tab.check(edited)
    assert tab.ask("four").text == "You said: one, TWO, four."


def test_the_first_message_edited(browser: Browser) -> None:
    tab = talk(browser, "one", "two")
    tab.check(tab.client.edit(tab.users[0], "ONE"))
    assert tab.ask("three").text == "You said: ONE, three."


def test_an_edit_of_an_edit(browser: Browser) -> None:
    tab = talk(browser, "one")
    for text in ("two", "three"):
        assert tab.client.edit(tab.users[0], text).text == f"You said: {text}."
    tab.check()
    assert len(tab.branches()) == 3


@RELOADS
def test_a_failed_answer_again(browser: Browser, reloads: bool) -> None:
    tab = talk(browser, "one", "fail")
    tab = tab.reloaded() if reloads else tab
    again = tab.client.regenerate()
    assert again.code == "run_failed"
    tab.check(again)
    assert tab.ask("two").text == "You said: one, fail, two."


def test_an_answer_that_failed_before_its_first_word_again(browser: Browser) -> None:
    tab = talk(browser, "one", agent="refused")
    again = tab.client.regenerate()
    assert again.code == "model_unavailable"
    tab.check(again)
    assert tab.reloaded(agent="teller").ask("two").text == "You said: one, two."


def test_an_edit_after_a_failure(browser: Browser) -> None:
    tab = talk(browser, "one", "fail")
    edited = tab.client.edit(tab.users[1], "two")
    assert edited.text == "You said: one, two."
    tab.check(edited)


@RELOADS
def test_a_stopped_answer_again(browser: Browser, reloads: bool) -> None:
    tab = browser.tab("teller")
    text = f"wait {tab.thread}"
    tab.stopped(text)
    run_probes.gates[text].open()
    tab = tab.reloaded() if reloads else tab
    again = tab.client.regenerate()
    assert again.text == f"You said: {text}."
    tab.check(again)


def test_an_edit_after_a_stop(browser: Browser) -> None:
    tab = browser.tab("teller")
    tab.stopped(f"wait {tab.thread}")
    edited = tab.client.edit(tab.users[0], "two")
    assert edited.text == "You said: two."
    tab.check(edited)


def test_a_branch_that_was_left_is_gone_back_to_as_it_was(browser: Browser) -> None:
    tab = talk(browser, "What is the weather in Rome?", "Why is the sky blue?", agent="assistant")
    before = tab.messages
    tab.client.edit(tab.users[0], "What is the weather in Paris?")
    current, left = tab.branches()
    after = tab.messages
    tab.switch(left["entry"])
    assert tab.loaded() == before
    tab.switch(current["entry"])
    assert tab.loaded() == after
    tab.switch(left["entry"])
    later = tab.reloaded()
    later.check(later.ask("Count to 3"))
    assert later.messages[: len(before)] == before


@pytest.mark.parametrize("how", ["failed", "stopped"])
def test_a_branch_with_a_broken_answer_is_gone_back_to_as_it_was(browser: Browser, how: str) -> None:
    tab = talk(browser, "one")
    _ = tab.ask("fail") if how == "failed" else tab.stopped(f"wait {tab.thread}")
    before = tab.messages
    tab.client.edit(tab.users[1], "two")
    tab.switch(tab.branches()[1]["entry"])
    assert tab.loaded() == before


def test_an_answer_that_was_asked_for_again_is_gone_back_to(browser: Browser) -> None:
    tab = talk(browser, "one")
    before = tab.messages
    tab.client.regenerate()
    assert answers(tab) != [message["id"] for message in before if message["role"] == "assistant"]
    tab.switch(tab.branches()[1]["entry"])
    assert tab.loaded() == before


@only(*APPROVING)
def test_a_branch_with_a_decision_is_gone_back_to_as_it_was(browser: Browser) -> None:
    tab = talk(browser, "Pay 25 EUR to Bob", agent="approver")
    tab.answer(approved=False, reason="too much")
    before = tab.messages
    tab.client.edit(tab.users[0], "Hello")
    tab.switch(tab.branches()[1]["entry"])
    assert tab.loaded() == before


def test_a_fork_is_loaded_like_its_origin(browser: Browser) -> None:
    tab = talk(browser, "one", "two")
    fork = browser.gateway.post(tab.thread, "fork")["id"]
    forked = browser.tab("teller", thread=fork, past=tab.loaded())
    forked.check(forked.ask("three"))
    assert tab.ask("four").text == "You said: one, two, four."
    tab.check()

"""What a real client has after a conversation is what it loads from the thread, and what a second reader gets."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from client_tabs import AG_UI, AI_SDK, APPROVING, only

if TYPE_CHECKING:
    from client_tabs import Browser

pytest_plugins = ["client_tabs"]

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
CONFIRM_PLAN = {"name": "confirm_plan", "description": "Ask the user.", "parameters": {"type": "object"}}


def test_text_and_reasoning(browser: Browser) -> None:
    tab = browser.tab("assistant")
    first = tab.ask("Why is the sky blue?")
    tab.check(first)
    tab.check(tab.ask("Count to 3"))


def test_several_calls_in_one_answer(browser: Browser) -> None:
    tab = browser.tab("assistant")
    tab.check(tab.ask("What is the weather in Rome, and what time is it in Europe/Rome?"))
    tab.check(tab.ask("What time is it in Mars/Base?"))


def test_several_responses_of_the_model_in_one_run(browser: Browser) -> None:
    tab = browser.tab("busy")
    tab.check(tab.ask("Go"))
    tab.check(tab.ask("Again"))


def test_an_image_of_the_user(browser: Browser) -> None:
    tab = browser.tab("assistant")
    tab.check(tab.ask("What is this?", image=PIXEL))
    assert base64.b64encode(PIXEL).decode() in json.dumps(tab.loaded())


def test_an_answer_that_is_data(browser: Browser) -> None:
    tab = browser.tab("extractor")
    tab.check(tab.ask("Call Ann Lee at ACME, ann@acme.example"))
    tab.check(tab.ask("Call Bob Ray at ACME"))


def test_shared_state(browser: Browser) -> None:
    tab = browser.tab("planner")
    tab.check(tab.ask("Plan a party"))
    tab.check(tab.ask("Step 1 is done"))
    assert tab.about()["state"]["steps"][0]["status"] == "done"


@only(*AG_UI)
def test_state_of_the_client_is_that_of_the_thread(browser: Browser) -> None:
    tab = browser.tab("planner")
    tab.ask("Plan a party")
    assert tab.client.held()["state"] == tab.about()["state"]


@only(*AG_UI)
def test_a_tool_that_the_client_offers(browser: Browser) -> None:
    tab = browser.tab("planner", tools=[CONFIRM_PLAN])
    asked = tab.ask("Plan a party")
    tab.check(asked)
    tab.check(tab.give(asked.pending[0], "Yes, do it"))
    tab.check(tab.ask("Thanks"))


@only(*AI_SDK)
def test_a_tool_of_the_agent_in_the_browser(browser: Browser) -> None:
    tab = browser.tab("asking")
    asked = tab.ask("A color, please")
    tab.check(asked)
    tab.check(tab.give(asked.pending[0], "blue"))


@only(*APPROVING)
@pytest.mark.parametrize("approved", [True, False])
def test_a_decision(browser: Browser, approved: bool) -> None:
    tab = browser.tab("approver")
    asked = tab.ask("Pay 25 EUR to Bob")
    tab.check(asked)
    tab.check(tab.answer(approved))
    tab.check(tab.ask("Thanks"))


@only(*APPROVING)
def test_two_decisions(browser: Browser) -> None:
    tab = browser.tab("approver")
    first, second = tab.ask("Pay 25 EUR to Bob and 30 EUR to Ann").approvals
    tab.check(tab.client.decide({first: True, second: False}))


@only(*APPROVING)
def test_a_denial_with_a_reason(browser: Browser) -> None:
    tab = browser.tab("approver")
    tab.ask("Pay 25 EUR to Bob and 30 EUR to Ann")
    tab.check(tab.answer(approved=False, reason="too much"))


@only(*AG_UI)
def test_a_decision_with_other_arguments(browser: Browser) -> None:
    tab = browser.tab("approver")
    tab.ask("Pay 25 EUR to Bob")
    tab.check(tab.answer(approved=True, edited={"amount": 20, "currency": "USD", "recipient": "Bob"}))


@pytest.mark.parametrize("agent", ["broken", "failing-tool", "refused"])
def test_an_answer_that_failed(browser: Browser, agent: str) -> None:
    tab = browser.tab(agent)
    failed = tab.ask("Hello")
    assert failed.error
    tab.check(failed)
    tab.check(tab.ask("Again"))


def test_a_chat_that_goes_on_after_a_failure(browser: Browser) -> None:
    tab = browser.tab("teller")
    tab.check(tab.ask("fail"))
    tab.check(tab.ask("go on"))


@pytest.mark.parametrize("agent", ["gated", "half-a-call", "calling"])
def test_an_answer_that_was_stopped(browser: Browser, agent: str) -> None:
    tab = browser.tab(agent)
    tab.check(tab.stopped(f"Stop {tab.thread}"))


def test_a_chat_that_goes_on_after_a_stop(browser: Browser) -> None:
    tab = browser.tab("teller")
    tab.stopped(f"wait {tab.thread}")
    tab.check(tab.ask("go on"))


def test_a_long_conversation(browser: Browser) -> None:
    """So long that it is read and written in other ways than a short one."""
    tab = browser.tab("teller", last_only=not browser.is_ag_ui)
    for number in range(40):
        tab.ask(str(number))
    tab.check()
    assert len(tab.messages) == 80

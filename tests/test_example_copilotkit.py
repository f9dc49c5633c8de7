"""The CopilotKit example in a real browser, on an origin of its own, with a gateway and nothing else behind it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest
import run_probes
from browser import browsing
from client_matrix import KEYS, happens
from copilotkit_page import Planner, app_with, site
from playwright.sync_api import expect
from serving import DEMO_AGENTS, make_config, serving

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from playwright.sync_api import Page

pytestmark = pytest.mark.timeout(300)  # which the build of the app may need

TIMEOUT = 20.0
PLANNER = {"planner": DEMO_AGENTS["planner"]}
STEPS = ["Decide what matters for a picnic", "Get everything ready", "Do it, then look back"]


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    expect.set_options(timeout=TIMEOUT * 1000)
    with browsing() as page:
        yield page


@pytest.fixture(scope="module")
def planner_app() -> Iterator[tuple[str, str]]:
    with app_with(PLANNER) as urls:
        yield urls


@pytest.fixture(scope="module")
def gated_app() -> Iterator[tuple[str, str]]:
    """The app with an agent that says something, and then nothing until its gate is opened."""
    with app_with({"planner": "run_probes:gated"}) as urls:
        yield urls


@pytest.fixture
def app(browser_page: Page, planner_app: tuple[str, str]) -> Planner:
    """A new conversation with the planner."""
    return Planner(browser_page, planner_app[0])


@pytest.fixture
def gated(browser_page: Page, gated_app: tuple[str, str]) -> Planner:
    """A new conversation with the agent that waits."""
    return Planner(browser_page, gated_app[0])


@pytest.fixture
def gate() -> str:
    return f"gate-{uuid4().hex}"


def status_of(url: str, conversation: str) -> str:
    """How a conversation stands, as the gateway tells everybody."""
    return str(httpx.get(f"{url}/threads/{conversation}").json()["status"])


@contextmanager
def printing(page: Page, text: str) -> Generator[None]:
    """The browser's console says that meanwhile."""
    with page.expect_console_message(lambda message: text in message.text):
        yield


def planned(app: Planner) -> Planner:
    """The conversation in which the planner has written a plan, and the user has agreed."""
    app.ask("Make a plan for a picnic")
    app.press("Confirm the plan", "Yes")
    app.shows("Then the plan stands.")
    return app


# Chat


def test_an_answer_is_shown_while_it_is_written(gated: Planner, gate: str) -> None:
    gated.ask(gate, "Begun ünd")
    happens(run_probes.gates[gate].reached)
    expect(gated.chat).not_to_contain_text("ended.")
    run_probes.gates[gate].open()
    gated.shows("Begun ünd ended.")
    gated.is_idle()
    expect(gated.problem).to_be_hidden()


def test_the_stop_button_stops_the_run(gated: Planner, gated_app: tuple[str, str], gate: str) -> None:
    gated.ask(gate, "Begun ünd")
    happens(run_probes.gates[gate].reached)
    gated.button.click()
    happens(run_probes.gates[gate].left)
    gated.is_idle()
    gated.shows("Begun ünd")
    assert status_of(gated_app[1], gated.conversation) == "cancelled"
    run_probes.gates[later := f"later-{gate}"].open()
    gated.ask(later, "Begun ünd ended.")
    expect(gated.problem).to_be_hidden()


def test_a_reload_in_the_middle_of_an_answer_shows_it_to_its_end(gated: Planner, gate: str) -> None:
    gated.ask(gate, "Begun ünd")
    gated.page.reload()
    gated.shows("Begun ünd")
    expect(gated.chat).not_to_contain_text("ended.")
    run_probes.gates[gate].open()
    gated.shows("Begun ünd ended.")
    gated.is_idle()
    assert run_probes.runs[gate] == 1


def test_an_answer_goes_on_while_no_page_shows_it(gated: Planner, gated_app: tuple[str, str], gate: str) -> None:
    browser = gated.page.context.browser
    assert browser
    closed = Planner(browser.new_page(), gated_app[0])
    closed.ask(gate, "Begun ünd")
    conversation = closed.conversation
    closed.page.close()
    gated.open(conversation)
    gated.shows("Begun ünd")
    run_probes.gates[gate].open()
    gated.shows("Begun ünd ended.")
    assert run_probes.runs[gate] == 1


def test_after_a_reload_the_stop_button_stops_the_run_that_goes_on(gated: Planner, gate: str) -> None:
    gated.ask(gate, "Begun ünd")
    gated.page.reload()
    gated.shows("Begun ünd")
    happens(run_probes.gates[gate].reached)
    gated.button.click()
    happens(run_probes.gates[gate].left)
    gated.is_idle()


def test_another_conversation_is_opened_in_the_middle_of_an_answer_and_left_again(gated: Planner, gate: str) -> None:
    run_probes.gates[other := f"other-{gate}"].open()
    gated.ask(gate, "Begun ünd")
    first = gated.conversation
    gated.page.get_by_role("button", name="New conversation").click()
    expect(gated.chat).not_to_contain_text("Begun")
    gated.ask(other, "Begun ünd ended.")
    assert gated.conversation != first
    expect(gated.conversations.filter(has_text=other)).to_have_attribute("aria-current", "page")
    gated.conversations.filter(has_text=re.compile(f"^{gate}")).click()
    gated.shows("Begun ünd")
    expect(gated.chat).not_to_contain_text(other)
    run_probes.gates[gate].open()
    gated.shows("Begun ünd ended.")
    gated.page.go_back()
    gated.shows(other)
    assert run_probes.runs[gate] == 1


# Tools and state


def test_the_plan_of_the_agent_is_on_the_page_and_in_a_card(app: Planner) -> None:
    app.ask("Make a plan for a picnic")
    expect(app.plan).to_have_text(STEPS)
    expect(app.page.get_by_role("heading", name="a picnic")).to_be_visible()
    expect(app.chat.locator(".card").filter(has_text="A plan for a picnic").get_by_role("listitem")).to_have_text(STEPS)
    app.shows("mark_step Step 1 is now “doing”.")
    expect(app.plan.first).to_have_attribute("data-status", "doing")


@pytest.mark.parametrize(("answer", "comment"), [("Yes", "Then the plan stands."), ("No", "I keep it as a draft.")])
def test_the_agent_asks_the_user_and_hears_the_answer(app: Planner, answer: str, comment: str) -> None:
    app.ask("Make a plan for a picnic")
    app.press("Confirm the plan", answer)
    app.shows(comment)
    expect(app.card("Confirm the plan")).to_contain_text(answer)
    expect(app.card("Confirm the plan").get_by_role("button")).to_have_count(0)
    app.is_idle()


def test_the_agents_question_is_still_there_after_a_reload(app: Planner) -> None:
    app.ask("Make a plan for a picnic")
    expect(app.card("Confirm the plan").get_by_role("button")).to_have_count(2)
    app.page.reload()
    app.press("Confirm the plan", "No")
    app.shows("I keep it as a draft.")
    expect(app.plan).to_have_text(STEPS)


def test_the_agent_does_something_on_the_page(app: Planner) -> None:
    planned(app).ask("Step 2 is done", "Step 2 is now “done”.")
    app.ask("Show me the done steps", "show_steps The page shows: done.")
    expect(app.page.get_by_role("button", name="done")).to_have_attribute("aria-pressed", "true")
    expect(app.plan).to_have_text(STEPS[1:2])
    app.is_idle()


def test_the_agent_knows_what_the_user_has_done_on_the_page(app: Planner) -> None:
    planned(app).plan.nth(0).get_by_role("checkbox").check()
    app.plan.nth(1).get_by_role("checkbox").check()
    app.ask("What is left?", "Left to do:")
    answer = app.page.get_by_test_id("copilot-assistant-message").last
    expect(answer.get_by_role("listitem")).to_have_text(STEPS[2:])
    app.page.reload()
    expect(app.plan.nth(1)).to_have_attribute("data-status", "done")


# Approvals


@pytest.mark.parametrize("reload", [False, True], ids=["at once", "after a reload"])
def test_a_call_that_is_approved_runs(app: Planner, reload: bool) -> None:
    planned(app).ask("Delete the plan")
    expect(app.card("Approval")).to_contain_text("Approve delete_plan")
    if reload:
        app.page.reload()
    expect(app.plan).to_have_text(STEPS)
    app.press("Approval", "Approve")
    app.shows("delete_plan The plan is gone.")
    expect(app.page.get_by_role("heading", name="No plan yet")).to_be_visible()
    expect(app.card("Approval")).to_have_count(0)
    app.is_idle()
    app.page.reload()
    app.shows("delete_plan The plan is gone.")
    expect(app.card("Approval")).to_have_count(0)


@pytest.mark.parametrize("reload", [False, True], ids=["at once", "after a reload"])
def test_a_call_that_is_denied_does_not_run(app: Planner, reload: bool) -> None:
    planned(app).ask("Delete the plan")
    expect(app.card("Approval")).to_be_visible()
    if reload:
        app.page.reload()
    app.press("Approval", "Deny")
    app.shows("Then I keep the plan.")
    expect(app.plan).to_have_text(STEPS)
    app.is_idle()
    app.ask("Step 3 is done", "Step 3 is now “done”.")
    expect(app.problem).to_be_hidden()


def test_several_calls_are_approved_or_denied_one_by_one(browser_page: Page) -> None:
    with app_with({"planner": DEMO_AGENTS["approver"]}) as (origin, _):
        app = Planner(browser_page, origin)
        app.ask("Pay 25 EUR to Bob and 3 EUR to Ann")
        expect(app.card("Approval")).to_have_count(2)
        app.press("Approval", "Approve")
        app.press("Approval", "Deny")
        app.shows("Done. Receipt: 25.00 EUR sent to Bob.")
        app.shows("Not sent, you declined.")
        app.is_idle()


def test_a_new_conversation_knows_nothing_of_a_question_in_another(app: Planner) -> None:
    planned(app).ask("Delete the plan")
    expect(app.card("Approval")).to_be_visible()
    app.page.get_by_role("button", name="New conversation").click()
    app.ask("What is left?", "Nothing is left to do.")
    expect(app.card("Approval")).to_have_count(0)
    expect(app.problem).to_be_hidden()


# What goes wrong


def test_a_user_without_a_key_is_asked_for_it(browser_page: Page) -> None:
    with app_with(PLANNER, auth={"api_keys": KEYS}) as (origin, url):
        with printing(browser_page, "runtime_info_fetch_failed Error: Runtime info request failed with status 401"):
            app = Planner(browser_page, origin)
        expect(app.problem).to_contain_text("The gateway asks for an API key.")
        for key in ("wrong", "ada"):
            app.page.get_by_label("API key").fill(key)
            app.page.get_by_role("button", name="Sign in").click()
            expect(app.problem.get_by_role("textbox")).to_have_count(int(key == "wrong"))
            expect(app.page.get_by_label("API key")).to_have_count(int(key == "wrong"))
        planned(app).page.reload()
        app.shows("Then the plan stands.")
        thread = f"{url}/threads/{app.conversation}"
        assert [httpx.get(thread, headers={"x-api-key": key}).status_code for key in ("ada", "bob")] == [200, 404]


def test_a_gateway_that_does_not_let_the_page_in_is_told_with_what_to_do(browser_page: Page) -> None:
    with site() as server, serving(make_config(agents=PLANNER, cors={"allow_origins": ["http://other.test"]})) as url:
        server.gateway = url
        with printing(browser_page, "blocked by CORS policy"):
            app = Planner(browser_page, server.origin)
        expect(app.problem).to_contain_text(f"No answer from {url}")
        expect(app.problem).to_contain_text(f"is {server.origin} in its cors.allow_origins?")


def test_a_run_that_fails_is_told_in_the_words_of_the_gateway(browser_page: Page) -> None:
    with app_with({"planner": "probes:sorry"}) as (origin, _):
        app = Planner(browser_page, origin)
        app.ask("One, please")
        expect(app.problem).to_contain_text("We are out of stock.")
        app.problem.get_by_role("button", name="Close").click()
        expect(app.problem).to_be_hidden()
        app.is_idle()


def test_a_turn_that_is_refused_is_told_in_the_words_of_the_gateway(browser_page: Page) -> None:
    with app_with(PLANNER, limits=[{"per": "agent", "requests": "1/hour"}]) as (origin, _):
        app = Planner(browser_page, origin)
        app.ask("What is left?", "Nothing is left to do.")
        app.ask("And now?")
        expect(app.problem).to_contain_text("Too many requests")
        app.is_idle()

"""The Streamlit example, on a gateway of its own: in Streamlit's AppTest, and in a real browser."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest
import run_probes
from browser import browsing
from client_matrix import KEYS, happens
from packaging.requirements import Requirement
from playwright.sync_api import expect
from serving import make_config, serving
from streamlit_pages import FOLDER, TIMEOUT, captions, checked, opened, said, served_pages, session_of

from gateway.client import Client

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from playwright.sync_api import Locator, Page

GATED = {"assistant": "run_probes:gated", "extractor": "streamlit_probes:filling"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(make_config()) as url:
        yield url


@pytest.fixture(scope="module")
def gated_url() -> Iterator[str]:
    """A gateway whose agents say something, and then nothing until their gate is opened."""
    with serving(make_config(agents=GATED)) as url:
        yield url


@pytest.fixture
def gate() -> str:
    return f"gate-{uuid4().hex}"


@pytest.fixture
def client(gated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Somebody else with the app's key; the app is on the gateway with the gate."""
    monkeypatch.setenv("GATEWAY_URL", gated_url)
    with Client(gated_url) as client:
        yield client


@pytest.fixture
def demo_app(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app is on a gateway with the demo agents."""
    monkeypatch.setenv("GATEWAY_URL", url)


def test_the_readme_is_about_every_file() -> None:
    named = re.findall(r"^\| `(\w+\.py)` \|", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in FOLDER.glob("*.py"))


def test_the_requirements_are_the_gateway_and_what_is_tested_here() -> None:
    needed = [line for line in (FOLDER / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert needed[0] == "."
    assert [each.name for each in map(Requirement, needed[1:])] == ["streamlit"]
    assert version("streamlit") in Requirement(needed[1]).specifier


def status_of(url: str, run_id: str) -> str:
    """How a run stands, as the gateway tells everybody."""
    return str(httpx.get(f"{url}/runs/{run_id}").json()["status"])


@pytest.mark.usefixtures("demo_app")
def test_the_chat_answers_and_shows_what_that_took() -> None:
    app = checked(opened().chat_input[0].set_value("What is the weather in Paris?").run())
    assert said(app)[0] == ("user", "What is the weather in Paris?")
    assert said(app)[1] == ("assistant", "It is **13 °C** and windy in Paris.")
    assert re.search(r"^Tokens: \d+ in, \d+ out\. Tool calls: 1\.$", captions(app))
    assert not app.error
    assert "Stop" not in [button.label for button in app.main.button]


@pytest.mark.usefixtures("demo_app")
def test_a_reload_shows_the_history_that_the_gateway_keeps() -> None:
    app = checked(opened().chat_input[0].set_value("Count to 5").run())
    checked(app.chat_input[0].set_value("What did I say first?").run())
    again = opened(session_of(app))
    assert said(again) == said(app)
    assert [who for who, _ in said(again)] == ["user", "assistant"] * 2
    assert "Count to 5" in said(again)[3][1]


@pytest.mark.usefixtures("demo_app")
def test_a_new_conversation_has_a_session_of_its_own() -> None:
    app = checked(opened().chat_input[0].set_value("Count to 5").run())
    before = session_of(app)
    checked(app.sidebar.button[0].click().run())
    assert not said(app)
    assert session_of(app) not in ("", before)


@pytest.mark.usefixtures("demo_app")
def test_the_conversation_is_still_there_after_a_visit_to_the_other_page() -> None:
    app = checked(opened().chat_input[0].set_value("Count to 5").run())
    checked(app.switch_page("contacts.py").run())
    app.query_params.clear()  # as Streamlit does when somebody goes to another page
    checked(app.switch_page("chat.py").run())
    assert said(app)[1] == ("assistant", "1 2 3 4 5")


@pytest.mark.usefixtures("demo_app")
def test_the_other_page_shows_the_validated_contact() -> None:
    app = checked(opened().switch_page("contacts.py").run())
    app.text_area[0].set_value("Call Ada Lovelace at Analytical Engines, ada@example.com")
    checked(app.button[0].click().run())
    shown = app.markdown[0].value
    assert "- **name:** Ada Lovelace\n- **email:** ada@example.com\n" in shown
    assert "- **phone:** not in the text" in shown
    assert "Tokens: " in captions(app)


def test_an_answer_that_is_stopped_from_elsewhere_says_so(client: Client, gate: str) -> None:
    app = opened()
    with ThreadPoolExecutor(1) as other:
        running = other.submit(app.chat_input[0].set_value(gate).run)
        happens(run_probes.gates[gate].reached)
        assert client.chat(session_of(app), "assistant").stop()
        checked(running.result(TIMEOUT))
    assert said(app)[1] == ("assistant", "Begun ünd")
    assert "This answer was stopped." in captions(app)
    assert "This answer was stopped." in captions(opened(session_of(app)))


def test_an_answer_that_somebody_else_reads_can_be_waited_for_and_stopped(client: Client, gate: str) -> None:
    with client.chat(gate, "assistant").stream(gate) as stream:
        next(stream)
        app = opened(gate)
        assert said(app) == [("user", gate)]
        assert captions(app) == "An answer is being written."
        checked(app.main.button[0].click().run())
        assert stream.finish().outcome == "cancelled"
    assert said(opened(gate)) == [("user", gate), ("assistant", "Begun ünd")]


def test_a_question_while_an_answer_is_written_elsewhere_is_refused_in_a_sentence(client: Client, gate: str) -> None:
    with client.chat(gate, "assistant").stream(gate) as stream:
        next(stream)
        app = checked(opened(gate).chat_input[0].set_value("And?").run())
    assert app.error[0].value == "The previous answer is still being written."


def test_a_gateway_that_is_away_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_URL", "http://127.0.0.1:9")
    app = opened()
    assert app.error[0].value == "The service cannot be reached: please try again."
    checked(app.switch_page("contacts.py").run())
    checked(app.button[0].click().run())
    assert app.error[0].value == "The service cannot be reached: please try again."


def test_the_key_in_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(make_config(auth={"api_keys": KEYS})) as url:
        monkeypatch.setenv("GATEWAY_URL", url)
        assert "sign in" in opened().error[0].value
        monkeypatch.setenv("GATEWAY_API_KEY", "ada")
        assert not opened().error


def test_a_run_that_fails_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(make_config(agents={"assistant": "probes:sorry"})) as url:
        monkeypatch.setenv("GATEWAY_URL", url)
        app = checked(opened().chat_input[0].set_value("One, please").run())
    assert app.error[0].value.startswith("We are out of stock.")
    assert "Stop" not in [button.label for button in app.main.button]


def test_text_that_was_not_the_answer_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(make_config(agents={"assistant": "client_agents:asking"})) as url:
        monkeypatch.setenv("GATEWAY_URL", url)
        app = checked(opened().chat_input[0].set_value("Look").run())
    assert said(app)[1] == ("assistant", "The result: nothing here")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    expect.set_options(timeout=TIMEOUT * 1000)
    with browsing() as page:
        yield page


@pytest.fixture(scope="module")
def slow_app(url: str) -> Iterator[str]:
    """The app with the demo agents, which take their time as real ones do."""
    with pytest.MonkeyPatch.context() as patch, served_pages(url) as app:
        patch.setenv("GATEWAY_DEMO_PAUSE", "0.05")
        yield app


@pytest.fixture(scope="module")
def gated_app(gated_url: str) -> Iterator[str]:
    with served_pages(gated_url) as app:
        yield app


def asked(page: Page, app: str, question: str, beginning: str) -> Locator:
    """Ask in a new conversation, and wait for the first words of the answer."""
    page.goto(app)
    page.get_by_test_id("stChatInputTextArea").fill(question)
    page.keyboard.press("Enter")
    answer = page.get_by_test_id("stChatMessage").nth(1)
    expect(answer).to_contain_text(beginning)
    return answer


def run_in(page: Page, url: str) -> str:
    """The run that goes on in the conversation that the page shows."""
    with Client(url) as client:
        return client.threads.get(page.url.partition("session=")[2]).run_id or ""


def shows(page: Page, text: str) -> None:
    expect(page.locator("body")).to_contain_text(text)


@contextmanager
def second_window(page: Page) -> Generator[Page]:
    """The same conversation once more, with an empty profile."""
    browser = page.context.browser
    assert browser
    second = browser.new_page()
    second.goto(page.url)
    yield second
    second.close()


def test_in_a_browser_an_answer_is_stopped_in_the_middle_and_found_again(page: Page, slow_app: str, url: str) -> None:
    answer = asked(page, slow_app, "Count to 2000", "1 2 3 4 5")
    run_id = run_in(page, url)
    answer.get_by_role("button", name="Stop").click()
    shows(page, "This answer was stopped.")
    assert status_of(url, run_id) == "cancelled"
    text = answer.get_by_test_id("stMarkdown")
    stopped = text.inner_text()
    assert stopped.startswith("1 2 3 4 5")
    assert not stopped.endswith("2000")
    page.reload()
    shows(page, "This answer was stopped.")
    expect(page.get_by_test_id("stChatMessage").first).to_contain_text("Count to 2000")
    expect(text).to_have_text(stopped)


@pytest.mark.parametrize("leave", ["reload", "visit the other page"])
def test_in_a_browser_leaving_stops_the_run(page: Page, slow_app: str, url: str, leave: str) -> None:
    asked(page, slow_app, "Count to 2000", "1 2 3 4 5")
    run_id = run_in(page, url)
    if leave == "reload":
        page.reload()
    else:
        page.get_by_role("link", name="Structured output").click()
        shows(page, "A text with")
        page.get_by_role("link", name="Chat").click()
    shows(page, "This answer was stopped.")
    assert status_of(url, run_id) == "cancelled"


def test_in_a_browser_an_agent_that_says_nothing_is_stopped_too(
    page: Page, gated_app: str, gated_url: str, gate: str
) -> None:
    answer = asked(page, gated_app, gate, "Begun")
    run_id = run_in(page, gated_url)
    answer.get_by_role("button", name="Stop").click()
    shows(page, "This answer was stopped.")
    assert status_of(gated_url, run_id) == "cancelled"
    expect(answer).to_contain_text("Begun")


def test_in_a_browser_an_answer_comes_to_a_second_window_by_itself(
    page: Page, gated_app: str, gated_url: str, gate: str
) -> None:
    answer = asked(page, gated_app, gate, "Begun")
    run_id = run_in(page, gated_url)
    with second_window(page) as second:
        shows(second, "An answer is being written.")
        run_probes.gates[gate].open()
        for window in (page, second):
            shows(window, "Begun ünd ended.")
    expect(answer.get_by_role("button")).to_have_count(0)
    assert status_of(gated_url, run_id) == "finished"


def test_in_a_browser_a_page_that_was_loaded_again_can_stop_the_run(
    page: Page, gated_app: str, gated_url: str, gate: str
) -> None:
    asked(page, gated_app, gate, "Begun")
    run_id = run_in(page, gated_url)
    page.reload()
    shows(page, "An answer is being written.")
    page.get_by_test_id("stBaseButton-secondary").get_by_text("Stop").click()
    shows(page, "This answer was stopped.")
    assert status_of(gated_url, run_id) == "cancelled"


def test_in_a_browser_a_contact_fills_in(page: Page, gated_app: str, gate: str) -> None:
    page.goto(f"{gated_app}/contacts")
    page.get_by_role("textbox").fill(gate)
    page.get_by_role("button", name="Extract").click()
    shows(page, "name: Ada")
    shows(page, "company: …")
    run_probes.gates[gate].open()
    shows(page, "company: Analytical Engines")
    shows(page, "phone: not in the text")
    shows(page, "Tokens: ")

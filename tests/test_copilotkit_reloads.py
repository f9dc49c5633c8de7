"""A page is opened again, in the real client: what it holds then, and whether the conversation can go on."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
import run_probes
import thread_probes
from clients_driver import FOLDER, Json, Node
from copilotkit_agents import PIXEL
from copilotkit_app import App, said
from serving import make_config, serving
from talking import run_url, turn

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    not (FOLDER / "node_modules/@copilotkit/core").exists(), reason="the npm packages are not installed: run make test"
)

AGENTS: dict[str, Any] = {
    "teller": "thread_probes:teller",
    "payer": "thread_probes:payer",
    "gated": "run_probes:gated",
    "browses": "copilotkit_agents:browses",
    "waits_for_page": "copilotkit_agents:waits_for_page",
    "draws": "copilotkit_agents:draws",
}
TTL = 2.0
TOOL: Json = {"name": "browse", "description": "Opens a page.", "parameters": {"type": "object", "properties": {}}}
ASKS: Json = {"name": "browse", "description": "Opens a page.", "type": "human-in-the-loop", "result": "Welcome"}
IMAGE: Json = {
    "type": "image",
    "source": {"type": "data", "value": base64.b64encode(PIXEL).decode(), "mimeType": "image/png"},
}
FILE: Json = {"type": "document", "source": {"type": "url", "value": "https://example.com/a.pdf"}}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(make_config(agents=AGENTS)) as url:
        yield url


@pytest.fixture
def thread() -> str:
    return f"thread-{uuid4()}"


def post(url: str, wire: str, agent: str, text: Any, thread: str, **fields: Any) -> None:
    """A run, to its end, of a client of that wire."""
    answer = httpx.post(url + run_url(wire, agent), json=turn(wire, text, thread, **fields), timeout=15)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("transport", ["rest", "single"])
def test_a_question_to_the_user_is_asked_again_and_the_answer_counts(
    node: Node, url: str, thread: str, transport: str
) -> None:
    post(url, "ag-ui", "browses", "Hello", thread, tools=[TOOL])
    app = App(node, f"{url}/copilotkit", tools=[ASKS], transport=transport)
    app.call("connect", "browses", threadId=thread)
    app.call("shows", "browses", text="success:Welcome.")
    held = app.call("held", "browses")
    assert [call["name"] for call in held["calls"]] == ["browse"]
    assert "success:Welcome." in said(held)[-1][1]
    assert held["errors"] == []
    again = App(node, f"{url}/copilotkit").call("connect", "browses", threadId=thread)
    assert said(again) == said(held)


def test_a_call_that_no_page_answers_is_given_up_when_the_user_goes_on(node: Node, url: str, thread: str) -> None:
    post(url, "ag-ui", "browses", "Hello", thread, tools=[TOOL])
    app = App(node, f"{url}/copilotkit", tools=[{**ASKS, "type": "frontend"}])
    held = app.call("connect", "browses", threadId=thread)
    assert said(held) == [("user", "Hello"), ("assistant", "")]
    held = app.run("browses", thread, "Never mind")
    assert held["error"] is None
    assert "Not run: the user sent a new message instead." in said(held)[-1][1]
    assert held["calls"] == []


def test_nobody_is_asked_what_another_tab_has_answered(node: Node, url: str, thread: str) -> None:
    app = App(node, f"{url}/copilotkit", tools=[ASKS])
    app.run("waits_for_page", thread, gate := f"gate-{uuid4()}", background=True)
    app.call("shows", "waits_for_page", text="Seen")
    other = App(node, f"{url}/copilotkit", tools=[ASKS])
    other.call("connect", "waits_for_page", threadId=thread, background=True)
    other.call("shows", "waits_for_page", text="Seen")
    run_probes.gates[gate].open()
    other.call("connected", "waits_for_page")
    held = other.call("held", "waits_for_page")
    assert held["calls"] == held["errors"] == []
    assert said(held)[-2:] == [("tool", "Welcome"), ("assistant", "Seen Welcome")]


def test_an_approval_whose_time_is_over_does_not_hold_up_the_conversation(node: Node, thread: str) -> None:
    """The client sends nothing at all while it holds an interrupt that has expired."""
    with serving(make_config(agents=AGENTS, threads={"approval_ttl": TTL})) as url:
        App(node, f"{url}/copilotkit").run("payer", thread, "pay bob 5")
        expires = time.time() + TTL
        app = App(node, f"{url}/copilotkit")
        assert len(app.call("connect", "payer", threadId=thread)["interrupts"]) == 1
        while time.time() < expires:
            time.sleep(0.05)
        app = App(node, f"{url}/copilotkit")
        held = app.call("connect", "payer", threadId=thread)
        assert held["interrupts"] == []
        held = app.run("payer", thread, "What now?")
    assert (held["error"], held["errors"]) == (None, [])
    assert said(held)[-1][1].startswith(("Told:", "denied"))


def test_an_approval_that_another_tab_gave_is_not_given_twice(node: Node, url: str, thread: str) -> None:
    """A client that holds an interrupt cannot `connect`, only answer; the same answer gets the same end."""
    first, second = App(node, f"{url}/copilotkit"), App(node, f"{url}/copilotkit")
    [interrupt] = first.run("payer", thread, "pay ann 7")["interrupts"]
    assert len(second.call("connect", "payer", threadId=thread)["interrupts"]) == 1
    answer = {"interruptId": interrupt["id"], "status": "resolved", "payload": {"approved": True}}
    first.run("payer", thread, resume=[answer])
    held = second.run("payer", thread, resume=[answer])
    assert (held["error"], held["interrupts"]) == (None, [])
    assert said(held)[-1][1] == "success paid 7 to ann"
    assert thread_probes.paid.count(("ann", 7)) == 1
    assert second.run("payer", thread, "Thanks")["error"] is None


def test_pictures_and_files_come_back(node: Node, url: str, thread: str) -> None:
    app = App(node, f"{url}/copilotkit")
    app.run("teller", thread, [{"type": "text", "text": "Look"}, IMAGE, FILE])
    before = app.run("teller", thread, "And now?")
    held = App(node, f"{url}/copilotkit").call("connect", "teller", threadId=thread)
    assert [each["role"] for each in held["messages"]] == [each["role"] for each in before["messages"]]
    assert [part["type"] for part in held["messages"][0]["content"]] == ["text", "image", "document"]
    assert held["messages"][0]["content"][1]["source"] == IMAGE["source"]
    assert held["messages"][1:] == before["messages"][1:]


@pytest.mark.parametrize("wire", ["ag-ui", "vercel-ai"])
def test_a_conversation_of_newer_clients_with_results_in_parts_comes_whole(
    node: Node, url: str, thread: str, wire: str
) -> None:
    """The client drops all that follows the first event that it cannot read, without a word."""
    post(url, wire, "draws", "Draw", thread)
    app = App(node, f"{url}/copilotkit")
    held = app.call("connect", "draws", threadId=thread)
    roles = [role for role, _ in said(held)]
    assert (roles[:3], roles[-1]) == (["user", "assistant", "tool"], "assistant")
    assert "A picture:" in str(held["messages"][2]["content"])
    assert said(held)[-1][1] == "Drawn."
    held = app.run("draws", thread, "Again")
    assert (held["error"], held["errors"]) == (None, [])
    assert App(node, f"{url}/copilotkit").call("connect", "draws", threadId=thread)["messages"] == held["messages"]


def test_a_result_in_parts_that_a_newer_client_gave_does_not_cut_a_conversation_short(
    node: Node, url: str, thread: str
) -> None:
    post(url, "ag-ui", "browses", "Look", thread, tools=[TOOL])
    given = {"id": "r1", "role": "tool", "toolCallId": "browse-1", "content": [{"type": "text", "text": "Seen"}, IMAGE]}
    post(url, "ag-ui", "browses", "", thread, messages=[given], tools=[TOOL])
    held = App(node, f"{url}/copilotkit").call("connect", "browses", threadId=thread)
    assert [role for role, _ in said(held)] == ["user", "assistant", "tool", "assistant"]
    assert "Seen" in held["messages"][2]["content"]
    assert said(held)[-1][1].startswith("Told:")


def test_a_picture_that_a_tool_gives_does_not_end_the_run_in_the_app(node: Node, url: str, thread: str) -> None:
    held = App(node, f"{url}/copilotkit").run("draws", thread, "Draw")
    assert said(held)[-1][1] == "Drawn."
    assert App(node, f"{url}/copilotkit").call("connect", "draws", threadId=thread)["messages"] == held["messages"]


def test_after_an_edit_the_new_branch_is_shown_and_goes_on(node: Node, url: str, thread: str) -> None:
    said_first = {"id": "m1", "role": "user", "content": "One"}
    post(url, "ag-ui", "teller", "", thread, messages=[said_first])
    post(url, "ag-ui", "teller", "", thread, messages=[{"id": "m2", "role": "user", "content": "Two"}])
    post(url, "ag-ui", "teller", "", thread, messages=[{**said_first, "content": "Uno"}])
    app = App(node, f"{url}/copilotkit")
    assert said(app.call("connect", "teller", threadId=thread)) == [("user", "Uno"), ("assistant", "You said: Uno.")]
    assert said(app.run("teller", thread, "Due"))[-1][1] == "You said: Uno, Due."


def test_two_tabs_show_the_same_after_each_has_said_something(node: Node, url: str, thread: str) -> None:
    one, two = App(node, f"{url}/copilotkit"), App(node, f"{url}/copilotkit", transport="single")
    one.run("teller", thread, "One")
    two.call("connect", "teller", threadId=thread)
    after = two.run("teller", thread, "Two")
    held = one.call("connect", "teller", threadId=thread)
    assert held["messages"] == after["messages"]
    assert said(one.run("teller", thread, "Three"))[-1][1] == "You said: One, Two, Three."


def test_a_failed_run_leaves_a_conversation_that_goes_on(node: Node, url: str, thread: str) -> None:
    App(node, f"{url}/copilotkit").run("teller", thread, "fail")
    app = App(node, f"{url}/copilotkit")
    held = app.call("connect", "teller", threadId=thread)
    assert said(held) == [("user", "fail"), ("assistant", "You said: fail")]
    assert not held["errors"]
    assert said(app.run("teller", thread, "again"))[-1][1] == "You said: fail, again."

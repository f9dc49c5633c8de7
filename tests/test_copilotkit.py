"""A CopilotKit app on the gateway, with no Node in between: `@copilotkit/core`, headless, on both transports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
import run_probes
from clients_driver import FOLDER, Json, Node
from copilotkit_app import App, said
from serving import make_config, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not (FOLDER / "node_modules/@copilotkit/core").exists(), reason="the npm packages are not installed: run make test"
)

AGENTS: dict[str, Any] = {
    "assistant": "agents.assistant:agent",
    "approver": "agents.approver:agent",
    "planner": {"import": "agents.planner:agent", "deps": "agents.planner:make_deps"},
    "plain": "probes:plain",
    "gated": "run_probes:gated",
}
TRANSPORTS = ("rest", "single")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(make_config(agents=AGENTS)) as url:
        yield url


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def app(node: Node, url: str, transport: str) -> App:
    return App(node, f"{url}/copilotkit", transport=transport)


@pytest.fixture
def thread() -> str:
    return f"thread/{uuid4()}"  # a slash is nothing special


def test_an_app_finds_the_transport_and_the_agents_by_itself(node: Node, url: str) -> None:
    opened = App(node, f"{url}/copilotkit").opened
    assert (opened["status"], opened["transport"], opened["errors"]) == ("connected", "rest", [])
    assert opened["agents"] == [*AGENTS, "default"]


def test_a_slash_at_the_end_of_the_url_is_nothing_special(node: Node, url: str) -> None:
    # That an app finds the one URL where a proxy passes on no other is a case of test_copilotkit_columns.py.
    opened = App(node, f"{url}/copilotkit/").opened
    assert opened["status"] == "connected"
    assert App(node, f"{url}/copilotkit/", transport="single").opened["status"] == "connected"


def test_an_answer_streams_into_the_app(app: App, thread: str) -> None:
    held = app.run("plain", thread, "Hello")
    assert held["error"] is None
    assert [role for role, _ in said(held)] == ["user", "assistant"]
    assert not held["isRunning"]


def test_the_default_agent_is_the_first_one(app: App, thread: str) -> None:
    assert "You said: **hello**" in said(app.run("default", thread, "hello"))[-1][1]


def test_the_history_is_the_gateways(app: App, thread: str) -> None:
    app.run("assistant", thread, "My name is Ada")
    assert "My name is Ada" in said(app.run("assistant", thread, "What did I say first?"))[-1][1]


def test_another_page_shows_the_same_conversation(app: App, node: Node, url: str, thread: str) -> None:
    before = app.run("assistant", thread, "What is the weather in Paris?")
    after = App(node, f"{url}/copilotkit").call("connect", "assistant", threadId=thread)
    assert after["messages"] == before["messages"]
    assert {"tool", "reasoning"} <= {role for role, _ in said(after)}


def test_a_thread_that_never_was_is_an_empty_one(app: App, thread: str) -> None:
    held = app.call("connect", "assistant", threadId=thread)
    assert (held["messages"], held["errors"], held["isRunning"]) == ([], [], False)


def test_an_approval_survives_a_reload(node: Node, url: str, transport: str) -> None:
    for approved, ending in ((True, "Done."), (False, "Not sent")):
        asking = App(node, f"{url}/copilotkit", transport=transport)
        asking.run("approver", thread := f"thread-{uuid4()}", "pay 25 EUR to Bob")
        reloaded = App(node, f"{url}/copilotkit", transport=transport)
        [interrupt] = reloaded.call("connect", "approver", threadId=thread)["interrupts"]
        answer = {"interruptId": interrupt["id"], "status": "resolved", "payload": {"approved": approved}}
        held = reloaded.run("approver", thread, resume=[answer])
        assert said(held)[-1][1].startswith(ending)
        assert held["interrupts"] == []


def test_state_goes_both_ways_and_is_there_after_a_reload(app: App, node: Node, url: str, thread: str) -> None:
    held = app.run("planner", thread, "plan a picnic")
    assert [step["status"] for step in held["state"]["steps"]] == ["doing", "todo", "todo"]
    held["state"]["steps"][1]["text"] = "Bake a cake"
    held = app.run("planner", thread, "step 1 is done", state=held["state"])
    assert [step["status"] for step in held["state"]["steps"]] == ["done", "todo", "todo"]
    reloaded = App(node, f"{url}/copilotkit").call("connect", "planner", threadId=thread)
    assert reloaded["state"] == held["state"]
    assert reloaded["state"]["steps"][1]["text"] == "Bake a cake"


def test_a_tool_of_the_front_end_is_called_and_its_result_gets_back(
    node: Node, url: str, thread: str, transport: str
) -> None:
    tool = {"name": "confirm_plan", "description": "Asks the user.", "result": "yes"}
    app = App(node, f"{url}/copilotkit", tools=[tool], transport=transport)
    held = app.run("planner", thread, "plan a picnic")
    assert held["error"] is None
    assert [call["name"] for call in held["calls"]] == ["confirm_plan"]
    assert "Then the plan stands." in said(held)[-1][1]


def test_a_stop_ends_the_run_for_every_reader(app: App, node: Node, url: str, thread: str) -> None:
    app.run("gated", thread, gate := f"gate-{uuid4()}", background=True)
    app.call("shows", "gated", text="Begun")
    other = App(node, f"{url}/copilotkit")
    other.call("connect", "gated", threadId=thread, background=True)
    other.call("shows", "gated", text="Begun")
    stopped, seen = app.call("stop", "gated"), other.call("connected", "gated")
    assert not stopped["isRunning"]
    assert stopped["errors"] == []
    assert said(stopped) == said(seen) == [("user", gate), ("assistant", "Begun ünd ")]


def test_a_run_goes_on_when_its_chat_is_unmounted_and_another_page_sees_its_end(
    app: App, node: Node, url: str, thread: str
) -> None:
    app.run("gated", thread, gate := f"gate-{uuid4()}", background=True)
    app.call("shows", "gated", text="Begun")
    app.call("leave", "gated")
    other = App(node, f"{url}/copilotkit")
    other.call("connect", "gated", threadId=thread, background=True)
    other.call("shows", "gated", text="Begun")
    run_probes.gates[gate].open()
    assert said(other.call("connected", "gated")) == [("user", gate), ("assistant", "Begun ünd ended.")]


def test_an_agent_that_is_not_there_is_told_in_the_words_that_the_app_looks_for(url: str) -> None:
    body: Json = {"threadId": "t", "runId": "r", "messages": [], "tools": [], "context": [], "state": {}}
    for answer in (
        httpx.post(f"{url}/copilotkit/agent/nobody/run", json=body),
        httpx.post(f"{url}/copilotkit", json={"method": "agent/run", "params": {"agentId": "nobody"}, "body": body}),
    ):
        assert answer.status_code == 404
        assert answer.json()["error"] == "Agent not found"
        assert answer.json()["code"] == "agent_not_found"


def test_missing_credentials_are_an_error_that_a_developer_understands(node: Node) -> None:
    keys = [{"id": "k", "sha256": "0" * 64}]
    with serving(make_config(agents=AGENTS, auth={"api_keys": keys})) as url:
        opened = node.call("open", key="stranger", url=f"{url}/copilotkit")
    assert opened["status"] == "error"
    assert "failed with status 401: Please sign in: valid credentials are needed." in str(opened["errors"][0])


@pytest.mark.parametrize("body", [None, {}, {"runId": "another"}])
def test_there_is_nothing_to_stop_on_a_thread_that_never_was(url: str, body: Any) -> None:
    sent = {} if body is None else {"json": body}
    answer = httpx.post(f"{url}/copilotkit/agent/assistant/stop/nothing", **sent)
    assert (answer.status_code, answer.json()["stopped"]) == (200, False)


def test_a_stop_with_anything_else_in_it_is_refused(url: str) -> None:
    answer = httpx.post(f"{url}/copilotkit/agent/assistant/stop/t", json={"force": True})
    assert answer.status_code == 422
    assert "force" in answer.json()["detail"]


def test_threads_are_listed_and_looked_into(app: App, url: str, thread: str) -> None:
    app.run("assistant", thread, "What is the weather in Paris?")
    listed = httpx.get(f"{url}/copilotkit/threads", params={"agentId": "assistant", "limit": 1}).json()
    assert listed["threads"][0]["id"] == thread
    assert listed["threads"][0]["name"] == "What is the weather in Paris?"
    at = f"{url}/copilotkit/threads/{thread.replace('/', '%2F')}"
    messages = httpx.get(f"{at}/messages").json()["messages"]
    assert messages[0]["role"] == "user"
    assert any(call["name"] == "get_weather" for message in messages for call in message.get("toolCalls", ()))
    assert [event["type"] for event in httpx.get(f"{at}/events").json()["events"]][-1] == "RUN_FINISHED"
    assert httpx.get(f"{at}/state").json() == {"state": {}}
    assert httpx.get(f"{at}/secrets").status_code == httpx.get(f"{url}/copilotkit/threads/no/state").status_code == 404


def test_the_one_url_answers_as_the_many_do(url: str) -> None:
    many = httpx.get(f"{url}/copilotkit/threads", params={"limit": 2})
    envelope = {"method": "resource/request", "params": {"path": "/threads?limit=2", "httpMethod": "GET"}}
    assert httpx.post(f"{url}/copilotkit", json=envelope).json() == many.json()
    assert httpx.post(f"{url}/copilotkit", json={"method": "info"}).json() == httpx.get(f"{url}/copilotkit/info").json()


@pytest.mark.parametrize(
    ("envelope", "status"),
    [
        ({"method": "agent/fly", "params": {}}, 422),
        ({}, 422),
        ([], 422),
        ({"method": "resource/request", "params": {"path": "/agents", "httpMethod": "GET"}}, 404),
        ({"method": "resource/request", "params": {"path": "/threads/../agents", "httpMethod": "GET"}}, 404),
    ],
)
def test_an_envelope_that_means_nothing_here_is_refused(url: str, envelope: Any, status: int) -> None:
    answer = httpx.post(f"{url}/copilotkit", json=envelope)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_runtimes_have_their_own_agents_and_paths(node: Node) -> None:
    runtimes = [{"path": "/kits/pay", "agents": ["approver"]}, {"path": "/kits/all"}]
    with serving(make_config(agents=AGENTS, copilotkit=runtimes)) as url:
        assert App(node, f"{url}/kits/pay").opened["agents"] == ["approver", "default"]
        assert App(node, f"{url}/kits/all").opened["agents"] == [*AGENTS, "default"]
        assert httpx.get(f"{url}/copilotkit/info").status_code == 404
        listed = {each["id"]: each["surfaces"]["copilotkit"] for each in httpx.get(f"{url}/agents").json()["agents"]}
    assert listed["approver"] == f"{url}/kits/pay"
    assert listed["plain"] == f"{url}/kits/all"


def test_a_conversation_is_there_after_a_restart(node: Node, tmp_path: Path, thread: str) -> None:
    config = make_config(agents=AGENTS, stores={"conversations": f"sqlite:///{tmp_path}/threads.db"})
    with serving(config) as url:
        App(node, f"{url}/copilotkit").run("approver", thread, "pay 25 EUR to Bob")
    with serving(config) as url:
        held = App(node, f"{url}/copilotkit").call("connect", "approver", threadId=thread)
    assert len(held["interrupts"]) == 1

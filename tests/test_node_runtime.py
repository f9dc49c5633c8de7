"""CopilotKit's Node runtime in front of the gateway's AG-UI: stop, keys, restarts; and beside the gateway's own."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import httpx
import pytest
import run_probes
from copilotkit_app import App, said
from node_runtime import RUNTIME, Arrivals, Arrived, needs_node_runtime, node_runtime
from reading import KEYS
from serving import make_config, running

from gateway.server import make_server

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from clients_driver import Json, Node
    from node_runtime import NodeRuntime
    from starlette.types import ASGIApp

pytestmark = needs_node_runtime

PATIENCE = 20.0
AGENTS: dict[str, Any] = {
    "assistant": "agents.assistant:agent",
    "gated": "run_probes:gated",
    "teller": "thread_probes:teller",
    "ticking": "probes:ticking",
    "broken": "probes:broken",
}
ADA, BOB = ({"authorization": f"Bearer {name}"} for name in ("ada", "bob"))
arrived: list[Arrived] = []


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    """A gateway for Ada and for Bob, with heartbeats that Node has to read over."""
    server = make_server(make_config(agents=AGENTS, auth={"api_keys": KEYS}, server={"heartbeat": 0.02}))
    server.config.app = Arrivals(cast("ASGIApp", server.config.app), arrived)
    with running(server) as url:
        yield url


@contextmanager
def node_before(url: str, headers: dict[str, str] | None = None) -> Generator[NodeRuntime]:
    with node_runtime({name: f"{url}/agents/{name}/ag-ui" for name in AGENTS}, headers) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def runtime(gateway: str) -> Iterator[NodeRuntime]:
    with node_before(gateway) as runtime:
        yield runtime


@pytest.fixture
def app(node: Node, runtime: NodeRuntime) -> App:
    return App(node, runtime.many, headers=ADA)


@pytest.fixture
def thread() -> str:
    return f"thread-{uuid4()}"


@pytest.fixture
def gate() -> Iterator[str]:
    yield (gate := f"wait-{uuid4()}")
    run_probes.gates[gate].open()


def becomes(gateway: str, thread: str, status: str) -> Json:
    """The gateway's thread, when it stands like that; only asking tells."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found: Json = httpx.get(f"{gateway}/threads/{thread}", headers=ADA).json()
        if found["status"] == status:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


def begun(app: App, thread: str, gate: str) -> None:
    """The app is in the middle of an answer."""
    app.run("gated", thread, gate, background=True)
    app.call("shows", "gated", text="Begun")
    assert run_probes.gates[gate].reached.wait(PATIENCE)


def test_a_stop_on_node_stops_the_run_of_the_gateway(app: App, gateway: str, thread: str, gate: str) -> None:
    begun(app, thread, gate)
    run_id = becomes(gateway, thread, "running")["run_id"]
    app.call("stop", "gated")
    assert run_probes.gates[gate].left.wait(PATIENCE)
    becomes(gateway, thread, "cancelled")
    assert httpx.get(f"{gateway}/runs/{run_id}", headers=ADA).json()["status"] == "cancelled"


def test_a_page_that_is_closed_stops_nothing_because_node_reads_on(
    runtime: NodeRuntime, gateway: str, thread: str, gate: str
) -> None:
    with httpx.stream("POST", f"{runtime.many}/agent/gated/run", json=body(thread, gate), headers=ADA) as response:
        next(text for text in response.iter_text() if "Begun" in text)
    becomes(gateway, thread, "running")
    run_probes.gates[gate].open()
    becomes(gateway, thread, "finished")


def test_a_node_that_dies_stops_what_only_it_was_reading(gateway: str, thread: str, gate: str) -> None:
    with node_before(gateway) as runtime:
        with httpx.stream("POST", f"{runtime.many}/agent/gated/run", json=body(thread, gate), headers=ADA) as response:
            next(text for text in response.iter_text() if "Begun" in text)
            assert run_probes.gates[gate].reached.wait(PATIENCE)
        becomes(gateway, thread, "running")
    assert run_probes.gates[gate].left.wait(PATIENCE)
    becomes(gateway, thread, "cancelled")


def body(thread: str, text: str) -> Json:
    """`RunAgentInput` of a page."""
    said_first = [{"id": str(uuid4()), "role": "user", "content": text}]
    more: Json = {"messages": said_first, "state": {}, "tools": [], "context": [], "forwardedProps": {}}
    return {"threadId": thread, "runId": str(uuid4()), **more}


def test_who_calls_node_is_who_calls_the_gateway(node: Node, runtime: NodeRuntime, gateway: str, thread: str) -> None:
    for who, secret in ((ADA, "Ada was here"), (BOB, "Bob was here")):
        page = App(node, runtime.many, headers=who)
        assert said(page.run("teller", thread, secret))[-1][1] == f"You said: {secret}."
    for who, secret, foreign in ((ADA, "Ada was", "Bob was"), (BOB, "Bob was", "Ada was")):
        told = httpx.get(f"{gateway}/threads/{thread}/messages", headers=who).text
        assert secret in told
        assert foreign not in told


@pytest.mark.parametrize("headers", [{"x-api-key": "ada"}, {"Authorization": "Bearer ada"}])
def test_either_way_of_sending_a_key_gets_through(
    node: Node, runtime: NodeRuntime, thread: str, headers: dict[str, str]
) -> None:
    held = App(node, runtime.one, transport="single", headers=headers).run("teller", thread, "Hello")
    assert said(held)[-1][1] == "You said: Hello."


def test_headers_of_the_page_get_through_and_those_of_proxies_do_not(
    node: Node, runtime: NodeRuntime, thread: str
) -> None:
    headers = {**ADA, "x-tenant": "acme", "x-forwarded-for": "192.0.2.1", "cookie": "a=b"}
    App(node, runtime.many, headers=headers).run("teller", thread, "Hello")
    [seen] = [each.headers for each in arrived if thread.encode() in each.raw]
    assert seen["x-tenant"] == "acme"
    assert not {"x-forwarded-for", "cookie"} & seen.keys()


def test_a_key_of_nodes_own_is_stronger_than_the_pages(node: Node, gateway: str, thread: str) -> None:
    with node_before(gateway, {"Authorization": "Bearer bob"}) as runtime:
        App(node, runtime.many, headers=ADA).run("teller", thread, "Hello")
    assert httpx.get(f"{gateway}/threads/{thread}", headers=BOB).status_code == 200
    assert httpx.get(f"{gateway}/threads/{thread}", headers=ADA).status_code == 404


def test_no_key_is_an_error_in_the_app(node: Node, runtime: NodeRuntime, thread: str) -> None:
    page = App(node, runtime.many)
    assert page.opened["status"] == "connected"  # Node itself asks for none
    held = node.call("run", key=page.key, agentId="teller", threadId=thread, text="Hello")
    assert "401" in json.dumps(held["errors"])


def test_heartbeats_and_numbers_of_frames_go_unnoticed(app: App, thread: str) -> None:
    held = app.run("ticking", thread, "Tick")
    assert said(held)[-1][1] == "".join(f"{number} " for number in range(20))
    assert held["errors"] == []


def test_a_failure_comes_with_the_gateways_sentence(app: App, thread: str) -> None:
    [error] = app.run("broken", thread, "Hello")["errors"]
    assert "(reference " in error["error"]["message"]
    assert "hunter2" not in json.dumps(error)


def test_the_gateway_remembers_what_a_restarted_node_has_forgotten(node: Node, gateway: str, thread: str) -> None:
    with node_before(gateway) as runtime:
        App(node, runtime.many, headers=ADA).run("teller", thread, "one")
    with node_before(gateway) as runtime:
        page = App(node, runtime.many, headers=ADA)
        assert page.call("connect", "teller", threadId=thread)["messages"] == []
        assert said(page.run("teller", thread, "two"))[-1][1] == "You said: one, two."


def test_a_second_turn_through_another_node_is_refused_in_words(
    app: App, node: Node, gateway: str, thread: str, gate: str
) -> None:
    """One Node does not know of the other's run, and the gateway does."""
    begun(app, thread, gate)
    with node_before(gateway) as other:
        page = App(node, other.many, headers=ADA)
        held = node.call("run", key=page.key, agentId="gated", threadId=thread, text="Meanwhile")
        assert "409" in json.dumps(held["errors"])
    run_probes.gates[gate].open()
    assert said(app.call("ran", "gated"))[-1][1] == "Begun ünd ended."


def test_what_node_says_of_itself_the_gateway_says_too(runtime: NodeRuntime, gateway: str) -> None:
    """A flag that is not there is a false one, to the client."""
    ways: list[Callable[[str], httpx.Response]] = [
        lambda url: httpx.get(f"{url}/info", headers=ADA),
        lambda url: httpx.post(url, json={"method": "info"}, headers=ADA),
    ]
    for ask, at in zip(ways, (runtime.many, runtime.one), strict=True):
        theirs, ours = ask(at).json(), ask(f"{gateway}/copilotkit").json()
        assert {name for name in theirs if theirs[name] is not False} <= ours.keys()
        assert theirs["mode"] == ours["mode"] == "sse"
        assert "intelligence" not in ours
        assert ours["suggestions"] >= theirs["suggestions"]
        for endpoints in (each for each in ("threadEndpoints", "singleRoute") if each in theirs):
            assert true_in(theirs[endpoints]) <= true_in(ours[endpoints])
        for name in AGENTS:
            assert theirs["agents"][name].keys() <= ours["agents"][name].keys()


def true_in(flags: Any, path: str = "") -> set[str]:
    """The paths of the flags that are set."""
    if not isinstance(flags, dict):
        return {path} if flags is True else set()
    return set[str]().union(*(true_in(value, f"{path}.{name}") for name, value in cast("Json", flags).items()))


def test_the_lock_pins_every_package_of_the_runtime_and_names_no_host() -> None:
    lock = json.loads((RUNTIME / "package-lock.json").read_text())
    packages = [package for path, package in lock["packages"].items() if path]
    assert all("integrity" in package and "resolved" not in package for package in packages)
    asked = json.loads((RUNTIME / "package.json").read_text())
    wanted: dict[str, str] = {**asked["dependencies"], **asked["overrides"]}
    assert all(version.rpartition("@")[2][0].isdigit() for version in wanted.values())

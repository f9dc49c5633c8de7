"""The real clients when a connection breaks and when a user presses stop."""

from __future__ import annotations

import uuid
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import run_probes
from clients_driver import FOLDER, Node
from reading import NAMES
from serving import make_config, serving

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from clients_driver import Json

AI_SDK = {"ai-7": "ai", "ai-6": "ai-6", "ai-5": "ai-5"}
AG_UI = {"ag-ui-1.0.0": "@ag-ui/client", "ag-ui-0.0.59": "ag-ui-client-0"}
CUT_AFTER = 2.0

pytestmark = pytest.mark.skipif(
    not (FOLDER / "node_modules").is_dir(), reason="the npm packages are not installed: npm ci --prefix tests/clients"
)


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, Node]]:
    """One Node process for each client, started when it is first needed."""
    started: dict[str, Node] = _Nodes()
    yield started
    for node in started.values():
        node.close()


class _Nodes(defaultdict[str, Node]):
    def __missing__(self, client: str) -> Node:
        script = "ai.mjs" if client in AI_SDK else "ag-ui.mjs"
        self[client] = node = Node(script, (AI_SDK | AG_UI)[client])
        return node


def agents() -> dict[str, Any]:
    return {name: f"run_probes:{name}" for name in NAMES}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(make_config(agents=agents())) as base:
        yield base


@pytest.fixture(scope="module")
def cutting_url() -> Iterator[str]:
    """A gateway behind a network that cuts every connection after a moment."""
    with serving(make_config(agents=agents(), server={"max_stream_seconds": CUT_AFTER})) as base:
        yield base


class Chat:
    """A chat of the AI SDK whose answer waits at a gate."""

    def __init__(self, node: Node, client: str, url: str, agent: str) -> None:
        self.thread, self.prompt = str(uuid.uuid4()), f"gate-{uuid.uuid4()}"
        self.gate = run_probes.gates[self.prompt]
        self.agent_url = f"{url}/agents/{agent}/vercel-ai"
        self._node, self._key = node, str(uuid.uuid4())
        body: Json = {"sdkVersion": 5} if client == "ai-5" else {}
        where: Json = {"url": self.agent_url, "threadId": self.thread, "headers": {}, "body": body}
        node.call("open", key=self._key, messages=[], lastOnly=False, **where)

    def begin(self, seen: str) -> Json:
        return self._node.call("begin", key=self._key, text=self.prompt, seen=seen)

    def resume(self) -> None:
        self._node.call("resume", key=self._key)

    def rest(self) -> Json:
        return self._node.call("rest", key=self._key)

    def call(self, method: str) -> Json:
        return self._node.call("call", key=self._key, method=method, argument=None)

    def stop(self) -> bool:
        """As a front end does it: a POST of its own beside the SDK, which has none."""
        stopped: bool = httpx.post(f"{self.agent_url}/{self.thread}/stop", timeout=10).json()["stopped"]
        return stopped


@contextmanager
def chat(node: Node, client: str, url: str, agent: str) -> Generator[Chat]:
    """The gate is opened in the end, so that nothing is left waiting."""
    opened = Chat(node, client, url, agent)
    try:
        yield opened
    finally:
        opened.gate.open()


def parts_of(state: Json) -> list[Json]:
    last: Json = state["messages"][-1]
    assert last["role"] == "assistant", state
    return [part for part in last["parts"] if part["type"] != "step-start"]


@pytest.mark.parametrize("client", AI_SDK)
def test_a_chat_that_was_cut_in_mid_text_resumes_to_the_whole_answer(
    nodes: dict[str, Node], client: str, cutting_url: str
) -> None:
    with chat(nodes[client], client, cutting_url, "gated") as session:
        session.begin("Begun")
        cut = session.rest()
        assert cut["status"] == "error", "a cut is not taken for the end"
        assert parts_of(cut)[0]["text"] == "Begun ünd "
        session.resume()
        session.gate.open()
        resumed = session.rest()
    assert resumed["status"] == "ready"
    [text] = [part for part in parts_of(resumed) if part["type"] == "text"]
    assert text["text"] == "Begun ünd ended."
    assert [message["role"] for message in resumed["messages"]] == ["user", "assistant"]
    assert run_probes.runs[session.prompt] == 1


@pytest.mark.parametrize("client", ["ai-7", "ai-6"])
def test_a_chat_that_was_cut_in_mid_tool_input_resumes_to_the_whole_call(
    nodes: dict[str, Node], client: str, cutting_url: str
) -> None:
    with chat(nodes[client], client, cutting_url, "half_a_call") as session:
        session.begin("input-streaming")
        cut = session.rest()
        assert cut["status"] == "error"
        session.resume()
        session.gate.open()
        resumed = session.rest()
    assert resumed["status"] == "ready"
    tool, text = parts_of(resumed)
    assert (tool["state"], tool["input"]) == ("output-available", {"text": "Begun and ended"})
    assert tool["output"] == "noted Begun and ended"
    assert text["text"] == "Noted."
    assert len(resumed["exchanges"]) == 1, "nothing was sent again"


@pytest.mark.parametrize("client", AI_SDK)
def test_a_chat_with_nothing_to_resume_stays_as_it_is(nodes: dict[str, Node], client: str, url: str) -> None:
    with chat(nodes[client], client, url, "gated") as session:
        session.gate.open()
        session.begin("ended.")
        before = session.rest()
        after = session.call("resumeStream")
    assert [exchange["status"] for exchange in after["exchanges"]] == [204]
    assert (after["status"], after["messages"]) == ("ready", before["messages"])


@pytest.mark.parametrize("client", AI_SDK)
@pytest.mark.parametrize(
    ("agent", "seen"), [("gated", "Begun"), ("half_a_call", "input-streaming"), ("calling", "output-available")]
)
def test_a_stopped_chat_is_ready_and_sends_nothing_by_itself(
    nodes: dict[str, Node], client: str, url: str, agent: str, seen: str
) -> None:
    """After a completed tool call `lastAssistantMessageIsCompleteWithToolCalls` might take the rest for its turn."""
    with chat(nodes[client], client, url, agent) as session:
        session.begin(seen)
        assert session.stop()
        stopped = session.rest()
        assert stopped["status"] == "ready"
        assert stopped["error"] is None
        assert len(stopped["exchanges"]) == 1, "nothing was sent by itself"
        assert '"type":"abort"' in stopped["exchanges"][0]["text"]
        assert not session.stop()


@pytest.mark.parametrize("client", AI_SDK)
def test_a_chat_goes_on_after_a_stop(nodes: dict[str, Node], client: str, url: str) -> None:
    with chat(nodes[client], client, url, "gated") as session:
        session.begin("Begun")
        session.stop()
        session.rest()
        session.gate.open()
        session.begin("ended.")
        answer = session.rest()
    assert answer["status"] == "ready"
    assert parts_of(answer)[0]["text"] == "Begun ünd ended."


@pytest.mark.parametrize("client", AG_UI)
def test_an_ag_ui_client_that_aborts_stops_the_run_on_the_server(nodes: dict[str, Node], client: str, url: str) -> None:
    prompt, thread, key = f"gate-{uuid.uuid4()}", str(uuid.uuid4()), str(uuid.uuid4())
    where: Json = {"url": f"{url}/agents/gated/ag-ui", "threadId": thread, "headers": {}}
    nodes[client].call("open", key=key, state={}, messages=[], **where)
    message = {"id": "m", "role": "user", "content": prompt}
    try:
        answer = nodes[client].call("abort", key=key, add=[message], seen="Begun")
        assert answer["error"] is None
        [exchange] = answer["exchanges"]
        run_id = exchange["headers"]["x-run-id"]
        whole = httpx.get(f"{url}/runs/{run_id}/stream", timeout=10)  # which ends with the run
        assert '"type":"RUN_FINISHED"' in whole.text
        assert httpx.get(f"{url}/runs/{run_id}", timeout=10).json()["status"] == "cancelled"
    finally:
        run_probes.gates[prompt].open()

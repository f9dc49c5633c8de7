"""The React hooks of the AI SDK 7 on a page: `useChat`, `useCompletion`, `useObject`."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hook_probes
import httpx
import pytest
import run_probes
from clients_driver import FOLDER, Node
from hooks_driver import Page, noted
from probes import SECRET
from serving import DEMO_AGENTS, make_config, serving

from gateway.locks import YOUNG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clients_driver import Json

TIMEOUT = 20.0
AGENTS: dict[str, Any] = {
    **DEMO_AGENTS,
    "broken": "probes:broken",
    "recounting": "client_probes:recounting",
    "own-history": {"import": "client_probes:recounting", "history": "client"},
    "paying-own-history": {"import": "client_probes:paying", "history": "client"},
    "showing-own-history": {"import": "hook_probes:showing", "history": "client"},
    "half-a-call-own-history": {
        "import": "run_probes:half_a_call",
        "history": "client",
        "concurrency": "interrupt",
    },
    "half-a-call": "run_probes:half_a_call",
    "gated": "run_probes:gated",
    "showing": "hook_probes:showing",
    "failing-late": "hook_probes:failing_late",
    "filling-in": "hook_probes:filling_in",
}


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """The process with the pages."""
    if not shutil.which("node") or not (FOLDER / "node_modules/@ai-sdk/react").is_dir():
        pytest.skip("the npm packages are not installed: npm ci --prefix tests/clients")
    process = Node("hooks.mjs", "@ai-sdk/react")
    yield process
    process.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(make_config(Path(__file__).parent, agents=AGENTS, server={"heartbeat": 0.02})) as base:
        yield base


@pytest.fixture
def chat(node: Node, url: str) -> Callable[..., Page]:
    """A page with `useChat`: `chat(agent, id="...", resume=True, text=True, ...)`."""

    def opened(agent: str, *, text: bool = False, **options: Any) -> Page:
        api = f"{url}/agents/{agent}/vercel-ai{'?protocol=text' * text}"
        return Page(node, "chat", text=text, transport={"api": api}, **{"id": str(uuid.uuid4()), **options})

    return opened


def status_of(url: str, run_id: str) -> str:
    status: str = httpx.get(f"{url}/runs/{run_id}", timeout=TIMEOUT).json()["status"]
    return status


def parts(page: Json, kind: str) -> list[Json]:
    """The parts of that kind in the last message."""
    last: Json = page["messages"][-1]
    assert last["role"] == "assistant", page
    return [part for part in last["parts"] if part["type"] == kind]


def text_of(page: Json) -> str:
    return "".join(part["text"] for part in parts(page, "text"))


def gate() -> str:
    return f"gate-{uuid.uuid4()}"


# useChat


def test_a_chat_shows_its_answer_as_it_grows(chat: Callable[..., Page]) -> None:
    talk = chat("gated")
    talk.begin("sendMessage", {"text": (prompt := gate())})
    assert talk.until("Begun")["status"] == "streaming"
    run_probes.gates[prompt].open()
    page = talk.rest()
    assert text_of(page) == "Begun ünd ended."
    assert {update["status"] for update in page["updates"]} == {"ready", "submitted", "streaming"}
    [finish] = noted(page, "finish")
    assert finish == {"isAbort": False, "isDisconnect": False, "isError": False, "finishReason": "stop"}
    assert page["messages"][-1]["metadata"]["gateway"]["agent"] == "gated"


def test_reasoning_and_the_input_of_a_tool_grow_too(chat: Callable[..., Page]) -> None:
    page = chat("assistant").call("sendMessage", {"text": "Why is the sky blue?"})
    assert parts(page, "reasoning")[0]["state"] == "done"
    asked = chat("half-a-call")
    asked.begin("sendMessage", {"text": (prompt := gate())})
    streaming = asked.until("Begun")
    run_probes.gates[prompt].open()
    assert parts(streaming, "tool-note")[0]["state"] == "input-streaming"
    [call] = parts(asked.rest(), "tool-note")
    assert (call["state"], call["input"]) == ("output-available", {"text": "Begun and ended"})


@pytest.mark.parametrize("agent", ["showing", "showing-own-history"])
def test_a_tool_shows_data_sources_and_files(chat: Callable[..., Page], agent: str) -> None:
    talk = chat(agent)
    page = talk.call("sendMessage", {"text": "Show me"})
    assert [(part["type"], part["data"]) for part in noted(page, "data")] == [
        ("data-toast", {"text": "Working"}),
        ("data-progress", {"percent": 10}),
        ("data-progress", {"percent": 100}),
        ("data-nothing", None),
    ]
    assert not parts(page, "data-toast"), "what is transient does not stay"
    assert [part["data"] for part in parts(page, "data-progress")] == [{"percent": 100}]
    assert [part["title"] for part in (*parts(page, "source-url"), *parts(page, "source-document"))] == ["A", "B"]
    assert [part["url"] for part in parts(page, "file")] == [hook_probes.PIXEL, "https://files.example/c.png"]
    assert sum(part["type"] == "step-start" for part in page["messages"][-1]["parts"]) == 2
    again = talk.call("sendMessage", {"text": "Again"})
    assert (again["error"], text_of(again)) == (None, "There.")


@pytest.mark.parametrize("agent", ["approver", "paying-own-history"])
@pytest.mark.parametrize("approved", [True, False])
def test_a_chat_goes_on_by_itself_after_a_decision(chat: Callable[..., Page], agent: str, approved: bool) -> None:
    talk = chat(agent)
    asked = talk.call("sendMessage", {"text": "Pay 25 EUR to Bob"})
    [call] = [part for part in asked["messages"][-1]["parts"] if part["type"].startswith("tool-")]
    assert call["state"] == "approval-requested"
    assert noted(asked, "finish")[0]["finishReason"] == "tool-calls"
    decided = talk.call("addToolApprovalResponse", {"id": call["approval"]["id"], "approved": approved})
    assert [message["id"] for message in decided["messages"]] == [message["id"] for message in asked["messages"]]
    [done] = [part for part in decided["messages"][-1]["parts"] if part["type"].startswith("tool-")]
    assert done["state"] == ("output-available" if approved else "output-denied")
    assert noted(decided, "finish")[-1]["finishReason"] == "stop"
    assert talk.call("sendMessage", {"text": "Thanks"})["error"] is None


@pytest.mark.parametrize("agent", ["half-a-call", "half-a-call-own-history"])
def test_a_chat_that_was_stopped_in_the_middle_of_a_tools_input_goes_on(chat: Callable[..., Page], agent: str) -> None:
    talk = chat(agent)
    talk.begin("sendMessage", {"text": (prompt := gate())})
    talk.until("Begun")
    assert run_probes.gates[prompt].reached.wait(TIMEOUT)
    talk.begin("stop")
    stopped = talk.rest()
    [call] = parts(stopped, "tool-note")
    assert call["rawInput"] == '{"text": "Begun'
    time.sleep(2 * YOUNG)  # whoever writes a message takes longer than that to be seen to have left the answer
    run_probes.gates[later := gate()].open()
    page = talk.call("sendMessage", {"text": later})
    assert page["error"] is None
    assert parts(page, "tool-note")[0]["state"] == "output-available"
    assert [exchange["status"] for exchange in page["exchanges"]] == [200]
    assert run_probes.gates[prompt].left.wait(TIMEOUT), "the run that was left behind gives way"


def test_a_chat_that_is_opened_again_goes_on_where_the_run_is(chat: Callable[..., Page]) -> None:
    first = chat("gated", id=(thread := str(uuid.uuid4())))
    first.begin("sendMessage", {"text": (prompt := gate())})
    begun = first.until("Begun")
    first.close()
    again = chat("gated", id=thread, resume=True, messages=begun["messages"][:1])
    again.until("Begun")
    run_probes.gates[prompt].open()
    page = again.rest()
    assert text_of(page) == "Begun ünd ended."
    assert page["messages"][-1]["id"] == begun["messages"][-1]["id"]
    assert run_probes.runs[prompt] == 1


def test_a_chat_without_a_run_has_nothing_to_resume(chat: Callable[..., Page]) -> None:
    page = chat("gated", resume=True).call("clearError")
    assert [exchange["status"] for exchange in page["exchanges"]] == [204]
    assert (page["status"], page["error"]) == ("ready", None)


def test_a_failure_keeps_what_was_said(chat: Callable[..., Page]) -> None:
    page = chat("broken").call("sendMessage", {"text": "Hello"})
    assert page["status"] == "error"
    assert text_of(page) == "Half an "
    assert page["error"]["message"].endswith("[run_failed]")
    assert SECRET not in json.dumps(page)


def test_a_chat_may_be_nothing_but_text(chat: Callable[..., Page]) -> None:
    talk = chat("recounting", text=True)
    assert text_of(talk.call("sendMessage", {"text": "one"})) == "(user: one)"
    assert text_of(talk.call("sendMessage", {"text": "two"})) == "(user: one | agent: (user: one) | user: two)"


def test_a_chat_in_text_that_is_opened_again_goes_on_where_the_run_is(chat: Callable[..., Page]) -> None:
    first = chat("gated", id=(thread := str(uuid.uuid4())), text=True)
    first.begin("sendMessage", {"text": (prompt := gate())})
    begun = first.until("Begun")
    first.close()
    again = chat("gated", id=thread, resume=True, text=True, messages=begun["messages"][:1])
    again.until("Begun")
    run_probes.gates[prompt].open()
    assert text_of(again.rest()) == "Begun ünd ended."


def test_a_chat_in_text_breaks_off_where_its_run_fails(chat: Callable[..., Page]) -> None:
    talk = chat("failing-late", text=True)
    talk.begin("sendMessage", {"text": (prompt := gate())})
    talk.until("Half an ")
    run_probes.gates[prompt].open()
    page = talk.rest()
    assert page["status"] == "error"
    assert text_of(page) == "Half an "
    assert noted(page, "finish")[0]["isError"] is True


def test_with_its_own_history_a_chat_is_what_the_page_has(chat: Callable[..., Page]) -> None:
    steered: Json = {"type": "steering-message", "id": "s", "parts": [{"type": "text", "text": "shorter"}]}
    said: Json = {"type": "text", "text": "Long.", "state": "done", "citations": []}
    past: list[Json] = [
        {"id": "u", "role": "user", "parts": [{"type": "text", "text": "one"}]},
        {"id": "a", "role": "assistant", "parts": [{"type": "step-start"}, said, steered, {**said, "text": "Short."}]},
    ]
    page = chat("own-history", messages=past).call("sendMessage", {"text": "two"})
    assert text_of(page) == "(user: one | agent: Long. | user: shorter | agent: Short. | user: two)"


# useCompletion


@pytest.mark.parametrize("protocol", ["data", "text"])
def test_a_completion_grows_on_the_page(node: Node, url: str, protocol: str) -> None:
    api = f"{url}/agents/gated/completion?protocol={protocol}"
    page = Page(node, "completion", api=api, streamProtocol=protocol, body={"mood": "good"})
    page.begin("complete", prompt := gate())
    assert page.until("Begun")["isLoading"] is True
    run_probes.gates[prompt].open()
    done = page.rest()
    assert (done["completion"], done["error"]) == ("Begun ünd ended.", None)
    assert noted(done, "finish") == [{"prompt": prompt, "text": "Begun ünd ended."}]
    assert done["exchanges"][0]["request"] == {"prompt": prompt, "mood": "good"}


@pytest.mark.parametrize("protocol", ["data", "text"])
def test_a_completion_that_fails_is_an_error_on_the_page(node: Node, url: str, protocol: str) -> None:
    api = f"{url}/agents/failing-late/completion?protocol={protocol}"
    page = Page(node, "completion", api=api, streamProtocol=protocol)
    page.begin("complete", prompt := gate())
    page.until("Half an ")
    run_probes.gates[prompt].open()
    failed = page.rest()
    assert failed["completion"] == "Half an "
    assert failed["error"]
    assert not noted(failed, "finish")


@pytest.mark.parametrize("protocol", ["data", "text"])
def test_stop_stops_the_run_of_a_completion(node: Node, url: str, protocol: str) -> None:
    page = Page(node, "completion", api=f"{url}/agents/gated/completion?protocol={protocol}", streamProtocol=protocol)
    page.begin("complete", prompt := gate())
    page.until("Begun")
    assert run_probes.gates[prompt].reached.wait(TIMEOUT)
    page.begin("stop")
    stopped = page.rest()
    assert (stopped["completion"], stopped["error"]) == ("Begun ünd ", None)
    assert run_probes.gates[prompt].left.wait(TIMEOUT), "though nobody has opened it"


# useObject


@pytest.fixture
def objects(node: Node, url: str) -> Callable[[str], Page]:
    """A page with `useObject`."""
    return lambda agent: Page(node, "object", api=f"{url}/agents/{agent}/object")


def test_an_object_fills_in_and_is_whole_in_the_end(objects: Callable[[str], Page]) -> None:
    page = objects("filling-in")
    page.begin("submit", {"prompt": (prompt := gate())})
    begun = page.until('"Ann"')
    assert begun["isLoading"] is True
    run_probes.gates[prompt].open()
    done = page.rest()
    whole = {"name": "Ann", "email": "ann@acme.example"}
    assert (done["object"], done["error"]) == (whole, None)
    assert noted(done, "finish") == [{"object": whole, "error": None}]


def test_the_input_of_an_object_may_be_a_string(objects: Callable[[str], Page]) -> None:
    run_probes.gates[prompt := gate()].open()
    assert objects("filling-in").call("submit", prompt)["object"]["email"] == "ann@acme.example"


def test_an_object_that_fails_is_an_error_on_the_page(objects: Callable[[str], Page]) -> None:
    page = objects("filling-in")
    page.begin("submit", prompt := f"fail {gate()}")
    page.until('"Ann"')
    run_probes.gates[prompt].open()
    failed = page.rest()
    assert failed["error"]
    assert not noted(failed, "finish")


def test_stop_stops_the_run_of_an_object(objects: Callable[[str], Page]) -> None:
    page = objects("filling-in")
    page.begin("submit", prompt := gate())
    page.until('"Ann"')
    assert run_probes.gates[prompt].reached.wait(TIMEOUT)
    page.begin("stop")
    stopped = page.rest()
    assert (stopped["object"]["name"], stopped["error"]) == ("Ann", None)
    assert run_probes.gates[prompt].left.wait(TIMEOUT)


def test_an_object_that_is_refused_shows_why(objects: Callable[[str], Page]) -> None:
    problem = json.loads(objects("recounting").call("submit", "Hello")["error"]["message"])
    assert 400 <= problem["status"] < 500

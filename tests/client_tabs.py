"""Front ends on stored threads: real clients as tabs of a browser, which can be loaded again, and what they load.

A plugin for the test modules that name it in `pytest_plugins`: all of them share the clients' processes. Those modules
import it before pytest does, hence PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import json
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
import run_probes
from clients_driver import FOLDER, AgUi, AiSdk, Node, Opening
from serving import DEMO_AGENTS, make_config, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from clients_driver import Answer, Json, ToolUse

AG_UI = {"ag-ui-1.0.0": "@ag-ui/client", "ag-ui-0.0.59": "ag-ui-client-0"}
AI_SDK = {"ai-7": "ai", "ai-6": "ai-6", "ai-5": "ai-5"}
CLIENTS = (*AG_UI, *AI_SDK)
APPROVING = (*AG_UI, "ai-7", "ai-6")
"""Version 5 of the AI SDK has no approvals."""

AGENTS: dict[str, Any] = {
    **DEMO_AGENTS,
    "broken": "probes:broken",
    "refused": "probes:refused",
    "failing-tool": "probes:failing_tool",
    **{name: f"client_probes:{name}" for name in ("recounting", "asking", "busy")},
    **{name: f"thread_probes:{name}" for name in ("teller", "payer")},
    "noting": {"import": "thread_probes:noting", "deps": "thread_probes:make_notes"},
    **{name: f"run_probes:{name}" for name in ("gated", "calling", "sleeping")},
    "half-a-call": "run_probes:half_a_call",
}


class Gateway:
    """A gateway whose threads are in a file, so that they outlive it."""

    def __init__(self, file: Path) -> None:
        stores = {"conversations": f"sqlite:///{file}"}
        self._config = make_config(Path(__file__).parent, agents=AGENTS, stores=stores)
        self._running = ExitStack()
        self.url = ""

    def start(self) -> None:
        self.url = self._running.enter_context(serving(self._config))
        # Before the server is told to stop, which waits for its connections.
        self._http = self._running.enter_context(httpx.Client(base_url=self.url, timeout=15))

    def stop(self) -> None:
        self._running.close()

    def restart(self) -> None:
        """As a deployment does: nothing in memory is left."""
        self.stop()
        self.start()

    def get(self, *path: str, **query: str) -> Any:
        """JSON of `GET /threads/...`, each part of the path encoded as `encodeURIComponent` does."""
        return self._request("GET", path, query).json()

    def post(self, *path: str) -> Any:
        return self._request("POST", path).json()

    def delete(self, *path: str) -> None:
        self._request("DELETE", path)

    def read(self, run_id: str) -> str:
        """All frames of a run."""
        return self._http.get(f"/runs/{run_id}/stream").raise_for_status().text

    def stop_run(self, run_id: str) -> bool:
        stopped: bool = self._http.post(f"/runs/{run_id}/cancel").json()["stopped"]
        return stopped

    def _request(self, method: str, path: tuple[str, ...], query: dict[str, str] | None = None) -> httpx.Response:
        url = "/".join(["/threads", *(quote(part, safe="") for part in path)])
        return self._http.request(method, url, params=query).raise_for_status()


@dataclass(frozen=True)
class Browser:
    """One kind of client."""

    client: str
    node: Node
    gateway: Gateway

    @property
    def is_ag_ui(self) -> bool:
        return self.client in AG_UI

    @property
    def format(self) -> str:
        """In which it loads threads."""
        return "ag-ui" if self.is_ag_ui else "vercel-ai"

    def tab(self, agent: str, **opening: Any) -> Tab:
        """A new tab; the members of `Opening` say how it is set up."""
        # A request does not tell the SDK's version, and version 5 wants a wire of its own.
        opening.setdefault("body", {"sdkVersion": 5} if self.client == "ai-5" else {})
        opening.setdefault("thread", f"a thread/{uuid.uuid4()}")
        opened = Opening(**opening)
        kind = AgUi if self.is_ag_ui else AiSdk
        return Tab(self, agent, opened, kind(self.node, self.gateway.url, agent, opened))


@dataclass(frozen=True)
class Tab:
    """A client object on one thread of one agent."""

    browser: Browser
    agent: str
    opening: Opening
    client: AgUi | AiSdk

    @property
    def thread(self) -> str:
        return self.opening.thread

    @property
    def messages(self) -> list[Json]:
        """What the client has."""
        return self.client.held()["messages"]

    @property
    def users(self) -> list[str]:
        """Ids of the user's messages."""
        return [message["id"] for message in self.messages if message["role"] == "user"]

    def ask(self, text: str, **more: Any) -> Answer:
        return self.client.ask(text, **more)

    def answer(self, approved: bool, **more: Any) -> Answer:
        """The same answer to all that waits for approval."""
        return self.client.decide(dict.fromkeys(self.approvals(), approved), **more)

    def give(self, call: ToolUse, output: Any) -> Answer:
        return self.client.give(call, output)

    def about(self) -> Json:
        """The thread as the gateway has it."""
        return self.browser.gateway.get(self.thread)

    def loaded(self, shape: str = "") -> list[Json]:
        """The thread's messages, in the shape of this client, or of another one."""
        return self.browser.gateway.get(self.thread, "messages", format=shape or self.browser.format)["messages"]

    def approvals(self) -> list[str]:
        """What waits for a decision, as a client that has just loaded the thread knows it."""
        if self.browser.is_ag_ui:
            return [interrupt["id"] for interrupt in self.about()["interrupts"]]
        parts = [part for message in self.messages for part in message["parts"]]
        return [part["approval"]["id"] for part in parts if part.get("state") == "approval-requested"]

    def reloaded(self, browser: Browser | None = None, agent: str = "", **opening: Any) -> Tab:
        """The same thread in a new tab, perhaps of another client or with another agent, with what that loads."""
        browser = browser or self.browser
        state = {"state": self.about()["state"]} if browser.is_ag_ui else {}
        kept = {"thread": self.thread, "tools": self.opening.tools, "past": self.loaded(browser.format)}
        return browser.tab(agent or self.agent, **kept | state | opening)

    def branches(self) -> list[Json]:
        """The current one first."""
        return self.browser.gateway.get(self.thread, "branches")["branches"]

    def switch(self, entry: str) -> None:
        """Go to another branch."""
        self.browser.gateway.post(self.thread, "branches", entry)

    def stopped(self, text: str) -> Answer:
        """Say something that the agent waits with at the gate of that name, and stop it there."""
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.ask, text)
            assert run_probes.gates[text].reached.wait(10)
            assert self.browser.gateway.stop_run(self.about()["run_id"])
            return answer.result(20)

    @contextmanager
    def waiting(self, text: str) -> Generator[Json]:
        """While the agent waits at the gate of that name: the thread meanwhile. The gate is opened in the end."""
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.ask, text)
            try:
                assert run_probes.gates[text].reached.wait(10)
                yield self.about()
            finally:
                run_probes.gates[text].open()
                answer.result(20)

    def check(self, *answers: Answer) -> None:
        """What the client has is what it would load, and what it was sent is what a second reader gets."""
        for exchange in (each for answer in answers for each in answer.raw["exchanges"]):
            if exchange["status"] == httpx.codes.OK:
                assert self.browser.gateway.read(exchange["headers"]["x-run-id"]) == exchange["text"]
        # A failure before the first word leaves the AI SDK with an empty message, of which the thread knows nothing.
        held = [each for each in self.messages if each.get("parts") != []]
        loaded = self.loaded()
        for mine, stored in zip(held, loaded, strict=False):
            assert mine == stored, f"the client has\n{json.dumps(mine)}\nand would load\n{json.dumps(stored)}"
        assert len(held) == len(loaded), f"the client has\n{json.dumps(held)}\nand would load\n{json.dumps(loaded)}"
        assert loaded == self.loaded(), "it is the same each time"


@pytest.fixture(scope="session")
def node_of() -> Iterator[Callable[[str], Node]]:
    """A Node process for each client, started when it is first needed."""
    if not shutil.which("node") or not (FOLDER / "node_modules").is_dir():
        pytest.skip("the npm clients are not installed: npm ci --prefix tests/clients")
    with ExitStack() as stack:

        @cache
        def make(client: str) -> Node:
            is_ag_ui = client in AG_UI
            node = Node("ag-ui.mjs" if is_ag_ui else "ai.mjs", (AG_UI | AI_SDK)[client])
            stack.callback(node.close)
            return node

        yield make


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    started = Gateway(tmp_path_factory.mktemp("gateway") / "threads.db")
    started.start()
    yield started
    started.stop()


@pytest.fixture
def browser_of(node_of: Callable[[str], Node], gateway: Gateway) -> Callable[[str], Browser]:
    """Every client by its name, on the same gateway."""
    return lambda client: Browser(client, node_of(client), gateway)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """Every client; a test narrows it down with `@only(...)`."""
    return request.param


@pytest.fixture
def browser(browser_of: Callable[[str], Browser], client: str) -> Browser:
    return browser_of(client)


def only(*clients: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("client", clients)

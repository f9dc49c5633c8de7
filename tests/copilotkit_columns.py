"""One table: cases of a CopilotKit app, each played on several runtimes in front of the same agents."""

from __future__ import annotations

import hashlib
import traceback
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import httpx
import run_probes
from clients_driver import Json, Node
from copilotkit_app import App
from node_runtime import Arrivals, Arrived, node_runtime, plain_agents
from serving import make_config, running
from starlette.responses import PlainTextResponse

from gateway.server import make_server

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    import pytest
    from pydantic_ai import Agent
    from starlette.types import ASGIApp, Receive, Scope, Send

    Again = Callable[[], AbstractContextManager[str]]

GATEWAY, NODE, FRONT = "gateway", "Node", "Node + gateway"
"""The columns: the gateway's own runtime; Node's before pydantic-ai's adapter; Node's before the gateway's AG-UI."""


def on_node(word: str) -> dict[str, str]:
    """Why neither column with Node does something."""
    return {NODE: word, FRONT: word}


KEY = "a-key-that-only-tests-know"
IMPORTS = {
    "assistant": "agents.assistant:agent",
    "approver": "agents.approver:agent",
    "planner": "agents.planner:agent",
    "plain": "probes:plain",
    "broken": "probes:broken",
    "gated": "run_probes:gated",
    "teller": "thread_probes:teller",
    "browses": "copilotkit_agents:browses",
    "suggesting": "copilotkit_cases_agents:suggesting",
    "searching": "copilotkit_cases_agents:searching",
    "counting": "copilotkit_cases_agents:counting",
    "paints": "sandbox_agents:paints",
}
DEPS = {"planner": "agents.planner:make_deps", "counting": "copilotkit_cases_agents:make_count"}
AGENTS: dict[str, Agent[Any, Any]] = {name: resolve_name(path) for name, path in IMPORTS.items()}


@dataclass(frozen=True)
class Column:
    """A runtime."""

    name: str
    many: str
    """Its `runtimeUrl`."""
    one: str
    """A `runtimeUrl` at which a single URL is served and nothing else."""
    guarded: str
    """A runtime whose agents want `KEY`."""
    again: Again
    """Opens the same runtime as another process would: after a restart, or as a replica."""
    seen: list[Arrived] = field(default_factory=list[Arrived])
    """What came to the agents' side."""


@contextmanager
def columns(folder: Path) -> Generator[list[Column]]:
    """All of them, in the order of the table."""
    with ExitStack() as stack:
        yield [stack.enter_context(column) for column in (_gateway(folder), _node(), _front(folder))]


@contextmanager
def _gateway(folder: Path) -> Generator[Column]:
    seen: list[Arrived] = []
    again = _another(folder / "own.db")
    with _served(folder / "own.db", seen) as url, _served(None, [], KEY) as guarded:
        at = f"{url}/copilotkit"
        yield Column(GATEWAY, at, f"{url}/one", f"{guarded}/copilotkit", again, seen)


@contextmanager
def _node() -> Generator[Column]:
    seen: list[Arrived] = []
    deps = {name: resolve_name(path) for name, path in DEPS.items()}
    with ExitStack() as stack:
        behind = stack.enter_context(plain_agents(AGENTS, deps, seen))
        guarded = stack.enter_context(plain_agents(AGENTS, deps, [], KEY))
        yield stack.enter_context(_on_node(NODE, behind, guarded, seen))


@contextmanager
def _front(folder: Path) -> Generator[Column]:
    seen: list[Arrived] = []
    with (
        _served(folder / "front.db", seen) as url,
        _served(None, [], KEY) as guarded,
        _on_node(FRONT, _ag_ui(url), _ag_ui(guarded), seen) as column,
    ):
        yield column


@contextmanager
def _on_node(
    name: str, behind: Mapping[str, str], guarded: Mapping[str, str], seen: list[Arrived]
) -> Generator[Column]:
    @contextmanager
    def again() -> Generator[str]:
        with node_runtime(behind) as node:
            yield node.many

    with node_runtime(behind) as node, node_runtime(guarded) as with_key:
        yield Column(name, node.many, node.one, with_key.many, again, seen)


@contextmanager
def _served(database: Path | None, seen: list[Arrived], key: str = "") -> Generator[str]:
    """A gateway with all agents."""
    stores = {"conversations": f"sqlite:///{database}"} if database else {}
    keys = {"api_keys": [{"id": "page", "sha256": hashlib.sha256(key.encode()).hexdigest()}]} if key else {}
    agents = {name: {"import": path, "deps": DEPS.get(name)} for name, path in IMPORTS.items()}
    server = make_server(make_config(agents=agents, stores=stores, auth=keys))
    server.config.app = OneUrl(Arrivals(cast("ASGIApp", server.config.app), seen))
    with running(server) as url:
        yield url


class OneUrl:
    """What a proxy does that passes on a single URL, `/one`, and nothing below it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path.startswith("/one/"):
            await PlainTextResponse("Not passed on", 404)(scope, receive, send)
        elif path == "/one":
            await self._app({**scope, "path": "/copilotkit", "raw_path": b"/copilotkit"}, receive, send)
        else:
            await self._app(scope, receive, send)


def _another(database: Path) -> Again:
    @contextmanager
    def again() -> Generator[str]:
        with _served(database, []) as url:
            yield f"{url}/copilotkit"

    return again


def _ag_ui(url: str) -> dict[str, str]:
    return {name: f"{url}/agents/{name}/ag-ui" for name in AGENTS}


class _Complaining(App):
    def call(self, method: str, agent: str = "", **params: Any) -> Json:
        return self._node.call(method, key=self.key, **({"agentId": agent} if agent else {}), **params)


class Stage:
    """Where a case is played: a runtime, over one of its transports, with a thread of its own."""

    def __init__(self, node: Node, column: Column, transport: str) -> None:
        self._node = node
        self.column = column
        self.transport = transport
        self.thread = f"thread-{uuid4()}"
        self.gate = f"wait-{uuid4()}"
        """A prompt at which `gated` and `teller` wait half-way."""

    @property
    def url(self) -> str:
        """The `runtimeUrl` for the transport."""
        return self.column.one if self.transport == "single" else self.column.many

    def page(self, url: str = "", *, may_complain: bool = False, **options: Any) -> App:
        """A page with the app on it; one that `may_complain` may write warnings into its console."""
        kind = _Complaining if may_complain else App
        return kind(self._node, url or self.url, **{"transport": self.transport, **options})

    @contextmanager
    def browser(self) -> Generator[App]:
        """A page in a browser of its own, which is gone in the end."""
        node = Node("copilotkit.mjs", "")
        try:
            yield App(node, self.url, transport=self.transport)
            with suppress(ChildProcessError):
                node.call("vanish")
        finally:
            node.close()

    def ask(
        self, method: str, path: str, body: Json | None = None, /, verb: str = "POST", **params: Any
    ) -> httpx.Response:
        """A request without the client: `method` of the single URL, or the path and the verb that stand for it."""
        if self.transport == "rest":
            return httpx.request(verb, self.url + path, json=body)
        if method == "resource/request":
            params = {"path": path, "httpMethod": verb}
        envelope = {"method": method, "params": params, **({} if body is None else {"body": body})}
        return httpx.post(self.url, json=envelope)

    def open_gate(self) -> None:
        """Let the agent go on that waits there."""
        run_probes.gates[self.gate].open()


@dataclass(frozen=True)
class Case:
    """What an app should be able to do."""

    title: str
    play: Callable[[Stage], None]
    """Raises where the runtime does not do it."""
    transport: str
    known: Mapping[str, str]
    """Columns that do not, with a short word why."""

    def failure_on(self, column: Column, node: Node) -> str:
        """Why it fails there; empty when it does not."""
        stage = Stage(node, column, self.transport)
        try:
            self.play(stage)
        except Exception:  # noqa: BLE001 - whatever went wrong, that is how a page would see it
            return f"{traceback.format_exc(limit=-1)}"[-3000:]
        finally:
            stage.open_gate()
        return ""


class Cases:
    """The rows of the table."""

    def __init__(self) -> None:
        self.rows: list[Case] = []

    def __call__(
        self, *, single: bool = False, known: Mapping[str, str] | None = None
    ) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
        """A function that plays a case, whose name is its title; with `single` over the single URL, too."""

        def add(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
            title = play.__name__.replace("_", " ")
            self.rows.append(Case(title, play, "rest", known or {}))
            if single:
                self.rows.append(Case(f"{title} (one URL)", play, "single", known or {}))
            return play

        return add


class Table:
    """What came of the cases; pytest shows it at the end of its report."""

    def __init__(self) -> None:
        self.rows: dict[str, list[str]] = {}

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """A hook of pytest."""
        if self.rows:
            terminalreporter.section("CopilotKit runtimes, side by side")
            for line in self.lines():
                terminalreporter.line(line)

    def lines(self) -> list[str]:
        """The table as text."""
        rows = [["", GATEWAY, NODE, FRONT], *([title, *told] for title, told in self.rows.items())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

"""The blocking client where event loops, threads and interpreters end; and what importing it brings along."""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
import run_probes
from client_matrix import TIMEOUT, client_config, client_of, happens
from serving import ROOT, serving

from gateway.client import AsyncChat, AsyncClient, AsyncThreads, Chat, Client, ClientError, Threads
from gateway.client.blocking import finished

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = ROOT / "gateway"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(client_config()) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with client_of("sync", url) as client:
        yield client


@pytest.mark.anyio
async def test_it_works_where_an_event_loop_already_runs(client: Client) -> None:
    """As in a notebook; it blocks the loop, so the gateway is in another thread here."""
    assert asyncio.get_running_loop()
    assert client.run("plain", "Hello").text == "Hello from the probe."
    assert "".join(client.stream_text("plain", "Hello")) == "Hello from the probe."


def test_one_client_serves_many_threads_at_a_time(client: Client) -> None:
    def ask(number: int) -> str:
        with client.stream_text("fast", f"{number} numbers", debounce=0) as stream:
            return "".join(stream)

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(1, 49)))
    assert answers == ["".join(f"{number} " for number in range(count)) for count in range(1, 49)]


def test_a_stream_is_cancelled_from_another_thread_while_it_is_read(client: Client) -> None:
    gate = f"gate-{uuid4()}"
    with client.stream_text("gated", gate) as stream, ThreadPoolExecutor(1) as threads:
        next(stream)
        rest = threads.submit(list[str], stream)
        happens(run_probes.gates[gate].reached)
        assert stream.cancel()
        assert rest.result(TIMEOUT) == []
    assert stream.outcome == "cancelled"


def test_a_stream_that_the_garbage_collector_finds_cancels_its_run(client: Client) -> None:
    gate = f"gate-{uuid4()}"
    circle: list[Any] = [client.stream_text("gated", gate)]
    next(circle[0])
    happens(run_probes.gates[gate].reached)
    circle.append(circle)
    del circle
    gc.collect()
    happens(run_probes.gates[gate].left)


def test_an_http_client_of_the_callers_is_used_and_left_open(url: str) -> None:
    seen: list[str] = []

    def look(request: httpx.Request) -> None:
        seen.append(request.headers["x-team"])

    with httpx.Client(event_hooks={"request": [look]}) as http:
        with Client(f"{url}/", api_key="ada", headers={"x-team": "blue"}, http=http) as client:
            assert client.agents()
        assert not http.is_closed
    assert seen == ["blue"]


def test_a_connection_is_used_again_after_a_stream(url: str) -> None:
    ports: list[int] = []

    def look(response: httpx.Response) -> None:
        ports.append(response.extensions["network_stream"].get_extra_info("client_addr")[1])

    with httpx.Client(event_hooks={"response": [look]}) as http, Client(url, api_key="ada", http=http) as client:
        for _ in range(3):
            client.run("plain", "Hello")
    assert len(ports) == 3
    assert len(set(ports)) == 1


def test_a_script_that_leaves_a_stream_ends(url: str) -> None:
    """The stream lives on in a global while the interpreter ends."""
    script = (
        "from gateway.client import Client\n"
        f"client = Client({url!r}, api_key='ada')\n"
        f"stream = client.stream_text('gated', 'gate-{uuid4()}')\n"
        "print(next(stream))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "Begun ünd \n"
    assert done.stderr == ""


def test_importing_it_brings_neither_the_agents_nor_the_server_along() -> None:
    heavy = ("pydantic_ai", "starlette", "uvicorn", "ag_ui", "sqlalchemy", "structlog", "yaml")
    script = f"import sys, gateway.client; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def _imported(path: str) -> set[str]:
    tree = ast.parse((PACKAGE / path).read_text())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return {name for name in modules if name.split(".")[0] == "gateway"}


def test_it_is_a_leaf() -> None:
    for path in PACKAGE.rglob("*.py"):
        own = path.is_relative_to(PACKAGE / "client")
        imported = _imported(str(path.relative_to(PACKAGE)))
        if own:
            assert all(name.startswith("gateway.client") for name in imported), path
        else:
            assert not any(name.startswith("gateway.client") for name in imported), path


@pytest.mark.parametrize(("blocking", "waiting"), [(Client, AsyncClient), (Chat, AsyncChat), (Threads, AsyncThreads)])
def test_both_clients_have_the_same_methods_with_the_same_words(blocking: type, waiting: type) -> None:
    for name, method in inspect.getmembers(blocking, inspect.isfunction):
        if not name.startswith("_"):
            twin = getattr(waiting, name)
            assert [*inspect.signature(twin).parameters] == [*inspect.signature(method).parameters]
            assert twin.__doc__ == method.__doc__
    assert {name for name in dir(waiting) if name[0] != "_"} == {name for name in dir(blocking) if name[0] != "_"}


def test_the_blocking_core_never_waits_for_a_loop() -> None:
    with pytest.raises(RuntimeError, match="has waited"):
        finished(asyncio.sleep(0))


def test_all_errors_are_of_one_tree() -> None:
    from gateway.client import errors  # noqa: PLC0415 - looked through by name

    found = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, Exception)]
    assert len(found) > 15
    assert all(issubclass(each, ClientError) for each in found)

"""Two gateway processes and one Redis: each serves the runs of the other, and outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from fault_proxy import FaultProxy
from reading import KEYS, Reader, becomes, client_for, eventually, of_chat, reading, status_of, stop
from redis_server import RedisServer
from replicas import Replica
from talking import WIRES, assert_problem, error_of, events_of, numbers_of, run_url, text_of, turn

from gateway.locks import YOUNG

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

LEASE = 2.0
RETRY = 8.0
SLACK = 5.0
"""Seconds that a busy machine may take longer."""
AGENTS = '''
import asyncio
from pathlib import Path

from pydantic_ai import Agent
from pydantic_ai.models.function import FunctionModel

GATES = Path(__file__).parent


def gate_of(messages):
    return GATES / messages[-1].parts[-1].content


async def waits(messages, info):
    """Silent until its gate is there."""
    yield "Begun ünd "
    while not gate_of(messages).exists():
        await asyncio.sleep(0.01)
    yield "ended."


async def ticks(messages, info):
    """Speaks until its gate is there."""
    number = 0
    while not gate_of(messages).exists():
        yield f"{number} ünd "
        number += 1
        await asyncio.sleep(0.01)
    yield "ended."


waiting = Agent(FunctionModel(stream_function=waits), name="waiting")
ticking = Agent(FunctionModel(stream_function=ticks), name="ticking")
'''
CONFIG: dict[str, Any] = {
    "auth": {"api_keys": KEYS},
    "agents": {
        "waiting": "replicated:waiting",
        "ticking": "replicated:ticking",
        "taking_over": {"import": "replicated:waiting", "concurrency": "interrupt"},
        "plain": "probes:plain",
    },
}
FINISHED = {"ag-ui": "RUN_FINISHED", "vercel-ai": "finish"}


class Pair:
    """Two processes that share a Redis, and the gates of their runs."""

    def __init__(self, folder: Path, redis_url: str, retry: float, **server: Any) -> None:
        self.folder = folder
        (folder / "replicated.py").write_text(AGENTS)
        stores = {"stores": {"streams": redis_url}, "streams": {"lease": LEASE, "retry": retry}}
        self.replicas = [Replica(folder, name, {**CONFIG, **stores, "server": server}) for name in ("a", "b")]

    @property
    def a(self) -> Replica:
        return self.replicas[0]

    @property
    def b(self) -> Replica:
        return self.replicas[1]

    def open(self, gate: str) -> None:
        (self.folder / gate).touch()


@contextmanager
def started(folder: Path, redis_url: str, *, retry: float = RETRY, drain_timeout: float = 1) -> Generator[Pair]:
    pair = Pair(folder, redis_url, retry, drain_timeout=drain_timeout)
    try:
        for replica in pair.replicas:
            replica.wait()
        yield pair
    finally:
        for replica in pair.replicas:
            replica.close()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    made = RedisServer()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def shared(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """For tests that leave both processes as they are."""
    with started(tmp_path_factory.mktemp("replicas"), server.url) as pair:
        yield pair


@pytest.fixture
def pair(server: RedisServer, tmp_path: Path) -> Iterator[Pair]:
    """For tests that do not, in a database of their own."""
    with started(tmp_path, f"{server.url[:-1]}1", drain_timeout=2) as pair:
        yield pair


class Clients:
    """Ada's clients of both processes, and a run of hers."""

    def __init__(self, pair: Pair, a: httpx.AsyncClient, b: httpx.AsyncClient) -> None:
        self.pair, self.a, self.b = pair, a, b

    @asynccontextmanager
    async def run(self, wire: str, agent: str = "waiting", **fields: Any) -> AsyncGenerator[Run]:
        """Start a run on A and read its first words."""
        gate = f"gate-{uuid4()}"
        body = turn(wire, gate, **fields)
        try:
            async with reading(self.a, "POST", run_url(wire, agent), json=body) as reader:
                await reader.until("nd ")
                yield Run(self, wire, gate, body, reader)
        finally:
            self.pair.open(gate)


class Run:
    """A run of A that goes on until its gate is opened."""

    def __init__(self, clients: Clients, wire: str, gate: str, body: dict[str, Any], reader: Reader) -> None:
        self.wire, self.gate, self.body, self.reader = wire, gate, body, reader
        self.thread: str = body["threadId" if wire == "ag-ui" else "id"]
        self.id = reader.run_id
        self._clients = clients

    def open(self) -> None:
        self._clients.pair.open(self.gate)

    def on_b(self, after: int = 0) -> contextlib.AbstractAsyncContextManager[Reader]:
        return reading(self._clients.b, "GET", f"/runs/{self.id}/stream", params={"after": after})


@asynccontextmanager
async def clients_of(pair: Pair) -> AsyncGenerator[Clients]:
    async with client_for(pair.a.url) as a, client_for(pair.b.url) as b:
        yield Clients(pair, a, b)


@pytest.fixture
async def ada(shared: Pair) -> AsyncGenerator[Clients]:
    async with clients_of(shared) as clients:
        yield clients


def after(body: str, number: int) -> str:
    """A stream's body from the frame behind that number on."""
    found = re.search(rf"^id: {number + 1}$", body, re.MULTILINE)
    return body[found.start() :] if found else ""


def assert_whole(wire: str, body: str) -> None:
    """Every frame, each once, in order, up to the end of an agent that came to its own."""
    numbers = numbers_of(body)
    assert numbers == list(range(1, len(numbers) + 1))
    events = events_of(body)
    assert events[-1]["type"] == FINISHED[wire], events[-1]
    said = text_of(events)
    assert said.endswith("ended.")
    ticks = [int(word) for word in said.split() if word.isdecimal()]
    assert ticks == list(range(len(ticks)))


async def refused(client: httpx.AsyncClient, wire: str, thread: str, agent: str = "plain") -> bool:
    """Whether a turn on the thread is not accepted because of another run; one that is accepted is read to its end."""
    response = await client.post(run_url(wire, agent), json=turn(wire, thread=thread))
    if response.status_code == 409:
        return True
    assert response.status_code == 200, response.text
    assert text_of(events_of(response.text)) == "Hello from the probe."
    return False


# Reading


@pytest.mark.parametrize("agent", ["waiting", "ticking"])
@pytest.mark.parametrize("wire", WIRES)
async def test_every_replica_has_the_same_frames_of_a_run(ada: Clients, wire: str, agent: str) -> None:
    async with ada.run(wire, agent) as run, run.on_b() as first, run.on_b(after=2) as second:
        await first.until("nd ")  # before the run has ended, and with the first reader still there
        assert await status_of(ada.b, run.id) == "running"
        run.open()
        body, *others = await asyncio.gather(run.reader.rest(), first.rest(), second.rest())
        assert_whole(wire, body)
        assert others == [body, after(body, 2)]
        for number in (0, 1, len(numbers_of(body)) // 2, len(numbers_of(body)) - 1):
            async with run.on_b(number) as late:
                assert await late.rest() == after(body, number)
        assert await status_of(ada.b, run.id) == "finished"


async def test_a_chat_is_resumed_on_another_replica(ada: Clients) -> None:
    async with ada.run("vercel-ai") as run:
        async with (
            reading(ada.b, "GET", of_chat(run.thread, "stream", "waiting")) as one,
            reading(ada.b, "GET", of_chat(run.thread, "stream", "waiting")) as two,
        ):
            assert one.run_id == two.run_id == run.id
            await one.until("nd ")
            run.open()
            bodies = await asyncio.gather(run.reader.rest(), one.rest(), two.rest())
        assert_whole("vercel-ai", bodies[0])
        assert len(set(bodies)) == 1
        assert (await ada.b.get(of_chat(run.thread, "stream", "waiting"))).status_code == 204


async def test_a_reader_elsewhere_keeps_a_run_alive_and_its_going_ends_it(ada: Clients) -> None:
    async with ada.run("ag-ui", "ticking") as run, run.on_b() as reader:
        await reader.until("nd ")  # headers come before B has said that it reads
        await run.reader.response.aclose()
        # Longer than A waits between two looks for readers elsewhere.
        await reader.until('"220 ')
        assert await status_of(ada.b, run.id) == "running"
        await reader.response.aclose()
        await becomes(ada.a, run.id, "cancelled")


@pytest.mark.parametrize("wire", WIRES)
async def test_a_foreign_run_is_no_run_on_any_replica(ada: Clients, shared: Pair, wire: str) -> None:
    async with ada.run(wire) as run:
        for replica in shared.replicas:
            async with client_for(replica.url, "bob") as bob:
                for method, path in (("GET", ""), ("GET", "/stream"), ("POST", "/cancel")):
                    response = await bob.request(method, f"/runs/{run.id}{path}")
                    assert_problem(response, 404, "not_found")
                assert (await bob.get(of_chat(run.thread, "stream", "waiting"))).status_code == 204
                stopped = await bob.post(of_chat(run.thread, "stop", "waiting"))
                assert stopped.json() == {"stopped": False}
                assert not await refused(bob, wire, run.thread), "his thread of that name is another one"
        assert await status_of(ada.b, run.id) == "running"


# Stopping, and one run on each thread


def assert_stopped(wire: str, body: str) -> None:
    events = events_of(body)
    types = [event["type"] for event in events]
    if wire == "ag-ui":
        assert types[-2:] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]
        assert events[-1]["outcome"] == {"type": "cancelled"}
    else:
        assert "text-end" in types
        assert "abort" in types
        assert body.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("agent", ["waiting", "ticking"])
@pytest.mark.parametrize("wire", WIRES)
async def test_a_run_is_stopped_from_another_replica(ada: Clients, wire: str, agent: str) -> None:
    async with ada.run(wire, agent) as run, run.on_b() as reader:
        await reader.until("nd ")
        began = time.monotonic()
        assert await stop(ada.b, run.id)
        bodies = await asyncio.gather(run.reader.rest(), reader.rest())
        assert time.monotonic() - began < 1 + SLACK / 2
        assert bodies[0] == bodies[1]
        assert_stopped(wire, bodies[0])
        assert await status_of(ada.b, run.id) == "cancelled"
        assert not await stop(ada.b, run.id)


async def test_a_chat_is_stopped_from_another_replica(ada: Clients) -> None:
    async with ada.run("vercel-ai") as run:
        answer = await ada.b.post(of_chat(run.thread, "stop", "waiting"))
        assert answer.json() == {"stopped": True}
        assert_stopped("vercel-ai", await run.reader.rest())


@pytest.mark.parametrize("wire", WIRES)
async def test_a_thread_has_one_run_over_all_replicas(ada: Clients, wire: str) -> None:
    async with ada.run(wire) as run:
        await asyncio.sleep(2 * YOUNG)  # from then on it gives way, if nobody reads it
        response = await ada.b.post(run_url(wire, "plain"), json=turn(wire, thread=run.thread))
        assert assert_problem(response, 409, "run_conflict", "run_id")["run_id"] == run.id
        assert response.headers["x-run-id"] == run.id
        run.open()
        assert_whole(wire, await run.reader.rest())
        await eventually(lambda: _accepted(ada.b, wire, run.thread), within=1 + SLACK)


async def _accepted(client: httpx.AsyncClient, wire: str, thread: str) -> bool:
    return not await refused(client, wire, thread)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_turn_on_another_replica_takes_the_thread_over(ada: Clients, wire: str) -> None:
    async with ada.run(wire, "taking_over") as run:
        gate = f"gate-{uuid4()}"
        ada.pair.open(gate)
        began = time.monotonic()
        response = await ada.b.post(run_url(wire, "taking_over"), json=turn(wire, gate, run.thread))
        assert time.monotonic() - began < 2 + SLACK
        assert_whole(wire, response.text)
        assert_stopped(wire, await run.reader.rest())
        assert await status_of(ada.b, run.id) == "cancelled"


async def test_a_repeated_request_joins_its_run_on_another_replica(ada: Clients) -> None:
    async with (
        ada.run("ag-ui") as run,
        reading(ada.b, "POST", run_url("ag-ui", "waiting"), json=run.body) as reader,
    ):
        assert reader.run_id == run.id
        await reader.until("nd ")
        run.open()
        body = await run.reader.rest()
        assert_whole("ag-ui", body)
        assert await reader.rest() == body


# A process that goes


async def test_runs_of_a_process_that_was_killed_are_lost_loudly(pair: Pair) -> None:
    async with clients_of(pair) as ada, contextlib.AsyncExitStack() as stack:
        unread, *runs = [
            await stack.enter_async_context(ada.run(*what))
            for what in (("ag-ui", "waiting"), ("ag-ui", "waiting"), ("vercel-ai", "ticking"))
        ]
        readers = [await stack.enter_async_context(run.on_b()) for run in runs]
        for reader in readers:
            await reader.until("nd ")
        pair.a.process.kill()
        async with asyncio.TaskGroup() as group:
            group.create_task(_free_within_the_lease(ada, unread))
            for run, reader in zip(runs, readers, strict=True):
                group.create_task(_told_in_time(ada, run, reader))


async def _free_within_the_lease(ada: Clients, run: Run) -> None:
    # Nobody reads this run: it is found dead by whoever asks for its thread.
    await eventually(lambda: _accepted(ada.b, run.wire, run.thread), within=LEASE + SLACK)
    async with run.on_b() as reader:
        assert error_of(run.wire, await reader.rest())[0] == "run_lost"


async def _told_in_time(ada: Clients, run: Run, reader: Reader) -> None:
    async with asyncio.timeout(LEASE + 2 + SLACK):
        seen = await run.reader.broken_off()
        body = await reader.rest()
    assert error_of(run.wire, body)[0] == "run_lost"
    assert body.startswith(seen[: seen.rindex("\n\n")]), "nothing that was seen is missing"
    numbers = numbers_of(body)
    assert numbers == list(range(1, len(numbers) + 1))
    assert await status_of(ada.b, run.id) == "lost"
    async with run.on_b(after=1) as late:
        assert await late.rest() == after(body, 1)
    assert not await refused(ada.b, run.wire, run.thread), "the thread is free"
    if run.wire == "vercel-ai":
        assert (await ada.b.get(of_chat(run.thread, "stream", "ticking"))).status_code == 204


async def test_a_stopped_process_ends_all_its_streams(pair: Pair) -> None:
    async with clients_of(pair) as ada, contextlib.AsyncExitStack() as stack:
        runs = [
            await stack.enter_async_context(ada.run(WIRES[n % 2], ["waiting", "ticking"][n // 5])) for n in range(10)
        ]
        readers = [await stack.enter_async_context(run.on_b()) for run in runs]
        for reader in readers:
            await reader.until("nd ")
        pair.a.process.send_signal(signal.SIGTERM)
        for run in runs[::3]:
            run.open()
        bodies = await asyncio.gather(*(run.reader.rest() for run in runs))
        assert await pair.a.ended(within=8) == 0, pair.a.log
        for number, (run, reader, body) in enumerate(zip(runs, readers, bodies, strict=True)):
            assert await reader.rest() == body
            if number % 3 == 0:
                assert_whole(run.wire, body)
            else:
                assert error_of(run.wire, body)[0] == "run_interrupted"
            async with run.on_b(after=2) as late:
                assert await late.rest() == after(body, 2)
            assert not await refused(ada.b, run.wire, run.thread), "the thread is free"


# A Redis that is not there for a while


async def paused(proxy: FaultProxy) -> None:
    proxy.pause()
    await asyncio.sleep(3)
    proxy.resume()


async def cut(proxy: FaultProxy) -> None:
    for _ in range(10):
        proxy.cut()
        await asyncio.sleep(0.1)


async def unreachable(proxy: FaultProxy) -> None:
    proxy.cut(refuse=True)
    await asyncio.sleep(3)
    proxy.mend()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers and clients that wait for longer than Redis is away."""
    monkeypatch.setattr("reading.TIMEOUT", RETRY + LEASE + 10)


@asynccontextmanager
async def behind_a_proxy(
    server: RedisServer, folder: Path, retry: float = RETRY
) -> AsyncGenerator[tuple[FaultProxy, Clients]]:
    async with FaultProxy(server.port) as proxy:
        # In threads: the proxy needs the event loop while they start and end.
        processes = started(folder, f"redis://127.0.0.1:{proxy.port}/2", retry=retry)
        pair = await asyncio.to_thread(processes.__enter__)
        try:
            async with clients_of(pair) as clients:
                yield proxy, clients
        finally:
            await asyncio.to_thread(processes.__exit__, None, None, None)


@pytest.mark.usefixtures("patient")
async def test_a_redis_that_pauses_and_breaks_loses_no_frame(server: RedisServer, tmp_path: Path) -> None:
    async with behind_a_proxy(server, tmp_path) as (proxy, ada):
        for fault in (cut, paused, unreachable):
            await _assert_survives(fault, proxy, ada)


async def _assert_survives(fault: Callable[[FaultProxy], Any], proxy: FaultProxy, ada: Clients) -> None:
    async with contextlib.AsyncExitStack() as stack:
        runs = [await stack.enter_async_context(ada.run(wire, "ticking")) for wire in WIRES]
        readers = [await stack.enter_async_context(run.on_b(0)) for run in runs]
        for reader in readers:
            await reader.until("nd ")
        resting = [asyncio.create_task(reader.rest()) for reader in (*(run.reader for run in runs), *readers)]
        await fault(proxy)
        for run in runs:
            run.open()
        bodies = await asyncio.gather(*resting)
        for number, body in enumerate(bodies):
            assert_whole(runs[number % 2].wire, body)
            assert body == bodies[number % 2], fault.__name__
        for run in runs:
            assert await status_of(ada.b, run.id) == "finished"


@pytest.mark.usefixtures("patient")
async def test_a_redis_that_stays_away_ends_every_reader_loudly(server: RedisServer, tmp_path: Path) -> None:
    retry = 3.0
    async with behind_a_proxy(server, tmp_path, retry) as (proxy, ada), contextlib.AsyncExitStack() as stack:
        runs = [
            await stack.enter_async_context(ada.run(wire, agent)) for wire in WIRES for agent in ("waiting", "ticking")
        ]
        readers = [await stack.enter_async_context(run.on_b()) for run in runs]
        for reader in readers:
            await reader.until("nd ")
        ends = [asyncio.create_task(_end_of(run.wire, reader)) for run, reader in zip(runs, readers, strict=True)]
        ends += [asyncio.create_task(_end_of(run.wire, run.reader)) for run in runs]
        proxy.cut(refuse=True)
        # The owner of a silent run learns first that its lease is lost, and does not wait for the server once more.
        async with asyncio.timeout(retry + LEASE + SLACK):
            assert set(await asyncio.gather(*ends)) <= {"broken off", "stream_unavailable", "run_lost"}
        proxy.mend()
        for run in runs:
            await eventually(partial(_accepted, ada.b, run.wire, run.thread), within=LEASE + 2)


async def _end_of(wire: str, reader: Reader) -> str:
    """How a reader's stream ends: `broken off`, or the code of its terminal frame."""
    try:
        body = await reader.rest()
    except httpx.RemoteProtocolError:
        return "broken off"
    return error_of(wire, body)[0]

"""`gateway serve` as a process: what its streams, its port and its log do when it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
from ports import free_port
from talking import WIRES, assert_problem, error_of, events_of, run_url, text_of, turn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio

DEADLINE = 30.0
AGENTS = '''
import asyncio
import multiprocessing
import os
import time
from pathlib import Path

from pydantic_ai import Agent, FunctionToolset
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel

HERE = Path(__file__).parent


async def waits(messages, info):
    yield f"pid {os.getpid()} "
    while not (HERE / "go").exists():
        await asyncio.sleep(0.01)
    yield "done."


async def hangs(messages, info):
    yield "Wait"
    await asyncio.Event().wait()


async def floods(messages, info):
    for _ in range(200):
        yield "x" * 100_000
        await asyncio.sleep(0)
    await asyncio.Event().wait()


class Toolset(FunctionToolset):
    async def __aexit__(self, *args):
        (HERE / "closed").touch()


patient = Agent(FunctionModel(stream_function=waits), toolsets=[Toolset()])
hanging = Agent(FunctionModel(stream_function=hangs))
flooding = Agent(FunctionModel(stream_function=floods))
blocking = Agent(TestModel())


@blocking.tool_plain
def block() -> str:
    """Cannot be cancelled."""
    (HERE / "blocked").touch()
    time.sleep(3600)


if multiprocessing.parent_process() and (HERE / "broken").exists():
    os._exit(9)
'''
CONFIG: dict[str, Any] = {
    "agents": {
        name: {"import": f"served:{name}", "concurrency": "enqueue", "on_disconnect": "continue"}
        for name in ("patient", "hanging", "flooding", "blocking")
    }
}
WORKERS = """
from pathlib import Path

from gateway.configfile import load
from gateway.server import serve

if __name__ == "__main__":
    config = load(Path("gateway.yaml"), {})
    # A config file with several workers is refused as long as anything is in memory.
    serve(config.model_copy(update={"server": config.server.model_copy(update={"workers": 2})}))
"""


class Gateway:
    """A gateway process, its address, its log, and a client that opens as many connections as it likes."""

    def __init__(self, folder: Path, port: int, process: asyncio.subprocess.Process, client: httpx.AsyncClient) -> None:
        self.folder = folder
        self.port = port
        self.process = process
        self.client = client

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    async def ask(self, method: str, path: str, **content: Any) -> httpx.Response | None:
        """The answer on a connection of its own, or nothing when there is none."""
        async with httpx.AsyncClient(base_url=self.client.base_url, timeout=DEADLINE) as client:
            with contextlib.suppress(httpx.TransportError):
                return await client.request(method, path, **content)

    async def until_ready_is(self, status: int) -> None:
        async with poll(self) as again:
            while (answer := await self.ask("GET", "/readyz")) is None or answer.status_code != status:
                await again()

    async def until_logged(self, event: str, times: int = 1) -> list[dict[str, Any]]:
        async with poll(self) as again:
            while len(self.logged(event)) < times:
                await again()
        return self.logged(event)

    def go(self) -> None:
        (self.folder / "go").touch()

    async def stop(self, sig: int = signal.SIGTERM) -> None:
        self.process.send_signal(sig)
        await self.until_ready_is(503)

    async def ended(self, within: float) -> int:
        """Its exit code."""
        async with asyncio.timeout(within):
            return await self.process.wait()

    def assert_quiet(self) -> None:
        """Nothing in the log that somebody would have to look into."""
        lines = self.log.splitlines()
        assert not [line for line in lines if "Traceback" in line or "without completing" in line]
        assert not [line for line in lines if '"level": "error"' in line]


@asynccontextmanager
async def poll(gateway: Gateway) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
    """What to await between two looks at a process that must not end meanwhile."""

    async def again() -> None:
        assert gateway.process.returncode is None, gateway.log
        await asyncio.sleep(0.02)

    async with asyncio.timeout(DEADLINE):
        yield again


class Stream:
    """A turn whose first frames have come."""

    def __init__(self, wire: str, response: httpx.Response, chunks: AsyncIterator[str], text: str) -> None:
        self.wire = wire
        self.run_id = response.headers["x-run-id"]
        self.text = text
        self._chunks = chunks

    @classmethod
    async def open(cls, gateway: Gateway, agent: str, wire: str = "vercel-ai", said: str = "pid") -> Stream:
        return await cls.of(gateway, "POST", run_url(wire, agent), wire, said, json=turn(wire))

    @classmethod
    async def of(
        cls, gateway: Gateway, method: str, path: str, wire: str = "vercel-ai", said: str = "pid", **content: Any
    ) -> Stream:
        request = gateway.client.build_request(method, path, **content)
        response = await gateway.client.send(request, stream=True)
        assert response.status_code == 200, await response.aread()
        chunks = response.aiter_text()
        text = ""
        while said not in text:
            text += await anext(chunks)
        return cls(wire, response, chunks, text)

    async def to_the_end(self) -> str:
        async for chunk in self._chunks:
            self.text += chunk
        return self.text


@asynccontextmanager
async def serving(folder: Path, *arguments: str, ready: bool = True, **server: Any) -> AsyncGenerator[Gateway]:
    """`gateway serve` (or `arguments`, a Python program's) in a folder with the agents from above."""
    port = free_port()
    (folder / "served.py").write_text(AGENTS)
    (folder / "gateway.yaml").write_text(
        json.dumps({**CONFIG, "server": {"port": port, "log_format": "json", **server}})
    )
    with (folder / "log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *(arguments or ("-m", "gateway", "serve")), cwd=folder, stdout=log, stderr=log
        )
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE, limits=limits) as client:
        gateway = Gateway(folder, port, process, client)
        try:
            if ready:
                await gateway.until_ready_is(200)
            yield gateway
        finally:
            gateway.go()
            if process.returncode is None:
                process.kill()
            await process.wait()


async def open_ten(gateway: Gateway, agent: str, said: str) -> list[Stream]:
    return await asyncio.gather(*(Stream.open(gateway, agent, WIRES[n % 2], said) for n in range(10)))


async def test_streams_that_finish_in_time_are_not_cut(tmp_path: Path) -> None:
    async with serving(tmp_path, drain_timeout=20) as gateway:
        streams = await open_ten(gateway, "patient", "pid")
        await gateway.stop()
        gateway.go()
        bodies = await asyncio.gather(*(stream.to_the_end() for stream in streams))
        assert await gateway.ended(within=5) == 0
        for stream, body in zip(streams, bodies, strict=True):
            events = events_of(body)
            assert text_of(events).endswith("done.")
            assert events[-1]["type"] == {"ag-ui": "RUN_FINISHED", "vercel-ai": "finish"}[stream.wire]
        assert (tmp_path / "closed").exists(), "the lifespan closed the agent's toolset"
        [drained] = gateway.logged("drained")
        assert (drained["left"], drained["broken_off"]) == (0, 0)
        gateway.assert_quiet()


async def test_a_draining_process_answers_on_new_connections(tmp_path: Path) -> None:
    async with serving(tmp_path, drain_timeout=20) as gateway:
        stream = await Stream.open(gateway, "patient")
        gateway.process.send_signal(signal.SIGTERM)
        await gateway.until_logged("draining")

        ready = await gateway.ask("GET", "/readyz")
        assert ready is not None
        assert (ready.status_code, ready.json()["status"]) == (503, "draining")
        assert ready.headers["connection"] == "close", "whoever keeps connections looks for another process"
        alive = await gateway.ask("GET", "/healthz")
        assert alive is not None
        assert alive.status_code == 200
        for wire in WIRES:
            refused = await gateway.ask("POST", run_url(wire, "patient"), json=turn(wire))
            assert refused is not None
            assert_problem(refused, 503, "draining")
            assert int(refused.headers["retry-after"]) > 0

        resumed = await Stream.of(gateway, "GET", f"/runs/{stream.run_id}/stream")
        gateway.go()
        assert events_of(await resumed.to_the_end()) == events_of(await stream.to_the_end())
        assert await gateway.ended(within=5) == 0
        gateway.assert_quiet()


async def test_streams_that_do_not_finish_in_time_end_with_their_terminal_event(tmp_path: Path) -> None:
    async with serving(tmp_path, drain_timeout=1) as gateway:
        streams = await open_ten(gateway, "hanging", "Wait")
        started = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        bodies = await asyncio.gather(*(stream.to_the_end() for stream in streams))
        assert await gateway.ended(within=5) == 0
        assert 1 <= time.monotonic() - started < 6
        for stream, body in zip(streams, bodies, strict=True):
            assert error_of(stream.wire, body)[0] == "run_interrupted"
        assert (tmp_path / "closed").exists()
        gateway.assert_quiet()


async def test_a_reader_that_does_not_read_is_broken_off(tmp_path: Path) -> None:
    async with serving(tmp_path, drain_timeout=1) as gateway:
        with socket.socket() as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", gateway.port))
            body = json.dumps(turn("ag-ui")).encode()
            head = f"POST {run_url('ag-ui', 'flooding')} HTTP/1.1\r\nhost: localhost\r\n"
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            reader.sendall(head.encode() + body)
            assert reader.recv(12) == b"HTTP/1.1 200"
            started = time.monotonic()
            gateway.process.send_signal(signal.SIGTERM)
            assert await gateway.ended(within=6) == 0
            assert 1 <= time.monotonic() - started < 6
            received = b""
            reader.settimeout(DEADLINE)
            with contextlib.suppress(ConnectionResetError):
                while more := reader.recv(1_000_000):
                    received += more
        assert len(received) > 1000
        assert not received.endswith(b"0\r\n\r\n"), "a clean end would be taken for success"
        [drained] = gateway.logged("drained")
        assert drained["broken_off"] == 1
        gateway.assert_quiet()


async def test_a_turn_that_waits_for_its_thread_is_refused_when_its_turn_has_come(tmp_path: Path) -> None:
    async with serving(tmp_path, drain_timeout=20) as gateway:
        url = run_url("vercel-ai", "patient")
        first, second = (
            asyncio.create_task(gateway.client.post(url, json=turn("vercel-ai", thread="one"))) for _ in range(2)
        )
        await gateway.until_logged("run_started")
        await gateway.ask("GET", "/healthz")  # accepted after the second
        gateway.process.send_signal(signal.SIGTERM)
        [draining] = await gateway.until_logged("draining")
        assert draining["responses"] == 2, "the one that waits is waited for"
        gateway.go()
        answer, refusal = sorted((await first, await second), key=lambda response: response.status_code)
        assert text_of(events_of(answer.text)).endswith("done.")
        assert_problem(refusal, 503, "draining")
        assert await gateway.ended(within=5) == 0
        gateway.assert_quiet()


async def test_an_idle_process_ends_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as gateway:
        assert (await gateway.client.get("/healthz")).status_code == 200  # and its connection is kept
        gateway.process.send_signal(signal.SIGTERM)
        assert await gateway.ended(within=5) == 0
        assert (tmp_path / "closed").exists()
        gateway.assert_quiet()


async def test_an_interrupted_process_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as gateway:
        gateway.process.send_signal(signal.SIGINT)
        assert await gateway.ended(within=5) == 130
        assert (tmp_path / "closed").exists()
        gateway.assert_quiet()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_process_at_once(tmp_path: Path, sig: signal.Signals) -> None:
    async with serving(tmp_path) as gateway:
        stream = await Stream.open(gateway, "hanging", said="Wait")
        await gateway.stop()
        gateway.process.send_signal(sig)
        assert await gateway.ended(within=5) == -sig
        with pytest.raises(httpx.TransportError):
            await stream.to_the_end()


async def test_a_tool_that_blocks_its_thread_does_not_keep_the_process(tmp_path: Path) -> None:
    async with serving(tmp_path, drain_timeout=0.5) as gateway:
        stream = await Stream.open(gateway, "blocking", said="start")
        gateway.process.send_signal(signal.SIGTERM)
        assert error_of(stream.wire, await stream.to_the_end())[0] == "run_interrupted"
        assert await gateway.ended(within=8) == 0
        assert (tmp_path / "blocked").exists()
        assert (tmp_path / "closed").exists()
        assert gateway.logged("left_behind")


async def test_a_stream_that_is_broken_off_is_no_error_in_the_log_and_a_bad_request_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path, max_stream_seconds=2) as gateway:
        stream = await Stream.open(gateway, "hanging", said="Wait")
        with pytest.raises(httpx.RemoteProtocolError):
            await stream.to_the_end()
        with socket.create_connection(("127.0.0.1", gateway.port)) as garbage:
            garbage.sendall(b"\x00\x01\x02\r\n\r\n")
            assert garbage.recv(12) == b"HTTP/1.1 400"
        gateway.process.send_signal(signal.SIGTERM)
        await gateway.until_logged("draining")
        gateway.assert_quiet()
        assert gateway.logged("Invalid HTTP request received."), "uvicorn's other lines are kept"


async def test_what_a_client_says_is_not_in_the_log_when_some_of_it_is_left_out(tmp_path: Path) -> None:
    file = {"type": "document", "source": {"type": "file", "value": "the-clients-words"}}
    message = {"id": "m", "role": "user", "content": [{"type": "text", "text": "pid"}, file]}
    async with serving(tmp_path) as gateway:
        gateway.go()
        answer = await gateway.ask("POST", run_url("ag-ui", "patient"), json=turn("ag-ui", messages=[message]))
        assert answer
        assert answer.status_code == 200
        gateway.process.send_signal(signal.SIGTERM)
        await gateway.until_logged("draining")
        assert "the-clients-words" not in gateway.log


@asynccontextmanager
async def working(folder: Path, **server: Any) -> AsyncGenerator[Gateway]:
    """Two workers, each of which has started."""
    (folder / "serve_workers.py").write_text(WORKERS)
    async with serving(folder, "serve_workers.py", **server) as gateway:
        await gateway.until_logged("serving", times=2)
        yield gateway


def workers(gateway: Gateway) -> list[int]:
    """The pids of all workers that were started, in order."""
    return [line["pid"] for line in gateway.logged("worker_started")]


async def open_on(gateway: Gateway, pid: int) -> Stream:
    """A stream from that worker: the others do not move meanwhile."""
    others = [other for other in workers(gateway) if other != pid and is_alive(other)]
    for other in others:
        os.kill(other, signal.SIGSTOP)
    try:
        stream = await Stream.open(gateway, "patient")
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)
    assert f"pid {pid} " in stream.text
    return stream


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_workers_share_a_port_and_drain_together(tmp_path: Path) -> None:
    async with working(tmp_path, drain_timeout=20) as gateway:
        streams = [await open_on(gateway, pid) for pid in workers(gateway)]
        assert len(streams) == 2
        gateway.process.send_signal(signal.SIGTERM)
        await gateway.until_logged("draining", times=2)
        ready = await gateway.ask("GET", "/readyz")
        assert ready is not None
        assert ready.status_code == 503
        gateway.go()
        for stream in streams:
            assert text_of(events_of(await stream.to_the_end())).endswith("done.")
        assert await gateway.ended(within=5) == 0
        assert not any(map(is_alive, workers(gateway)))
        assert not gateway.logged("worker_killed")
        gateway.assert_quiet()


async def test_a_killed_worker_comes_back_and_the_others_do_not_notice(tmp_path: Path) -> None:
    async with working(tmp_path) as gateway:
        first, second = workers(gateway)
        doomed, stream = await open_on(gateway, first), await open_on(gateway, second)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            await doomed.to_the_end()
        third = (await gateway.until_logged("worker_started", times=3))[2]["pid"]
        replaced = await open_on(gateway, third)
        gateway.go()
        for each in (stream, replaced):
            assert text_of(events_of(await each.to_the_end())).endswith("done.")
        [died] = gateway.logged("worker_died")
        assert (died["pid"], died["exitcode"]) == (first, -signal.SIGKILL)
        gateway.process.send_signal(signal.SIGTERM)
        assert await gateway.ended(within=5) == 0
        assert not any(map(is_alive, workers(gateway)))


async def test_signals_to_the_whole_group_drain_the_workers_too(tmp_path: Path) -> None:
    """As a terminal and systemd send them; the supervisor's own is then a worker's second."""
    async with working(tmp_path, drain_timeout=20) as gateway:
        streams = [await open_on(gateway, pid) for pid in workers(gateway)]
        for pid in (*workers(gateway), gateway.process.pid):
            os.kill(pid, signal.SIGTERM)
        await gateway.until_logged("draining", times=2)
        gateway.go()
        for stream in streams:
            assert text_of(events_of(await stream.to_the_end())).endswith("done.")
        assert await gateway.ended(within=5) == 0
        gateway.assert_quiet()


async def test_a_second_signal_kills_the_workers(tmp_path: Path) -> None:
    async with working(tmp_path) as gateway:
        await open_on(gateway, workers(gateway)[0])
        gateway.process.send_signal(signal.SIGTERM)
        await gateway.until_logged("draining", times=2)
        gateway.process.send_signal(signal.SIGTERM)
        assert await gateway.ended(within=5) == -signal.SIGTERM
        assert not any(map(is_alive, workers(gateway)))


async def test_workers_follow_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    async with working(tmp_path) as gateway:
        await open_on(gateway, workers(gateway)[0])
        gateway.process.kill()
        await gateway.process.wait()
        gateway.go()
        for pid in workers(gateway):
            await asyncio.to_thread(psutil.wait_procs, [psutil.Process(pid)] if is_alive(pid) else [], DEADLINE)
        assert not any(map(is_alive, workers(gateway)))
        assert len(gateway.logged("drained")) == 2


async def test_workers_that_cannot_start_are_tried_again_after_longer_and_longer_pauses(tmp_path: Path) -> None:
    (tmp_path / "serve_workers.py").write_text(WORKERS)
    (tmp_path / "broken").touch()
    async with serving(tmp_path, "serve_workers.py", ready=False) as gateway:
        died = await gateway.until_logged("worker_died", times=4)
        # Of two workers: on a busy machine one may die for the second time before the other has.
        assert sorted(line["again_in"] for line in died[:4]) == [0.5, 0.5, 1.0, 1.0]
        (tmp_path / "broken").unlink()
        await gateway.until_ready_is(200)
        gateway.process.send_signal(signal.SIGTERM)
        assert await gateway.ended(within=5) == 0

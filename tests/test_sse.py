"""Frames -> a response: heartbeats, broken ends, readers that leave and readers that are slow."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from logs import capture_logs
from serving import make_config, running, serving
from starlette.applications import Starlette
from starlette.routing import Route
from talking import WIRES, calling, events_of, run_url, text_of, turn

from gateway import sse
from gateway.app import create_app
from gateway.sse import EventStreamResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from starlette.requests import Request
    from starlette.types import Message

pytestmark = pytest.mark.anyio

HEARTBEAT = ": heartbeat"


@pytest.mark.parametrize("wire", WIRES)
async def test_a_silent_stream_is_kept_open_with_comments(wire: str) -> None:
    agents = {"hanging": {"import": "probes:hanging", "timeout": 1.0}}
    app = create_app(make_config(agents=agents, server={"heartbeat": 0.05}))
    async with calling(app) as client:
        began = time.monotonic()
        response = await client.post(run_url(wire, "hanging"), json=turn(wire))
        seconds = time.monotonic() - began
    frames = response.text.split("\n\n")
    assert 3 <= frames.count(HEARTBEAT) <= seconds / 0.05
    assert all(frame == HEARTBEAT or frame.startswith("id: ") for frame in frames[:-1])
    assert text_of(events_of(response.text)) == "Wait", "clients skip comments"


@pytest.mark.parametrize("wire", WIRES)
async def test_a_stream_that_speaks_needs_no_heartbeats(wire: str) -> None:
    agents = {"ticking": "probes:ticking"}
    async with calling(create_app(make_config(agents=agents, server={"heartbeat": 0.9}))) as client:
        response = await client.post(run_url(wire, "ticking"), json=turn(wire))
    assert HEARTBEAT not in response.text
    assert text_of(events_of(response.text)).split() == [str(number) for number in range(20)]


def test_frames_arrive_as_they_are_made() -> None:
    with (
        serving(make_config(agents={"hanging": "probes:hanging"})) as url,
        httpx.stream("POST", f"{url}/agents/hanging/ag-ui", json=turn("ag-ui"), timeout=10) as response,
    ):
        seen = ""
        for chunk in response.iter_text():
            seen += chunk
            if '"delta":"Wait"' in seen:
                break
        assert response.headers["transfer-encoding"] == "chunked"


async def raises() -> AsyncGenerator[bytes]:
    yield b"data: 1\n\n"
    raise RuntimeError


async def is_cancelled_from_within() -> AsyncGenerator[bytes]:
    yield b"data: 1\n\n"
    raise asyncio.CancelledError


async def raises_at_once() -> AsyncGenerator[bytes]:
    raise RuntimeError
    yield b""


async def ends() -> AsyncGenerator[bytes]:
    yield b"data: 1\n\n"


@contextmanager
def streaming(frames: Callable[[], AsyncGenerator[bytes]], **options: Any) -> Generator[str]:
    async def stream(_request: Request) -> EventStreamResponse:
        return EventStreamResponse(frames(), **options)

    app = Starlette(routes=[Route("/", stream)])
    with running(uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))) as url:
        yield url


@pytest.mark.parametrize("frames", [raises, raises_at_once, is_cancelled_from_within])
def test_a_stream_whose_source_dies_breaks_off_instead_of_ending(frames: Callable[[], AsyncGenerator[bytes]]) -> None:
    """Every client family takes a clean end without a terminal event for success (law 1)."""
    with streaming(frames) as url:
        assert_breaks_off(url)


def assert_breaks_off(url: str) -> str:
    """The stream at `url` ends without its last chunk; what came before."""
    came: list[str] = []
    with httpx.stream("GET", url, timeout=10) as response:
        assert response.status_code == 200
        chunks = response.iter_text()
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            came.extend(chunks)
    return "".join(came)


def test_a_source_that_raises_is_in_the_log() -> None:
    with capture_logs() as logs, streaming(raises) as url:
        assert_breaks_off(url)
    [line] = [line for line in logs if line["event"] == "stream_broken_off"]
    assert line["log_level"] == "error"
    assert isinstance(line["exc_info"], RuntimeError)


def test_a_stream_may_be_cut_after_some_time_in_a_way_that_makes_clients_resume() -> None:
    closed = threading.Event()

    async def frames() -> AsyncGenerator[bytes]:
        try:
            yield b"data: 1\n\n"
            await asyncio.Event().wait()
        finally:
            closed.set()

    with capture_logs() as logs, streaming(frames, cut_after=0.1) as url:
        assert assert_breaks_off(url) == "data: 1\n\n"
        assert closed.wait(5)
    assert logs == []


def test_a_stream_that_ends_in_time_is_not_cut() -> None:
    with streaming(ends, cut_after=30) as url:
        assert httpx.get(url, timeout=10).text == "data: 1\n\n"


def test_a_stream_whose_producer_ends_has_its_last_chunk() -> None:
    with streaming(ends) as url:
        assert httpx.get(url, timeout=10).text == "data: 1\n\n"


class Reader:
    """One ASGI request whose reader takes only what it is told to take, and leaves when it is told to."""

    def __init__(self, response: EventStreamResponse) -> None:
        self.sent: list[bytes] = []
        self.ended = False
        self._may_take = asyncio.Semaphore(0)
        self._gone = asyncio.Event()
        self._arrived = asyncio.Event()
        self.task = asyncio.create_task(response({"type": "http"}, self._receive, self._send))

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            return
        if not self._gone.is_set():
            await self._may_take.acquire()
        self.sent.append(message["body"])
        self.ended = not message["more_body"]
        self._arrived.set()

    async def take(self) -> bytes:
        self._arrived.clear()
        self._may_take.release()
        async with asyncio.timeout(5):
            await self._arrived.wait()
        return self.sent[-1]

    async def leave(self) -> None:
        self._gone.set()
        self._may_take.release()
        async with asyncio.timeout(5):
            await asyncio.wait([self.task])


class Producer:
    """Makes frames as fast as they are taken, and notes how it ended."""

    def __init__(self, size: int, number: int) -> None:
        self.made = 0
        self.closed = asyncio.Event()
        self._size, self._number = size, number

    async def frames(self) -> AsyncGenerator[bytes]:
        try:
            for _ in range(self._number):
                self.made += 1
                yield b"x" * self._size
        finally:
            self.closed.set()

    async def waits(self) -> None:
        """Return when the producer makes no more."""
        made = -1
        while made != self.made:
            made = self.made
            for _ in range(50):
                await asyncio.sleep(0)


async def test_a_slow_reader_makes_its_source_wait_and_nothing_else() -> None:
    producers = [Producer(size=1_000, number=100) for _ in range(2)]
    slow, fast = (Reader(EventStreamResponse(producer.frames())) for producer in producers)
    for number in range(1, 101):
        await fast.take()
        assert producers[1].made <= number + 1
    await producers[0].waits()
    assert producers[0].made == 1, "nothing is kept for a reader that takes nothing"
    await slow.take()
    await producers[0].waits()
    assert producers[0].made == 2
    await slow.leave()
    assert producers[0].closed.is_set()


async def test_what_a_source_yields_goes_out_unchanged_and_in_order() -> None:
    batches = [f"id: {number}\ndata: {number}\n\n".encode() * (number % 3 + 1) for number in range(100)]

    async def frames() -> AsyncGenerator[bytes]:
        for batch in batches:
            yield batch

    reader = Reader(EventStreamResponse(frames()))
    while not reader.ended:
        await reader.take()
    assert reader.sent == [*batches, b""]


async def test_heartbeats_do_not_pile_up_for_a_reader_that_takes_nothing() -> None:
    async def frames() -> AsyncGenerator[bytes]:
        await asyncio.Event().wait()
        yield b""

    reader = Reader(EventStreamResponse(frames(), heartbeat=0.001))
    for _ in range(3):
        assert await reader.take() == sse.HEARTBEAT
    before = len(asyncio.all_tasks())
    beats = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, beats.set)  # 50 of them
    await beats.wait()
    assert len(asyncio.all_tasks()) <= before + 1
    await reader.leave()


async def test_no_heartbeat_comes_after_the_end() -> None:
    """A server takes anything after the last message for a mistake of the app."""
    over, on_its_way, may_go = asyncio.Event(), asyncio.Event(), asyncio.Event()
    sent: list[bytes] = []

    async def frames() -> AsyncGenerator[bytes]:
        await over.wait()
        yield b"data: 1\n\n"

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {}

    async def send(message: Message) -> None:
        if message.get("body") == sse.HEARTBEAT:
            on_its_way.set()
            await may_go.wait()
        sent.append(message.get("body", b""))

    response = asyncio.create_task(EventStreamResponse(frames(), heartbeat=0.001)({"type": "http"}, receive, send))
    async with asyncio.timeout(5):
        await on_its_way.wait()
        over.set()
        await response
    may_go.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert sent[1:] == [b"data: 1\n\n", b""]


async def test_a_reader_that_leaves_closes_the_producer_even_in_silence() -> None:
    closed = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes]:
        try:
            yield b"data: 1\n\n"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            closed.set()

    reader = Reader(EventStreamResponse(frames()))
    assert await reader.take() == b"data: 1\n\n"
    await reader.leave()
    assert closed.is_set(), "the response waits until its producer is through with its cleaning"
    assert reader.task.exception() is None


async def test_what_breaks_while_a_source_is_closed_is_in_the_log() -> None:
    async def frames() -> AsyncGenerator[bytes]:
        try:
            yield b"data: 1\n\n"
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("cleaning failed")

    with capture_logs() as logs:
        reader = Reader(EventStreamResponse(frames()))
        await reader.take()
        await reader.leave()
    assert [str(line["exc_info"]) for line in logs] == ["cleaning failed"]


def test_a_reader_that_does_not_read_does_not_fill_the_servers_memory() -> None:
    made = 0
    size = 64 * 1024

    async def frames() -> AsyncGenerator[bytes]:
        nonlocal made
        for _ in range(4_000):  # 256 MB
            made += 1
            yield b"x" * size

    with streaming(frames) as url, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        connection.connect(("127.0.0.1", httpx.URL(url).port or 0))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        before, deadline = -1, time.monotonic() + 10
        while before != made or made == 0:
            assert time.monotonic() < deadline, "the source does not wait"
            before = made
            time.sleep(0.1)  # several turns of the server's loop
        # What the server and the kernel take for a socket; nothing waits here.
        assert made * size < 12_000_000


def test_headers_of_a_wire_do_not_replace_those_of_the_stream() -> None:
    response: Any = EventStreamResponse(ends(), headers={"x-run-id": "1"})
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-run-id"] == "1"

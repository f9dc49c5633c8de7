"""The async client in tasks: many at a time, cancelled, dropped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
import httpx
import pytest
import run_probes
from client_matrix import TIMEOUT, client_config
from reading import becomes, client_for, happens
from serving import serving

from gateway.client import AsyncClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gateway.client import AsyncTextStream

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(client_config()) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(url, api_key="ada") as client:
        yield client


@pytest.fixture
async def plain(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client_for(url) as plain:
        yield plain


@pytest.fixture
def gate() -> Iterator[str]:
    """A prompt at whose gate a run waits."""
    name = f"gate-{uuid4()}"
    yield name
    run_probes.gates[name].open()


async def read(stream: AsyncTextStream) -> None:
    """All there is to read."""
    async with stream:
        _ = [piece async for piece in stream]


async def test_many_streams_are_read_at_a_time(client: AsyncClient) -> None:
    async def ask(count: int) -> str:
        async with client.stream_text("fast", f"{count} numbers", debounce=0) as stream:
            return "".join([piece async for piece in stream])

    answers = await asyncio.gather(*(ask(count) for count in range(1, 49)))
    assert answers == ["".join(f"{number} " for number in range(count)) for count in range(1, 49)]


async def test_a_task_that_is_cancelled_cancels_its_run(
    client: AsyncClient, plain: httpx.AsyncClient, gate: str
) -> None:
    stream = client.stream_text("gated", gate)
    task = asyncio.create_task(read(stream))
    await happens(lambda: stream.text)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await becomes(plain, stream.run_id or "", "cancelled")


async def test_a_scope_that_is_cancelled_cancels_its_run(
    client: AsyncClient, plain: httpx.AsyncClient, gate: str
) -> None:
    """As in an endpoint whose own client has gone: anyio cancels every wait in it, again and again."""
    stream = client.stream_text("gated", gate)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, stream)
        await happens(lambda: stream.text)
        tasks.cancel_scope.cancel()
    await becomes(plain, stream.run_id or "", "cancelled")


async def test_a_read_that_is_given_up_loses_nothing(client: AsyncClient, gate: str) -> None:
    """As with a timeout for each piece."""
    async with client.stream_text("gated", gate, debounce=0) as stream:
        assert await anext(stream) == "Begun ünd "
        given_up = asyncio.create_task(stream.__anext__())
        await happens(run_probes.gates[gate].reached.is_set)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        run_probes.gates[gate].open()
        assert [piece async for piece in stream] == ["ended."]


async def test_a_whole_answer_that_is_not_waited_for_cancels_its_run(url: str, gate: str) -> None:
    begun = asyncio.Event()

    async def look(_response: httpx.Response) -> None:
        begun.set()

    async with httpx.AsyncClient(event_hooks={"response": [look]}) as http:
        task = asyncio.create_task(AsyncClient(url, api_key="ada", http=http).run("gated", gate))
        await asyncio.wait_for(begun.wait(), TIMEOUT)
        await happens(run_probes.gates[gate].reached.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await happens(run_probes.gates[gate].left.is_set)


async def test_a_stream_that_is_dropped_cancels_its_run(
    client: AsyncClient, plain: httpx.AsyncClient, gate: str
) -> None:
    async def first_piece() -> str:
        stream = client.stream_text("gated", gate)
        async for _ in stream:
            break
        return stream.run_id or ""

    await becomes(plain, await first_piece(), "cancelled")


async def test_pages_of_threads_are_asked_for_when_they_are_come_to(client: AsyncClient) -> None:
    for number in range(3):
        await client.chat(f"thread-{number}", "remembering").send("Hello")
    found = [thread.id async for thread in client.threads.list(page_size=1)]
    assert found == ["thread-2", "thread-1", "thread-0"]


async def test_it_is_used_without_a_block_and_closed(url: str) -> None:
    client = AsyncClient(url, api_key="ada", timeout=TIMEOUT)
    try:
        assert (await client.run("plain", "Hello")).text == "Hello from the probe."
    finally:
        await client.close()

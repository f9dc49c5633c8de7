"""Redis that pauses, breaks, slows down and restarts: no reader misses a frame, or sees one twice or out of order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from backends import BOUND, LOST_FRAME, Backend, Process, opened, queued, stored
from fault_proxy import FaultProxy
from redis_server import RedisServer

from gateway.coordination import CANCEL, LOST
from gateway.errors import StreamUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that keeps what it has said to have."""
    made = RedisServer(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncGenerator[FaultProxy]:
    async with FaultProxy(server.port) as made:
        yield made


@pytest.fixture
async def backend(proxy: FaultProxy) -> AsyncGenerator[Backend]:
    async with opened(Backend(proxy.url, "faults:", retry=10.0)) as made:
        yield made


async def paused(proxy: FaultProxy, _server: RedisServer) -> None:
    proxy.pause()
    await asyncio.sleep(3)
    proxy.resume()


async def cut_again_and_again(proxy: FaultProxy, _server: RedisServer) -> None:
    for _ in range(15):
        proxy.cut()
        await asyncio.sleep(0.1)


async def unreachable(proxy: FaultProxy, _server: RedisServer) -> None:
    proxy.cut(refuse=True)
    await asyncio.sleep(2)
    proxy.mend()


async def slow(proxy: FaultProxy, _server: RedisServer) -> None:
    proxy.delay = 0.08
    await asyncio.sleep(1.5)
    proxy.delay = 0.0


async def frozen(_proxy: FaultProxy, server: RedisServer) -> None:
    server.freeze()
    await asyncio.sleep(2.5)
    server.thaw()


async def restarted(_proxy: FaultProxy, server: RedisServer) -> None:
    server.stop()
    await asyncio.sleep(1.5)
    await asyncio.to_thread(server.start)


async def killed(_proxy: FaultProxy, server: RedisServer) -> None:
    server.stop(signal.SIGKILL)
    await asyncio.to_thread(server.start)


async def killed_with_all_it_knew(_proxy: FaultProxy, server: RedisServer) -> None:
    server.stop(signal.SIGKILL)
    server.folder = None
    await asyncio.to_thread(server.start)


FAULTS = [paused, cut_again_and_again, unreachable, slow, frozen, restarted, killed, killed_with_all_it_knew]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_no_frame_is_lost_doubled_or_moved(
    fault: Callable[[FaultProxy, RedisServer], Coroutine[Any, Any, None]],
    proxy: FaultProxy,
    server: RedisServer,
    backend: Backend,
) -> None:
    owner, other = backend.process(), backend.process()
    runs = [await owner.start(f"run-{n}", thread_id=f"{n}") for n in range(5)]
    failures: list[int] = []
    for n, (_, writer) in enumerate(runs):
        writer.on_failed = lambda n=n: failures.append(n)
    readers = [asyncio.create_task(process.read(f"run-{n}")) for n in range(5) for process in (owner, other, other)]
    written: list[list[bytes]] = [[] for _ in runs]
    stop = asyncio.Event()

    async def write(n: int) -> None:
        while not stop.is_set() or len(written[n]) < 100:
            frame = b"%d of %d\n" % (len(written[n]), n)
            runs[n][1].append(frame)
            written[n].append(frame)
            await asyncio.sleep(0.003)

    writers = [asyncio.create_task(write(n)) for n in range(5)]
    await asyncio.sleep(0.3)
    await fault(proxy, server)
    await asyncio.sleep(0.3)
    late = [asyncio.create_task(other.read(f"run-{n}", 50)) for n in range(5)]
    stop.set()
    await asyncio.gather(*writers)
    async with asyncio.timeout(BOUND):
        await asyncio.gather(*(writer.close("finished", b"end") for _, writer in runs))
    assert not failures
    assert all(lease.held for lease, _ in runs)
    for n in range(5):
        expected = [*written[n], b"end"]
        for reader in readers[n * 3 : n * 3 + 3]:
            assert await reader == expected
        assert await late[n] == expected[50:]
        assert await backend.process().read(f"run-{n}") == expected


@pytest.mark.parametrize("fault", [paused, frozen, restarted], ids=lambda fault: fault.__name__)
async def test_leases_and_signals_survive(
    fault: Callable[[FaultProxy, RedisServer], Coroutine[Any, Any, None]],
    proxy: FaultProxy,
    server: RedisServer,
    backend: Backend,
) -> None:
    owner, other = backend.process().coordination, backend.process().coordination
    lease = await owner.acquire("key", "run")
    assert lease
    signals: asyncio.Queue[str] = asyncio.Queue()
    lease.on_signal = signals.put_nowait
    waiter = asyncio.create_task(other.acquire("key", "next", queue=1, timeout=BOUND * 2))
    await queued(owner, "key", 1)
    trouble = asyncio.create_task(fault(proxy, server))
    await asyncio.sleep(0.1)
    assert await other.signal("key", "run", CANCEL)
    await trouble
    assert lease.held
    async with asyncio.timeout(5):
        assert await signals.get() == CANCEL
    await owner.release(lease)
    async with asyncio.timeout(BOUND):
        own = await waiter
    assert own
    assert own.token > lease.token


async def test_past_the_budget_the_run_and_its_readers_are_told(proxy: FaultProxy, backend: Backend) -> None:
    owner, other = backend.process(retry=1.5), backend.process(retry=1.5)
    lease, writer = await owner.start()
    failed, signals = asyncio.Event(), asyncio.Queue[str]()
    writer.on_failed, lease.on_signal = failed.set, signals.put_nowait
    readers = [asyncio.create_task(process.read()) for process in (owner, other)]
    writer.append(b"stored")
    await stored(other, 1)
    began = time.monotonic()
    proxy.cut(refuse=True)
    writer.append(b"not stored")
    async with asyncio.timeout(5):
        await failed.wait()
        await writer.close("failed", b"not stored either")
        assert await signals.get() == LOST
    assert 1.0 < time.monotonic() - began < 4
    assert not lease.held
    for reader in readers:
        with pytest.raises(StreamUnavailable):
            await reader
    with pytest.raises(StreamUnavailable):
        await other.coordination.acquire("another", "run")
    with pytest.raises(StreamUnavailable):
        await other.streams.find("alice", "thread")
    await owner.coordination.release(lease)
    proxy.mend()
    assert await other.read() == [b"stored", LOST_FRAME]


async def test_an_owner_that_was_cut_off_for_too_long_appends_nothing_after_the_lost_frame(
    server: RedisServer, proxy: FaultProxy, backend: Backend
) -> None:
    zombie, other = backend.process(), backend.process(server.url)
    _, writer = await zombie.start()
    failed = asyncio.Event()
    writer.on_failed = failed.set
    local = asyncio.create_task(zombie.read())
    writer.append(b"one")
    remote = asyncio.create_task(other.read())
    await stored(other, 1)
    proxy.pause()
    writer.append(b"two")
    began = time.monotonic()
    assert await remote == [b"one", LOST_FRAME]
    assert time.monotonic() - began < backend.settings.lease + 2
    proxy.resume()
    async with asyncio.timeout(5):
        await failed.wait()
        await writer.close("finished", b"end")
    for reader in (local, zombie.read(), other.read()):
        assert await reader == [b"one", LOST_FRAME]


async def test_a_process_that_is_closed_in_the_middle_of_trouble_ends(proxy: FaultProxy, backend: Backend) -> None:
    process: Process = backend.process()
    _, writer = await process.start()
    reader = asyncio.create_task(process.read())
    proxy.pause()
    writer.append(b"one")
    await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        await process.die()
        with contextlib.suppress(StreamUnavailable):
            await reader

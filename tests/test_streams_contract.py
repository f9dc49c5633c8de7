"""The contract of `gateway.streams`, over every backend."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from typing import TYPE_CHECKING, Any

import pytest
from backends import LOST_FRAME, Backend, Process, eventually, make_info, opened
from redis_server import any_redis, own_keys

from gateway.errors import NotFound, StreamExpired, StreamFull
from gateway.streams import RUNNING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from gateway.streams import StreamWriter

pytestmark = pytest.mark.anyio
CLOSING = b"data: [DONE]\n\n"


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with any_redis() as url:
        yield url


@pytest.fixture(params=["memory", "redis"])
async def make_backend(request: pytest.FixtureRequest) -> AsyncGenerator[Callable[..., Backend]]:
    async with contextlib.AsyncExitStack() as stack:
        made: list[Backend] = []
        prefix = ""
        url = "memory://"
        if request.param == "redis":
            url = request.getfixturevalue("redis_url")
            prefix = stack.enter_context(own_keys(url))

        def make(**settings: Any) -> Backend:
            made.append(Backend(url, prefix, **settings))
            return made[-1]

        yield make
        for backend in made:
            await backend.close()


@pytest.fixture
def backend(make_backend: Callable[..., Backend]) -> Backend:
    return make_backend()


@pytest.fixture
async def on_redis(redis_url: str) -> AsyncGenerator[Backend]:
    """For what only processes that can die have."""
    with own_keys(redis_url) as prefix:
        async with opened(Backend(redis_url, prefix)) as made:
            yield made


def frames_of(count: int) -> list[bytes]:
    """Frames of all sizes, some of them empty of text, some with what must not matter."""
    sizes = random.Random(count)  # noqa: S311 - the same ones each time
    return [b"%d:" % number + b"\n\x00\xff" * sizes.choice((0, 1, 30, 400)) for number in range(1, count + 1)]


async def write(writer: StreamWriter, frames: list[bytes]) -> None:
    for number, frame in enumerate(frames):
        writer.append(frame)
        if number % 37 == 0:
            await asyncio.sleep(0)
        if number % 211 == 0:
            await asyncio.sleep(0.005)


async def test_readers_before_during_and_after_the_run_see_the_same_frames(backend: Backend) -> None:
    owner, other = backend.process(), backend.process()
    _, writer = await owner.start()
    frames = frames_of(2_000)
    readers = [asyncio.create_task(process.read()) for process in (owner, other) for _ in range(3)]
    await write(writer, frames[:1_000])
    readers += [asyncio.create_task(process.read()) for process in (owner, other)]
    await write(writer, frames[1_000:])
    await writer.close("finished", CLOSING)
    readers += [asyncio.create_task(process.read()) for process in (owner, other, backend.process())]
    for seen in await asyncio.gather(*readers):
        assert seen == [*frames, CLOSING]


@pytest.mark.parametrize("running", [True, False])
async def test_a_run_can_be_read_from_any_number(backend: Backend, running: bool) -> None:
    owner, other = backend.process(), backend.process()
    _, writer = await owner.start()
    frames = frames_of(300)
    await write(writer, frames)
    if not running:
        await writer.close("finished")
    starts = [0, 1, 2, 99, 150, 298, 299, 300]
    readers = [asyncio.create_task(process.read(after=start)) for process in (owner, other) for start in starts]
    await asyncio.sleep(0)
    await writer.close("finished")
    assert await asyncio.gather(*readers) == [frames[start:] for start in starts] * 2


async def test_readers_that_drop_and_come_back_miss_nothing(backend: Backend) -> None:
    owner, other = backend.process(), backend.process()
    _, writer = await owner.start()
    frames = frames_of(1_500)
    dice = random.Random(7)  # noqa: S311 - the same ones each time

    async def restless(process: Process) -> list[bytes]:
        seen: list[bytes] = []
        while len(seen) < len(frames):
            async with contextlib.aclosing(process.streams.read("run", len(seen))) as batches:
                async for batch in batches:
                    assert batch.first == len(seen) + 1
                    seen += batch.frames
                    if dice.random() < 0.3:
                        break
        return seen

    readers = [asyncio.create_task(restless(process)) for process in (owner, other) for _ in range(5)]
    await write(writer, frames)
    await writer.close("finished")
    async with asyncio.timeout(20):
        assert await asyncio.gather(*readers) == [frames] * 10


async def test_frames_come_as_they_are_written(backend: Backend) -> None:
    owner, other = backend.process(), backend.process()
    _, writer = await owner.start()
    async with (
        contextlib.aclosing(owner.streams.read("run")) as here,
        contextlib.aclosing(other.streams.read("run")) as there,
    ):
        for number in range(1, 6):
            writer.append(b"%d" % number)
            async with asyncio.timeout(2):
                for batches in (here, there):
                    batch = await anext(batches)
                    assert (batch.first, list(batch.frames)) == (number, [b"%d" % number])
        await writer.close("finished")


async def test_a_slow_reader_holds_up_nobody(backend: Backend) -> None:
    owner, other = backend.process(), backend.process()
    _, writer = await owner.start()
    frames = [os.urandom(2_000) for _ in range(1_000)]
    slow = [asyncio.create_task(process.read(pause=0.05)) for process in (owner, other)]
    fast = asyncio.create_task(other.read())
    await write(writer, frames)
    async with asyncio.timeout(5):
        await writer.close("finished")
        assert await fast == frames
    for reader in slow:
        assert await reader == frames


async def test_what_is_known_of_a_run(backend: Backend) -> None:
    owner, other = backend.process(), backend.process()
    lost = bytes(range(256))
    _, writer = await owner.start("run", thread_id="täg", scope="a:b", lost=lost)
    info = make_info("run", thread_id="täg", scope="a:b", lost=lost)
    for process in (owner, other):
        assert await process.streams.info("run") == (info, RUNNING)
        assert await process.streams.find("a:b", "täg") == info
        assert await process.streams.find("a", "b:täg") is None
        assert await process.streams.find("a:b", "other") is None
    await writer.close("stopped", CLOSING)
    for process in (owner, other):
        assert await process.streams.info("run") == (info, "stopped")
        assert await process.streams.find("a:b", "täg") is None


async def test_the_current_run_of_a_thread_is_the_newest_one(backend: Backend) -> None:
    owner, other = backend.process(), backend.process()
    lease, first = await owner.start("first")
    await first.close("finished")
    await owner.coordination.release(lease)
    await other.start("second")
    await first.close("again")
    for process in (owner, other):
        found = await process.streams.find("alice", "thread")
        assert found
        assert found.run_id == "second"


async def test_a_run_that_never_was_is_not_found(backend: Backend) -> None:
    process = backend.process()
    with pytest.raises(NotFound):
        await process.streams.info("never")
    with pytest.raises(NotFound):
        await process.read("never")


async def test_a_stream_ends_once_and_takes_nothing_after_the_end(backend: Backend) -> None:
    owner, other = backend.process(), backend.process()
    _, writer = await owner.start()
    writer.append(b"one")
    await asyncio.gather(writer.close("finished", CLOSING), writer.close("stopped", b"another end"))
    writer.append(b"too late")
    await writer.close("failed", b"much too late")
    for process in (owner, other):
        assert await process.read() == [b"one", CLOSING]
        assert (await process.streams.info("run"))[1] == "finished"


async def test_a_run_without_frames_has_an_end_too(backend: Backend) -> None:
    owner, other = backend.process(), backend.process()
    _, writer = await owner.start()
    readers = [asyncio.create_task(process.read()) for process in (owner, other)]
    await asyncio.sleep(0.05)
    await writer.close("finished")
    assert await asyncio.gather(*readers) == [[], []]


@pytest.mark.parametrize(
    "bound", [{"max_run_frames": 10}, {"max_run_bytes": 1_000}, {"max_total_bytes": 1_000}], ids=lambda b: next(iter(b))
)
async def test_a_full_stream_says_so_and_still_takes_its_last_frame(
    make_backend: Callable[..., Backend], bound: dict[str, int]
) -> None:
    backend = make_backend(**bound)
    _, writer = await backend.process().start()
    taken = [b"%099d\n" % number for number in range(10)]
    for frame in taken:
        writer.append(frame)
    with pytest.raises(StreamFull):
        writer.append(b"x" * 100)
    await writer.close("failed", CLOSING)
    assert await backend.process().read() == [*taken, CLOSING]


async def test_frames_are_kept_for_a_while_after_the_end(make_backend: Callable[..., Backend]) -> None:
    backend = make_backend(keep=1.5)
    owner, other = backend.process(), backend.process()
    _, writer = await owner.start()
    writer.append(b"one")
    closed = asyncio.get_running_loop().time()
    await writer.close("finished")
    assert await other.read() == [b"one"]

    async def expired() -> bool:
        try:
            await owner.read()
        except StreamExpired as error:
            return (error.scope, error.code) == ("alice", "stream_expired")
        return False

    await eventually(expired)
    assert asyncio.get_running_loop().time() - closed > 1.2
    for process in (owner, other):
        with pytest.raises(StreamExpired):
            await process.streams.info("run")
    if not backend.in_memory:

        async def forgotten() -> bool:
            try:
                await other.streams.info("run")
            except StreamExpired:
                return False
            except NotFound:
                return True
            return False

        await eventually(forgotten)


async def test_whether_somebody_reads_is_known(backend: Backend) -> None:
    owner, other = backend.process(), backend.process()
    await owner.start()
    assert not await owner.streams.watched("run")
    for process in (owner, other):
        reader = asyncio.create_task(process.read())

        async def watched() -> bool:
            return await owner.streams.watched("run")

        await eventually(watched, 3)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


async def test_many_readers_share_few_connections(on_redis: Backend) -> None:
    owner, other = on_redis.process(), on_redis.process()
    writers = [(await owner.start(f"run-{n}", thread_id=f"{n}"))[1] for n in range(10)]
    readers = [asyncio.create_task(other.read(f"run-{n % 10}")) for n in range(300)]
    await asyncio.sleep(0.2)
    for writer in writers:
        await write(writer, frames_of(100))
        await writer.close("finished")
    assert await asyncio.gather(*readers) == [frames_of(100)] * 300
    assert other.connections <= 10


async def test_the_log_ends_a_run_whose_owner_died(on_redis: Backend) -> None:
    owner, *others = [on_redis.process() for _ in range(3)]
    _, writer = await owner.start()
    frames = frames_of(50)
    readers = [asyncio.create_task(process.read()) for process in others for _ in range(3)]
    await write(writer, frames)

    async def stored() -> bool:
        batches = others[0].streams.read("run", len(frames) - 1)
        async with contextlib.aclosing(batches):
            return bool(await anext(batches))

    await eventually(stored)
    began = asyncio.get_running_loop().time()
    await owner.die()
    assert await asyncio.gather(*readers) == [[*frames, LOST_FRAME]] * 6
    assert asyncio.get_running_loop().time() - began < on_redis.settings.lease + 2
    assert (await others[0].streams.info("run"))[1] == "lost"
    assert await others[1].streams.find("alice", "thread") is None
    assert await others[1].read() == [*frames, LOST_FRAME]


async def test_a_dead_run_is_no_longer_found_even_if_nobody_reads_it(on_redis: Backend) -> None:
    owner, other = on_redis.process(), on_redis.process()
    await owner.start()
    await owner.die()

    async def gone() -> bool:
        return await other.streams.find("alice", "thread") is None

    assert await eventually(gone) < on_redis.settings.lease + 2


async def test_a_writer_whose_lease_was_taken_appends_nothing_more(on_redis: Backend) -> None:
    zombie, other = on_redis.process(), on_redis.process()
    lease, writer = await zombie.start("old")
    failed = asyncio.Event()
    writer.on_failed = failed.set
    writer.append(b"mine")
    local = asyncio.create_task(zombie.read("old"))
    assert await anext(zombie.streams.read("old"))
    zombie.stop_renewing()

    async def taken() -> bool:
        return bool(await other.coordination.acquire(lease.key, "new"))

    await eventually(taken)
    writer.append(b"not mine any more")
    async with asyncio.timeout(2):
        await failed.wait()
        await writer.close("finished", CLOSING)
    for reader in (local, other.read("old"), zombie.read("old")):
        assert await reader == [b"mine", LOST_FRAME]
    assert (await other.streams.info("old"))[1] == "lost"


async def test_a_run_whose_lease_was_given_back_without_an_end_is_lost(on_redis: Backend) -> None:
    owner, other = on_redis.process(), on_redis.process()
    lease, writer = await owner.start()
    writer.append(b"one")
    assert await anext(other.streams.read("run"))
    await owner.coordination.release(lease)
    assert await other.read() == [b"one", LOST_FRAME]

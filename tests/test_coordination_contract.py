"""The contract of `gateway.coordination`, over every backend."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from backends import BOUND, Backend, eventually, opened, queued
from redis_server import any_redis, own_keys

from gateway.coordination import CANCEL, LOST
from gateway.coordination.memory import MemoryCoordination

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from gateway.coordination import Coordination, Lease

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with any_redis() as url:
        yield url


@pytest.fixture(params=["memory", "redis"])
async def backend(request: pytest.FixtureRequest) -> AsyncGenerator[Backend]:
    if request.param == "memory":
        async with opened(Backend("memory://")) as made:
            yield made
        return
    url: str = request.getfixturevalue("redis_url")
    with own_keys(url) as prefix:
        async with opened(Backend(url, prefix)) as made:
            yield made


@pytest.fixture
async def on_redis(redis_url: str) -> AsyncGenerator[Backend]:
    """For what only processes that can die have."""
    with own_keys(redis_url) as prefix:
        async with opened(Backend(redis_url, prefix)) as made:
            yield made


def two(backend: Backend) -> tuple[Coordination, Coordination]:
    return backend.process().coordination, backend.process().coordination


def signals_of(lease: Lease) -> asyncio.Queue[str]:
    signals: asyncio.Queue[str] = asyncio.Queue()
    lease.on_signal = signals.put_nowait
    return signals


async def got(coordination: Coordination, key: str, holder: str) -> Lease:
    lease = await coordination.acquire(key, holder)
    assert lease
    return lease


async def test_one_of_many_gets_the_key_and_the_others_are_told_who(backend: Backend) -> None:
    one, two_ = two(backend)
    tries = [(one, two_)[n % 2].acquire("key", f"holder-{n}") for n in range(20)]
    leases = [lease for lease in await asyncio.gather(*tries) if lease]
    assert len(leases) == 1
    assert leases[0].held
    assert await two_.holder("key") == await one.holder("key") == leases[0].holder


async def test_a_released_key_is_free_and_each_token_is_greater_than_the_last(backend: Backend) -> None:
    tokens: list[int] = []
    for turn, coordination in enumerate(two(backend) * 3):
        lease = await got(coordination, "key", f"holder-{turn}")
        tokens.append(lease.token)
        await coordination.release(lease)
        assert not lease.held
        assert await coordination.holder("key") is None
    assert tokens == sorted(set(tokens))


async def test_keys_do_not_know_of_each_other(backend: Backend) -> None:
    one, other = two(backend)
    await got(one, "a", "x")
    await got(other, "b", "y")
    assert (await one.holder("a"), await one.holder("b"), await one.holder("c")) == ("x", "y", None)


async def test_those_who_wait_are_served_in_the_order_in_which_they_came(backend: Backend) -> None:
    coordinations = two(backend)
    lease = await got(coordinations[0], "key", "first")
    served: list[int] = []

    async def take_a_turn(number: int) -> None:
        own = await coordinations[number % 2].acquire("key", f"waiter-{number}", queue=10, timeout=BOUND)
        assert own
        served.append(number)
        await coordinations[number % 2].release(own)

    waiters: list[asyncio.Task[None]] = []
    for number in range(6):
        waiters.append(asyncio.create_task(take_a_turn(number)))
        await queued(coordinations[0], "key", number + 1)  # so that the order in which they come is known
    assert await coordinations[1].acquire("key", "in-a-hurry") is None
    await coordinations[0].release(lease)
    await asyncio.gather(*waiters)
    assert served == list(range(6))
    assert await coordinations[1].holder("key") is None


async def test_no_more_than_so_many_wait(backend: Backend) -> None:
    one, other = two(backend)
    lease = await got(one, "key", "first")
    waiter = asyncio.create_task(other.acquire("key", "second", queue=1, timeout=BOUND))
    await queued(one, "key", 1)
    assert await one.acquire("key", "third", queue=1, timeout=BOUND) is None
    await one.release(lease)
    assert await waiter


async def test_a_waiter_that_gives_up_leaves_the_queue(backend: Backend) -> None:
    one, other = two(backend)
    lease = await got(one, "key", "first")
    cancelled = asyncio.create_task(other.acquire("key", "cancelled", queue=5, timeout=BOUND))
    await queued(one, "key", 1)
    impatient = asyncio.create_task(other.acquire("key", "impatient", queue=5, timeout=1.5))
    await queued(one, "key", 2)
    patient = asyncio.create_task(one.acquire("key", "patient", queue=5, timeout=BOUND))
    await queued(one, "key", 3)
    cancelled.cancel()
    assert await impatient is None
    await one.release(lease)
    own = await patient
    assert own
    assert await other.holder("key") == "patient"


async def test_a_waiter_that_is_cancelled_as_it_is_served_does_not_keep_the_key(backend: Backend) -> None:
    one, other = two(backend)
    lease = await got(one, "key", "first")
    waiter = asyncio.create_task(other.acquire("key", "second", queue=5, timeout=BOUND))
    await queued(one, "key", 1)
    await one.release(lease)
    if waiter.cancel():
        with pytest.raises(asyncio.CancelledError):
            await waiter
    elif own := await waiter:  # it was quicker than the reply to the release
        await other.release(own)

    async def free() -> bool:
        return await one.acquire("key", "third") is not None

    await eventually(free, 2.0)


async def test_a_signal_reaches_the_holder_and_nobody_else(backend: Backend) -> None:
    one, other = two(backend)
    lease, bystander = await got(one, "key", "run"), await got(other, "other", "bystander")
    signals, unheard = signals_of(lease), signals_of(bystander)
    assert await other.signal("key", "run", CANCEL)
    async with asyncio.timeout(2):
        assert await signals.get() == CANCEL
    assert await one.signal("key", "run", "again")
    async with asyncio.timeout(2):
        assert await signals.get() == "again"
    assert not await other.signal("key", "former-run", CANCEL)
    assert not await other.signal("nobody", "run", CANCEL)
    await one.release(lease)
    assert not await other.signal("key", "run", CANCEL)
    assert signals.empty()
    assert unheard.empty()


async def test_what_is_old_takes_no_memory_behind_what_is_not() -> None:
    coordination: Any = MemoryCoordination()
    for number in range(20):
        await coordination.remember(f"long-{number}", "a", 600)
        await coordination.remember(f"short-{number}", "a", 0.01)

    async def only_the_rest_is_kept() -> bool:
        await coordination.remember("another", "a", 600)
        return len(coordination._remembered) == 20 + 1

    await eventually(only_the_rest_is_kept, 2.0)


async def test_what_is_remembered_is_what_came_first_until_it_is_forgotten_or_old(backend: Backend) -> None:
    one, other = two(backend)
    assert await one.remember("name", "a", 60) == "a"
    assert await other.remember("name", "b", 60) == "a"
    await other.forget("name", "b")
    assert await one.remember("name", "c", 60) == "a"
    await other.forget("name", "a")
    assert await one.remember("name", "d", 0.05) == "d"

    async def replaced() -> bool:
        return await other.remember("name", "e", 60) == "e"

    await eventually(replaced, 2.0)


async def test_leases_are_renewed_for_as_long_as_their_process_lives(on_redis: Backend) -> None:
    one, other = two(on_redis)
    lease = await got(one, "key", "run")
    await asyncio.sleep(one.ttl * 1.5)
    assert lease.held
    assert await other.acquire("key", "thief") is None


async def test_the_key_of_a_process_that_died_is_free_within_the_lease_time(on_redis: Backend) -> None:
    process, other = on_redis.process(), on_redis.process().coordination
    lease = await got(process.coordination, "key", "run")
    await process.die()

    async def taken_over() -> bool:
        return bool(await other.acquire("key", "next"))

    assert await eventually(taken_over) < other.ttl + 0.5
    assert (await got(other, "another", "run")).token != lease.token


async def test_a_dead_waiter_does_not_hold_up_those_behind_it(on_redis: Backend) -> None:
    one, dying = on_redis.process().coordination, on_redis.process()
    lease = await got(one, "key", "first")
    waiter = asyncio.create_task(dying.coordination.acquire("key", "dead", queue=5, timeout=BOUND))
    await queued(one, "key", 1)
    dying.mute()
    waiter.cancel()
    await one.release(lease)
    assert await one.acquire("key", "alive", queue=5, timeout=BOUND)


async def test_a_holder_whose_key_was_taken_learns_that_it_lost_it(on_redis: Backend) -> None:
    cut_off, other = on_redis.process(), on_redis.process().coordination
    lease = await got(cut_off.coordination, "key", "run")
    signals = signals_of(lease)
    go_on = cut_off.stop_renewing()

    async def taken() -> bool:
        return bool(await other.acquire("key", "next"))

    await eventually(taken)
    go_on()
    async with asyncio.timeout(3):
        assert await signals.get() == LOST
    assert not lease.held
    await cut_off.coordination.release(lease)
    assert await other.holder("key") == "next"


async def test_a_lease_that_ran_out_is_regained_while_nobody_has_taken_it(on_redis: Backend) -> None:
    cut_off, other = on_redis.process(), on_redis.process().coordination
    lease = await got(cut_off.coordination, "key", "run")
    go_on = cut_off.stop_renewing()

    async def ran_out() -> bool:
        return await other.holder("key") is None

    await eventually(ran_out)
    go_on()

    async def regained() -> bool:
        return await other.holder("key") == "run"

    await eventually(regained, 2.0)
    assert lease.held


async def test_signals_and_turns_arrive_without_the_messages_that_carry_them(on_redis: Backend) -> None:
    processes = on_redis.process(), on_redis.process()
    for process in processes:
        process.deaf()
    one, other = (process.coordination for process in processes)
    lease = await got(one, "key", "run")
    signals = signals_of(lease)
    assert await other.signal("key", "run", CANCEL)
    async with asyncio.timeout(2):
        assert await signals.get() == CANCEL
    waiter = asyncio.create_task(other.acquire("key", "next", queue=1, timeout=BOUND))
    await queued(one, "key", 1)
    await one.release(lease)
    async with asyncio.timeout(2):
        assert await waiter


async def test_a_closed_backend_can_be_used_in_the_next_event_loop(on_redis: Backend) -> None:
    process = on_redis.process().coordination
    await got(process, "key", "run")
    await process.close()

    def in_another_loop() -> str | None:
        async def use() -> str | None:
            try:
                await got(process, "key-2", "run-2")
                return await process.holder("key-2")
            finally:
                await process.close()

        return asyncio.run(use())

    assert await asyncio.to_thread(in_another_loop) == "run-2"

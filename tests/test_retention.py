"""Threads that nobody uses are deleted after their time; those that are used never."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from logs import capture_logs
from run_probes import gates
from serving import make_config
from stored_threads import add_turn
from talking import calling, run_url, turn

from gateway.app import create_app
from gateway.manager import RunManager
from gateway.retention import keep_sweeping, sweep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from gateway.config import GatewayConfig
    from gateway.stores import Store

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
BOUND = 15.0
AGENTS = {"gated": {"import": "run_probes:gated", "on_disconnect": "continue"}}


@pytest.fixture(params=["memory", "sqlite"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> GatewayConfig:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/threads.db"
    return make_config(agents=AGENTS, stores={"conversations": url})


@pytest.fixture
async def runs(config: GatewayConfig) -> AsyncGenerator[RunManager]:
    manager = RunManager.from_config(config.stores, config.streams)
    await manager.threads.store.open()
    yield manager
    await manager.close()
    await manager.threads.store.close()


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


async def left(store: Store, scope: str = "ada") -> set[str]:
    return {thread.id for thread in await store.view(scope).read_threads(limit=1_000)}


class Watched:
    """A store, and what happens whenever it is asked for unused threads."""

    def __init__(self, store: Store, found: Callable[[list[tuple[str, str]]], Any]) -> None:
        self.limits: list[int] = []
        self._store = store
        self._found = found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def unused_since(self, when: datetime, limit: int) -> list[tuple[str, str]]:
        self.limits.append(limit)
        threads = await self._store.unused_since(when, limit)
        await self._found(threads)
        return threads


async def test_only_what_is_older_is_deleted_whoever_owns_it(runs: RunManager) -> None:
    for scope in ("ada", "bob"):
        view = runs.threads.store.view(scope)
        await add_turn(view, "old", when=days_ago(31))
        await add_turn(view, "young", when=days_ago(29))
        await add_turn(view, "used again", when=days_ago(31))
        await add_turn(view, "used again")
    assert await sweep(runs.threads.store, runs, 30, pause=0) == 2
    assert await left(runs.threads.store, "ada") == await left(runs.threads.store, "bob") == {"young", "used again"}
    assert await sweep(runs.threads.store, runs, 30, pause=0) == 0
    assert await sweep(runs.threads.store, runs, 1.5, pause=0) == 2


async def test_many_are_deleted_in_batches(runs: RunManager) -> None:
    for number in range(25):
        await add_turn(runs.threads.store.view(f"owner-{number % 3}"), str(number), when=days_ago(2))
    sizes: list[int] = []

    async def found(threads: list[tuple[str, str]]) -> None:
        sizes.append(len(threads))

    store: Any = Watched(runs.threads.store, found)
    assert await sweep(store, runs, 1, batch=10, pause=0) == 25
    assert (store.limits, sizes) == ([10, 10, 10, 10], [10, 10, 5, 0])


async def test_a_thread_that_is_saved_meanwhile_stays(runs: RunManager) -> None:
    view = runs.threads.store.view("ada")
    await add_turn(view, "old", when=days_ago(2))
    await add_turn(view, "woken", when=days_ago(3))

    async def wake(threads: list[tuple[str, str]]) -> None:
        if ("ada", "woken") in threads:
            await add_turn(view, "woken")

    store: Any = Watched(runs.threads.store, wake)
    assert await sweep(store, runs, 1, pause=0) == 1
    assert await left(runs.threads.store) == {"woken"}


async def test_a_thread_with_a_run_on_it_is_passed_over_and_does_not_hold_up_the_others(runs: RunManager) -> None:
    view = runs.threads.store.view("ada")
    for number in range(5):
        await add_turn(view, str(number), when=days_ago(9 - number))
    async with asyncio.timeout(BOUND), runs.locks.held("ada", "0"), runs.locks.held("ada", "1"):
        assert await sweep(runs.threads.store, runs, 1, batch=1, pause=0) == 3
        assert await left(runs.threads.store) == {"0", "1"}
    assert await sweep(runs.threads.store, runs, 1, pause=0) == 2


async def test_two_processes_that_sweep_at_once_delete_each_thread_once(runs: RunManager) -> None:
    for number in range(30):
        await add_turn(runs.threads.store.view("ada"), str(number), when=days_ago(2))
    async with asyncio.timeout(BOUND):
        counts = await asyncio.gather(*(sweep(runs.threads.store, runs, 1, batch=4, pause=0) for _ in range(3)))
    assert await left(runs.threads.store) == set()
    assert sum(counts) == 30


async def test_an_old_thread_with_a_new_turn_on_it_is_kept(config: GatewayConfig) -> None:
    app = create_app(config)
    manager: RunManager = app.state.runs
    async with calling(app) as client:
        await add_turn(manager.threads.store.view("anonymous"), "t", agent="gated", when=days_ago(2))
        gate = str(uuid4())
        answer = asyncio.create_task(client.post(run_url("ag-ui", "gated"), json=turn("ag-ui", gate, "t")))
        assert await asyncio.to_thread(gates[gate].reached.wait, BOUND)
        assert await sweep(manager.threads.store, manager, 1, pause=0) == 0
        gates[gate].open()
        assert '"RUN_FINISHED"' in (await answer).text
        assert await left(manager.threads.store, "anonymous") == {"t"}


async def test_only_counts_are_logged(runs: RunManager) -> None:
    with capture_logs() as lines:
        await add_turn(runs.threads.store.view("owner"), "thread-name", "Swordfish", when=days_ago(2))
        await sweep(runs.threads.store, runs, 1, pause=0)
        await sweep(runs.threads.store, runs, 1, pause=0)
    [line] = [line for line in lines if line["event"] == "threads_swept"]
    assert (line["deleted"], line["passed_over"]) == (1, 0)
    for secret in ("owner", "thread-name", "Swordfish"):
        assert secret not in repr(line)


async def test_it_is_done_again_and_again_also_after_a_failure(runs: RunManager) -> None:
    view, swept = runs.threads.store.view("ada"), asyncio.Event()

    async def fail_once(threads: list[tuple[str, str]]) -> None:
        if len(store.limits) == 1:
            raise OSError("the store is away")
        if not threads:
            swept.set()

    store: Any = Watched(runs.threads.store, fail_once)
    await add_turn(view, "old", when=days_ago(2))
    with capture_logs() as lines:
        task = asyncio.create_task(keep_sweeping(store, runs, 1, first=0, interval=0.01))
        async with asyncio.timeout(BOUND):
            await swept.wait()
            assert await left(runs.threads.store) == set()
            await add_turn(view, "another", when=days_ago(2))
            while await left(runs.threads.store):  # noqa: ASYNC110 - the next sweep is what is waited for
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert isinstance(next(line for line in lines if line["event"] == "threads_sweep_failed")["exc_info"], OSError)


async def test_threads_that_are_kept_for_ever_are_not_even_looked_at(runs: RunManager) -> None:
    await add_turn(runs.threads.store.view("ada"), "old", when=days_ago(10_000))
    async with asyncio.timeout(BOUND):
        await keep_sweeping(runs.threads.store, runs, None, first=0, interval=0)
    assert await left(runs.threads.store) == {"old"}

"""`connect` between two looks: the run is asked for first and the thread read then, and much can happen in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import run_probes
from copilotkit_talk import connected, contents, ran, snapshot
from reading import happens
from serving import make_config
from talking import calling, text_of

from gateway.app import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    import httpx
    from starlette.applications import Starlette

    from gateway.manager import RunManager
    from gateway.streams import StreamInfo

pytestmark = pytest.mark.anyio

SAID = "Begun ünd ended."


@pytest.fixture
def app() -> Starlette:
    agents: dict[str, Any] = {
        "gated": "run_probes:gated",
        "other": {"import": "run_probes:gated", "concurrency": "enqueue"},
    }
    return create_app(make_config(agents=agents, auth={"anonymous": True}))


@pytest.fixture
async def client(app: Starlette) -> AsyncGenerator[httpx.AsyncClient]:
    async with calling(app) as client:
        yield client


class Between:
    """Lets something happen between the first look for a run and the first look at its thread."""

    def __init__(self, app: Starlette, monkeypatch: pytest.MonkeyPatch, what: Callable[[], Awaitable[Any]]) -> None:
        self.runs: RunManager = app.state.runs
        self.found: list[StreamInfo | None] = []
        self._what = what
        self._find = self.runs.find_on_thread
        monkeypatch.setattr(self.runs, "find_on_thread", self._then)

    async def _then(self, scope: str, thread_id: str) -> StreamInfo | None:
        self.found.append(found := await self._find(scope, thread_id))
        if len(self.found) == 1:
            await self._what()
        return found


async def begun(client: httpx.AsyncClient, thread: str, agent: str = "gated") -> tuple[str, asyncio.Task[Any]]:
    """A run that waits at its gate."""
    gate = f"gate-{uuid4()}"
    task = asyncio.create_task(ran(client, agent, thread, gate))
    await happens(run_probes.gates[gate].reached.is_set)
    return gate, task


async def opened_for_two(runs: RunManager, gate: str) -> None:
    """Open the gate when the run that waits there has a second reader."""
    streams: Any = runs.streams
    try:
        await happens(lambda: any(stream.readers > 1 for stream in streams._running.values()))
    finally:
        run_probes.gates[gate].open()


async def test_a_run_that_ends_in_between_is_told_once(
    app: Starlette, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, run = await begun(client, "t")

    async def end() -> None:
        run_probes.gates[gate].open()
        await run

    between = Between(app, monkeypatch, end)
    told = await connected(client, "gated", "t")
    assert between.found[0]
    assert contents(snapshot(told)) == [("user", gate), ("assistant", SAID)]
    assert text_of(told) == ""


async def test_a_run_that_begins_in_between_is_told(
    app: Starlette, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = ""
    opening: list[asyncio.Task[None]] = []

    async def begin() -> None:
        nonlocal gate
        gate, _ = await begun(client, "t")
        opening.append(asyncio.create_task(opened_for_two(app.state.runs, gate)))

    between = Between(app, monkeypatch, begin)
    told = await connected(client, "gated", "t")
    await asyncio.gather(*opening)
    assert between.found[0] is None
    assert contents(snapshot(told)) == [("user", gate)]
    assert text_of(told) == SAID


async def test_a_run_that_another_one_follows_in_between_is_told_once_and_so_is_that(
    app: Starlette, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, run = await begun(client, "t")
    second = ""
    opening: list[asyncio.Task[None]] = []

    async def follow() -> None:
        nonlocal second
        run_probes.gates[first].open()
        await run
        second, _ = await begun(client, "t", "other")
        opening.append(asyncio.create_task(opened_for_two(app.state.runs, second)))

    between = Between(app, monkeypatch, follow)
    told = await connected(client, "gated", "t")
    await asyncio.gather(*opening)
    assert between.found[0]
    assert contents(snapshot(told)) == [("user", first), ("assistant", SAID), ("user", second)]
    assert text_of(told) == SAID


async def test_a_thread_that_is_deleted_in_between_is_one_that_never_was(
    app: Starlette, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, run = await begun(client, "t")
    run_probes.gates[gate].open()
    await run

    async def delete() -> None:
        answer = await client.delete("/threads/t")
        assert answer.status_code == 204

    Between(app, monkeypatch, delete)
    assert await connected(client, "gated", "t") == []

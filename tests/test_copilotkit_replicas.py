"""CopilotKit behind two gateway processes: each connects to, and stops, the runs of the other."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from copilotkit_talk import at, body, connected, contents, ran, snapshot, stop
from postgres_server import any_postgres, own_database
from reading import KEYS, client_for, reading
from redis_server import RedisServer
from replicas import Replica, environment
from talking import events_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

LEASE = 1.0

AGENTS = '''
import asyncio
from pathlib import Path

from pydantic_ai import Agent
from pydantic_ai.models.function import FunctionModel

FOLDER = Path(__file__).parent


async def waits(messages, info):
    """Says a word, and then nothing until its gate is there."""
    yield "Begun "
    while not (FOLDER / messages[-1].parts[-1].content).exists():
        await asyncio.sleep(0.01)
    yield "ended."


waiting = Agent(FunctionModel(stream_function=waits), name="waiting")
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replicas")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{folder}/threads.db"
        return
    with any_postgres() as address, own_database(address) as url:
        yield url


@pytest.fixture(scope="module")
def config(folder: Path, database: str) -> Iterator[dict[str, Any]]:
    (folder / "copilotkit_waiting.py").write_text(AGENTS)
    redis = RedisServer()
    config: dict[str, Any] = {
        "auth": {"api_keys": KEYS},
        "streams": {"lease": LEASE},
        "agents": {"waiting": "copilotkit_waiting:waiting"},
        "stores": {"streams": redis.url, "conversations": database},
    }
    (folder / "upgraded.yaml").write_text(json.dumps(config))
    upgrade = [sys.executable, "-m", "gateway", "db", "upgrade", "--config", str(folder / "upgraded.yaml")]
    try:
        subprocess.run(upgrade, env=environment(), check=True, timeout=60)
        yield config
    finally:
        redis.close()


@pytest.fixture(scope="module")
def urls(folder: Path, config: dict[str, Any]) -> Iterator[list[str]]:
    replicas = [Replica(folder, name, config) for name in "ab"]
    try:
        for replica in replicas:
            replica.wait()
        yield [replica.url for replica in replicas]
    finally:
        for replica in replicas:
            replica.close()


async def test_the_run_of_one_replica_is_shown_by_the_other(urls: list[str], folder: Path) -> None:
    thread, gate = f"thread/{uuid4()}", f"gate-{uuid4()}"
    async with client_for(urls[0]) as a, client_for(urls[1]) as b:
        async with reading(a, "POST", at("waiting", "run"), json=body(thread, gate)) as run:
            await run.until("Begun")
            async with reading(b, "POST", at("waiting", "connect"), json=body(thread)) as other:
                await other.until("Begun")
                (folder / gate).touch()
                told = events_of(await other.rest())
            assert text_of(events_of(await run.rest())) == text_of(told) == "Begun ended."
        assert contents(snapshot(told)) == [("user", gate)]
        assert contents(snapshot(await connected(b, "waiting", thread)))[1:] == [("assistant", "Begun ended.")]


async def test_the_run_of_one_replica_is_stopped_at_the_other(urls: list[str]) -> None:
    thread, gate = f"thread/{uuid4()}", f"gate-{uuid4()}"
    async with client_for(urls[0]) as a, client_for(urls[1]) as b, client_for(urls[1], "bob") as bob:
        async with reading(a, "POST", at("waiting", "run"), json=body(thread, gate, "run-1")) as run:
            await run.until("Begun")
            assert not await stop(bob, "waiting", thread)
            assert not await stop(b, "waiting", thread, json={"runId": "run-2"})
            assert await stop(b, "waiting", thread, json={"runId": "run-1"})
            assert events_of(await run.rest())[-1]["type"] == "RUN_FINISHED"
        assert contents(snapshot(await connected(b, "waiting", thread)))[1:] == [("assistant", "Begun ")]
        assert not await stop(b, "waiting", thread, json={"runId": "run-1"})


async def test_a_page_is_told_when_the_replica_of_its_run_has_died_and_goes_on(
    urls: list[str], folder: Path, config: dict[str, Any]
) -> None:
    thread, gate = f"thread/{uuid4()}", f"gate-{uuid4()}"
    doomed = Replica(folder, "doomed", config)
    try:
        doomed.wait()
        async with client_for(doomed.url) as c, client_for(urls[0]) as a:
            async with reading(c, "POST", at("waiting", "run"), json=body(thread, gate)) as run:
                await run.until("Begun")
                async with reading(a, "POST", at("waiting", "connect"), json=body(thread)) as page:
                    await page.until("Begun")
                    doomed.process.kill()
                    assert events_of(await page.rest())[-1]["code"] == "run_lost"
            told = await connected(a, "waiting", thread)
            assert [event["type"] for event in told] == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]
            assert contents(snapshot(told)) == [("user", gate)]
            (folder / (again := f"gate-{uuid4()}")).touch()
            assert text_of(await ran(a, "waiting", thread, again)) == "Begun ended."
    finally:
        doomed.close()

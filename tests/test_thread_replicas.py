"""Threads over gateway processes that share a database and a Redis, and outlive each other."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from postgres_server import any_postgres, own_database
from redis_server import RedisServer
from replicas import Replica, environment
from threading_http import WIRES, Talk, when_free

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator
    from pathlib import Path


pytestmark = pytest.mark.anyio

LEASE = 1.0
AGENTS = '''
import asyncio
from pathlib import Path

from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from thread_probes import _last, payer, teller

FOLDER = Path(__file__).parent


async def waits(messages, info):
    """Says a word, and then nothing until its gate is there."""
    yield "Begun "
    (FOLDER / "begun").touch()
    while not (FOLDER / "gate").exists():
        await asyncio.sleep(0.01)
    yield "ended."


async def pays(messages, info):
    prompt, results = _last(messages)
    if results:
        yield "; ".join(part.outcome for part in results)
    elif prompt == "pay":
        yield {0: DeltaToolCall("pay", "{}", tool_call_id="call-1")}
    else:
        yield "said " + prompt


waiting = Agent(FunctionModel(stream_function=waits), name="waiting")
payer_for_good = Agent(FunctionModel(stream_function=pays), name="payer", output_type=[str, DeferredToolRequests])


@payer_for_good.tool_plain(requires_approval=True)
async def pay() -> str:
    """Pays, writes it down, and then takes its time."""
    with (FOLDER / "paid").open("a") as paid:
        paid.write("x")
    while not (FOLDER / "gate").exists():
        await asyncio.sleep(0.01)
    return "paid"
'''
CONFIG: dict[str, Any] = {
    "streams": {"lease": LEASE, "retry": 5},
    "agents": {
        "teller": "replicated_threads:teller",
        "payer": "replicated_threads:payer",
        "waiting": "replicated_threads:waiting",
        "paying": "replicated_threads:payer_for_good",
    },
}


class Pair:
    """Two processes over one database and one Redis."""

    def __init__(self, folder: Path, redis: str, database: str) -> None:
        self.folder = folder
        (folder / "replicated_threads.py").write_text(AGENTS)
        config = {**CONFIG, "stores": {"streams": redis, "conversations": database}}
        (folder / "upgraded.yaml").write_text(json.dumps(config))
        upgrade = ["-m", "gateway", "db", "upgrade", "--config", str(folder / "upgraded.yaml")]
        subprocess.run([sys.executable, *upgrade], cwd=folder, env=environment(), check=True, timeout=60)
        self.replicas = [Replica(folder, name, config) for name in "ab"]
        for replica in self.replicas:
            replica.wait()

    @property
    def a(self) -> Replica:
        return self.replicas[0]

    @property
    def b(self) -> Replica:
        return self.replicas[1]

    def close(self) -> None:
        for replica in self.replicas:
            replica.close()

    @asynccontextmanager
    async def talking(self, wire: str, agent: str) -> AsyncGenerator[tuple[Talk, Talk]]:
        """The same thread, over each of the two."""
        async with (
            httpx.AsyncClient(base_url=self.a.url, timeout=20) as a,
            httpx.AsyncClient(base_url=self.b.url, timeout=20) as b,
        ):
            talk = Talk(a, wire, agent)
            yield talk, Talk(b, wire, agent, talk.thread)


async def made(mark: Path) -> None:
    """Until an agent, in another process, has made that file."""
    async with asyncio.timeout(20):
        while not mark.exists():  # noqa: ASYNC110, ASYNC240 - nothing tells
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with any_postgres() as address:
        yield address


@pytest.fixture
def pair(tmp_path: Path, redis: RedisServer, postgres: str) -> Generator[Pair]:
    with own_database(postgres) as url:
        made = Pair(tmp_path, redis.url, url)
        try:
            yield made
        finally:
            made.close()


@pytest.mark.parametrize("wire", WIRES)
async def test_a_thread_goes_on_at_any_replica(pair: Pair, wire: str) -> None:
    async with pair.talking(wire, "teller") as (a, b):
        await a.say("one", message="m1")
        assert (await b.say("two")).text == "You said: one, two."
        assert (await a.say("three")).text == "You said: one, two, three."
        assert (await b.regenerate("one", "m1")).text == "You said: one."
        assert (await a.say("four")).text == "You said: one, four."
        assert await a.history() == await b.history()


@pytest.mark.parametrize("wire", WIRES)
async def test_an_approval_is_answered_at_another_replica(pair: Pair, wire: str) -> None:
    async with pair.talking(wire, "payer") as (a, b):
        [call] = (await a.say("pay Bob 5")).asked
        pair.a.close()
        assert (await b.answer({call: True})).text == "success paid 5 to Bob"


@pytest.mark.parametrize("wire", WIRES)
async def test_an_owner_that_is_killed_loses_the_unfinished_answer_and_nothing_else(pair: Pair, wire: str) -> None:
    async with pair.talking(wire, "waiting") as (a, b):
        a.agent, b.agent = "teller", "teller"
        await a.say("one")
        a.agent = "waiting"
        killed = asyncio.create_task(a.say("two"))
        await made(pair.folder / "begun")
        pair.a.process.kill()
        with pytest.raises(httpx.TransportError):
            await killed
        assert (await when_free(lambda: b.say("three"))).text == "You said: one, two, three."


@pytest.mark.parametrize("wire", WIRES)
async def test_an_owner_that_is_killed_behind_a_tool_has_run_it_once_and_for_all(pair: Pair, wire: str) -> None:
    async with pair.talking(wire, "paying") as (a, b):
        [call] = (await a.say("pay")).asked
        killed = asyncio.create_task(a.answer({call: True}))
        await made(pair.folder / "paid")
        pair.a.process.kill()
        with pytest.raises(httpx.TransportError):
            await killed
        (pair.folder / "gate").touch()
        assert (await when_free(lambda: b.answer({call: True}))).problem == "run_lost"
        assert (await when_free(lambda: b.say("and?"))).text == "interrupted"
        assert (await b.answer({call: True})).problem in ("run_lost", "")
        assert (pair.folder / "paid").read_text() == "x"


async def test_a_run_that_lost_its_thread_stores_nothing(pair: Pair) -> None:
    """A process that stood still for longer than its lease wakes up to a thread that has gone on."""
    async with pair.talking("ag-ui", "waiting") as (a, b):
        b.agent = "teller"
        stuck = asyncio.create_task(a.say("one"))
        await made(pair.folder / "begun")
        with pair.a.stopped():
            answer = await when_free(lambda: b.say("two"))
        assert answer.text == "You said: one, two."
        (pair.folder / "gate").touch()
        assert (await stuck).problem == "run_lost"
        assert await b.history() == "U:one | U:two | A:You said: one, two."
        assert json.loads((await b.client.get(f"/threads/{b.thread}")).text)["status"] == "finished"


@pytest.mark.parametrize("wire", WIRES)
async def test_a_process_that_is_killed_comes_back_to_its_threads(tmp_path: Path, wire: str) -> None:
    (tmp_path / "replicated_threads.py").write_text(AGENTS)
    stores = {"stores": {"conversations": f"sqlite:///{tmp_path}/threads.db"}}
    talk = Talk(httpx.AsyncClient(), wire, "waiting")
    for begins in (True, False):
        replica = Replica(tmp_path, "only", {**CONFIG, **stores})
        try:
            await asyncio.to_thread(replica.wait)
            async with httpx.AsyncClient(base_url=replica.url) as talk.client:
                if begins:
                    turn = asyncio.create_task(talk.say("one"))
                    await made(tmp_path / "begun")
                    replica.process.kill()
                    with pytest.raises(httpx.TransportError):
                        await turn
                else:
                    assert (await talk.about())["status"] == "run_lost"
                    talk.agent = "teller"
                    assert (await talk.say("two")).text == "You said: one, two."
        finally:
            replica.close()

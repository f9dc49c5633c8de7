"""What a long stored thread costs: in a run, in the pauses of other streams, and in the store itself."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart

from benchmarks.load import WIRES, Client
from benchmarks.measures import KINDS, Row
from benchmarks.model import WORD
from benchmarks.servers import Server
from gateway.auth import Principal
from gateway.history import FINISHED, TurnRecord
from gateway.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Iterator

    from benchmarks.servers import Kind
    from gateway.stores import ThreadView

PRIOR = 1_000
"""Messages of the long thread, which a client sends ahead of its new one each time."""

PAGE = 50
LONG = "long"
OWNER = Principal("load").scope
"""Of the key in gateway.yaml."""


def long_threads(rounds: int, runs: int) -> list[Row]:
    """CPU per run with `PRIOR` prior messages; the gateway has them in SQLite."""
    rows = [Row(f"{wire}: CPU per run, {PRIOR} prior messages", "ms") for wire in WIRES]
    with _servers() as servers, ExitStack() as stack:
        clients = {kind: stack.enter_context(Client(server)) for kind, server in servers.items()}
        for turn in range(rounds + 1):
            for row, wire in zip(rows, WIRES, strict=True):
                for kind in KINDS if turn % 2 else KINDS[::-1]:
                    before = servers[kind].cpu()
                    for _ in range(runs):
                        clients[kind].run(wire, 1, prior=PRIOR, thread=LONG)
                    if turn:  # the first round warms up
                        row.samples[kind.name].append((servers[kind].cpu() - before) / runs * 1e3)
    return rows


def pauses(deltas: int) -> Iterator[str]:
    """The pauses in a steady stream, alone, and beside a client that posts `PRIOR` messages again and again."""
    with _servers() as servers:
        for kind, server in servers.items():
            alone = _gap(server, deltas)
            with _posting(server):
                beside = _gap(server, deltas)
            yield (
                f"{kind.name}: p99 of the pauses in a stream: alone {alone * 1e3:.1f} ms, beside bodies of "
                f"{PRIOR} messages {beside * 1e3:.1f} ms, {beside / alone:.1f} x"
            )


def store(appends: int, threads: int) -> Iterator[str]:
    """What the store takes in SQLite, for a turn, a page and a long history."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/threads.db"
        yield from asyncio.run(_store(path, appends, threads))


async def _store(path: str, appends: int, threads: int) -> list[str]:
    made = open_store(f"sqlite:///{path}")
    view = made.view(OWNER)
    took = [await _timed(_append(view, LONG)) for _ in range(PRIOR // 2)]
    took = [await _timed(_append(view, "short")) for _ in range(appends)] or took
    _multiply(path, threads)
    listed = [await _timed(view.read_threads(limit=PAGE)) for _ in range(20)]
    warm = [await _timed(_load(view)) for _ in range(20)]
    await made.close()
    made = open_store(f"sqlite:///{path}")
    await made.open()
    cold = await _timed(_load(made.view(OWNER)))
    await made.close()
    return [
        f"append of a turn, SQLite: {median(took) * 1e3:.2f} ms",
        f"list of {PAGE} among {threads} threads, SQLite: {median(listed) * 1e3:.2f} ms",
        f"load of {PRIOR} messages, SQLite: {cold * 1e3:.1f} ms, and {median(warm) * 1e3:.2f} ms when known",
    ]


async def _append(view: ThreadView, thread: str) -> None:
    """A turn with its answer, behind what the thread has."""
    found = await view.read_record(thread)
    asked = ConversationEntry(parent_id=found.head_id if found else None, message=_said(ModelRequest, UserPromptPart))
    answered = ConversationEntry(parent_id=asked.id, message=_said(ModelResponse, TextPart))
    await view.write_record(
        ConversationRecord(conversation_id=thread, head_id=answered.id),
        new_entries=[asked, answered],
        expected_revision=found.revision if found else None,
        turn=TurnRecord(entry_id=answered.id, run_id="r", agent="words", surface="ag-ui", outcome=FINISHED),
    )


def _said(message: Any, part: Any) -> Any:
    return message(parts=[part(content=WORD * 20)])


async def _load(view: ThreadView) -> None:
    thread = await view.read_thread(LONG)
    line = await view.read_line(thread.record.head_id if thread else None)
    if len(line.entries) < PRIOR:
        msg = f"{len(line.entries)} messages are there"
        raise RuntimeError(msg)


async def _timed(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


def _multiply(path: str, threads: int) -> None:
    """As many threads more, that share the messages of one."""
    with sqlite3.connect(path) as database:
        cursor = database.execute("SELECT * FROM gateway_threads WHERE id = 'short'")
        names = [column[0] for column in cursor.description]
        row = dict(zip(names, cursor.fetchone(), strict=True))
        last = row["updated_at"]
        rows = ([*({**row, "id": f"thread-{n}", "updated_at": last - n}).values()] for n in range(threads))
        database.executemany(f"INSERT INTO gateway_threads VALUES ({', '.join('?' * len(names))})", rows)  # noqa: S608
    database.close()


@contextmanager
def _servers() -> Generator[dict[Kind, Server]]:
    """One of each kind; the gateway has the long thread."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        url = f"sqlite:///{folder}/threads.db"
        asyncio.run(_seed(url))
        servers = {kind: stack.enter_context(Server(kind, url)) for kind in KINDS}
        for server in servers.values():
            server.wait()
        yield servers


async def _seed(url: str) -> None:
    made = open_store(url)
    for _ in range(PRIOR // 2):
        await _append(made.view(OWNER), LONG)
    await made.close()


def _gap(server: Server, deltas: int) -> float:
    """Seconds that all but a hundredth of the pauses in a stream stay below."""
    with Client(server) as client:
        arrived = client.run("ag-ui", deltas, 0.005)
    return quantiles([later - earlier for earlier, later in pairwise(arrived)], n=100)[98]


@contextmanager
def _posting(server: Server) -> Generator[None]:
    """Somebody posts the long thread, one run after the other."""
    over = threading.Event()

    def post() -> None:
        with Client(server) as client:
            while not over.is_set():
                client.run("ag-ui", 1, prior=PRIOR, thread=LONG)

    poster = threading.Thread(target=post)
    poster.start()
    try:
        yield
    finally:
        over.set()
        poster.join()

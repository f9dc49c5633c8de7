"""Two kinds of server -> samples of what each costs, taken in turns: A B, B A, A B, ..."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Protocol, TypeVar

from benchmarks.load import WIRES, Client
from benchmarks.servers import GATEWAY, PLAIN, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.load import Wire

KINDS = (GATEWAY, PLAIN)

T = TypeVar("T")


class Measured(Protocol):
    """What has a clock of its CPU time."""

    def cpu(self) -> float:
        """Seconds that it has used so far."""
        ...


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure."""

    rounds: int
    """Many short ones: what else the machine does then falls on both kinds alike."""
    starts: int
    """Rounds of starting servers."""
    seconds: float
    """No round is begun after so many, of either sort."""
    waiting: int
    """Deltas of a run that never waits."""
    paced: int
    """Deltas of a run with a pause before each."""
    runs: int
    """Runs of one delta."""
    idle: int
    """Streams that are open at the same time."""
    frames: int
    """Frames through each stream log."""
    long_rounds: int
    """Rounds of runs on a long thread."""
    long_runs: int
    """Of those, in each round."""
    threads: int
    """Threads of one owner, to list a page of."""


FULL = Effort(
    rounds=20,
    starts=9,
    seconds=75,
    waiting=1000,
    paced=300,
    runs=30,
    idle=1000,
    frames=50_000,
    long_rounds=10,
    long_runs=5,
    threads=100_000,
)
QUICK = Effort(
    rounds=1,
    starts=1,
    seconds=5,
    waiting=300,
    paced=100,
    runs=10,
    idle=50,
    frames=2_000,
    long_rounds=1,
    long_runs=1,
    threads=1_000,
)

PAUSE = 0.001
"""Seconds: more than a delta costs, so that no two ever wait together."""


@dataclass(slots=True)
class Row:
    """One measure of every kind of server."""

    name: str
    unit: str
    samples: dict[str, list[float]] = field(default_factory=lambda: {kind.name: [] for kind in KINDS})
    """Kind -> one figure for each round, in the order of the rounds."""


def runs(effort: Effort) -> list[Row]:
    """CPU per text delta and per run, of servers that stay, after one round that only warms them up."""
    tables: dict[Wire, list[Row]] = {wire: wire_rows(wire) for wire in WIRES}
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(Server(kind)) for kind in KINDS}
        for server in servers.values():
            server.wait()
        clients = {kind: stack.enter_context(Client(server)) for kind, server in servers.items()}
        for kind, wire in product(KINDS, WIRES):
            figures(servers[kind], clients[kind], wire, effort)
        for kinds in turns(KINDS, effort.rounds, effort.seconds):
            for (wire, rows), kind in product(tables.items(), kinds):
                for row, figure in zip(rows, figures(servers[kind], clients[kind], wire, effort), strict=True):
                    row.samples[kind.name].append(figure)
    return [row for rows in zip(*tables.values(), strict=True) for row in rows]


def starts(effort: Effort) -> list[Row]:
    """From `exec` to the end of the first answered run, of servers that were started before: bytecode is compiled."""
    cpu, wall = Row("start to first answer, CPU", "s"), Row("start to first answer, wall", "s")
    for kinds in turns(KINDS, effort.starts, effort.seconds):
        for kind in kinds:
            began = time.perf_counter()
            with Server(kind) as server:
                server.wait()
                with Client(server) as client:
                    client.run("ag-ui", 1)
                cpu.samples[kind.name].append(server.cpu())
                wall.samples[kind.name].append(time.perf_counter() - began)
    return [cpu, wall]


def wire_rows(wire: Wire) -> list[Row]:
    """A row for each of the `figures`."""
    return [
        Row(f"{wire}: CPU per delta, deltas waiting", "us"),
        Row(f"{wire}: CPU per delta, 1 ms apart", "us"),
        Row(f"{wire}: fixed CPU per run", "ms"),
    ]


def figures(server: Measured, client: Client, wire: Wire, effort: Effort) -> tuple[float, float, float]:
    """A delta's cost is what a long run costs more than a run of one delta, over the other deltas."""
    short = _cpu(server, lambda: [client.run(wire, 1) for _ in range(effort.runs)]) / effort.runs
    waiting = _cpu(server, lambda: client.run(wire, effort.waiting))
    paced = _cpu(server, lambda: client.run(wire, effort.paced, PAUSE))
    return (
        (waiting - short) / (effort.waiting - 1) * 1e6,
        (paced - short) / (effort.paced - 1) * 1e6,
        short * 1e3,
    )


def _cpu(server: Measured, work: Callable[[], object]) -> float:
    before = server.cpu()
    work()
    return server.cpu() - before


def turns(sides: Sequence[T], rounds: int, seconds: float) -> Iterator[Sequence[T]]:
    """The sides in the order of each round."""
    deadline = time.monotonic() + seconds
    for turn in range(rounds):
        if turn and time.monotonic() > deadline:
            return
        yield sides if turn % 2 == 0 else sides[::-1]

"""`python -m benchmarks`: measure, and print a table. No figure fails it: only a server that does not answer does."""

from __future__ import annotations

import argparse
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import copilotkit, idle, measures, pump, stored
from benchmarks.table import machine, table
from gateway.errors import StreamUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

REDIS = "redis://127.0.0.1:6379/0"
"""The Redis to measure with; keys go away by themselves."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The gateway beside plain pydantic-ai.")
    parser.add_argument("--quick", action="store_true", help="one round of little work: rough figures in seconds")
    effort = measures.QUICK if parser.parse_args().quick else measures.FULL
    print(*machine(), sep="\n", end="\n\n", flush=True)
    rows = measures.runs(effort)  # first, because it leaves bytecode behind
    if copilotkit.is_installed():
        print(*table(copilotkit.runs(effort), peer="node+plain"), sep="\n", end="\n\n", flush=True)
    rows += stored.long_threads(effort.long_rounds, effort.long_runs)
    print(*table([*rows, *measures.starts(effort), idle.memory(effort.idle)]), sep="\n", end="\n\n", flush=True)
    for line in (*stored.pauses(effort.paced), *stored.store(effort.runs * 10, effort.threads)):
        print(line, flush=True)
    for url in ("memory://", REDIS):
        print(*log_line(url, effort), sep="\n", flush=True)


def log_line(url: str, effort: measures.Effort) -> Iterator[str]:
    """What the stream log at `url` costs for each frame."""
    try:
        figures = pump.overhead(url, effort.frames, effort.rounds)
    except StreamUnavailable:
        yield f"log and detachment, {url}: no server there"
    else:
        least, middle, most = min(figures), median(figures), max(figures)
        yield f"log and detachment, {url}: {middle:.2f} us per frame ({least:.2f} to {most:.2f})"


if __name__ == "__main__":
    main()

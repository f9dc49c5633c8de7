"""`python -m benchmarks`: measure, and print a table. No figure fails it: only a server that does not answer does."""

from __future__ import annotations

import argparse

from benchmarks import measures
from benchmarks.table import machine, table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The gateway beside plain pydantic-ai.")
    parser.add_argument("--quick", action="store_true", help="one round of little work: rough figures in seconds")
    effort = measures.QUICK if parser.parse_args().quick else measures.FULL
    print(*machine(), sep="\n", end="\n\n", flush=True)
    rows = measures.runs(effort)  # first, because it leaves bytecode behind
    print(*table([*rows, *measures.starts(effort)]), sep="\n")


if __name__ == "__main__":
    main()

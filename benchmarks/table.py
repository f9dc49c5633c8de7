"""Rows and the machine -> the lines that are printed: medians, and the ratio with its least and its greatest."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING

from gateway import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.measures import Row

PACKAGES = ("pydantic-ai-slim", "ag-ui-protocol", "pydantic", "starlette", "uvicorn", "uvloop", "httptools")


def machine() -> Iterator[str]:
    """What was measured, and on what."""
    yield f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    yield f"{platform.python_implementation()} {platform.python_version()}, gateway {__version__}"
    yield ", ".join(f"{name} {version(name)}" for name in PACKAGES)


def table(rows: Sequence[Row], peer: str = "plain") -> Iterator[str]:
    """One line for each row. A ratio is gateway to peer within one round: below 1 the gateway is cheaper."""
    yield f"{'':<42}{'gateway':>10}{peer:>11}{'':>4}{'ratio':>7}{'min':>7}{'max':>7}{'rounds':>8}"
    for row in rows:
        gateway, plain = row.samples["gateway"], row.samples["plain"]
        ratios = [ours / theirs if theirs else float("nan") for ours, theirs in zip(gateway, plain, strict=True)]
        yield (
            f"{row.name:<42}{median(gateway):>10.3g}{median(plain):>11.3g} {row.unit:<3}"
            f"{median(ratios):>7.2f}{min(ratios):>7.2f}{max(ratios):>7.2f}{len(ratios):>8}"
        )

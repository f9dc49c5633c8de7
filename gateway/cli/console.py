"""Problems, notes and tables -> lines on a terminal, in colour where there is one.

Colours only repeat what the words say: without a terminal, or with NO_COLOR, the same text comes out plain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

_WIDE = 200
"""Columns where there is no terminal to ask, so that a log or a pipe gets whole URLs."""

_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}


def console(*, stderr: bool = False) -> Console:
    """A console that prints text as it stands."""
    made = Console(stderr=stderr, markup=False, highlight=False)
    if not made.is_terminal:
        made.width = _WIDE
    return made


def labelled(label: str, messages: Iterable[object]) -> Text:
    """One line for each message, behind `error:`, `warning:` or `note:`."""
    lines = [Text.assemble((f"{label}: ", _STYLES[label]), " ".join(str(each).split())) for each in messages]
    return Text("\n").join(lines)


def show_errors(messages: Iterable[object]) -> None:
    """Print to stderr, one line each."""
    console(stderr=True).print(labelled("error", messages), soft_wrap=True)


def columns(*headers: str) -> Table:
    """A table without a frame, which reads the same in a log."""
    return Table(
        *headers, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=any(headers)
    )

"""Entries <-> rows, in pieces that are over soon.

Parsing a long history takes many milliseconds, and no thread helps, because one call of the parser holds the
interpreter. So a line is taken in small pieces, each in a thread, and the event loop has its turn between two of them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic_ai.conversation_store import ConversationEntry

from gateway.stores.files import put_back, take_out
from gateway.stores.rows import dump_message, load_messages, load_turn
from gateway.stores.writing import NewEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Row

    from gateway.history import TurnRecord

PIECE = 64
"""Messages that are parsed at once."""
PIECE_CHARS = 64_000
"""Characters of JSON that are parsed at once; a longer message is a piece of its own. A millisecond, or two."""


async def pack(entries: Sequence[ConversationEntry]) -> list[tuple[NewEntry, str]]:
    """Entries as they are stored, each beside its whole JSON."""
    if len(entries) <= PIECE:
        return _pack(entries)
    packed: list[tuple[NewEntry, str]] = []
    for start in range(0, len(entries), PIECE):
        packed += await asyncio.to_thread(_pack, entries[start : start + PIECE])
    return packed


def _pack(entries: Sequence[ConversationEntry]) -> list[tuple[NewEntry, str]]:
    packed: list[tuple[NewEntry, str]] = []
    for entry in entries:
        text = dump_message(entry.message)
        new = NewEntry(id=entry.id, parent_id=entry.parent_id, kind=entry.kind, packed=take_out(text))
        packed.append((new, text))
    return packed


def whole(row: Row[Any], blobs: Mapping[str, bytes]) -> str:
    """The JSON of a row's message, with its files."""
    return put_back(row.message, row.files, blobs) if row.files else row.message


async def load_entries(rows: Sequence[Row[Any]], blobs: Mapping[str, bytes]) -> list[ConversationEntry]:
    """Rows of entries -> the entries, which nobody else has."""
    small = list(pieces(rows))
    if len(small) <= 1:
        return _load(rows, blobs)
    entries: list[ConversationEntry] = []
    for piece in small:
        entries += await asyncio.to_thread(_load, piece, blobs)
    return entries


async def load_turns(rows: Sequence[Row[Any]]) -> dict[str, TurnRecord]:
    """Rows that turns were joined to -> the turns, by entry."""
    if len(rows) <= PIECE:
        return _turns(rows)
    turns: dict[str, TurnRecord] = {}
    for start in range(0, len(rows), PIECE * 4):
        turns |= await asyncio.to_thread(_turns, rows[start : start + PIECE * 4])
    return turns


def _load(rows: Sequence[Row[Any]], blobs: Mapping[str, bytes]) -> list[ConversationEntry]:
    messages = load_messages(whole(row, blobs) for row in rows)
    return [
        ConversationEntry(id=row.id, parent_id=row.parent_id, message=message)
        for row, message in zip(rows, messages, strict=True)
    ]


def _turns(rows: Sequence[Row[Any]]) -> dict[str, TurnRecord]:
    return {row.id: turn for row in rows if (turn := load_turn(row))}


def pieces(rows: Sequence[Row[Any]]) -> Iterator[Sequence[Row[Any]]]:
    """The rows, as many at a time as may be parsed at once."""
    start = chars = 0
    for index, row in enumerate(rows):
        size = len(row.message)
        if index > start and (index - start >= PIECE or chars + size > PIECE_CHARS):
            yield rows[start:index]
            start, chars = index, 0
        chars += size
    if rows:
        yield rows[start:]

"""What is read from the tables: statements, built once, and the functions that run them on a connection."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    Row,
    Text,
    bindparam,
    false,
    literal,
    select,
    true,
    tuple_,
    union_all,
)

from gateway.stores.rows import load_record, load_thread, micros
from gateway.stores.schema import blobs, entries, threads, turns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from pydantic_ai.conversation_store import ConversationRecord
    from sqlalchemy import ColumnElement, Select

    from gateway.history import Archived, Thread

EVERYTHING = 2**31 - 1
"""Rows, where no limit was asked for."""

_SCOPE = bindparam("scope", type_=Text)
_AGENTS_AT_ONCE = 50
"""Agents in one query of the list; SQLite takes a few hundred."""

_TURN = [column.label(f"turn_{column.name}") for column in turns.c if column.name != "scope"]
_OF_HEAD = (turns.c.scope == threads.c.scope) & (turns.c.entry_id == threads.c.head_id)
_WITH_TURN = select(threads, *_TURN).select_from(threads.outerjoin(turns, _OF_HEAD))
_BY_ID = (threads.c.scope == _SCOPE) & (threads.c.id == bindparam("thread_id"))
_THREAD = _WITH_TURN.where(_BY_ID)
_RECORD = select(threads).where(_BY_ID)
_NEWEST_FIRST = (threads.c.updated_at.desc(), threads.c.id.desc())
_LIMIT = bindparam("limit", type_=Integer)
_BEFORE = tuple_(bindparam("before", type_=BigInteger), bindparam("before_id", type_=Text))
_ARCHIVED = {"exclude": (false(),), "include": (false(), true()), "only": (true(),)}
"""The values of `archived` in a list."""
_ENTRY = select(entries).where(entries.c.scope == _SCOPE, entries.c.id == bindparam("entry_id"))
_BLOBS = select(blobs.c.hash, blobs.c.data).where(
    blobs.c.scope == _SCOPE, blobs.c.hash.in_(bindparam("hashes", expanding=True))
)
_UNUSED = (
    select(threads.c.scope, threads.c.id)
    .where(threads.c.updated_at < bindparam("when"))
    .order_by(threads.c.updated_at)
    .limit(_LIMIT)
)


def _newest(choices: Sequence[ColumnElement[bool]], *, with_turns: bool) -> Select[Any]:
    """At most `limit` threads that any of the choices takes, the newest first.

    It is made of one page for each choice: an index has those in order.
    """
    keys = select(threads.c.updated_at, threads.c.id).order_by(*_NEWEST_FIRST).limit(_LIMIT)
    pages = [keys.where(threads.c.scope == _SCOPE, choice).subquery() for choice in choices]
    page = union_all(*(select(each) for each in pages)).subquery()
    # In the order of the page's columns, not of the table's: an index of that order would be walked from its start.
    chosen = (threads.c.scope == _SCOPE) & (threads.c.id == page.c.id)
    newest_first = (page.c.updated_at.desc(), page.c.id.desc())
    found = page.join(threads, chosen)
    rows = select(threads).select_from(found)
    if with_turns:
        rows = select(threads, *_TURN).select_from(found.outerjoin(turns, _OF_HEAD))
    return rows.order_by(*newest_first).limit(_LIMIT)


_EITHER = [threads.c.archived == value for value in _ARCHIVED["include"]]
_RECORDS = _newest(_EITHER, with_turns=False)
_OF = threads.c.record_scope == bindparam("record_scope")
_RECORDS_OF = _newest([either & _OF for either in _EITHER], with_turns=False)


def _line() -> Select[Any]:
    """The entries from a head back to the first one, at most `limit` of them, oldest first, each with its turn."""
    columns = (entries.c.id, entries.c.parent_id, entries.c.family, entries.c.message, entries.c.files)
    head = select(*columns, literal(1).label("place")).where(
        entries.c.scope == _SCOPE, entries.c.id == bindparam("head_id")
    )
    line = head.cte("line", recursive=True)
    line = line.union_all(
        select(*columns, line.c.place + 1).where(
            entries.c.scope == _SCOPE, entries.c.id == line.c.parent_id, line.c.place < _LIMIT
        )
    )
    family = select(entries.c.family).where(entries.c.scope == _SCOPE, entries.c.id == bindparam("head_id"))
    edition = select(threads.c.edition).where(threads.c.scope == _SCOPE, threads.c.family == family.scalar_subquery())
    joined = line.outerjoin(turns, (turns.c.scope == _SCOPE) & (turns.c.entry_id == line.c.id))
    return (
        select(line, edition.limit(1).scalar_subquery().label("edition"), *_TURN)
        .select_from(joined)
        .order_by(line.c.place.desc())
    )


_LINE = _line()


def read_thread(scope: str, thread_id: str) -> Callable[[Connection], tuple[Thread, str, int] | None]:
    """The thread with its head's turn, its family and that one's edition."""

    def work(connection: Connection) -> tuple[Thread, str, int] | None:
        row = connection.execute(_THREAD, {"scope": scope, "thread_id": thread_id}).one_or_none()
        return (load_thread(row), row.family, row.edition) if row else None

    return work


def read_record(scope: str, thread_id: str) -> Callable[[Connection], tuple[ConversationRecord, str, int] | None]:
    """The thread's record, its family and that one's edition."""

    def work(connection: Connection) -> tuple[ConversationRecord, str, int] | None:
        row = connection.execute(_RECORD, {"scope": scope, "thread_id": thread_id}).one_or_none()
        return (load_record(row), row.family, row.edition) if row else None

    return work


def read_records(scope: str, record_scope: str | None, limit: int) -> Callable[[Connection], list[ConversationRecord]]:
    """The owner's records, the newest first."""
    values = {"scope": scope, "limit": limit}
    if record_scope is None:
        return lambda connection: [load_record(row) for row in connection.execute(_RECORDS, values)]
    values |= {"record_scope": record_scope}
    return lambda connection: [load_record(row) for row in connection.execute(_RECORDS_OF, values)]


def read_threads(
    scope: str, limit: int, agents: Collection[str] | None, before: tuple[datetime, str] | None, archived: Archived
) -> Callable[[Connection], list[Thread]]:
    """The owner's threads, the newest first."""
    values: dict[str, Any] = {"scope": scope, "limit": limit}
    if before:
        values |= {"before": micros(before[0]), "before_id": before[1]}
    names = None if agents is None else sorted(set(agents))
    after = before is not None

    def work(connection: Connection) -> list[Thread]:
        if names is None:
            rows = connection.execute(_page(None, archived, after=after), values)
            return [load_thread(row) for row in rows]
        found: list[Thread] = []
        for start in range(0, len(names), _AGENTS_AT_ONCE):
            some = {f"agent_{number}": name for number, name in enumerate(names[start : start + _AGENTS_AT_ONCE])}
            rows = connection.execute(_page(len(some), archived, after=after), values | some)
            found += [load_thread(row) for row in rows]
        return sorted(found, key=lambda thread: (thread.record.updated_at, thread.id), reverse=True)[:limit]

    return work


@cache
def _page(agents: int | None, archived: Archived, *, after: bool) -> Select[Any]:
    """One page of the list."""
    of_agents = [true()] if agents is None else [threads.c.agent == bindparam(f"agent_{n}") for n in range(agents)]
    behind = tuple_(threads.c.updated_at, threads.c.id) < _BEFORE if after else true()
    marks = [threads.c.archived == value for value in _ARCHIVED[archived]]
    choices = [of_agent & mark & behind for of_agent in of_agents for mark in marks]
    return _newest(choices, with_turns=True)


def read_line(scope: str, head_id: str, limit: int = EVERYTHING) -> Callable[[Connection], Sequence[Row[Any]]]:
    """The rows of a line, oldest first; none for a head that is not there."""
    values = {"scope": scope, "head_id": head_id, "limit": limit}
    return lambda connection: connection.execute(_LINE, values).all()


def read_entry(scope: str, entry_id: str) -> Callable[[Connection], Row[Any] | None]:
    """The row of one entry."""
    values = {"scope": scope, "entry_id": entry_id}
    return lambda connection: connection.execute(_ENTRY, values).one_or_none()


def read_blobs(scope: str, hashes: Collection[str]) -> Callable[[Connection], dict[str, bytes]]:
    """The files with those hashes."""
    values = {"scope": scope, "hashes": list(hashes)}
    return lambda connection: {row.hash: row.data for row in connection.execute(_BLOBS, values)}


def read_unused(when: datetime, limit: int) -> Callable[[Connection], list[tuple[str, str]]]:
    """The threads of all owners that were last saved before that time."""
    values = {"when": micros(when), "limit": limit}
    return lambda connection: [(row.scope, row.id) for row in connection.execute(_UNUSED, values)]

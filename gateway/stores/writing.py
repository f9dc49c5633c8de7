"""What a save writes to the tables, within one transaction.

Who changes a thread holds its row, and then the scope's lock where it needs that one: for whatever points at entries
other than the thread's own head and branches, stores files, speaks of an older entry, or deletes. So nothing comes to
point at what is being deleted. A plain new turn, which is nearly every save, needs one update, two inserts and no lock.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_ai.conversation_store import ConversationConflict
from sqlalchemy import BigInteger, Connection, Text, bindparam, case, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.exc import IntegrityError

from gateway.stores.database import lock_scope
from gateway.stores.rows import record_values, turn_values
from gateway.stores.schema import blobs, entries, entry_blobs, threads, turns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic_ai.conversation_store import ConversationRecord
    from sqlalchemy import Row

    from gateway.history import TurnRecord
    from gateway.stores.files import Packed

_ANY_TOKEN = 2**63 - 1

_AT = (threads.c.scope == bindparam("at_scope")) & (threads.c.id == bindparam("at_id"))
_HELD = select(threads).where(_AT).with_for_update()
_TOKEN = bindparam("new_token", type_=BigInteger)
_GREATER_TOKEN = case((threads.c.token < _TOKEN, _TOKEN), else_=threads.c.token)
# The columns that are not named here are set from the parameters.
_GROW = (
    update(threads)
    .where(
        _AT,
        threads.c.revision == bindparam("expected"),
        threads.c.token <= bindparam("at_most", type_=BigInteger),
        threads.c.head_id.is_not_distinct_from(bindparam("parent_id", type_=Text)),
        threads.c.branches == bindparam("same_branches"),
    )
    .values(token=_GREATER_TOKEN)
    .returning(threads.c.family, threads.c.edition)
)
_REPLACE = update(threads).where(_AT).values(token=_GREATER_TOKEN)
_IN_FAMILY = (threads.c.scope == bindparam("at_scope")) & (threads.c.family == bindparam("at_family"))
_EDITION = select(threads.c.edition).where(_IN_FAMILY).limit(1)
_HEAD = bindparam("at_head", type_=Text)
_ANOTHER_TURN = (
    update(threads)
    .where(_IN_FAMILY)
    .values(agent=case((threads.c.head_id == _HEAD, bindparam("its_agent", type_=Text)), else_=threads.c.agent))
)
_MOVE_THREADS = update(threads).where(_IN_FAMILY)
_MOVE_ENTRIES = update(entries).where(
    entries.c.scope == bindparam("at_scope"), entries.c.family == bindparam("at_family")
)
_LINKED = select(entries.c.id, entries.c.family).where(
    entries.c.scope == bindparam("at_scope"), entries.c.id.in_(bindparam("ids", expanding=True))
)
_AGENT = select(turns.c.agent).where(turns.c.scope == bindparam("at_scope"), turns.c.entry_id == bindparam("at_entry"))
_ENTRIES, _ENTRY_BLOBS = insert(entries), insert(entry_blobs)


def _upsert_turn(insert: Any) -> Any:
    statement = insert(turns)
    changed = {column.name: statement.excluded[column.name] for column in turns.c if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=["scope", "entry_id"], set_=changed)


_INSERTS: dict[str, Any] = {"sqlite": insert_sqlite, "postgresql": insert_postgresql}
_NEW_THREAD = {
    name: insert(threads).on_conflict_do_nothing().returning(threads.c.id) for name, insert in _INSERTS.items()
}
_NEW_BLOB = {name: insert(blobs).on_conflict_do_nothing() for name, insert in _INSERTS.items()}
_TURN = {name: _upsert_turn(insert) for name, insert in _INSERTS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """An entry to be stored."""

    id: str
    parent_id: str | None
    kind: str
    packed: Packed


@dataclass(frozen=True, slots=True)
class Saved:
    """What is known of the thread's family after a save."""

    family: str
    before: int
    """The edition that it had."""
    edition: int
    """The edition that it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """What `write_record` was given."""

    scope: str
    record: ConversationRecord
    new: Sequence[NewEntry]
    expected_revision: str | None
    turn: TurnRecord | None
    token: int

    @property
    def at(self) -> dict[str, Any]:
        """Parameters that name the thread."""
        return {"at_scope": self.scope, "at_id": self.record.conversation_id}

    @property
    def conflict(self) -> ConversationConflict:
        """What to raise when the thread is not what it was thought to be."""
        return ConversationConflict(self.record.conversation_id)

    @property
    def new_ids(self) -> list[str]:
        """Of the new entries."""
        return [entry.id for entry in self.new]

    @property
    def grows(self) -> bool:
        """Whether the new entries follow each other up to the head, so that they only have to fit the stored one."""
        follow = [entry.parent_id for entry in self.new[1:]] == self.new_ids[:-1]
        return bool(self.new) and follow and self.record.head_id == self.new[-1].id

    @property
    def has_files(self) -> bool:
        """Whether blobs are stored with it."""
        return any(entry.packed.blobs for entry in self.new)

    @property
    def replaces_turn(self) -> bool:
        """Whether it says something about an entry that is there already."""
        return self.turn is not None and self.record.head_id not in (None, *self.new_ids)

    def links(self, held: Row[Any] | None, tips: Sequence[str]) -> set[str]:
        """The stored entries that it points at, other than the thread's own head and branches."""
        pointed = {self.record.head_id, *self.record.branches, *(entry.parent_id for entry in self.new)}
        own = {held.head_id, *tips} if held else set[str]()
        return {link for link in pointed if link is not None} - own - set(self.new_ids)


def save(save: Save) -> Callable[[Connection], Saved]:
    """Store it, or raise `ConversationConflict`."""
    tried = False

    def work(connection: Connection) -> Saved:
        nonlocal tried
        again, tried = tried, True
        try:
            grown = None if save.expected_revision is None or save.has_files else _grow(connection, save)
            return grown or _place(connection, save, again=again)
        except IntegrityError as error:
            raise save.conflict from error

    return work


def _grow(connection: Connection, save: Save) -> Saved | None:
    """A plain new turn; None when it is not one, or when something does not fit."""
    if not save.grows:
        return None
    values = record_values(save.record)
    tokens = {"new_token": save.token, "at_most": save.token or _ANY_TOKEN}
    fits = {"expected": save.expected_revision, "parent_id": save.new[0].parent_id, "same_branches": values["branches"]}
    values |= {"agent": save.turn.agent if save.turn else ""}
    row = connection.execute(_GROW, {**save.at, **tokens, **fits, **values}).one_or_none()
    if row is None:
        return None
    _insert(connection, save, row.family)
    return Saved(row.family, row.edition, row.edition)


def _place(connection: Connection, save: Save, *, again: bool) -> Saved:
    """Any save. `again`: this was tried before, and may have been done."""
    held = connection.execute(_HELD, save.at).one_or_none()
    if again and held and held.revision == save.record.revision:
        return Saved(held.family, held.edition, held.edition)
    if (held.revision if held else None) != save.expected_revision or (held and 0 < save.token < held.token):
        raise save.conflict
    families = _families(connection, save, held)
    family = families[0] if families else secrets.token_hex(16)
    before = _edition(connection, save, family) if families else _new_edition()
    edition = _new_edition() if save.replaces_turn or len(families) > 1 else before
    _merge(connection, save, families)
    _put_thread(connection, save, held, {"family": family, "edition": edition})
    _insert(connection, save, family)
    if edition != before:
        agent = _agent(connection, save)
        where = {"at_scope": save.scope, "at_family": family, "at_head": save.record.head_id, "its_agent": agent}
        connection.execute(_ANOTHER_TURN, {**where, "edition": edition})
    return Saved(family, before, edition)


def _families(connection: Connection, save: Save, held: Row[Any] | None) -> list[str]:
    """The thread's own, and those of the entries that it comes to point at. They are one from now on."""
    links = save.links(held, _tips(held))
    if links or save.has_files or save.replaces_turn:
        lock_scope(connection, save.scope)
    families = [held.family] if held else []
    if links:
        found = connection.execute(_LINKED, {"at_scope": save.scope, "ids": list(links)}).all()
        if len(found) != len(links):
            raise save.conflict
        families += [row.family for row in found]
    return list(dict.fromkeys(families))


def _merge(connection: Connection, save: Save, families: Sequence[str]) -> None:
    for other in families[1:]:
        where = {"at_scope": save.scope, "at_family": other, "family": families[0]}
        connection.execute(_MOVE_ENTRIES, where)
        connection.execute(_MOVE_THREADS, where)


def _put_thread(connection: Connection, save: Save, held: Row[Any] | None, values: dict[str, Any]) -> None:
    values |= {**record_values(save.record), "agent": _agent(connection, save)}
    if held:
        connection.execute(_REPLACE, {**save.at, **values, "new_token": save.token})
        return
    values |= {"scope": save.scope, "id": save.record.conversation_id, "renamed": "", "token": save.token}
    values |= {"created_at": values["updated_at"]}
    if connection.execute(_NEW_THREAD[connection.dialect.name], values).one_or_none() is None:
        raise save.conflict


def _insert(connection: Connection, save: Save, family: str) -> None:
    """The entries with their files, and the head's turn."""
    scope, head_id = save.scope, save.record.head_id
    files = [(entry.id, name, data) for entry in save.new for name, data in entry.packed.blobs.items()]
    if files:
        rows = [{"scope": scope, "hash": name, "data": data} for _, name, data in files]
        connection.execute(_NEW_BLOB[connection.dialect.name], rows)
    if save.new:
        connection.execute(_ENTRIES, [_entry_values(scope, family, entry) for entry in save.new])
    if files:
        rows = [{"scope": scope, "entry_id": entry_id, "hash": name} for entry_id, name, _ in files]
        connection.execute(_ENTRY_BLOBS, rows)
    if save.turn and head_id is not None:
        values = {"scope": scope, "entry_id": head_id, **turn_values(save.turn)}
        connection.execute(_TURN[connection.dialect.name], values)


def _entry_values(scope: str, family: str, entry: NewEntry) -> dict[str, Any]:
    values = {"scope": scope, "id": entry.id, "parent_id": entry.parent_id, "family": family, "kind": entry.kind}
    return {**values, "message": entry.packed.text, "files": entry.packed.files}


def _agent(connection: Connection, save: Save) -> str:
    """Of the turn that the head has after the save."""
    if save.turn or save.record.head_id is None:
        return save.turn.agent if save.turn else ""
    where = {"at_scope": save.scope, "at_entry": save.record.head_id}
    return connection.execute(_AGENT, where).scalar_one_or_none() or ""


def _edition(connection: Connection, save: Save, family: str) -> int:
    return connection.execute(_EDITION, {"at_scope": save.scope, "at_family": family}).scalar_one()


def _new_edition() -> int:
    return secrets.randbits(62)


def _tips(held: Row[Any] | None) -> list[str]:
    return json.loads(held.branches) if held else []

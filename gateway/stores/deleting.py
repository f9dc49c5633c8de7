"""What a deletion takes with it: entries, turns and files that no other thread of the owner needs.

Turns and the links to files go with their entries, by foreign keys. What the relatives need is found out in the same
statement that deletes, so that a relative's save is seen whole or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_ai.conversation_store import ConversationConflict
from sqlalchemy import JSON, Connection, Text, bindparam, cast, delete, exists, func, select

from gateway.stores.database import lock_scope
from gateway.stores.schema import blobs, entries, entry_blobs, threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Delete

_SCOPE, _FAMILY = bindparam("at_scope", type_=Text), bindparam("at_family", type_=Text)
_AT = (threads.c.scope == _SCOPE) & (threads.c.id == bindparam("at_id"))
_HELD = select(threads.c.revision, threads.c.family).where(_AT).with_for_update()
_DELETE = delete(threads).where(_AT)
_IN_FAMILY = (entries.c.scope == _SCOPE) & (entries.c.family == _FAMILY)
_FILES = (
    select(entry_blobs.c.hash)
    .join(entries, (entries.c.scope == entry_blobs.c.scope) & (entries.c.id == entry_blobs.c.entry_id))
    .where(_IN_FAMILY)
    .distinct()
)
_NEEDED = exists().where(entry_blobs.c.scope == blobs.c.scope, entry_blobs.c.hash == blobs.c.hash)
_DELETE_FILES = delete(blobs).where(
    blobs.c.scope == _SCOPE, blobs.c.hash.in_(bindparam("hashes", expanding=True)), ~_NEEDED
)


def _delete_entries(elements: Any, collation: str | None = None) -> Delete:
    """The entries of a family but for those on the way to a head or a branch of its threads."""
    own = (threads.c.scope == _SCOPE) & (threads.c.family == _FAMILY)
    heads = select(threads.c.head_id.label("id")).where(own, threads.c.head_id.is_not(None))
    tip = elements.c.value.collate(collation) if collation else elements.c.value
    branches = select(tip).select_from(threads, elements).where(own)
    tips = heads.union(branches).subquery()
    reached = select(tips.c.id).cte("reached", recursive=True)
    parents = select(entries.c.parent_id).where(
        entries.c.scope == _SCOPE, entries.c.id == reached.c.id, entries.c.parent_id.is_not(None)
    )
    reached = reached.union(parents)
    return delete(entries).where(_IN_FAMILY, entries.c.id.not_in(select(reached.c.id)))


_ON_SQLITE = func.json_each(threads.c.branches)
_ON_POSTGRESQL = func.json_array_elements_text(cast(threads.c.branches, JSON))
_DELETE_ENTRIES = {
    "sqlite": _delete_entries(_ON_SQLITE.table_valued("value", joins_implicitly=True)),
    "postgresql": _delete_entries(_ON_POSTGRESQL.table_valued("value", joins_implicitly=True), collation="C"),
}


def delete_thread(scope: str, thread_id: str, expected_revision: str) -> Callable[[Connection], str]:
    """Delete it, or raise `ConversationConflict`. The family that it was of."""
    at = {"at_scope": scope, "at_id": thread_id}
    family = ""

    def work(connection: Connection) -> str:
        nonlocal family
        held = connection.execute(_HELD, at).one_or_none()
        if held is None and family:
            return family  # the connection broke after it was done
        if held is None or held.revision != expected_revision:
            raise ConversationConflict(thread_id)
        family = held.family
        lock_scope(connection, scope)
        connection.execute(_DELETE, at)
        _delete_unneeded(connection, {"at_scope": scope, "at_family": family})
        return family

    return work


def _delete_unneeded(connection: Connection, at: dict[str, str]) -> None:
    hashes = connection.execute(_FILES, at).scalars().all()
    connection.execute(_DELETE_ENTRIES[connection.dialect.name], at)
    if hashes:
        connection.execute(_DELETE_FILES, {"at_scope": at["at_scope"], "hashes": hashes})

"""What a person says of a thread, besides what is said on it: its title, and that it was put away.

Neither touches the revision or `updated_at`, so that no save notices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Boolean, Connection, Text, bindparam, func, update

from gateway.stores.rows import shown
from gateway.stores.schema import threads

if TYPE_CHECKING:
    from collections.abc import Callable

_MARK = (
    update(threads)
    .where(threads.c.scope == bindparam("at_scope", type_=Text), threads.c.id == bindparam("at_id", type_=Text))
    .values(
        renamed=func.coalesce(bindparam("title", type_=Text), threads.c.renamed),
        archived=func.coalesce(bindparam("put_away", type_=Boolean), threads.c.archived),
    )
)


def mark_thread(
    scope: str, thread_id: str, title: str | None, *, archived: bool | None
) -> Callable[[Connection], bool]:
    """Set what is given. Whether there is such a thread."""
    title = None if title is None else shown(title)
    values = {"at_scope": scope, "at_id": thread_id, "title": title, "put_away": archived}
    return lambda connection: connection.execute(_MARK, values).rowcount > 0

"""Conversation stores: where threads are kept. One is chosen by the URL in `stores.conversations`.

The interface is pydantic-ai's `ConversationStore`, handed out as a view per owner: a view holds one owner's threads and
cannot name another's, so two owners may use the same thread id without meeting. `ThreadView` adds what the records have
no field for.

The contract, for every backend, beside the one that `ConversationStore` documents:

- A record, its new entries and its turn are saved together or not at all, whatever happens to the process.
- A save with a fencing token smaller than one that the thread was saved with before is refused, as a conflict.
- An entry belongs to the owner who saved it; no view reads another's. Entries are never changed: a line read once may
  be kept for as long as its head is asked for.
- Deleting a thread deletes its entries, turns and files, but for what another thread of the owner shares.
- What is read may be changed by the reader, and what was written by the writer, without a change to what is stored.
  (Lines are the exception: their entries are shared between readers. Copy a message before changing it.)
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol

from pydantic_ai.conversation_store import ConversationStore

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord

    from gateway.history import Archived, Line, Thread, TurnRecord


class ThreadView(ConversationStore):
    """One owner's threads."""

    @abstractmethod
    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
        turn: TurnRecord | None = None,
        token: int = 0,
    ) -> None:
        """See `ConversationStore.write_record`.

        Args:
            record: see there.
            new_entries: see there.
            expected_revision: see there.
            turn: what to keep with the record's head, in place of what was kept with it before.
            token: the fencing token of the lease that this is written under; 0 for none.

        Raises:
            ConversationConflict: also when the thread was saved with a greater token before.
        """

    @abstractmethod
    async def read_thread(self, thread_id: str) -> Thread | None:
        """The thread as it stands."""

    @abstractmethod
    async def read_threads(
        self,
        *,
        limit: int,
        agents: Collection[str] | None = None,
        before: tuple[datetime, str] | None = None,
        archived: Archived = "exclude",
    ) -> list[Thread]:
        """At most `limit` threads, newest `updated_at` first, then by id, greatest first.

        Args:
            limit: how many at most.
            agents: only those whose last turn was one of these agents'; none for all.
            before: only those behind this place in the order: `(updated_at, id)` of the last thread of a page.
            archived: whether archived threads are left out, among the others, or all there is.
        """

    @abstractmethod
    async def read_line(self, head_id: str | None) -> Line:
        """The entries from the first one up to `head_id`, and their turns. Raises `LookupError` for an unknown one."""

    @abstractmethod
    async def mark(self, thread_id: str, *, title: str | None = None, archived: bool | None = None) -> bool:
        """Keep what a person says of the thread, in one step. Whether there is such a thread.

        Neither the revision nor `updated_at` changes: a run that goes on saves its turn as if nothing had happened.

        Args:
            thread_id: the thread.
            title: what to call it; an empty one takes the name away again, none leaves it.
            archived: whether to put it away; none leaves it where it is.
        """


class Store(Protocol):
    """All threads of all owners."""

    def view(self, scope: str) -> ThreadView:
        """The threads of the owner whose key is `scope` (`Principal.scope`)."""
        ...

    async def open(self) -> None:
        """Connect and look at the schema. Optional: the first use does it. Raises `ConfigError`."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...

    async def unused_since(self, when: datetime, limit: int) -> list[tuple[str, str]]:
        """At most `limit` threads that were last saved before that time, oldest first: `(scope, thread id)`."""
        ...


def open_store(url: str) -> Store:
    """The store for a URL that the config has checked."""
    if url.startswith("memory:"):
        from gateway.stores.memory import MemoryStore  # noqa: PLC0415 - one is chosen

        return MemoryStore()
    from gateway.stores.sql import SqlStore  # noqa: PLC0415 - brings SQLAlchemy

    return SqlStore(url)

"""`sqlite:///...` and `postgresql://...`: threads in a database.

Deleting a thread deletes its entries, turns and files, except what another thread of its owner shares. Records and
heads are read each time; of messages, which never change, the recent lines are kept in memory (`lines.py`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_ai.conversation_store import ConversationEntry
from sqlalchemy.exc import DBAPIError

from gateway.errors import StoreUnavailable
from gateway.history import Line
from gateway.stores import ThreadView, reading
from gateway.stores.database import not_usable, open_database
from gateway.stores.deleting import delete_thread
from gateway.stores.files import hashes
from gateway.stores.lines import FILE_BYTES, KnownLine, Lines, Recent
from gateway.stores.marking import mark_thread
from gateway.stores.packing import load_entries, load_turns, pack
from gateway.stores.rows import as_stored, load_messages
from gateway.stores.versions import current, prepare, upgrade
from gateway.stores.writing import Save, save

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence
    from datetime import datetime

    from pydantic_ai.conversation_store import ConversationRecord
    from sqlalchemy import Connection, Row

    from gateway.history import Archived, Thread, TurnRecord
    from gateway.stores.writing import Saved

T = TypeVar("T")
_START = Line()


class SqlStore:
    """Threads in a database.

    Args:
        url: `sqlite:///file.db`, from the working directory, `sqlite:////folder/file.db`, or
            `postgresql://user:password@host:5432/name`.

    Raises:
        ConfigError: for a URL that is none of these, and for a driver that is not installed.
    """

    def __init__(self, url: str) -> None:
        self._database = open_database(url)
        self._opening = asyncio.Lock()
        self._is_open = False
        self.lines = Lines()
        self.files: Recent[tuple[str, str], bytes] = Recent(FILE_BYTES)

    def view(self, scope: str) -> ThreadView:
        """See `Store`."""
        return _View(self, scope)

    async def open(self) -> None:
        """See `Store`. A SQLite file is made, and brought to this version's schema."""
        await self._or_say_why(self._opened())

    async def close(self) -> None:
        """See `Store`. The next use opens it again."""
        self._is_open = False
        self._opening = asyncio.Lock()
        await self._database.close()

    async def unused_since(self, when: datetime, limit: int) -> list[tuple[str, str]]:
        """See `Store`."""
        return await self.read(reading.read_unused(when, limit))

    async def schema(self) -> str | None:
        """The schema that the database has; none before its first use. Raises `ConfigError`, for a newer one too."""
        return await self._or_say_why(self._database.read(current)) if self._database.is_made else None

    async def upgrade(self) -> str | None:
        """Bring the schema up to date. What it was. Raises `ConfigError`."""
        await self._or_say_why(self._database.make())
        return await self._or_say_why(self._database.change(upgrade))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run work that only reads."""
        await self._opened()
        return await self._database.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run work in a transaction."""
        await self._opened()
        return await self._database.write(work)

    async def _opened(self) -> None:
        if self._is_open:
            return
        async with self._opening:
            if not self._is_open:
                await prepare(self._database)
                self._is_open = True

    async def _or_say_why(self, opening: Awaitable[T]) -> T:
        """Whoever starts a process, or upgrades, can do something about it; the text of the error may name the URL."""
        try:
            return await opening
        except StoreUnavailable as error:
            raise not_usable(self._database.unreachable) from error
        except DBAPIError as error:
            raise not_usable("the database does not let this user read or make its tables") from error


class _View(ThreadView):
    """One owner's threads: no statement leaves out `_scope`."""

    def __init__(self, store: SqlStore, scope: str) -> None:
        self._store = store
        self._scope = scope

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """See `ConversationStore`."""
        found = await self._store.read(reading.read_record(self._scope, conversation_id))
        if found is None:
            return None
        record, family, edition = found
        self._store.lines.seen(self._scope, family, edition, record.head_id)
        return record

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """See `ConversationStore`."""
        return await self._store.read(
            reading.read_records(self._scope, scope, reading.EVERYTHING if limit is None else limit)
        )

    async def read_thread(self, thread_id: str) -> Thread | None:
        """See `ThreadView`."""
        found = await self._store.read(reading.read_thread(self._scope, thread_id))
        if found is None:
            return None
        thread, family, edition = found
        self._store.lines.seen(self._scope, family, edition, thread.record.head_id)
        return thread

    async def read_threads(
        self,
        *,
        limit: int,
        agents: Collection[str] | None = None,
        before: tuple[datetime, str] | None = None,
        archived: Archived = "exclude",
    ) -> list[Thread]:
        """See `ThreadView`."""
        return await self._store.read(reading.read_threads(self._scope, limit, agents, before, archived))

    async def read_line(self, head_id: str | None) -> Line:
        """See `ThreadView`."""
        if head_id is None:
            return _START
        if known := self._store.lines.get(self._scope, head_id):
            return known.line
        rows = await self._rows(head_id)
        family = rows[0].family
        shared = self._store.lines.shared(self._scope, family, [row.id for row in rows])
        new = rows[len(shared) :]
        line = Line([*shared, *await load_entries(new, await self._blobs(new))], await load_turns(rows))
        size = sum(len(row.message) for row in rows)
        self._store.lines.offer(KnownLine(line, self._scope, family, rows[0].edition, size))
        return line

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """See `ConversationStore`. The entries are the caller's own, which takes a parse of each: see `read_line`."""
        if head_id is None or limit == 0:
            return []
        rows = await self._rows(head_id, reading.EVERYTHING if limit is None else limit)
        return await load_entries(rows, await self._blobs(rows))

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """See `ConversationStore`."""
        row = await self._store.read(reading.read_entry(self._scope, entry_id))
        if row is None:
            raise LookupError(entry_id)
        return (await load_entries([row], await self._blobs([row])))[0]

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
        turn: TurnRecord | None = None,
        token: int = 0,
    ) -> None:
        """See `ThreadView`."""
        packed = await pack(new_entries)
        new = [entry for entry, _ in packed]
        saving = Save(
            scope=self._scope, record=record, new=new, expected_revision=expected_revision, turn=turn, token=token
        )
        saved = await self._store.write(save(saving))
        self._remember(saving, [text for _, text in packed], saved)

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """See `ConversationStore`. Entries and files that no other thread's line or branches need go with it."""
        family = await self._store.write(delete_thread(self._scope, conversation_id, expected_revision))
        self._store.lines.forget(self._scope, family)

    async def mark(self, thread_id: str, *, title: str | None = None, archived: bool | None = None) -> bool:
        """See `ThreadView`."""
        return await self._store.write(mark_thread(self._scope, thread_id, title, archived=archived))

    async def _rows(self, head_id: str, limit: int = reading.EVERYTHING) -> Sequence[Row[Any]]:
        rows = await self._store.read(reading.read_line(self._scope, head_id, limit))
        if not rows:
            raise LookupError(head_id)
        return rows

    async def _blobs(self, rows: Sequence[Row[Any]]) -> dict[str, bytes]:
        """The files of those entries, by hash."""
        files = self._store.files
        needed = {name for row in rows if row.files for name in hashes(row.files)}
        found = {name: data for name in needed if (data := files.get((self._scope, name))) is not None}
        if missing := needed - found.keys():
            read = await self._store.read(reading.read_blobs(self._scope, missing))
            for name, data in read.items():
                files.put((self._scope, name), data, len(data))
            found |= read
        return found

    def _remember(self, saving: Save, texts: Sequence[str], saved: Saved) -> None:
        """Know the line that was just saved, if the one that it goes on from was known."""
        lines, record = self._store.lines, saving.record
        head_id = record.head_id
        known = self._before(saving, saved)
        lines.seen(self._scope, saved.family, saved.edition, head_id)
        if known is None or head_id is None:
            return
        turns = {head_id: as_stored(saving.turn)} if saving.turn else {}
        messages = load_messages(texts)
        entries = [
            ConversationEntry(id=new.id, parent_id=new.parent_id, message=message)
            for new, message in zip(saving.new, messages, strict=True)
        ]
        lines.put(known.grown(entries, turns, saved.edition, sum(map(len, texts))))
        if entries and known.line.entries:
            lines.drop(self._scope, known.head_id)

    def _before(self, saving: Save, saved: Saved) -> KnownLine | None:
        """The line that the save goes on from, as it was."""
        if not (saving.grows or saving.replaces_turn):
            return None
        before = saving.new[0].parent_id if saving.new else saving.record.head_id
        if before is None:
            return KnownLine(_START, self._scope, saved.family, saved.before, 0)
        known = self._store.lines.get(self._scope, before)
        return known if known and known.edition == saved.before else None

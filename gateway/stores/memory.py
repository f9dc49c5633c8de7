"""`memory://`: threads in this process, gone with it, the least recently saved ones first when there are too many."""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from pydantic_ai.conversation_store import ConversationConflict

from gateway.history import Line, Thread
from gateway.stores import ThreadView

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord

    from gateway.history import Archived, TurnRecord

MAX_THREADS = 1_000
"""Threads over all owners. A public page would otherwise fill the memory one visitor at a time."""


class MemoryStore:
    """Threads in memory.

    Args:
        max_threads: how many to keep over all owners.
    """

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        self._max_threads = max_threads
        # Every view in use, so that two requests of one owner share it; those that hold threads are kept alive.
        self._views: WeakValueDictionary[str, _View] = WeakValueDictionary()
        self._kept: dict[str, _View] = {}
        self._order: OrderedDict[tuple[str, str], None] = OrderedDict()

    def view(self, scope: str) -> ThreadView:
        """See `Store`."""
        return self._views.setdefault(scope, _View(self, scope))

    async def open(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """There is nothing to close."""

    async def unused_since(self, when: datetime, limit: int) -> list[tuple[str, str]]:
        """See `Store`."""
        threads = [(view.last_saved(thread), scope, thread) for scope, view in self._kept.items() for thread in view]
        return [(scope, thread) for saved, scope, thread in sorted(threads) if saved < when][:limit]

    def saved(self, view: _View, thread_id: str) -> None:
        """A view has saved a thread: note it as the newest, and make room when there are too many."""
        self._kept[view.scope] = view
        self._order[view.scope, thread_id] = None
        self._order.move_to_end((view.scope, thread_id))
        while len(self._order) > self._max_threads:
            scope, oldest = next(iter(self._order))
            self._kept[scope].drop(oldest)

    def dropped(self, view: _View, thread_id: str) -> None:
        """A view has dropped a thread: let go of the view with its last one."""
        self._order.pop((view.scope, thread_id), None)
        if not len(view):
            self._kept.pop(view.scope, None)


@dataclass(slots=True, eq=False)
class _Family:
    """Threads that may share entries: a thread and its forks. No other thread has to be looked at for a deletion."""

    threads: set[str] = field(default_factory=set[str])
    entries: set[str] = field(default_factory=set[str])


@dataclass(slots=True)
class _Kept:
    record: ConversationRecord
    family: _Family
    created_at: datetime
    token: int = 0
    renamed: str = ""
    archived: bool = False

    @property
    def tips(self) -> list[str]:
        return [tip for tip in (self.record.head_id, *self.record.branches) if tip is not None]


class _View(ThreadView):
    """One owner's threads. Nothing here awaits, so that each method is one step."""

    def __init__(self, store: MemoryStore, scope: str) -> None:
        self.scope = scope
        self._store = store
        self._threads: dict[str, _Kept] = {}
        self._entries: dict[str, ConversationEntry] = {}
        self._families: dict[str, _Family] = {}
        """By entry."""
        self._turns: dict[str, TurnRecord] = {}

    def __len__(self) -> int:
        return len(self._threads)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._threads)

    def last_saved(self, thread_id: str) -> datetime:
        """When that thread was."""
        return self._threads[thread_id].record.updated_at

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """See `ConversationStore`."""
        kept = self._threads.get(conversation_id)
        return deepcopy(kept.record) if kept else None

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """See `ConversationStore`."""
        found = [kept.record for kept in self._in_order() if scope is None or kept.record.scope == scope]
        return [deepcopy(record) for record in found[:limit]]

    async def read_thread(self, thread_id: str) -> Thread | None:
        """See `ThreadView`."""
        kept = self._threads.get(thread_id)
        return self._thread(kept) if kept else None

    async def read_threads(
        self,
        *,
        limit: int,
        agents: Collection[str] | None = None,
        before: tuple[datetime, str] | None = None,
        archived: Archived = "exclude",
    ) -> list[Thread]:
        """See `ThreadView`."""
        found: list[Thread] = []
        for kept in self._in_order():
            if archived != "include" and kept.archived != (archived == "only"):
                continue
            turn = self._turns.get(kept.record.head_id or "")
            if agents is not None and (turn is None or turn.agent not in agents):
                continue
            if before is None or _place(kept) < before:
                found.append(self._thread(kept))
            if len(found) >= limit:
                break
        return found[:limit]

    async def read_line(self, head_id: str | None) -> Line:
        """See `ThreadView`."""
        entries = self._walk(head_id)
        return Line(entries, {entry.id: self._turns[entry.id] for entry in entries if entry.id in self._turns})

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """See `ConversationStore`. Copies every message: `read_line` does not."""
        return deepcopy(self._walk(head_id, limit))

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """See `ConversationStore`."""
        return deepcopy(self._entries[entry_id])

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
        kept = self._threads.get(record.conversation_id)
        if (kept.record.revision if kept else None) != expected_revision or (kept and 0 < token < kept.token):
            raise ConversationConflict(record.conversation_id)
        self._check_links(record, new_entries)
        family = self._family(kept, record, new_entries)
        for entry in new_entries:
            self._entries[entry.id] = deepcopy(entry)
            self._families[entry.id] = family
            family.entries.add(entry.id)
        if turn is not None and record.head_id is not None:
            self._turns[record.head_id] = deepcopy(turn)
        family.threads.add(record.conversation_id)
        if kept is None:
            kept = self._threads[record.conversation_id] = _Kept(record, family, record.updated_at)
        kept.record, kept.token = deepcopy(record), max(kept.token, token)
        self._store.saved(self, record.conversation_id)

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """See `ConversationStore`. Entries that no other thread's line or branches reach are deleted with it."""
        kept = self._threads.get(conversation_id)
        if kept is None or kept.record.revision != expected_revision:
            raise ConversationConflict(conversation_id)
        self.drop(conversation_id)

    async def mark(self, thread_id: str, *, title: str | None = None, archived: bool | None = None) -> bool:
        """See `ThreadView`."""
        if (kept := self._threads.get(thread_id)) is None:
            return False
        if title is not None:
            kept.renamed = title
        if archived is not None:
            kept.archived = archived
        return True

    def drop(self, thread_id: str) -> None:
        """Delete a thread and what it does not share."""
        family = self._threads.pop(thread_id).family
        family.threads.discard(thread_id)
        for entry_id in family.entries - self._reached(family):
            del self._entries[entry_id], self._families[entry_id]
            self._turns.pop(entry_id, None)
            family.entries.discard(entry_id)
        self._store.dropped(self, thread_id)

    def _reached(self, family: _Family) -> set[str]:
        reached: set[str] = set()
        for tip in (tip for thread in family.threads for tip in self._threads[thread].tips):
            entry_id: str | None = tip
            while entry_id is not None and entry_id not in reached:
                reached.add(entry_id)
                entry_id = self._entries[entry_id].parent_id
        return reached

    def _check_links(self, record: ConversationRecord, new_entries: Sequence[ConversationEntry]) -> None:
        """Everything that is pointed at is there, and no entry would be changed."""
        new = {entry.id for entry in new_entries}
        links = {record.head_id, *record.branches, *(entry.parent_id for entry in new_entries)} - new - {None}
        if not links <= self._entries.keys() or not new.isdisjoint(self._entries):
            raise ConversationConflict(record.conversation_id)

    def _family(
        self, kept: _Kept | None, record: ConversationRecord, new_entries: Sequence[ConversationEntry]
    ) -> _Family:
        """The thread's own, and of whatever it points at: where families meet they become one."""
        links = (record.head_id, *record.branches, *(entry.parent_id for entry in new_entries))
        met = {id(found): found for link in links if link and (found := self._families.get(link))}
        family = kept.family if kept else next(iter(met.values()), _Family())
        for other in met.values():
            if other is not family:
                self._merge(family, other)
        return family

    def _merge(self, family: _Family, other: _Family) -> None:
        for entry_id in other.entries:
            self._families[entry_id] = family
        for thread_id in other.threads:
            self._threads[thread_id].family = family
        family.entries |= other.entries
        family.threads |= other.threads

    def _walk(self, head_id: str | None, limit: int | None = None) -> list[ConversationEntry]:
        entries: list[ConversationEntry] = []
        while head_id is not None and (limit is None or len(entries) < limit):
            entry = self._entries[head_id]
            entries.append(entry)
            head_id = entry.parent_id
        entries.reverse()
        return entries

    def _thread(self, kept: _Kept) -> Thread:
        record = deepcopy(kept.record)
        turn = deepcopy(self._turns.get(record.head_id or ""))
        return Thread(
            record=record, turn=turn, renamed=kept.renamed, archived=kept.archived, created_at=kept.created_at
        )

    def _in_order(self) -> list[_Kept]:
        return sorted(self._threads.values(), key=_place, reverse=True)


def _place(kept: _Kept) -> tuple[datetime, str]:
    return kept.record.updated_at, kept.record.conversation_id

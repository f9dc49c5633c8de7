"""`memory://`: threads in this process, gone with it, the least recently saved ones first when there are too many."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from pydantic_ai.conversation_store import InMemoryConversationStore
from pydantic_ai.usage import RunUsage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord, ConversationStore

MAX_THREADS = 1_000
"""Threads over all owners. A public page would otherwise fill the memory one visitor at a time."""


class MemoryStore:
    """Threads in memory, one `InMemoryConversationStore` for each owner.

    Args:
        max_threads: how many to keep over all owners.
    """

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        self._max_threads = max_threads
        # Every view in use, so that two requests of one owner share it; those that hold threads are kept alive.
        self._views: WeakValueDictionary[str, _View] = WeakValueDictionary()
        self._kept: dict[str, _View] = {}
        self._order: OrderedDict[tuple[str, str], None] = OrderedDict()

    def view(self, scope: str) -> ConversationStore:
        """The owner's threads."""
        return self._views.setdefault(scope, _View(self, scope))

    async def saved(self, view: _View, thread_id: str) -> None:
        """A view has saved a thread: note it as the newest, and make room when there are too many."""
        self._kept[view.scope] = view
        self._order[view.scope, thread_id] = None
        self._order.move_to_end((view.scope, thread_id))
        while len(self._order) > self._max_threads:
            (scope, oldest), _ = self._order.popitem(last=False)
            await self._kept[scope].delete(oldest)

    def deleted(self, view: _View, thread_id: str) -> None:
        """A view has deleted a thread: let go of the view with its last one."""
        self._order.pop((view.scope, thread_id), None)
        if view.is_empty:
            self._kept.pop(view.scope, None)


class _View(InMemoryConversationStore):
    def __init__(self, store: MemoryStore, scope: str) -> None:
        super().__init__()
        self.scope = scope
        self._store = store

    @property
    def is_empty(self) -> bool:
        return not self._records

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        record = await super().read_record(conversation_id)
        if record is not None:
            # The adapters carry stored usage on into the next run, which would make the limits of a run the limits
            # of its whole thread: a chat would stop for good at its 25th model request.
            record.usage = RunUsage()
        return record

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        await super().write_record(record, new_entries=new_entries, expected_revision=expected_revision)
        await self._store.saved(self, record.conversation_id)

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        await super().delete_record(conversation_id, expected_revision=expected_revision)
        self._store.deleted(self, conversation_id)

"""A store that a run may write to for as long as it holds the lease on its thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pydantic_ai.conversation_store import ConversationStore

from gateway.errors import RunLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord

    from gateway.coordination import Coordination, Lease

PATIENCE = (0.1, 0.3, 0.6)
"""Seconds between looks at a key that nobody holds: a backend that stood still itself has yet to take the renewal."""


class FencedStore(ConversationStore):
    """`store`, read by anybody, written with a held lease only. Raises `RunLost` otherwise.

    The backend is asked before each write: a process that is cut off from it, but not from the store, would believe in
    its lease for longer than it holds it. `StreamUnavailable` when the backend cannot say.
    """

    def __init__(self, store: ConversationStore, lease: Lease, coordination: Coordination) -> None:
        self._store = store
        self._lease = lease
        self._coordination = coordination

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """See `ConversationStore`."""
        return await self._store.read_record(conversation_id)

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """See `ConversationStore`."""
        return await self._store.read_records(scope=scope, limit=limit)

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """See `ConversationStore`."""
        return await self._store.read_history(head_id, limit=limit)

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """See `ConversationStore`."""
        return await self._store.read_entry(entry_id)

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """See `ConversationStore`."""
        await self._check()
        await self._store.write_record(record, new_entries=new_entries, expected_revision=expected_revision)

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """See `ConversationStore`."""
        await self._check()
        await self._store.delete_record(conversation_id, expected_revision=expected_revision)

    async def _check(self) -> None:
        for wait in (*PATIENCE, None):
            holder = await self._coordination.holder(self._lease.key) if self._lease.held else ""
            if holder == self._lease.holder:
                return
            if holder is not None or wait is None:
                raise RunLost
            await asyncio.sleep(wait)

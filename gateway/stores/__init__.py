"""Conversation stores: where threads are kept. One is chosen by the URL in `stores.conversations`.

The interface is pydantic-ai's `ConversationStore`, handed out as a view per owner: a view holds one owner's threads and
cannot name another's, so two owners may use the same thread id without meeting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.stores.memory import MemoryStore

if TYPE_CHECKING:
    from pydantic_ai.conversation_store import ConversationStore


class Store(Protocol):
    """All threads of all owners."""

    def view(self, scope: str) -> ConversationStore:
        """The threads of the owner whose key is `scope` (`Principal.scope`)."""
        ...


def open_store(url: str) -> Store:
    """The store for a URL that the config has checked."""
    return {"memory": MemoryStore}[url.partition(":")[0]]()

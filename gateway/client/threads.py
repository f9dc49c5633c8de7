"""The caller's conversations, over the sync client (docs/threads.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from gateway.client import calls
from gateway.client.blocking import finished

if TYPE_CHECKING:
    import builtins  # `list` is a method here
    from collections.abc import Iterator

    from gateway.client.calls import Archived, Call
    from gateway.client.connection import Connection
    from gateway.client.shapes import Branch, Message, ThreadInfo, ThreadSummary, Turn

T = TypeVar("T")

PAGE = 50
"""Threads that are asked for at a time."""


class Threads:
    """All methods but `list` raise `NotFound` for a thread that is not there, or not the caller's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self, *, agent: str | None = None, archived: Archived = "exclude", page_size: int = PAGE
    ) -> Iterator[ThreadSummary]:
        """The threads, those used last first; asks for the next page when it comes to it.

        Args:
            agent: only those on which this agent spoke last.
            archived: whether archived threads are left out, among the others, or all there is.
            page_size: threads in one request, 1 to 200.
        """
        cursor: str | None = None
        while True:
            threads, cursor = self._made(calls.threads(agent, archived, page_size, cursor))
            yield from threads
            if cursor is None:
                return

    def get(self, thread_id: str) -> ThreadInfo:
        """How a thread stands, and what it waits for."""
        return self._made(calls.thread(thread_id))

    def history(self, thread_id: str) -> builtins.list[Message]:
        """What was said, oldest first, ready to be shown."""
        return self._made(calls.said(thread_id))

    def messages(
        self,
        thread_id: str,
        format: Literal["native", "ag-ui", "vercel-ai"] = "native",  # noqa: A002 - its name there
    ) -> builtins.list[dict[str, Any]]:
        """All of its messages: as pydantic-ai writes them (`native`), or in the shape of a front end."""
        return self._made(calls.messages(thread_id, format))

    def turns(self, thread_id: str) -> builtins.list[Turn]:
        """Its questions and answers, oldest first: what may be forked."""
        return self._made(calls.turns(thread_id))

    def rename(self, thread_id: str, title: str | None) -> ThreadInfo:
        """Give it a title of 1 to 200 characters, or with `None` the one that it had by itself."""
        return self._made(calls.change(thread_id, title=title))

    def archive(self, thread_id: str) -> ThreadInfo:
        """Put it away: lists leave it out unless they are asked for it. It can be used as before."""
        return self._made(calls.change(thread_id, archived=True))

    def unarchive(self, thread_id: str) -> ThreadInfo:
        """Have it in lists again."""
        return self._made(calls.change(thread_id, archived=False))

    def delete(self, thread_id: str) -> None:
        """Delete it with all that was said. Raises `RunConflict` while a run goes on on it."""
        self._made(calls.delete(thread_id))

    def fork(self, thread_id: str, *, entry: str | None = None, new_id: str | None = None) -> ThreadInfo:
        """A new thread with the same beginning.

        Args:
            thread_id: the thread.
            entry: how far the beginning goes, from `turns` or `branches`; all of it when left out.
            new_id: what to call the new one. Raises `ThreadExists` for an id that is taken.
        """
        return self._made(calls.fork(thread_id, entry, new_id))

    def branches(self, thread_id: str) -> builtins.list[Branch]:
        """What edits and regenerated answers have left; the current branch comes first."""
        return self._made(calls.branches(thread_id))

    def switch(self, thread_id: str, entry: str) -> ThreadInfo:
        """Go back to a branch. Raises `RunConflict` while a run goes on."""
        return self._made(calls.switch(thread_id, entry))

    def _made(self, call: Call[T]) -> T:
        return finished(calls.made(self._connection, call))

"""Threads -> turns on them: what a request finds stored, and what it means there."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gateway import answers
from gateway.errors import NotFound
from gateway.history import Line
from gateway.openturn import OpenTurn
from gateway.turns import plan, taken_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.coordination import Lease
    from gateway.stores import Store
    from gateway.streams import StreamInfo
    from gateway.wires import Turn


class Threads:
    """The threads of one gateway.

    Args:
        store: where they are kept.
        approval_ttl: seconds in which what a run asks for can be approved.
    """

    def __init__(self, store: Store, approval_ttl: float) -> None:
        self.store = store
        self._approval_ttl = timedelta(seconds=approval_ttl)

    async def answered_run(self, scope: str, turn: Turn) -> str:
        """The run that took the answers of a turn that has nothing else to say; empty when there is none."""
        asked = answers.ids_of(turn.answers)
        if turn.messages or not asked:
            return ""
        view = self.store.view(scope)
        thread = await view.read_thread(turn.thread_id)
        if thread is None or asked & answers.ids_of(thread.record.deferred_tool_requests):
            return ""
        taken = taken_by(turn, await view.read_line(thread.record.head_id))
        return taken.answered_run if taken else ""

    async def open(self, turn: Turn, info: StreamInfo, lease: Lease, may_use: Callable[[str], bool]) -> OpenTurn:
        """What the turn means on the thread, and what its run begins with. The caller holds the thread's lease.

        Args:
            turn: what the client has to say.
            info: the run.
            lease: on the thread.
            may_use: whether the client may use an agent: it may not go on with a thread of one that it may not.

        Raises:
            NotFound: for such a thread, as `/threads` says of it to this client.
            TurnRejected: an edit, an approval or a result that does not fit the thread.
            ApprovalExpired: an approval that comes too late.
            StoreUnavailable: the store cannot be reached.
        """
        view = self.store.view(info.scope)
        thread = await view.read_thread(turn.thread_id)
        if thread and thread.agent and not may_use(thread.agent):
            raise NotFound
        line = await view.read_line(thread.record.head_id) if thread else Line()
        planned = plan(turn, thread, line, info.agent)
        return OpenTurn(view, info, lease.token, self._approval_ttl, planned, thread, turn.state)

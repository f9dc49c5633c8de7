"""Threads -> the JSON that clients get. Nothing here does I/O."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic_ai.ui.ag_ui._interrupt import approval_to_interrupt

from gateway.history import FINISHED, RUNNING
from gateway.wires.native.shapes import messages_of

if TYPE_CHECKING:
    from pydantic_ai.conversation_store import ConversationRecord
    from pydantic_ai.messages import ToolCallPart

    from gateway.history import Line, Thread, TurnRecord
    from gateway.streams import StreamInfo

IDLE, WAITING, LOST = "idle", "waiting", "run_lost"


def iso(when: datetime) -> str:
    """ISO 8601, in UTC, with milliseconds."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds")


def summary(thread: Thread, status: str = "") -> dict[str, Any]:
    """A thread as it stands in a list."""
    fields = {
        "id": thread.id,
        "title": thread.title,
        "agent": thread.agent,
        "surface": thread.turn.surface if thread.turn else "",
        "status": status or stored_status(thread),
        "archived": thread.archived,
        "created_at": iso(thread.created_at),
        "updated_at": iso(thread.record.updated_at),
    }
    return fields | ({"forked_from": thread.record.forked_from} if thread.record.forked_from else {})


def details(thread: Thread, run: StreamInfo | None) -> dict[str, Any]:
    """A thread by itself, and the run that goes on on it."""
    approvals, calls = waits_for(thread)
    expires_at = iso(thread.turn.expires_at) if thread.turn and thread.turn.expires_at and approvals else None
    optional = {"run_id": run.run_id if run else None, "expires_at": expires_at}
    return {
        **summary(thread, status_of(thread, run)),
        "state": thread.turn.state if thread.turn else None,
        "interrupts": [_interrupt(thread, call, expires_at) for call in approvals],
        "pending": [call.tool_call_id for call in calls],
        **{name: value for name, value in optional.items() if value is not None},
    }


def waits_for(thread: Thread) -> tuple[list[ToolCallPart], list[ToolCallPart]]:
    """The calls that nobody has answered: those to approve, and those that the client runs."""
    requests = thread.record.deferred_tool_requests
    if requests is None:
        return [], []
    answers = (thread.turn and thread.turn.answers) or {}
    answered = {*answers.get("approvals", ()), *answers.get("calls", ())}
    return (
        [call for call in requests.approvals if call.tool_call_id not in answered],
        [call for call in requests.calls if call.tool_call_id not in answered],
    )


def stored_status(thread: Thread) -> str:
    """How the thread stands as far as the store knows: whether what is `running` was lost, leases tell."""
    if any(waits_for(thread)):
        return WAITING
    outcome = _outcome(thread.turn) if thread.turn else IDLE
    # A question that was forked: its run is not this thread's.
    return IDLE if outcome == RUNNING and _is_fresh_fork(thread.record) else outcome


def _outcome(turn: TurnRecord) -> str:
    # A run that took answers saves a head of its own in the end.
    return RUNNING if turn.answered_run and turn.outcome == FINISHED else turn.outcome


def _is_fresh_fork(record: ConversationRecord) -> bool:
    return record.forked_from is not None and record.forked_at == record.head_id


def status_of(thread: Thread, run: StreamInfo | None) -> str:
    """How the thread stands, and the run that goes on on it."""
    if run:
        return RUNNING
    status = stored_status(thread)
    return LOST if status == RUNNING else status


def _interrupt(thread: Thread, call: ToolCallPart, expires_at: str | None) -> dict[str, Any]:
    """The approval as the AG-UI run that asked for it told its reader."""
    requests = thread.record.deferred_tool_requests
    interrupt = approval_to_interrupt(call, requests.metadata if requests else {})
    dumped = interrupt.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped | ({"expiresAt": expires_at.replace("+00:00", "Z")} if expires_at else {})


def native(line: Line) -> dict[str, Any]:
    """A line in pydantic-ai's JSON, and the turns that it grew by: where it can be forked, and gone back to."""
    messages: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for entries, turn in line.segments():
        messages += messages_of([entry.message for entry in entries])
        if turn:
            turns.append(_turn(turn, len(messages)))
    return {"messages": messages, "turns": turns}


def _turn(turn: TurnRecord, messages: int) -> dict[str, Any]:
    """A turn; `messages` counts those of the line up to its end. While one runs, or was lost, it has no outcome."""
    outcome = {} if turn.outcome == RUNNING else {"outcome": turn.outcome}
    known = {"entry": turn.entry_id, "run_id": turn.run_id, "agent": turn.agent, "at": iso(turn.at)}
    return {**known, **outcome, "messages": messages}

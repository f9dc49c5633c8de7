"""Threads that are put into a store as runs leave them there, for tests that are not about runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord
from pydantic_ai.messages import ModelRequest, ModelResponse, SystemPromptPart, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.tools import DeferredToolRequests

from gateway.history import FINISHED, TurnRecord

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage

    from gateway.stores import ThreadView

INTERNAL = "Be brief, and never mention Project Bluebird."
"""What the agent was told, and no client may read."""

PAYMENT = ToolCallPart("pay", {"amount": 5}, tool_call_id="call-1")


async def add_turn(
    view: ThreadView,
    thread: str = "t",
    question: str = "Hello",
    *,
    answer: ModelResponse | str | None = "Hello yourself.",
    after: str | None = None,
    waiting: DeferredToolRequests | None = None,
    when: datetime | None = None,
    **turn: Any,
) -> str:
    """One more turn at the end of the thread, or behind the entry `after`, which leaves a branch. Its last entry."""
    record = await view.read_record(thread)
    revision = record.revision if record else None
    record = record or ConversationRecord(conversation_id=thread, head_id=None)
    messages: list[ModelMessage] = [
        ModelRequest(parts=[SystemPromptPart(INTERNAL), UserPromptPart(question)], instructions=INTERNAL)
    ]
    if answer is not None:
        told = answer if isinstance(answer, ModelResponse) else ModelResponse(parts=[TextPart(answer)])
        messages.append(replace(told, provider_url=INTERNAL, provider_details={"host": INTERNAL}))
    entries: list[ConversationEntry] = []
    parent = record.head_id if after is None else after
    for message in messages:
        entries.append(ConversationEntry(parent_id=parent, message=message))
        parent = entries[-1].id
    left = [record.head_id] if after is not None and record.head_id else []
    fresh = ConversationRecord(conversation_id=thread, head_id=entries[-1].id, updated_at=when or datetime.now(UTC))
    written = replace(
        record,
        head_id=fresh.head_id,
        branches=[*record.branches, *left],
        deferred_tool_requests=waiting,
        revision=fresh.revision,
        updated_at=fresh.updated_at,
    )
    defaults: dict[str, Any] = {
        "run_id": "run",
        "agent": "remembering",
        "surface": "ag-ui",
        "outcome": FINISHED,
        "title": question,
    }
    kept = TurnRecord(entry_id=entries[-1].id, **{**defaults, **turn})
    await view.write_record(written, new_entries=entries, expected_revision=revision, turn=kept)
    return entries[-1].id


async def ask_for_consent(view: ThreadView, thread: str = "t", **turn: Any) -> str:
    """A turn that ends with a payment to approve."""
    waiting = DeferredToolRequests(approvals=[PAYMENT])
    answer = ModelResponse(parts=[TextPart("May I?"), PAYMENT])
    return await add_turn(view, thread, "Pay 5", answer=answer, waiting=waiting, **turn)

"""Conversations for the tests of stores: what is said, how it is saved, and what is found again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart

from gateway.history import TurnRecord

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.stores import ThreadView


def says(text: str) -> ModelRequest:
    return ModelRequest(parts=[UserPromptPart(text)])


def answers(text: str) -> ModelResponse:
    return ModelResponse(parts=[TextPart(text)])


def chain(*messages: ModelMessage, after: str | None = None) -> list[ConversationEntry]:
    """Entries that follow one another."""
    entries: list[ConversationEntry] = []
    for message in messages:
        entries.append(ConversationEntry(parent_id=after, message=message))
        after = entries[-1].id
    return entries


def make_turn(entry_id: str, **fields: Any) -> TurnRecord:
    values: dict[str, Any] = {"entry_id": entry_id, "run_id": "run", "agent": "one", "surface": "ag-ui", **fields}
    return TurnRecord(**values)


async def say(
    view: ThreadView,
    thread_id: str,
    *texts: str,
    at: datetime | None = None,
    agent: str | None = "one",
    token: int = 0,
    **fields: Any,
) -> ConversationRecord:
    """One more turn on a thread, with a message for each text."""
    stored = await view.read_record(thread_id)
    entries = chain(*map(says, texts or ("Hello",)), after=stored.head_id if stored else None)
    record = ConversationRecord(conversation_id=thread_id, head_id=entries[-1].id, **fields)
    if at:
        record.updated_at = at
    await view.write_record(
        record,
        new_entries=entries,
        expected_revision=stored.revision if stored else None,
        turn=make_turn(entries[-1].id, agent=agent) if agent else None,
        token=token,
    )
    return record


async def texts_of(view: ThreadView, thread_id: str) -> list[str]:
    """What was said, from the record on."""
    record = await view.read_record(thread_id)
    assert record
    return [text_of(entry) for entry in (await view.read_line(record.head_id)).entries]


def text_of(entry: ConversationEntry) -> str:
    part = entry.message.parts[0]
    assert isinstance(part, UserPromptPart | TextPart)
    assert isinstance(part.content, str)
    return part.content


async def titles(view: ThreadView, limit: int = 99, **choice: Any) -> list[str]:
    return [thread.id for thread in await view.read_threads(limit=limit, **choice)]

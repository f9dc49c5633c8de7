"""Records, entries and turns <-> the columns of their tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import TypeAdapter
from pydantic_ai.conversation_store import ConversationRecord
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.usage import RunUsage
from pydantic_core import PydanticSerializationError, to_json

from gateway.history import Thread, TurnRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_USAGE = TypeAdapter(RunUsage)
_DEFERRED = TypeAdapter(DeferredToolRequests)


def micros(when: datetime) -> int:
    """Microseconds since 1970."""
    return (when - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """The other way, in UTC."""
    return _EPOCH + timedelta(microseconds=value)


def dump_message(message: ModelMessage) -> str:
    """JSON of one message."""
    try:
        return ModelMessagesTypeAdapter.dump_json([message])[1:-1].decode()
    except PydanticSerializationError:
        # Half of a surrogate pair, as a model that breaks an emoji in two sends it, has no UTF-8.
        plain = _whole(ModelMessagesTypeAdapter.dump_python([message]))
        return to_json(plain, bytes_mode="base64")[1:-1].decode()


def load_messages(texts: Iterable[str]) -> list[ModelMessage]:
    """JSON of single messages -> the messages."""
    return ModelMessagesTypeAdapter.validate_json(f"[{','.join(texts)}]")


def record_values(record: ConversationRecord) -> dict[str, Any]:
    """The columns of `threads` that a record has; scope and id are left to the caller."""
    requests = record.deferred_tool_requests
    return {
        "head_id": record.head_id,
        "revision": record.revision,
        "usage": _USAGE.dump_json(record.usage).decode(),
        "deferred_tool_requests": None if requests is None else _DEFERRED.dump_json(requests).decode(),
        "record_scope": record.scope,
        "forked_from": record.forked_from,
        "forked_at": record.forked_at,
        "branches": json.dumps(record.branches),
        "format_version": record.format_version,
        "updated_at": micros(record.updated_at),
    }


def load_record(row: Row[Any]) -> ConversationRecord:
    """A row of `threads` -> the record."""
    requests = row.deferred_tool_requests
    return ConversationRecord(
        conversation_id=row.id,
        head_id=row.head_id,
        usage=_USAGE.validate_json(row.usage),
        deferred_tool_requests=None if requests is None else _DEFERRED.validate_json(requests),
        scope=row.record_scope,
        forked_from=row.forked_from,
        forked_at=row.forked_at,
        branches=json.loads(row.branches),
        revision=row.revision,
        updated_at=moment(row.updated_at),
        format_version=cast("Literal[1]", row.format_version),
    )


def turn_values(turn: TurnRecord) -> dict[str, Any]:
    """The columns of `turns`; scope and entry are left to the caller."""
    return {
        "run_id": turn.run_id,
        "agent": turn.agent,
        "surface": turn.surface,
        "outcome": turn.outcome,
        "title": shown(turn.title),
        "state": None if turn.state is None else json.dumps(turn.state),
        "wire_ids": json.dumps(dict(turn.wire_ids)),
        "answers": None if turn.answers is None else json.dumps(dict(turn.answers)),
        "answered_run": turn.answered_run,
        "expires_at": None if turn.expires_at is None else micros(turn.expires_at),
        "at": micros(turn.at),
    }


def load_turn(row: Row[Any] | SimpleNamespace) -> TurnRecord | None:
    """A row that `turns` was joined to, with its columns behind `turn_` -> the turn."""
    if row.turn_run_id is None:
        return None
    return TurnRecord(
        entry_id=row.turn_entry_id,
        run_id=row.turn_run_id,
        agent=row.turn_agent,
        surface=row.turn_surface,
        outcome=row.turn_outcome,
        title=row.turn_title,
        state=None if row.turn_state is None else json.loads(row.turn_state),
        wire_ids=json.loads(row.turn_wire_ids),
        answers=None if row.turn_answers is None else json.loads(row.turn_answers),
        answered_run=row.turn_answered_run,
        expires_at=None if row.turn_expires_at is None else moment(row.turn_expires_at),
        at=moment(row.turn_at),
    )


def as_stored(turn: TurnRecord) -> TurnRecord:
    """The turn as it would be read: nobody else has what is in it."""
    columns = {f"turn_{name}": value for name, value in turn_values(turn).items()}
    return cast("TurnRecord", load_turn(SimpleNamespace(**columns, turn_entry_id=turn.entry_id)))


def load_thread(row: Row[Any]) -> Thread:
    """A row of `threads`, joined with its head's turn -> the thread."""
    return Thread(
        record=load_record(row),
        turn=load_turn(row),
        renamed=row.renamed,
        archived=row.archived,
        created_at=moment(row.created_at),
    )


def shown(title: str) -> str:
    """The title without what no database takes as text: NUL, and halves of surrogate pairs."""
    return _whole(title.replace("\x00", "\ufffd"))


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {_whole(key): _whole(each) for key, each in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_whole(each) for each in cast("Iterable[Any]", value)]
    return value

"""What a tool sends to front ends along with its result: AI SDK chunks and AG-UI events in `ToolReturnPart.metadata`.

They are stored as JSON, and come back as plain dictionaries, which pydantic-ai's adapters pass over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from ag_ui.core import ActivitySnapshotEvent
from pydantic import BaseModel, ValidationError
from pydantic_ai.ui.vercel_ai.response_types import DataChunk, FileChunk, SourceDocumentChunk, SourceUrlChunk

if TYPE_CHECKING:
    from pydantic_ai.messages import ToolReturnPart

CHUNKS: dict[str, type[BaseModel]] = {
    "file": FileChunk,
    "source-url": SourceUrlChunk,
    "source-document": SourceDocumentChunk,
}


def typed(result: ToolReturnPart) -> ToolReturnPart:
    """The result with instances again of what is streamed with it; the rest of its metadata is as it was."""
    held: Any = result.metadata
    if held:
        return replace(result, metadata=[*map(_typed, cast("list[Any]", held))] if _is_list(held) else _typed(held))
    # Without metadata, the content is looked through.
    content: Any = result.content
    sent = [_typed(each) for each in (cast("list[Any]", content) if _is_list(content) else [content])]
    return replace(result, metadata=[each for each in sent if isinstance(each, BaseModel)] or held)


def lasting(result: ToolReturnPart) -> ToolReturnPart:
    """The same, with no more than what becomes part of an AI SDK message."""
    result = typed(result)
    if not _is_list(result.metadata):
        is_lasting = not _is_transient(result.metadata)
        return result if is_lasting else replace(result, metadata=None)
    return replace(result, metadata=[each for each in cast("list[Any]", result.metadata) if not _is_transient(each)])


def activities(result: ToolReturnPart) -> list[ActivitySnapshotEvent]:
    """Activities that the tool shows in AG-UI clients."""
    sent: Any = typed(result).metadata
    held = cast("list[Any]", sent) if _is_list(sent) else [sent]
    return [each for each in held if isinstance(each, ActivitySnapshotEvent)]


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_transient(value: Any) -> bool:
    return isinstance(value, DataChunk) and bool(value.transient)


def _typed(value: Any) -> Any:
    """An instance of what a dictionary was before it was stored; anything else as it is."""
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    kind = str(fields.get("type"))
    model = ActivitySnapshotEvent if kind == "ACTIVITY_SNAPSHOT" else _chunk(kind, fields)
    if model is None:
        return fields
    try:
        return model.model_validate(fields)
    except ValidationError:
        return fields


def _chunk(kind: str, fields: dict[str, Any]) -> type[BaseModel] | None:
    """The kind of chunk that was stored so: with all of its fields, unlike most of what merely looks like one."""
    model = DataChunk if kind.startswith("data-") else CHUNKS.get(kind)
    return model if model and fields.keys() == model.model_fields.keys() else None

"""pydantic-ai's messages, parts and events -> the JSON of plain clients, without what is between server and model."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, cast

from pydantic import TypeAdapter
from pydantic_ai.messages import BaseToolReturnPart, ModelMessagesTypeAdapter, ToolReturn
from pydantic_core import to_json, to_jsonable_python

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_ai.messages import ModelMessage, ToolCallPart
    from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults
    from pydantic_ai.usage import RunUsage

SERVER_SIDE = {
    "instructions",
    "metadata",
    "provider_url",
    "provider_details",
    "provider_response_id",
    "failed_attempts",
    "workspace_ref",
    "history_digest",
}
"""What messages and parts say to the server alone: its words to the model, its hosts, texts of exceptions."""

_REQUEST_PARTS = {"user-prompt", "speech", "tool-return"}
"""What a client may see of a request. Other parts, those of later versions included, are between server and model."""

_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def output_of(value: Any, *, filled_only: bool = False) -> Any:
    """An agent's output in JSON; `filled_only` leaves out fields that nobody has set, and those that are computed."""
    return _ANY.dump_python(
        value,
        mode="json",
        by_alias=True,
        exclude_unset=filled_only,
        exclude_computed_fields=filled_only,
        warnings=False,
    )


def messages_of(messages: Sequence[ModelMessage]) -> list[dict[str, Any]]:
    """Messages in pydantic-ai's JSON; those of which nothing is to be seen are not there."""
    dumped = cast("list[dict[str, Any]]", ModelMessagesTypeAdapter.dump_python([*messages], mode="json"))
    return [shown for message in dumped if (shown := _shown(message))["parts"]]


def message_of(message: ModelMessage) -> dict[str, Any]:
    """One message, also when nothing of it is to be seen."""
    return _shown(cast("dict[str, Any]", ModelMessagesTypeAdapter.dump_python([message], mode="json")[0]))


def event_of(event: Any, max_result: int) -> dict[str, Any]:
    """An event's fields. Results of tools have at most that many characters; `truncated` says that there were more."""
    given = {each.name: getattr(event, each.name) for each in fields(event) if each.name != "event_kind"}
    shape = {name: _field(value) for name, value in given.items() if value is not None}
    if isinstance(result := getattr(event, "part", None), BaseToolReturnPart):  # of native tools, too
        shape.pop("content", None)  # text for the model that came with the result
        if cut := _cut(result.content, max_result):
            shape["part"] |= {"content": cut}
            shape["truncated"] = True
    return shape


def deferred_of(requests: DeferredToolRequests) -> dict[str, Any]:
    """The calls that a run left to somebody: `{"approvals": [...], "calls": [...]}`."""
    return {
        "approvals": [_call(call) for call in requests.approvals],
        "calls": [_call(call) for call in requests.calls],
    }


def results_of(results: DeferredToolResults, max_result: int) -> dict[str, Any]:
    """What has come of deferred calls, by call, cut as in `event_of`."""
    values = {call: each.return_value if isinstance(each, ToolReturn) else each for call, each in results.calls.items()}
    cut = {call: text for call, value in values.items() if (text := _cut(value, max_result))}
    shape: dict[str, Any] = {
        "approvals": {call: _field(each) for call, each in results.approvals.items()},
        "calls": {call: _field(value) for call, value in values.items()} | cut,
    }
    return shape | ({"truncated": True} if cut else {})


def usage_of(usage: RunUsage) -> dict[str, Any]:
    """Counts of a run, in tokens, and its cost in US dollars where it is known."""
    counts: dict[str, Any] = {
        "requests": usage.requests,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "tool_calls": usage.tool_calls,
    }
    return counts if usage.cost is None else {**counts, "cost": float(usage.cost)}


def _call(call: ToolCallPart) -> dict[str, Any]:
    return {"tool_call_id": call.tool_call_id, "tool_name": call.tool_name, "args": call.args_as_dict()}


def _cut(content: Any, max_result: int) -> str | None:
    """The beginning of a result that is too long."""
    text = content if isinstance(content, str) else to_json(content, serialize_unknown=True).decode()
    return text[:max_result] if len(text) > max_result else None


def _field(value: Any) -> Any:
    shape: Any = to_jsonable_python(value, serialize_unknown=True)
    if not is_dataclass(value):
        return shape
    part: dict[str, Any] = shape
    return {name: each for name, each in _client_side(part).items() if each is not None}


def _shown(message: dict[str, Any]) -> dict[str, Any]:
    is_request = message["kind"] == "request"
    parts = [_client_side(part) for part in message["parts"] if not is_request or part["part_kind"] in _REQUEST_PARTS]
    return _client_side(message) | {"parts": parts}


def _client_side(shape: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shape.items() if name not in SERVER_SIDE}

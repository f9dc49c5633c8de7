"""A stored line -> UI messages of the AI SDK 7, as a client has built them from the chunks.

What is in a part is pydantic-ai's word (`dump_messages`). How the parts make up messages is the client's:
`process-ui-message-stream.ts` puts all that follows a message of the user into one, with a `step-start` before each
response of the model, and leaves in a part whatever was there before its result.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic_ai.messages import ModelRequest, ModelResponse, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.tools import ToolDenied
from pydantic_ai.ui.vercel_ai import VercelAIAdapter
from pydantic_core import from_json

from gateway.history import CANCELLED, FINISHED
from gateway.wires.sent_along import lasting
from gateway.wires.shown import free_id, segments
from gateway.wires.vercel_ai.metadata import PROTOCOL, merged, metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.tools import DeferredToolRequests

    from gateway.history import Line
    from gateway.wires.shown import Segment, Shown

    Json = dict[str, Any]

SDK_VERSION: Literal[7] = 7

ONLY_IN_HISTORY = frozenset(("outcome", "retry", "content", "return_meta"))
"""What `dump_messages` says in a call's metadata of its result, for a history that is read back; it is not streamed."""


def dumped(line: Line, waiting: DeferredToolRequests | None) -> list[Json]:
    """See `Wire.dump`."""
    messages: list[Json] = []
    for segment in segments(line):
        answer: _Answer | None = None
        for shown in segment.shown:
            if shown.user_id is not None:
                messages += _of_user(shown)
                answer = None
                continue
            answer = answer or _Answer(segment, waiting, messages)
            answer.add(shown)
        if answer:
            answer.end()
    return [message for message in messages if message["parts"]]


class _Answer:
    """What one run has said, at the end of the list of messages: in the last one if that is an answer already."""

    def __init__(self, segment: Segment, waiting: DeferredToolRequests | None, messages: list[Json]) -> None:
        self._segment = segment
        self._approvals = {call.tool_call_id for call in waiting.approvals} if waiting else set[str]()
        self._calls = {call.tool_call_id for call in waiting.calls} if waiting else set[str]()
        self._reasoning = iter(segment.note(PROTOCOL).get("reasoning", ()))
        self._sources: set[str] = set()
        self._cut_off: dict[str, Json] = {}
        self._metadata: Json | None = None
        if not messages or messages[-1]["role"] != "assistant":
            messages.append({"id": self._id(messages), "role": "assistant", "parts": []})
        self._message = messages[-1]
        self._parts: list[Json] = self._message["parts"]

    def add(self, shown: Shown) -> None:
        """Add what one message of the history says."""
        if isinstance(shown.message, ModelRequest):
            for part in _data_parts(shown.message):
                self._put(part)
            return
        calls = [part for part in shown.message.parts if isinstance(part, ToolCallPart)]
        open_calls = [call for call in calls if self._is_broken_off(call, shown)]
        broken_off = [self._segment.broken_off(call) for call in open_calls]
        self._cut_off = {call.tool_call_id: _begun(call) for call in open_calls if self._is_cut_off(call)}
        # What a tool has sent along with its result follows all that the model said.
        plain = [replace(result, metadata=None) for result in (*shown.results.values(), *broken_off)]
        dumped_message = _dump(shown.message, plain)
        self._metadata = dumped_message.get("metadata")
        self._parts.append({"type": "step-start"})
        self._parts += [each for part in dumped_message["parts"] for each in self._as_streamed(part)]
        for call in sorted(calls, key=self._rank):
            if result := shown.results.get(call.tool_call_id):
                for part in _dump(ModelResponse(parts=[call]), [lasting(result)])["parts"][1:]:
                    self._put(part)

    def end(self) -> None:
        """Add what a stream says at its end."""
        outcome, note = self._segment.outcome, self._segment.note(PROTOCOL)
        if outcome == CANCELLED:
            self._parts.append({"type": "step-start"})
            self._tell(metadata(note))
        elif outcome == FINISHED and self._metadata is not None:
            self._tell({**self._metadata, **metadata(note)})
            # The output of an agent that answers in data ends its step.
            self._parts += [{"type": "step-start"}] * note.get("outputs", 0)

    def _tell(self, told: Json) -> None:
        self._message["metadata"] = merged(self._message.get("metadata", {}), told)

    def _id(self, messages: list[Json]) -> str:
        segment = self._segment
        run_id = segment.turn.run_id if segment.turn else ""
        noted: str = segment.note(PROTOCOL).get("message", "")
        return free_id([noted, run_id, segment.shown[-1].id], [message["id"] for message in messages])

    def _rank(self, call: ToolCallPart) -> int:
        """The place of what was sent along with a call's result, in the order in which the results came."""
        answered: list[str] = self._segment.note(PROTOCOL).get("answered", [])
        return answered.index(call.tool_call_id) if call.tool_call_id in answered else len(answered)

    def _put(self, part: Json) -> None:
        """Add a part; data with an id that the message has already takes the place of what was there."""
        known = part["type"].startswith("data-") and part.get("id") is not None
        same = (each for each in self._parts if known and (each["type"], each.get("id")) == (part["type"], part["id"]))
        if before := next(same, None):
            before["data"] = part["data"]
        else:
            self._parts.append(part)

    def _is_broken_off(self, call: ToolCallPart, shown: Shown) -> bool:
        return call.tool_call_id not in {*shown.results, *self._approvals, *self._calls, *self._segment.under_way}

    def _is_cut_off(self, call: ToolCallPart) -> bool:
        # Over another surface nothing may be noted.
        return call.tool_call_id in self._segment.cut_off or not _is_whole(call)

    def _as_streamed(self, part: Json) -> Iterator[Json]:
        match part["type"]:
            case "reasoning":
                if noted := next(self._reasoning, ""):
                    part["id"] = noted
            case "file":
                part.pop("providerMetadata", None)
            case "source-url":
                if part["url"] in self._sources:
                    return
                self._sources.add(part["url"])
            case str(kind) if kind.startswith("tool-"):
                self._tool(part)
            case _:
                pass
        yield part

    def _tool(self, part: Json) -> None:
        """Change a tool part in place."""
        call = part["toolCallId"]
        if not part.get("providerExecuted"):
            part.pop("providerExecuted", None)
        if call in self._cut_off:
            part["errorText"] = part.pop("output", None) or part.get("errorText")
            del part["input"]
            part.update(self._cut_off[call], state="output-error")
        if part["state"] == "approval-requested" and call not in self._approvals:
            # pydantic-ai takes every call without a result for one that waits for approval.
            del part["approval"]
            part["state"] = "approval-responded" if call in self._segment.approvals else "input-available"
        if part["state"] != "approval-requested" and (decision := self._decision(part)):
            part["approval"] = decision
        if metadata := _call_metadata(part.pop("callProviderMetadata", None)):
            part["callProviderMetadata"] = metadata

    def _decision(self, part: Json) -> Json | None:
        """What the user has decided on a call: known from the turn, or else from the result that it led to."""
        call, decisions = part["toolCallId"], self._segment.approvals
        if part["state"] == "output-denied":
            reason = part["approval"].get("reason")
            told = {"reason": reason} if reason and reason != ToolDenied().message else {}
            return {"id": call, "approved": False, **told}
        return {"id": call, "approved": _is_yes(decisions[call])} if call in decisions else None


def _is_yes(decision: bool | Json) -> bool:
    return decision is True or (isinstance(decision, dict) and decision["kind"] == "tool-approved")


def _of_user(shown: Shown) -> Iterator[Json]:
    request = shown.message
    kept = replace(request, parts=[part for part in request.parts if isinstance(part, UserPromptPart)])
    for message in _json([kept]):
        # The rest of the metadata is the server's time, of which the client knows nothing.
        metadata = {name: value for name, value in message.pop("metadata", {}).items() if name != "pydantic_ai"}
        for part in message["parts"]:
            part.pop("state", None)
        yield {**message, "id": shown.user_id or shown.id, **({"metadata": metadata} if metadata else {})}


def _data_parts(request: ModelRequest) -> list[Json]:
    """What a request holds besides results: it is streamed into the answer that the run continues."""
    return [part for message in _json([request]) for part in message["parts"] if part["type"].startswith("data-")]


def _dump(response: ModelResponse, results: list[ToolReturnPart]) -> Json:
    messages = _json([response, ModelRequest(parts=results)])
    return messages[0] if messages else {"parts": []}


def _json(messages: list[ModelMessage]) -> list[Json]:
    dumped_messages = VercelAIAdapter[Any, Any].dump_messages(messages, sdk_version=SDK_VERSION)
    return [message.model_dump(mode="json", by_alias=True) for message in dumped_messages]


def _call_metadata(metadata: Json | None) -> Json | None:
    """The metadata that is streamed with a call."""
    ours = dict((metadata or {}).get("pydantic_ai", {}))
    ours = {**ours.pop("call_meta", {}), **ours}
    ours = {name: value for name, value in ours.items() if name not in ONLY_IN_HISTORY}
    return {"pydantic_ai": ours} if ours else None


def _begun(call: ToolCallPart) -> Json:
    """What a client has of the input of a call that is cut off: what came, and what it could read of that."""
    raw = call.args if isinstance(call.args, str) else call.args_as_json_str() if call.args else ""
    if not raw:
        return {}
    try:
        return {"rawInput": raw, "input": from_json(raw, allow_partial="trailing-strings", allow_inf_nan=False)}
    except ValueError:
        return {"rawInput": raw}


def _is_whole(call: ToolCallPart) -> bool:
    """Whether the arguments can be read."""
    try:
        call.args_as_dict(raise_if_invalid=True)
    except (ValueError, AssertionError):
        return False
    return True

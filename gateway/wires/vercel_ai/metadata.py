"""What the gateway says about an answer, in its message's metadata: which run it was, what it used, how long it took.

    {"gateway": {"runId", "threadId"?, "agent"?, "model"?,
                 "usage": {"requests", "inputTokens", "outputTokens", "totalTokens", "toolCalls"?, "cost"?},
                 "timing": {"startedAt", "firstTokenMs"?, "totalMs"}}}

Times are of the run as the gateway saw it: without the way to the browser. `cost` is in US dollars.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from pydantic_ai.messages import ModelResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.usage import RunUsage

    from gateway.history import TurnRecord
    from gateway.wires import Opening, Repetition

    Json = dict[str, Any]

PROTOCOL = "vercel-ai"
KEY = "gateway"
NOTED = "metadata"
"""Where a stream's `wire_ids` keep it."""


@dataclass
class Account:
    """What is known of a run while it goes on."""

    opened: Opening
    thread_id: str
    """Empty for a question on no thread."""
    _started_at: datetime = field(default_factory=lambda: datetime.now(UTC), init=False)
    _began: float = field(default_factory=monotonic, init=False)
    _spoke: float | None = field(default=None, init=False)

    def speaks(self) -> None:
        """The model has begun to answer."""
        if self._spoke is None:
            self._spoke = monotonic()

    def of(self, messages: Sequence[ModelMessage], usage: RunUsage) -> Json:
        """What is told of a run that ended with these messages of its own."""
        about = {"threadId": self.thread_id, "agent": self.opened.agent, "model": _model(messages)}
        return {
            "runId": self.opened.run_id,
            **{name: value for name, value in about.items() if value},
            "usage": _usage(usage),
            "timing": self._timing(),
        }

    def _timing(self) -> Json:
        first = {} if self._spoke is None else {"firstTokenMs": _milliseconds(self._spoke - self._began)}
        started_at = self._started_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"startedAt": started_at, **first, "totalMs": _milliseconds(monotonic() - self._began)}


def metadata(note: Mapping[str, Any]) -> Json:
    """A stream's note -> the metadata that it sends, and that its message is loaded with."""
    return {KEY: note[NOTED]} if NOTED in note else {}


def repeated(repeats: Repetition) -> Json | None:
    """What was noted of the run whose words are repeated."""
    said = repeats.entry_ids
    turns = [turn for entry, turn in repeats.line.turns.items() if entry in said]
    return next((note[NOTED] for note in map(_note, reversed(turns)) if NOTED in note), None)


def merged(before: Json, after: Json) -> Json:
    """As the AI SDK merges a chunk's metadata into the message's (`merge-objects.ts`): all the way down."""
    both = {name: _merged(before[name], value) if name in before else value for name, value in after.items()}
    return {**before, **both}


def _merged(before: Any, after: Any) -> Any:
    if isinstance(before, dict) and isinstance(after, dict):
        return merged(cast("Json", before), cast("Json", after))
    return after


def _note(turn: TurnRecord) -> Mapping[str, Any]:
    return turn.wire_ids.get(PROTOCOL, {})


def _model(messages: Iterable[ModelMessage]) -> str | None:
    """The model that spoke last."""
    names = [message.model_name for message in messages if isinstance(message, ModelResponse)]
    return next((name for name in reversed(names) if name), None)


def _usage(usage: RunUsage) -> Json:
    calls = {"toolCalls": usage.tool_calls} if usage.tool_calls else {}
    cost = {} if usage.cost is None else {"cost": float(usage.cost)}
    return {
        "requests": usage.requests,
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        **calls,
        **cost,
    }


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)

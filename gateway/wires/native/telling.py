"""The events of a run -> what a plain stream says of them: what is the same in every form of telling."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_ai.exceptions import RunTimedOut
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.ui import UIEventStream
from pydantic_ai.usage import RunUsage
from pydantic_core import to_json

from gateway.history import CANCELLED, FINISHED
from gateway.wires.endings import Endable
from gateway.wires.native.following import StepBegan
from gateway.wires.native.shapes import deferred_of, output_of, usage_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.exceptions import RunCancelled
    from pydantic_ai.run import AgentRunResult, AgentRunResultEvent

    from gateway.failures import Report
    from gateway.wires.native.body import Told


@dataclass(frozen=True, slots=True)
class Said:
    """One event of a plain stream."""

    data: Any
    """JSON."""
    name: str = ""


@dataclass
class Telling(Endable, UIEventStream["Told", Said, Any, Any]):
    """How a run begins, ends and fails: the same in every form. By itself, it says nothing else."""

    _: KW_ONLY
    report: Report
    told: Told
    run_id: str
    thread_id: str | None
    """None for a question on no thread."""
    max_tool_result_chars: int
    wire_ids: dict[str, Any] = field(default_factory=dict[str, Any])
    _usage: RunUsage = field(default_factory=RunUsage)
    _outcome: str = FINISHED

    def encode_event(self, event: Said) -> str:
        """A server-sent event, still without its number."""
        data = f"data: {to_json(event.data, inf_nan_mode='null').decode()}\n\n"
        return f"event: {event.name}\n{data}" if event.name else data

    async def handle_event(self, event: Any) -> AsyncIterator[Said]:
        """See `UIEventStream`; also of what `Following` tells."""
        step: Any = event
        if isinstance(step, StepBegan):
            self._usage = step.context.usage
        async for each in super().handle_event(event):
            yield each

    async def handle_run_result(self, event: AgentRunResultEvent[Any]) -> AsyncIterator[Said]:
        """The last word of the agent."""
        result: AgentRunResult[Any] = event.result
        self._usage = result.usage
        if isinstance(result.output, DeferredToolRequests):
            self._outcome = "deferred"
            yield Said(deferred_of(result.output), "deferred")
        else:
            yield Said(self._answer(result.output), "result")

    async def on_error(self, error: Exception) -> AsyncIterator[Said]:
        """A failure, as far as it is anybody's business."""
        failure = self.report(error)
        self._outcome = failure.code
        yield Said({"code": failure.code, "message": failure.detail, "id": self.run_id}, "error")

    async def on_cancelled(self, cancelled: RunCancelled) -> AsyncIterator[Said]:
        """Nothing for a run that was stopped; the time that it may take is a failure."""
        self._usage = cancelled.usage or self._usage
        if isinstance(cancelled, RunTimedOut):
            async for each in self.on_error(cancelled):
                yield each
        else:
            self._outcome = CANCELLED

    async def after_stream(self) -> AsyncIterator[Said]:
        """What it took, and that this was all."""
        yield Said(usage_of(self._usage), "usage")
        place = {"run_id": self.run_id, **({"thread_id": self.thread_id} if self.thread_id else {})}
        yield Said({**place, "outcome": self._outcome}, "done")

    def _answer(self, output: Any) -> dict[str, Any]:
        return {"output": output_of(output)}

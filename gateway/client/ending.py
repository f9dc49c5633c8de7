"""The last events of a run -> how it ended: the same for every form of stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ValidationError

from gateway.client.errors import NoResult, RunFailed, UnexpectedAnswer
from gateway.client.shapes import Deferred, Usage

if TYPE_CHECKING:
    from gateway.client.shapes import Event

T = TypeVar("T")


@dataclass(slots=True)
class Ending:
    """What is known of a run's end. Everything is `None` before."""

    result: dict[str, Any] | None = None
    deferred: Deferred | None = None
    failure: RunFailed | None = None
    usage: Usage | None = None
    outcome: str | None = None

    def take(self, event: Event) -> None:
        """Note what the event says about the end, if it does. Raises `UnexpectedAnswer`."""
        try:
            self._take(event.name, event.data)
        except (ValidationError, KeyError, TypeError, ValueError):
            raise UnexpectedAnswer(200) from None

    def _take(self, name: str, data: Any) -> None:
        match name:
            case "result":
                self.result = dict(data)
            case "deferred":
                self.deferred = Deferred.model_validate(data)
            case "error":
                self.failure = RunFailed(data["code"], data["message"], data["id"])
            case "usage":
                self.usage = Usage.model_validate(data)
            case "done":
                self.outcome = str(data["outcome"])
            case _:
                pass


@dataclass(frozen=True, slots=True)
class RunResult(Generic[T]):
    """A run that has ended without an error."""

    run_id: str
    thread_id: str | None
    """The thread that it was asked on; none where none was named."""
    outcome: str
    """`finished`, `deferred` (it waits for somebody) or `cancelled`."""
    text: str | None
    """The answer, of agents that answer in text."""
    usage: Usage
    deferred: Deferred | None
    """What it waits for."""
    final: tuple[T, ...] = field(default=(), repr=False)
    """The output, if there is one; `output` is the way to read it."""

    @property
    def output(self) -> T:
        """The validated output. Raises `NoResult` when the run was stopped or waits for somebody."""
        if not self.final:
            raise NoResult(self.outcome, self.deferred)
        return self.final[0]

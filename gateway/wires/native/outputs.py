"""The events of a run -> what its answer is so far: the output that it may become, or the model's response."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_ai.tools import DeferredToolRequests

from gateway.errors import ModelBehavior
from gateway.wires.native.following import OutputSoFar, ResponseSoFar
from gateway.wires.native.growing_json import Contradiction, GrowingJson
from gateway.wires.native.shapes import message_of, output_of
from gateway.wires.native.telling import Said, Telling
from gateway.wires.native.written import in_names_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pydantic_ai.run import AgentRunResultEvent


@dataclass
class Looking(Telling):
    """Tells what `Following` sees."""

    async def handle_event(self, event: Any) -> AsyncIterator[Said]:
        """What there is behind the event."""
        async for each in super().handle_event(event):
            yield each
        for each in self.seen(event):
            yield each

    def tell_late(self, event: Any) -> None:
        """What there is while no event comes."""
        for each in self.seen(event):
            self.emit(each)

    def seen(self, event: Any) -> Iterator[Said]:
        """What to say of it."""
        raise NotImplementedError


@dataclass
class OutputTelling(Looking):
    """`output`: the output so far, whenever there is more of it."""

    _last: Any = None

    def seen(self, event: Any) -> Iterator[Said]:
        """What it may become."""
        if isinstance(event, OutputSoFar) and (output := output_of(event.value, filled_only=True)) != self._last:
            self._last = output
            yield Said(output)


@dataclass
class ObjectTelling(Looking):
    """`useObject`: pieces of one JSON text."""

    _json: GrowingJson = field(default_factory=GrowingJson)

    def seen(self, event: Any) -> Iterator[Said]:
        """What holds of it already. A model that tries again may yet come to the same beginning."""
        if isinstance(event, OutputSoFar):
            with suppress(Contradiction):
                if text := self._more(event):
                    yield Said({"text": text})

    async def handle_run_result(self, event: AgentRunResultEvent[Any]) -> AsyncIterator[Said]:
        """The rest of it."""
        output = event.result.output
        if not isinstance(output, DeferredToolRequests):
            try:
                yield Said({"text": self._json.finish(output_of(output))})
            except Contradiction as error:
                raise ModelBehavior from error
        async for each in super().handle_run_result(event):
            yield each

    def _more(self, output: OutputSoFar) -> str:
        filled, whole = output_of(output.value, filled_only=True), output_of(output.value)
        return self._json.grow(filled, whole, in_names_of(output.value, output.written))


@dataclass
class ResponsesTelling(Looking):
    """`responses`: the model's answer in this step, again and again."""

    def seen(self, event: Any) -> Iterator[Said]:
        """The answer so far."""
        if isinstance(event, ResponseSoFar):
            yield Said(message_of(event.response))

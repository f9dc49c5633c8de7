"""Events of a run -> what its reader iterates over: one class for each form of stream. Nothing here does I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from gateway.client.errors import UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.client.outputs import Outputs
    from gateway.client.shapes import Event

T = TypeVar("T")
I_co = TypeVar("I_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)

UNNAMED = "message"
"""What the gateway calls events that need no name: pieces of text, outputs so far."""


class Items(Protocol[I_co, T_co]):
    """What becomes of a stream's events."""

    def take(self, event: Event) -> tuple[I_co, ...]:
        """What the reader gets for the event: one item or none. Raises `UnexpectedAnswer`."""
        ...

    def final(self, result: Mapping[str, Any]) -> T_co:
        """The data of `result` -> the result. Raises `InvalidOutput`."""
        ...


class TextItems:
    """Text: what came since the last reset is the answer so far."""

    def __init__(self, *, delta: bool) -> None:
        self.text = ""
        self.resets = 0
        self._delta = delta

    def take(self, event: Event) -> tuple[str, ...]:
        """The next piece, or the whole text so far."""
        if event.name == "reset":
            self.text = ""
            self.resets += 1
        if event.name != UNNAMED:
            return ()
        text = _member(event, "text")
        self.text = self.text + text if self._delta else text
        return (text,)

    def final(self, result: Mapping[str, Any]) -> str:
        """The answer; what was streamed, for an agent that makes something else of its text."""
        return str(result.get("text", self.text))


class OutputItems(Generic[T]):
    """Structured output, as it fills in."""

    def __init__(self, outputs: Outputs[T], *, partial: bool) -> None:
        self._outputs = outputs
        self._partial = partial
        self._last: tuple[T, ...] = ()

    def take(self, event: Event) -> tuple[T, ...]:
        """The output so far, if there is more of it than before."""
        if not self._partial or event.name != UNNAMED:
            return ()
        so_far = self._outputs.partial(event.data)
        if not so_far or so_far == self._last:
            return ()
        self._last = so_far
        return so_far

    def final(self, result: Mapping[str, Any]) -> T:
        """The output."""
        return self._outputs.final(output_of(result))


class EventItems:
    """The events themselves; an `error` is raised at the end."""

    def take(self, event: Event) -> tuple[Event, ...]:
        """The event."""
        return () if event.name == "error" else (event,)

    def final(self, result: Mapping[str, Any]) -> Any:
        """The output, as it came."""
        return output_of(result)


def output_of(result: Mapping[str, Any]) -> Any:
    """The output in the data of `result`, which is called `text` where it is nothing else."""
    return result["output"] if "output" in result else result.get("text")


def _member(event: Event, name: str) -> str:
    try:
        return str(event.data[name])
    except (KeyError, TypeError):
        raise UnexpectedAnswer(200) from None

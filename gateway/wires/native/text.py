"""The events of a run -> its text as it grows, gathered for a moment, and a word when it was not the answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.wires.native.following import StepBegan
from gateway.wires.native.telling import Said, Telling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pydantic_ai.exceptions import RunCancelled
    from pydantic_ai.messages import NativeToolCallPart, TextPart, TextPartDelta
    from pydantic_ai.run import AgentRunResultEvent


@dataclass
class TextTelling(Telling):
    """`text`: what is said since the last `reset` is the answer, as far as anybody knows."""

    _text: str = ""
    _unsaid: str = ""
    _said_at: float = float("-inf")
    _timer: asyncio.TimerHandle | None = None
    _reset: str = ""
    """Why what was said is not the answer, once another text begins."""

    async def handle_event(self, event: Any) -> AsyncIterator[Said]:
        """A model that is asked again has not answered yet."""
        if isinstance(event, StepBegan) and event.asks_model:
            self._reset = self._reset or "retry"
        async for each in super().handle_event(event):
            yield each

    async def handle_function_tool_call(self, event: Any) -> AsyncIterator[Said]:
        """What is said before a call leads up to it."""
        self._reset = "tool_calls"
        async for each in super().handle_function_tool_call(event):
            yield each

    async def handle_builtin_tool_call_start(self, part: NativeToolCallPart) -> AsyncIterator[Said]:  # noqa: ARG002
        """As pydantic-ai sees it, too (`AgentStream.validate_response_output`)."""
        self._reset = "tool_calls"
        return
        yield

    async def handle_text_start(self, part: TextPart, follows_text: bool = False) -> AsyncIterator[Said]:  # noqa: ARG002
        """The first piece of a part. Only here it starts over: later pieces of a part may come behind a call."""
        for each in [*self._start_over(), *self._heard(part.content)]:
            yield each

    async def handle_text_delta(self, delta: TextPartDelta) -> AsyncIterator[Said]:
        """The next piece."""
        for each in self._heard(delta.content_delta):
            yield each

    async def handle_run_result(self, event: AgentRunResultEvent[Any]) -> AsyncIterator[Said]:
        """After all that was said."""
        for each in self._say():
            yield each
        async for each in super().handle_run_result(event):
            yield each

    async def on_error(self, error: Exception) -> AsyncIterator[Said]:
        """After all that was said."""
        for each in self._say():
            yield each
        async for each in super().on_error(error):
            yield each

    async def on_cancelled(self, cancelled: RunCancelled) -> AsyncIterator[Said]:
        """After all that was said."""
        for each in self._say():
            yield each
        async for each in super().on_cancelled(cancelled):
            yield each

    def _start_over(self) -> Iterator[Said]:
        if self._reset and self._text:
            yield from self._say()
            yield Said({"reason": self._reset}, "reset")
            self._text, self._said_at = "", float("-inf")
        self._reset = ""

    def _heard(self, text: str) -> Iterator[Said]:
        if not text:
            return
        self._text += text
        self._unsaid += text
        loop = asyncio.get_running_loop()
        wait = self._said_at + self.told.debounce - loop.time()
        if wait <= 0:
            yield from self._say()
        elif self._timer is None:
            self._timer = loop.call_later(wait, self._say_late)

    def _say(self) -> Iterator[Said]:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._unsaid:
            text, self._unsaid = self._unsaid if self.told.delta else self._text, ""
            self._said_at = asyncio.get_running_loop().time()
            yield Said({"text": text})

    def _say_late(self) -> None:
        for each in self._say():
            self.emit(each)

    def _answer(self, output: Any) -> dict[str, Any]:
        return {"text": output} if isinstance(output, str) else super()._answer(output)

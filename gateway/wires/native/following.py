"""An agent -> the same agent, whose runs also tell of what their event streams leave out.

pydantic-ai's streams of events say nothing of the steps of the graph, and what a model's answer is so far, and what
output it may become, must be put together by whoever reads them. `Agent.run` hands its event handler the object that
knows all of it (`AgentStream`), for each step: here it is asked. The run itself is pydantic-ai's, to its end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, is_typeddict

from pydantic import ValidationError
from pydantic_ai.agent import WrapperAgent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import ModelRetry
from pydantic_ai.messages import PartEndEvent
from pydantic_ai.result import AgentStream
from pydantic_ai.tools import DeferredToolRequests
from pydantic_core import from_json

from gateway.wires.native.partial_types import is_model, validated_so_far

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable

    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.capabilities import WrapOutputProcessHandler, WrapOutputValidateHandler
    from pydantic_ai.messages import ModelResponse
    from pydantic_ai.output import OutputContext
    from pydantic_ai.tools import RunContext

    Look = Callable[[], Awaitable[list[Any]]]

Looks = Literal["responses", "output"]
"""What to tell of an answer that is being written."""


@dataclass(frozen=True, slots=True)
class StepBegan:
    """A step of the graph."""

    context: RunContext[Any]
    asks_model: bool
    """It asks the model; otherwise it deals with the model's answer."""


@dataclass(frozen=True, slots=True)
class ResponseSoFar:
    """What the model has said in this step."""

    response: ModelResponse


@dataclass(frozen=True, slots=True)
class OutputSoFar:
    """The output that it may become: validated as far as it goes, and as the model wrote it."""

    value: Any
    written: Any


class Following(WrapperAgent[Any, Any]):
    """The agent for one run.

    Args:
        agent: whose run it is.
        looks: what to tell of; nothing but steps when left out.
        debounce: least seconds between two looks.
    """

    def __init__(self, agent: AbstractAgent[Any, Any], looks: Looks | None = None, debounce: float = 0.0) -> None:
        super().__init__(agent)
        self._looks = looks
        self._debounce = debounce
        self._partial = Partial()

    tell_late: Callable[[Any], None]
    """Takes what is seen while the model says nothing. Set by the wire."""

    async def run(self, *args: Any, event_stream_handler: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See `Agent.run`."""
        handler = event_stream_handler

        async def follow(context: RunContext[Any], stream: AsyncIterable[Any]) -> None:
            await handler(context, self._told(context, stream))

        if self._looks == "output":
            options["capabilities"] = [*(options.get("capabilities") or ()), self._partial]
        return await super().run(*args, event_stream_handler=follow if handler else None, **options)

    async def _told(self, context: RunContext[Any], stream: AsyncIterable[Any]) -> AsyncIterator[Any]:
        answer: AgentStream[Any, Any] | None = cast("Any", stream) if isinstance(stream, AgentStream) else None
        yield StepBegan(context, asks_model=answer is not None)
        if answer is None or self._looks is None:
            async for event in stream:
                yield event
            return
        watch = _Watch(lambda: self._look(answer), self._debounce, self.tell_late)
        try:
            async for event in stream:
                yield event
                for each in await watch.after(event):
                    yield each
        except Exception:  # what there was when it broke off
            for each in await watch.now():
                yield each
            raise
        finally:
            watch.stop()
        if self._looks == "responses":
            yield ResponseSoFar(answer.response)

    async def _look(self, answer: AgentStream[Any, Any]) -> list[ResponseSoFar | OutputSoFar]:
        if self._looks == "responses":
            return [ResponseSoFar(answer.response)]
        self._partial.written = None
        try:
            value = await answer.validate_response_output(answer.response, allow_partial=True)
        except Exception:  # noqa: BLE001 - nothing of it fits yet; the agent's own validators may stumble over that, too
            return []
        return [] if isinstance(value, DeferredToolRequests) else [OutputSoFar(value, self._partial.written)]


class _Watch:
    """Looks at an answer while it is written, at most once in `debounce` seconds, and no later than that."""

    def __init__(self, look: Look, debounce: float, tell_late: Callable[[Any], None]) -> None:
        self._look = look
        self._debounce = debounce
        self._tell_late = tell_late
        self._clock = asyncio.get_running_loop().time
        self._looked_at = float("-inf")
        self._later: asyncio.Task[None] | None = None

    async def after(self, event: Any) -> list[Any]:
        """What there is to tell behind an event of the model's."""
        wait = self._looked_at + self._debounce - self._clock()
        if wait <= 0 or isinstance(event, PartEndEvent):
            return await self.now()
        if self._later is None or self._later.done():
            self._later = asyncio.create_task(self._look_later(wait))
        return []

    async def now(self) -> list[Any]:
        """What there is to tell."""
        self.stop()
        self._looked_at = self._clock()
        return await self._look()

    def stop(self) -> None:
        """Look no more."""
        if self._later:
            self._later.cancel()

    async def _look_later(self, wait: float) -> None:
        await asyncio.sleep(wait)  # the model may say nothing for a while
        self._looked_at = self._clock()
        for each in await self._look():
            self._tell_late(each)


class Partial(AbstractCapability[Any]):
    """Makes the best of outputs that are still being written.

    Output functions are not called with them: they may do what is to be done once.
    """

    def __init__(self) -> None:
        self.written: Any = None

    async def wrap_output_validate(
        self, ctx: RunContext[Any], *, output_context: OutputContext, output: Any, handler: WrapOutputValidateHandler
    ) -> Any:
        """What fits of it."""
        if not ctx.partial_output:
            return await handler(output)
        _refuse_half(output_context)
        kind = output_context.output_type
        self.written = _parsed(output, kind)
        try:
            return await handler(output)
        except ValidationError:
            return validated_so_far(kind, self.written)

    async def wrap_output_process(
        self, ctx: RunContext[Any], *, output_context: OutputContext, output: Any, handler: WrapOutputProcessHandler
    ) -> Any:
        """What the agent's validators make of it."""
        if ctx.partial_output:
            _refuse_half(output_context)
        return await handler(output)


def _refuse_half(output: OutputContext) -> None:
    # Of text it is not known whether a function takes it.
    if output.has_function or output.object_def is None:
        msg = "not with half of an output"
        raise ModelRetry(msg)


def _parsed(output: Any, kind: Any) -> Any:
    """The JSON so far; an output that is no object comes wrapped into one, as `{"response": ...}`."""
    parsed: Any = from_json(output, allow_partial="trailing-strings") if isinstance(output, str) else output
    is_object = is_model(kind) or is_typeddict(kind) or is_dataclass(kind)
    return parsed["response"] if not is_object and isinstance(parsed, dict) and [*parsed] == ["response"] else parsed  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]

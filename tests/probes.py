"""Agents that show one behaviour each, for tests of the gateway around them."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, field_validator
from pydantic_ai import Agent, DeferredToolRequests, FunctionToolset, RunContext
from pydantic_ai.capabilities import ProcessEventStream
from pydantic_ai.exceptions import (
    FallbackExceptionGroup,
    ModelAPIError,
    ModelHTTPError,
    UnexpectedModelBehavior,
    UserError,
)
from pydantic_ai.messages import ModelRequest, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.ui import StateDeps

from gateway.errors import RunError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

    from pydantic_ai.messages import AgentStreamEvent, ModelMessage

    from gateway.auth import Principal

SECRET = "postgres://admin:hunter2@db.internal/prod"
"""Text of the exceptions that the agents here raise; must never reach a client."""


async def _says_then_raises(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    yield "Half an "
    raise RuntimeError(SECRET)


async def _hangs(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    yield "Wait"
    await asyncio.Event().wait()
    yield "."


async def _ticks(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    for number in range(20):
        await asyncio.sleep(0.05)
        yield f"{number} "


async def _loops(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[dict[int, DeltaToolCall]]:
    yield {0: DeltaToolCall(name="again", json_args="{}", tool_call_id=f"call-{len(messages)}")}


async def _is_refused(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    raise ModelHTTPError(status_code=500, model_name="model", body={"error": SECRET})
    yield ""


async def _misbehaves(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    raise UnexpectedModelBehavior(SECRET)
    yield ""


def _streaming(function: Any) -> FunctionModel:
    return FunctionModel(stream_function=function)


reading = Agent(
    TestModel(profile={"supports_thinking": True, "supports_audio_file_input": False, "supports_document_input": False})
)
unresolved = Agent("openai:gpt-5", defer_model_check=True)
plain = Agent(TestModel(custom_output_text="Hello from the probe."), name="plain")
broken = Agent(_streaming(_says_then_raises), name="broken")
hanging = Agent(_streaming(_hangs), name="hanging")
ticking = Agent(_streaming(_ticks), name="ticking")
refused = Agent(_streaming(_is_refused), name="refused")
misbehaving = Agent(_streaming(_misbehaves), name="misbehaving")
looping = Agent(_streaming(_loops), name="looping")


@looping.tool_plain
def again() -> str:
    """Asks for another round."""
    return "again"


failing_tool = Agent(TestModel(), name="failing_tool")


@failing_tool.tool_plain
def explode() -> str:
    """Raises what nobody outside may read."""
    raise RuntimeError(SECRET)


class UnreachableToolset(FunctionToolset[Any]):
    """A toolset that opens only when it is allowed to."""

    reachable = False
    opened = 0

    async def __aenter__(self) -> Self:
        if not self.reachable:
            raise ConnectionError(SECRET)
        UnreachableToolset.opened += 1
        return self


unreachable_toolset = UnreachableToolset()
unreachable = Agent(TestModel(custom_output_text="Reached."), name="unreachable", toolsets=[unreachable_toolset])

paying = Agent(TestModel(), name="paying", output_type=[str, DeferredToolRequests])


@paying.tool_plain(requires_approval=True)
def pay(amount: int) -> str:
    """Pays."""
    return f"paid {amount}"


who = Agent(TestModel(call_tools=["who_am_i"]), name="who", deps_type=str)


@who.tool
def who_am_i(ctx: RunContext[str]) -> str:
    """Says whom the run was made for."""
    return f"for {ctx.deps}"


seen_deps: list[str] = []


def deps_of(principal: Principal) -> str:
    """Records the principals that runs were made for."""
    seen_deps.append(principal.subject)
    return principal.subject


async def broken_deps(_principal: Principal) -> str:
    """A deps function that fails."""
    raise RuntimeError(SECRET)


async def async_deps_of(principal: Principal) -> str:
    """`deps_of` for those who must wait for something."""
    await asyncio.sleep(0)
    return deps_of(principal)


NOT_CALLABLE = "a string"


def _raising(error: BaseException) -> FunctionModel:
    async def raises(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
        raise error
        yield ""

    return _streaming(raises)


class Sorry(RunError):
    """An error of the agent's author, who wrote its sentence to be shown."""

    code = "out_of_stock"
    sentence = "We are out of stock."


unreached = Agent(_raising(ModelAPIError("model", SECRET)), name="unreached")
misused = Agent(_raising(UserError(SECRET)), name="misused")
fallen = Agent(
    _raising(FallbackExceptionGroup("all failed", [ModelHTTPError(500, "model", SECRET), ConnectionError(SECRET)])),
    name="fallen",
)
grouped = Agent(_raising(ExceptionGroup("several", [ValueError(SECRET), KeyError(SECRET)])), name="grouped")
cancelling = Agent(_raising(asyncio.CancelledError(SECRET)), name="cancelling")
sorry = Agent(_raising(Sorry()), name="sorry")


async def _says_then_is_misused(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    yield "Half an "
    raise UserError(SECRET)


misused_later = Agent(_streaming(_says_then_is_misused), name="misused_later")


class Cancellable:
    """An agent that waits for ever, and two signals that a test in another thread may wait for."""

    started = threading.Event()
    cancelled = threading.Event()


async def _waits(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    yield "Waiting"
    Cancellable.started.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        Cancellable.cancelled.set()
        raise


cancellable = Agent(_streaming(_waits), name="cancellable")


async def _remembers(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    said = [
        str(part.content)
        for message in messages
        if isinstance(message, ModelRequest)
        for part in message.parts
        if isinstance(part, UserPromptPart)
    ]
    yield "You said: " + ", ".join(said) + "."


remembering = Agent(_streaming(_remembers), name="remembering")


class Counter(BaseModel):
    """State with a shape that a client may get wrong."""

    count: int = 0

    @field_validator("count")
    @classmethod
    def _not_negative(cls, value: int) -> int:
        if value < 0:
            raise ValueError(SECRET)
        return value


def make_counter(_principal: object) -> StateDeps[Counter]:
    """Fresh state."""
    return StateDeps(Counter())


counting = Agent(TestModel(call_tools=["count"]), name="counting", deps_type=StateDeps[Counter])


@counting.tool
def count(ctx: RunContext[StateDeps[Counter]]) -> str:
    """Adds one to the state, and says what it is now."""
    ctx.deps.state.count += 1
    return f"count is {ctx.deps.state.count}"


tapped: list[str] = []


async def _tap(_ctx: RunContext[Any], events: AsyncIterable[AgentStreamEvent]) -> None:
    tapped.extend([type(event).__name__ async for event in events])


tap = ProcessEventStream[Any](_tap)
"""A capability that records the names of the events it sees."""


class LifecycleToolset(FunctionToolset[Any]):
    """A toolset that records in which task it is opened and closed; like an MCP server's, it counts who uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[tuple[str, asyncio.Task[Any] | None]] = []
        self._users = 0

    async def __aenter__(self) -> Self:
        self._users += 1
        if self._users == 1:
            self.tasks.append(("opened", asyncio.current_task()))
        return self

    async def __aexit__(self, *_args: object) -> None:
        self._users -= 1
        if self._users == 0:
            self.tasks.append(("closed", asyncio.current_task()))

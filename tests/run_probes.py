"""Agents whose runs a test holds, watches and lets go: each waits at the gate that its prompt names."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from typing import TYPE_CHECKING

from pydantic_ai import Agent
from pydantic_ai.messages import ModelRequest, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage

    from gateway import Principal

    Stream = AsyncIterator[str | dict[int, DeltaToolCall]]

PATIENCE = 20.0
"""Seconds until a gate that nobody opens lets go of a thread."""


class Gate:
    """Shut until it is opened, from whatever thread; `reached` and `left` tell how far the run has come."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.left = threading.Event()
        self._opened = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def open(self) -> None:
        self._opened.set()
        for loop, event in self._waiting:
            loop.call_soon_threadsafe(event.set)

    async def passed(self) -> None:
        """Wait for the gate as a coroutine does, cancellable."""
        event = asyncio.Event()
        self._waiting.append((asyncio.get_running_loop(), event))
        self.reached.set()
        try:
            if not self._opened.is_set():
                await event.wait()
        finally:
            self.left.set()

    def passed_by_thread(self) -> None:
        """Wait for the gate as a thread does, deaf to everything else."""
        self.reached.set()
        self._opened.wait(PATIENCE)
        self.left.set()


class Gates(dict[str, Gate]):
    """A gate for each name, the same for all threads, whichever asks first."""

    def __missing__(self, name: str) -> Gate:
        return self.setdefault(name, Gate())  # a `defaultdict` of two threads would make two


gates = Gates()
"""By prompt."""

runs: Counter[str] = Counter()
"""How often each prompt reached a model."""


def _prompt(messages: list[ModelMessage]) -> str:
    parts = [part for message in messages if isinstance(message, ModelRequest) for part in message.parts]
    return str(next(part.content for part in reversed(parts) if isinstance(part, UserPromptPart)))


def _has_result(messages: list[ModelMessage]) -> bool:
    return isinstance(messages[-1].parts[-1], ToolReturnPart)


async def _gated(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    prompt = _prompt(messages)
    runs[prompt] += 1
    yield "Begun ünd "
    await gates[prompt].passed()
    yield "ended."


async def _half_a_call(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    if _has_result(messages):
        yield "Noted."
        return
    yield {0: DeltaToolCall("note", '{"text": "Begun', tool_call_id="call-1")}
    await gates[_prompt(messages)].passed()
    yield {0: DeltaToolCall(json_args=' and ended"}', tool_call_id="call-1")}


async def _calls(messages: list[ModelMessage], info: AgentInfo) -> Stream:
    if _has_result(messages):
        yield "The tool has ended."
        return
    runs[_prompt(messages)] += 1
    yield {
        0: DeltaToolCall(info.function_tools[0].name, json.dumps({"gate": _prompt(messages)}), tool_call_id="call-1")
    }


async def _fast(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    for number in range(int(_prompt(messages).split()[0])):
        if number % 20 == 0:
            await asyncio.sleep(0.001)
        yield f"{number} "


async def _calls_then_waits(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    """A tool's result, and then nothing more."""
    if _has_result(messages):
        await gates[_prompt(messages)].passed()
        yield "Done."
    else:
        yield {0: DeltaToolCall("note", '{"text": "Begun"}', tool_call_id="call-1")}


async def deps_behind_a_gate(principal: Principal) -> str:
    """Dependencies that take a while to be made."""
    await gates[f"deps of {principal.subject}"].passed()
    return principal.subject


gated = Agent(FunctionModel(stream_function=_gated), name="gated")
half_a_call = Agent(FunctionModel(stream_function=_half_a_call), name="half_a_call")
swallowing = Agent(FunctionModel(stream_function=_calls), name="swallowing")
sleeping = Agent(FunctionModel(stream_function=_calls), name="sleeping")
calling = Agent(FunctionModel(stream_function=_calls_then_waits), name="calling")
fast = Agent(FunctionModel(stream_function=_fast), name="fast")


@calling.tool_plain
@half_a_call.tool_plain
def note(text: str) -> str:
    """Notes something."""
    return f"noted {text}"


@swallowing.tool_plain
async def hold_on(gate: str) -> str:
    """Does not give way to a cancellation."""
    while True:
        try:
            await gates[gate].passed()
        except asyncio.CancelledError:
            continue
        return "held"


@sleeping.tool_plain
def sleep(gate: str) -> str:
    """Cannot be cancelled."""
    gates[gate].passed_by_thread()
    return "slept"

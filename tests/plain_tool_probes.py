"""Agents with tools, for tests of plain streams: each shows one thing that a stream has to tell."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plain_probes import SECRET, Person, has_result, model, prompt_of
from pydantic_ai import (
    Agent,
    CallDeferred,
    CustomEvent,
    DeferredToolRequests,
    DeferredToolResults,
    ModelRetry,
    RunContext,
    ToolReturn,
)
from pydantic_ai.capabilities import HandleDeferredToolCalls
from pydantic_ai.messages import NativeToolCallPart, NativeToolReturnPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall
from pydantic_ai.models.wrapper import WrapperModel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models import StreamedResponse

    Stream = AsyncIterator[Any]


async def _says_around_a_tool(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    if has_result(messages):
        yield "It is "
        yield "seven."
    else:
        yield "Let me "
        yield "look."
        yield {0: DeltaToolCall("look", '{"what": "watch"}', tool_call_id="call-1")}


looking = Agent(model(_says_around_a_tool), name="looking", instructions=f"Never tell anybody {SECRET}.")


@looking.tool_plain
def look(what: str) -> str:
    """Looks at something."""
    return f"{what}: seven"


async def _searches(_messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    yield "Searching. "
    yield {1: NativeToolCallPart("web_search", {"query": "time"}, tool_call_id="native-1", provider_name="function")}
    yield {2: NativeToolReturnPart("web_search", "x" * 50, "native-1", provider_name="function")}
    yield "Sev"
    yield "en."


class Parted(WrapperModel):
    """Makes a part of its own of each piece of text, as providers do around their own tools."""

    @asynccontextmanager
    async def request_stream(self, *args: Any, **kwargs: Any) -> AsyncGenerator[StreamedResponse]:
        async with super().request_stream(*args, **kwargs) as response:
            stream: Any = response
            mapped, parts = stream._map_item, stream._parts_manager

            def in_parts(item: Any) -> Any:
                is_text = isinstance(item, str)
                return parts.handle_text_delta(vendor_part_id=item, content=item) if is_text else mapped(item)

            stream._map_item = in_parts
            yield response


searching = Agent(Parted(model(_searches)), name="searching")


async def _reads(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    if has_result(messages):
        yield "Read."
    else:
        yield {0: DeltaToolCall("read", json.dumps({"size": int(prompt_of(messages))}), tool_call_id="call-1")}


reading = Agent(model(_reads), name="reading")


@reading.tool_plain
def read(size: int) -> list[str]:
    """As much as is asked for."""
    return ["ü" * size]


async def _asks(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    if has_result(messages):
        yield "; ".join(
            f"{part.outcome} {part.model_response_str(wrap_if_error=False)}"
            for part in messages[-1].parts
            if isinstance(part, ToolReturnPart)
        )
    else:
        yield {0: DeltaToolCall("ask_browser", '{"what": "place"}', tool_call_id="ask-1")}


asking = Agent(model(_asks), name="asking", output_type=[str, DeferredToolRequests])


@asking.tool_plain
def ask_browser(what: str) -> str:  # noqa: ARG001 - for the client
    """Is run by the client."""
    raise CallDeferred


async def _uses_its_tool(messages: list[ModelMessage], info: AgentInfo) -> Stream:
    results = [p for p in messages[-1].parts if isinstance(p, ToolReturnPart) and p.outcome == "success"]
    if results:
        yield "Used."
    else:
        yield {0: DeltaToolCall(info.function_tools[0].name, "{}", tool_call_id=f"call-{len(messages)}")}


handing_over = Agent(model(_uses_its_tool), name="handing_over")
refusing = Agent(model(_uses_its_tool), name="refusing")
working = Agent(model(_uses_its_tool), name="working")


@handing_over.tool_plain
def hand_over() -> dict[str, Any]:
    """Things that are made for Python."""
    return {"name": "Ada", "at": datetime(2026, 1, 2, tzinfo=UTC), "tags": {"a"}}


@refusing.tool
def refuse(ctx: RunContext[Any]) -> str:
    """Does not work the first time."""
    if not ctx.retry:
        raise ModelRetry("Again, please.")
    return "fine"


@dataclass(kw_only=True)
class ProgressEvent(CustomEvent):
    """An event of the application's own."""

    done: int


@working.tool
async def work(ctx: RunContext[Any]) -> str:
    """Tells how far it is."""
    await ctx.emit(ProgressEvent(done=1))
    return "worked"


noted: list[str] = []


async def _finishes_and_calls(_messages: list[ModelMessage], info: AgentInfo) -> Stream:
    yield {0: DeltaToolCall(info.output_tools[0].name, '{"name": "Ada", "age": 36}', tool_call_id="out-1")}
    yield {1: DeltaToolCall("note", '{"text": "after all"}', tool_call_id="call-1")}


finishing = Agent(model(_finishes_and_calls), name="finishing", output_type=Person, end_strategy="exhaustive")


@finishing.tool_plain
def note(text: str) -> str:
    """Notes something."""
    noted.append(text)
    return "noted"


async def _defers(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    if has_result(messages):
        yield "Done."
    else:
        yield {0: DeltaToolCall("allowed", "{}", tool_call_id="call-0")}
        yield {1: DeltaToolCall("elsewhere", "{}", tool_call_id="call-1")}


def _handled(_ctx: RunContext[Any], requests: DeferredToolRequests) -> DeferredToolResults:
    elsewhere = ToolReturn("x" * 50, metadata={"secret": SECRET})
    return requests.build_results(approve_all=True, calls={"call-1": elsewhere})


deferring = Agent(
    model(_defers),
    name="deferring",
    output_type=[str, DeferredToolRequests],
    capabilities=[HandleDeferredToolCalls(_handled)],
)


@deferring.tool_plain(requires_approval=True)
def allowed() -> str:
    """Needs to be allowed."""
    return "allowed"


@deferring.tool_plain
def elsewhere() -> str:
    """Happens elsewhere."""
    raise CallDeferred

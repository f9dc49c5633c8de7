"""The chunks of a run on the AI SDK's wire: how it ends, by the reason that its model gives."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from probes import plain
from pydantic import TypeAdapter
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.run import AgentRunResult, AgentRunResultEvent
from pydantic_ai.tools import DeferredToolRequests
from talking import turn

from gateway.failures import reporter
from gateway.wires import Opening
from gateway.wires.vercel_ai import VercelAi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

RESULT: TypeAdapter[AgentRunResult[Any]] = TypeAdapter(AgentRunResult[Any])
WAITING = DeferredToolRequests(calls=[ToolCallPart("ask", "{}", "c1")])


async def chunks(output: Any, reason: Any, **opening: Any) -> list[dict[str, Any]]:
    """What is sent of a run that ended so."""

    async def events() -> AsyncIterator[Any]:
        response = ModelResponse([TextPart("Done.")], finish_reason=reason)
        yield AgentRunResultEvent(RESULT.validate_python({"output": output, "messages": [response]}))

    async def told(_: Any) -> None:
        pass

    wire = VercelAi()
    read = wire.read(json.dumps(turn("vercel-ai")).encode())
    stream = wire.adapter(plain, read, Opening(**opening), reporter("run", "agent")).build_event_stream()
    sent = stream.transform_stream(events(), on_complete=told)
    frames = [stream.encode_event(chunk) async for chunk in sent]
    assert frames.pop() == "data: [DONE]\n\n"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


@pytest.mark.parametrize(
    ("output", "reason", "said"),
    [
        ("Done.", None, "stop"),
        ("Done.", "stop", "stop"),
        ("Done.", "length", "length"),
        ("Done.", "content_filter", "content-filter"),
        ("Done.", "tool_call", "stop"),
        (WAITING, "tool_call", "tool-calls"),
        (WAITING, "stop", "tool-calls"),
        (WAITING, None, "tool-calls"),
    ],
)
async def test_the_reason_of_an_end_is_the_models_unless_it_misleads(output: Any, reason: Any, said: str) -> None:
    """An answer in data is the call of a tool to the model, and some models never say that they call one."""
    [*_, finish] = await chunks(output, reason)
    assert finish == {"type": "finish", "finishReason": said}


async def test_there_is_one_chunk_of_metadata_and_no_account_of_a_run_that_is_not_known() -> None:
    [known] = [each for each in await chunks("Done.", None, run_id="r", agent="a") if "messageMetadata" in each]
    assert known["messageMetadata"].keys() == {"pydantic_ai", "gateway"}
    assert known["messageMetadata"]["gateway"]["agent"] == "a"
    [unknown] = [each for each in await chunks("Done.", None) if "messageMetadata" in each]
    assert unknown["messageMetadata"].keys() == {"pydantic_ai"}

"""The demo agents on a real provider: the OpenAI client, over HTTP, through pydantic-ai's chat model."""

import importlib
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from types import ModuleType
from typing import Any

import pytest
from openai_server import OpenAIServer, openai_server
from pydantic_ai import (
    Agent,
    AgentRunResult,
    AgentRunResultEvent,
    ModelAPIError,
    ModelHTTPError,
    PartDeltaEvent,
    TextPartDelta,
)

pytestmark = pytest.mark.anyio

Load = Callable[[str, str], Awaitable[ModuleType]]


async def stream(agent: Agent[Any, Any], *args: Any, **kwargs: Any) -> tuple[list[object], AgentRunResult[Any]]:
    """Run with streaming: all events, and the result that the last one carries."""
    async with agent.run_stream_events(*args, **kwargs) as events:
        seen = [event async for event in events]
    assert isinstance(seen[-1], AgentRunResultEvent)
    return [*seen], seen[-1].result


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIServer]:
    with openai_server() as server:
        yield server


@pytest.fixture
async def load(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Load]:
    """Import a demo agent anew, as a process started with GATEWAY_MODEL would, and open its HTTP client."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with AsyncExitStack() as stack:

        async def load_module(name: str, fragment: str) -> ModuleType:
            monkeypatch.setenv("GATEWAY_MODEL", f"{server.base_url}{fragment}")
            before = forget_agents()
            try:
                module = importlib.import_module(f"agents.{name}")
            finally:
                forget_agents()
                sys.modules.update(before)
            await stack.enter_async_context(module.agent)
            return module

        yield load_module


def forget_agents() -> dict[str, ModuleType]:
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "agents"}


async def test_the_fragment_of_the_base_url_names_the_model(load: Load, server: OpenAIServer) -> None:
    for fragment, model in (("#llama3", "llama3"), ("", "default")):
        assistant = await load("assistant", fragment)
        assert (await assistant.agent.run("Hello")).output == "Echo: Hello"
        assert server.bodies[-1]["model"] == model


async def test_the_api_key_is_a_placeholder_unless_the_environment_has_one(
    load: Load, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await load("assistant", "")).agent.run("Hello")
    assert server.keys[-1] == "not-needed"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    await (await load("assistant", "")).agent.run("Hello")
    assert server.keys[-1] == "sk-test"


async def test_text_streams_in_several_deltas(load: Load) -> None:
    assistant = await load("assistant", "#llama3")
    events, result = await stream(assistant.agent, "Something long enough to be cut into pieces")
    assert sum(isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta) for event in events) > 3
    assert result.output == "Echo: Something long enough to be cut into pieces"
    assert (result.usage.input_tokens, result.usage.output_tokens) == (11, 7)


async def test_instructions_and_tools_travel_with_the_request(load: Load, server: OpenAIServer) -> None:
    await (await load("assistant", "#llama3")).agent.run("Hello")
    assert server.bodies[-1]["messages"][0]["role"] == "system"
    assert {tool["function"]["name"] for tool in server.bodies[-1]["tools"]} == {"get_weather", "current_time"}


async def test_a_streamed_tool_call_runs_and_its_result_goes_back(load: Load, server: OpenAIServer) -> None:
    assistant = await load("assistant", "#llama3")
    _, result = await stream(assistant.agent, "The weather, please")
    assert result.output.startswith('The tool answered: {"city":"Ada"')
    assert [message["role"] for message in server.bodies[-1]["messages"]] == ["system", "user", "assistant", "tool"]


async def test_a_tool_call_works_without_streaming_too(load: Load, server: OpenAIServer) -> None:
    result = await (await load("assistant", "#llama3")).agent.run("The weather, please")
    assert result.output.startswith('The tool answered: {"city":"Ada"')
    assert not server.bodies[-1].get("stream")


async def test_the_approver_asks_before_it_pays(load: Load) -> None:
    approver = await load("approver", "#llama3")
    _, asked = await stream(approver.agent, "Send a payment")
    assert [call.tool_name for call in asked.output.approvals] == ["send_payment"]
    approval = asked.output.build_results(approve_all=True)
    _, paid = await stream(approver.agent, message_history=asked.all_messages(), deferred_tool_results=approval)
    assert paid.output == "The tool answered: Receipt: 1.50 Ada sent to Ada."


async def test_the_planner_tells_the_model_its_state(load: Load, server: OpenAIServer) -> None:
    planner = await load("planner", "#llama3")
    deps = planner.make_deps(None)
    await stream(planner.agent, "Write a plan", deps=deps)
    assert deps.state.goal == "Ada"
    await stream(planner.agent, "Hello", deps=deps)
    system = [message["content"] for message in server.bodies[-1]["messages"] if message["role"] == "system"]
    assert '"goal":"Ada"' in system[-1]


async def test_the_extractor_demands_a_call_of_its_output_tool(load: Load, server: OpenAIServer) -> None:
    result = await (await load("extractor", "#llama3")).agent.run("Ada, ada@example.com")
    assert (result.output.name, result.output.email) == ("Ada", "ada@example.com")
    assert server.bodies[-1]["tool_choice"] == "required"


@pytest.mark.parametrize(("model", "status"), [("#broken", 500), ("#limited", 429)])
@pytest.mark.parametrize("run", [stream, Agent.run])
async def test_an_error_of_the_provider_raises_model_http_error(
    load: Load, server: OpenAIServer, model: str, status: int, run: Callable[..., Awaitable[object]]
) -> None:
    assistant = await load("assistant", model)
    before = len(server.bodies)
    with pytest.raises(ModelHTTPError) as failure:
        await run(assistant.agent, "Hello")
    assert failure.value.status_code == status
    assert len(server.bodies) == before + 1


async def test_a_connection_lost_in_the_middle_of_an_answer_is_an_error(load: Load) -> None:
    assistant = await load("assistant", "#cut")
    with pytest.raises(ModelAPIError):
        await stream(assistant.agent, "Hello")

"""A script -> a model: the agents answer without credentials, or with the real model that GATEWAY_MODEL names.

The scripted model streams its steps in small pieces with short pauses, as a provider would. It calls nothing outside
the process, and gives the same conversation the same answer with the same tool call ids.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urldefrag

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ThinkingPart, ToolCallPart
from pydantic_ai.models import Model, infer_model
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel

from agents.script import Call, Say, Script, Step, Think, Turn

Delta = str | dict[int, DeltaThinkingPart] | dict[int, DeltaToolCall]


def demo_model(script: Script) -> Model:
    """The model for a demo agent: the one that GATEWAY_MODEL names, else a scripted one.

    GATEWAY_MODEL is a pydantic-ai model name (`anthropic:claude-sonnet-4-5`), or the base URL of an OpenAI-compatible
    server with the model as its fragment (`http://127.0.0.1:11434/v1#llama3`), called with OPENAI_API_KEY if it is set.
    """
    name = os.environ.get("GATEWAY_MODEL", "")
    if "://" in name:
        # Imported late: the client library costs more start-up time than all the rest of the agents.
        from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415
        from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider  # noqa: PLC0415

        base_url, model = urldefrag(name)
        key = os.environ.get("OPENAI_API_KEY", "not-needed")
        provider = OpenAICompatibleProvider("openai-compatible", base_url=base_url, api_key=key)
        return OpenAIChatModel(model or "default", provider=provider)
    return infer_model(name) if name else scripted_model(script)


def scripted_model(script: Script) -> FunctionModel:
    """A model that follows the script; GATEWAY_DEMO_PAUSE is the time before each piece, in seconds (0: no pause)."""

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        turn = Turn.read(messages, info)
        return ModelResponse([_part(step, _call_id(turn, index)) for index, step in enumerate(_steps(script, turn))])

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Delta]:
        turn = Turn.read(messages, info)
        pause = float(os.environ.get("GATEWAY_DEMO_PAUSE", "0.02"))
        for index, step in enumerate(_steps(script, turn)):
            for delta in _deltas(step, index, _call_id(turn, index)):
                await asyncio.sleep(pause)
                yield delta

    return FunctionModel(answer, stream_function=stream, model_name="scripted")


def _steps(script: Script, turn: Turn) -> list[Step]:
    """Thoughts, one text, calls: FunctionModel has one text part per answer, so nothing may come between its pieces."""
    steps = list(script(turn))
    text = "".join(step.text for step in steps if isinstance(step, Say))
    thoughts = [step for step in steps if isinstance(step, Think)]
    return [*thoughts, *([Say(text)] if text else []), *(step for step in steps if isinstance(step, Call))]


def _call_id(turn: Turn, index: int) -> str:
    return f"call_{turn.position}_{index}"


def _part(step: Step, call_id: str) -> ThinkingPart | TextPart | ToolCallPart:
    match step:
        case Think(text):
            return ThinkingPart(text)
        case Say(text):
            return TextPart(text)
        case Call(tool, args):
            return ToolCallPart(tool, args, call_id)


def _deltas(step: Step, index: int, call_id: str) -> Iterator[Delta]:
    match step:
        case Think(text):
            yield from ({index: DeltaThinkingPart(content=piece)} for piece in _pieces(text))
        case Say(text):
            yield from _pieces(text)
        case Call(tool, args):
            yield {index: DeltaToolCall(tool, tool_call_id=call_id)}
            yield from ({index: DeltaToolCall(json_args=piece)} for piece in _pieces(json.dumps(args)))


def _pieces(text: str) -> list[str]:
    return re.findall(r"\s*\S{1,6}|\s+", text)

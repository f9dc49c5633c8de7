"""A prompt `"<deltas> <pause>"` -> as many text deltas of one word, with that many seconds before each.

The one agent that every server under measurement serves. A pause of 0 is none at all: the next delta always waits
already, as it does when a provider is faster than the server.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pydantic_ai import Agent
from pydantic_ai.messages import ModelRequest, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage

WORD = "lorem "


async def _words(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    deltas, pause = _prompt(messages).split()
    seconds = float(pause)
    for _ in range(int(deltas)):
        if seconds:
            await asyncio.sleep(seconds)
        yield WORD


def _prompt(messages: list[ModelMessage]) -> str:
    """The text of the last user message."""
    for message in reversed(messages):
        for part in message.parts if isinstance(message, ModelRequest) else ():
            if isinstance(part, UserPromptPart):
                return part.content if isinstance(part.content, str) else "".join(map(str, part.content))
    return "1 0"


agent = Agent(FunctionModel(stream_function=_words, model_name="words"), name="words")

"""A conversation -> a turn, and the steps that answer it: what a demo agent's script sees, and what it may say.

A script is a plain function, `script(turn) -> Iterable[Step]`. It keeps no state of its own: all that it knows is in
the turn, so that the same conversation gets the same answer after a restart and on another replica.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic_ai.messages import (
    CachePoint,
    ModelMessage,
    ModelResponse,
    MultiModalContent,
    TextContent,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo


@dataclass(frozen=True)
class Think:
    """Reasoning that is shown before the answer."""

    text: str


@dataclass(frozen=True)
class Say:
    """Text of the answer, in Markdown."""

    text: str


@dataclass(frozen=True)
class Call:
    """A tool call: of the agent's own tool, of a tool that the front end offers, or of `Turn.output_tool`."""

    tool: str
    args: dict[str, Any]


Step = Think | Say | Call


@dataclass(frozen=True)
class Turn:
    """What the model is asked to answer now."""

    prompts: tuple[str, ...]  # the texts of all user prompts, oldest first
    files: tuple[str, ...]  # media types of the files that came with the last prompt
    results: tuple[ToolReturnPart, ...]  # tool results since the last prompt, denied and failed ones included
    tools: frozenset[str]  # tools that may be called, the front end's included
    output_tool: str  # the tool that takes a structured output; empty for an agent that answers in text
    instructions: str  # what the agent is told beside the messages
    position: int  # prompts and answers so far: grows with every answer, so tool call ids made of it never repeat

    @property
    def prompt(self) -> str:
        """The text of the last user prompt; empty when there is none."""
        return self.prompts[-1] if self.prompts else ""

    def result(self, tool: str) -> ToolReturnPart | None:
        """The last result of this tool since the last prompt."""
        return next((result for result in reversed(self.results) if result.tool_name == tool), None)

    @classmethod
    def read(cls, messages: Sequence[ModelMessage], info: AgentInfo) -> Self:
        """Read the turn off the messages and tools of a model request."""
        prompts: list[str] = []
        files: tuple[str, ...] = ()
        results: list[ToolReturnPart] = []
        for part in (part for message in messages for part in message.parts):
            if isinstance(part, UserPromptPart):
                items = [part.content] if isinstance(part.content, str) else part.content
                texts = [item for item in items if isinstance(item, str | TextContent)]
                prompts.append("\n".join(text if isinstance(text, str) else text.content for text in texts))
                files = tuple(_media_type(i) for i in items if not isinstance(i, str | TextContent | CachePoint))
                results.clear()
            elif isinstance(part, ToolReturnPart):
                results.append(part)
        tools = frozenset(tool.name for tool in info.function_tools)
        output_tool = info.output_tools[0].name if info.output_tools else ""
        answers = sum(isinstance(message, ModelResponse) for message in messages)
        position, instructions = len(prompts) + answers, info.instructions or ""
        return cls(tuple(prompts), files, tuple(results), tools, output_tool, instructions, position)


Script = Callable[[Turn], Iterable[Step]]


def _media_type(item: MultiModalContent) -> str:
    try:
        return item.media_type
    except ValueError:  # a URL that does not tell, such as https://example.com/photo
        return item.kind.removesuffix("-url")

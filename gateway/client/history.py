"""A thread's stored messages, in pydantic-ai's JSON -> what a chat page shows.

One answer for each question: the last text of a turn. Earlier ones were not the answer (a validator sent the model
back, or it went on to call tools), which readers of the stream were told with `reset`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.client.shapes import Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def said(messages: Iterable[Mapping[str, Any]]) -> list[Message]:
    """The lines of the conversation, oldest first. Raises `KeyError` and the like for messages of another shape."""
    lines: list[Message] = []
    for message in messages:
        prompts = [part for part in message["parts"] if part["part_kind"] == "user-prompt"]
        lines += [Message(role="user", content=_prompt(part["content"])) for part in prompts]
        text = "".join(part["content"] for part in message["parts"] if part["part_kind"] == "text")
        if message["kind"] == "response" and text:
            if lines and lines[-1].role == "assistant":
                lines.pop()
            lines.append(Message(role="assistant", content=text))
    return lines


def _prompt(content: Any) -> str:
    """The words of a question; files that came with it are not shown."""
    if isinstance(content, str):
        return content
    texts = (part if isinstance(part, str) else part.get("content") for part in content)
    return "\n\n".join(text for text in texts if isinstance(text, str))

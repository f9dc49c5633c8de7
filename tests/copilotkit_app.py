"""A CopilotKit app as its user has it: `@copilotkit/core`, headless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from clients_driver import Json, Node


class App:
    """A React app's core, with its runtime."""

    def __init__(self, node: Node, url: str, **options: Any) -> None:
        self._node = node
        self.key = f"app-{uuid4()}"
        self.opened = self.call("open", url=url, **options)

    def call(self, method: str, agent: str = "", **params: Any) -> Json:
        """See `copilotkit.mjs`. The client has nothing to complain about."""
        answer = self._node.call(method, key=self.key, **({"agentId": agent} if agent else {}), **params)
        assert answer.pop("printed") == []
        return answer

    def run(self, agent: str, thread: str, text: str | list[Json] = "", **params: Any) -> Json:
        """Say something, and see the end of it."""
        return self.call("run", agent, threadId=thread, text=text, **params)


def said(held: Json) -> list[tuple[str, str]]:
    """What the app shows of a conversation."""
    return [(message["role"], message.get("content") or "") for message in held["messages"]]

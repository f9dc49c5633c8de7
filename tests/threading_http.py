"""A front end's conversation on one thread, over either wire, for tests of what the gateway makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from serving import make_config
from talking import WIRES, calling, events_of, run_url, text_of

from gateway.app import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable
    from pathlib import Path

    import httpx

__all__ = ["WIRES", "Answer", "Start", "Talk", "starter", "when_free"]

Json = dict[str, Any]


@dataclass
class Answer:
    """What came back for a turn."""

    response: httpx.Response
    events: list[Json] = field(default_factory=list[Json])

    @property
    def text(self) -> str:
        return text_of(self.events)

    @property
    def run_id(self) -> str:
        return self.response.headers["x-run-id"]

    @property
    def problem(self) -> str:
        """The code of an HTTP error, or of the error in the stream; empty for none."""
        if self.response.status_code != 200:
            return self.response.json()["code"]
        for event in self.events:
            if event["type"] == "RUN_ERROR":
                return event["code"]
            if event["type"] == "error":
                return event["errorText"].rpartition("[")[2].removesuffix("]")
        return ""

    @property
    def asked(self) -> list[str]:
        """Ids of the tool calls that wait for a person."""
        asked: list[str] = []
        for event in self.events:
            if event["type"] == "tool-approval-request":
                asked.append(event["toolCallId"])
            elif event["type"] == "RUN_FINISHED" and event.get("outcome", {}).get("type") == "interrupt":
                asked += [interrupt["toolCallId"] for interrupt in event["outcome"]["interrupts"]]
        return asked

    @property
    def results(self) -> list[Any]:
        """What tools returned, in order."""
        kinds = {"TOOL_CALL_RESULT": "content", "tool-output-available": "output", "tool-output-denied": "toolCallId"}
        return [event[kinds[event["type"]]] for event in self.events if event["type"] in kinds]


@dataclass
class Talk:
    """One client on one thread. Sends its last message only, unless it is told to send a whole list."""

    client: httpx.AsyncClient
    wire: str
    agent: str = "teller"
    thread: str = field(default_factory=lambda: f"thread-{uuid4()}")
    headers: Json = field(default_factory=dict[str, Any])

    def on(self, wire: str) -> Self:
        """The same conversation over another wire."""
        return type(self)(self.client, wire, self.agent, self.thread, self.headers)

    def on_agent(self, agent: str) -> Self:
        """The same conversation with another agent."""
        return type(self)(self.client, self.wire, agent, self.thread, self.headers)

    async def say(
        self, text: str, *, message: str | None = None, before: list[Json] | None = None, **more: Any
    ) -> Answer:
        """A new message; the same `message` id again is a retry or an edit. `before`: what is sent ahead of it."""
        return await self.send([*(before or []), self.user(text, message)], **more)

    async def regenerate(self, text: str, message: str) -> Answer:
        """The same message once more, as `regenerate()` sends it, or an AG-UI client that shortened its list."""
        more: Json = {"trigger": "regenerate-message"} if self.wire == "vercel-ai" else {}
        return await self.send([self.user(text, message)], **more)

    async def answer(self, approvals: Json, **more: Any) -> Answer:
        """Answers to approvals, by tool call id: True, False, or AG-UI's edited arguments."""
        if self.wire == "ag-ui":
            resume = [self._resume(call, approval) for call, approval in approvals.items()]
            return await self.send([], resume=resume, **more)
        parts: list[Json] = [
            {
                "type": "tool-pay",
                "toolCallId": call,
                "state": "approval-responded",
                "input": {"recipient": "Bob", "amount": 1},
                "approval": {"id": call, "approved": approval},
            }
            for call, approval in approvals.items()
        ]
        return await self.send([{"id": "assistant", "role": "assistant", "parts": parts}], **more)

    async def result(self, call: str, name: str, output: Any) -> Answer:
        """The result of a tool that the client ran."""
        if self.wire == "ag-ui":
            return await self.send([{"id": str(uuid4()), "role": "tool", "toolCallId": call, "content": output}])
        part: Json = {"type": f"tool-{name}", "toolCallId": call, "state": "output-available", "input": {}}
        part["output"] = output
        return await self.send([{"id": "assistant", "role": "assistant", "parts": [part]}])

    async def send(self, messages: list[Json], **more: Any) -> Answer:
        response = await self.client.post(
            run_url(self.wire, self.agent), json=self.body(messages, **more), headers=self.headers
        )
        return Answer(response, events_of(response.text) if response.status_code == 200 else [])

    def body(self, messages: list[Json], **more: Any) -> Json:
        if self.wire == "vercel-ai":
            return {"id": self.thread, "trigger": "submit-message", "messages": messages, **more}
        body: Json = {
            "threadId": self.thread,
            "runId": str(uuid4()),
            "protocolVersion": "1.0",
            "state": {},
            "tools": [],
        }
        return {**body, "context": [], "forwardedProps": {}, "messages": messages, **more}

    def user(self, text: str, message: str | None = None) -> Json:
        said: Json = {"id": message or str(uuid4()), "role": "user"}
        return (
            {**said, "content": text} if self.wire == "ag-ui" else {**said, "parts": [{"type": "text", "text": text}]}
        )

    def assistant(self, text: str) -> Json:
        said: Json = {"id": str(uuid4()), "role": "assistant"}
        return (
            {**said, "content": text} if self.wire == "ag-ui" else {**said, "parts": [{"type": "text", "text": text}]}
        )

    async def history(self) -> str:
        """What a model would be told of the thread."""
        from pydantic_ai.messages import ModelMessagesTypeAdapter  # noqa: PLC0415 - slow
        from thread_probes import transcript  # noqa: PLC0415 - as above

        response = await self.client.get(f"/threads/{self.thread}/messages", headers=self.headers)
        return transcript(ModelMessagesTypeAdapter.validate_python(response.json()["messages"]))

    async def about(self) -> Json:
        """`GET /threads/{id}`."""
        return (await self.client.get(f"/threads/{self.thread}", headers=self.headers)).json()

    @staticmethod
    def _resume(call: str, approval: Any) -> Json:
        payload: Json = {"approved": bool(approval)}
        if not isinstance(approval, bool):
            payload["editedArgs"] = approval
        return {"interruptId": f"int-{call}", "status": "resolved", "payload": payload}


async def when_free(turn: Callable[[], Awaitable[Answer]]) -> Answer:
    """What a turn gets, as soon as nothing of the run before it goes on."""
    async with asyncio.timeout(20):
        while (answer := await turn()).problem == "run_conflict":  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
    return answer


Start = Callable[..., AbstractAsyncContextManager[Talk]]
"""`(wire, agent, **config)` -> a conversation with a gateway of its own, for as long as the context lasts."""


def starter(agents: Json, default: str, store: str, folder: Path) -> Start:
    """Starts conversations over `memory` or over a SQLite file in the folder."""
    url = "memory://" if store == "memory" else f"sqlite:///{folder}/threads.db"

    @asynccontextmanager
    async def start(wire: str, agent: str = default, **config: Any) -> AsyncGenerator[Talk]:
        app = create_app(make_config(agents=agents, stores={"conversations": url}, **config))
        async with calling(app) as client:
            yield Talk(client, wire, agent)

    return start

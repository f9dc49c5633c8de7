"""The real front-end clients as Python objects: each drives a Node process that runs one npm package.

A `Conversation` is one client object (an `HttpAgent`, a `Chat`) on one thread, and an `Answer` is what its user would
have on the screen afterwards. Every exchange is checked on the way: whole frames, LF only, a terminal frame, no null
for an optional field, no warning from the client, and every AG-UI event seen by the client as it was sent.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import threading
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from talking import events_of, frames_of, numbers_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FOLDER = Path(__file__).parent / "clients"
TIMEOUT = 30.0
"""Seconds that one call of a client may take."""

Json = dict[str, Any]


class Node:
    """A Node process that runs `script` for one npm package; calls go in and out as JSON lines, side by side."""

    def __init__(self, script: str, package: str) -> None:
        self._process = subprocess.Popen(
            ["node", script, package], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._ids = count()
        self._waiting: dict[int, Future[Json]] = {}
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def call(self, method: str, /, **params: Any) -> Json:
        """The answer of `method`, with all that the client printed meanwhile as `printed`."""
        answer: Future[Json] = Future()
        with self._lock:
            number = next(self._ids)
            self._waiting[number] = answer
            assert self._process.stdin
            self._process.stdin.write(json.dumps({"id": number, "method": method, "params": params}) + "\n")
            self._process.stdin.flush()
        reply = answer.result(TIMEOUT)
        assert "error" not in reply, reply["error"]
        return {**reply.get("result", {}), "printed": reply["printed"]}

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(TIMEOUT)
        finally:
            self._process.kill()
        self._reader.join(TIMEOUT)
        assert self._process.stdout
        self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            reply = json.loads(line)
            self._waiting.pop(reply["id"]).set_result(reply)
        for answer in self._waiting.values():
            answer.set_exception(ChildProcessError("the client's process has ended; its standard error says why"))


@dataclass(frozen=True)
class ToolUse:
    """A tool call as the client has it."""

    id: str
    name: str
    args: Any
    output: Any = None
    """The result; None while there is none."""


@dataclass(frozen=True)
class Answer:
    """What came of one thing that a user did."""

    text: str
    reasoning: str
    tools: list[ToolUse]
    approvals: list[str]
    """Ids to decide on."""
    error: str
    """What the user is shown of a failure."""
    code: str
    status: int
    """Of the last HTTP response."""
    wire: str
    """All that the responses carried."""
    requests: list[Json]
    """The bodies that the client sent."""
    raw: Json
    """What the driver told."""

    @property
    def pending(self) -> list[ToolUse]:
        """Calls that wait for a result."""
        return [tool for tool in self.tools if tool.output is None]


class Conversation(Protocol):
    """One client object on one thread."""

    def ask(self, text: str, *, image: bytes | None = None) -> Answer:
        """Send a user's message."""
        ...

    def decide(self, decisions: Mapping[str, bool], *, reason: str | None = None, edited: Json | None = None) -> Answer:
        """Approve or decline tool calls."""
        ...

    def give(self, call: ToolUse, output: Any) -> Answer:
        """Give the result of a tool that runs in the browser."""
        ...

    def regenerate(self, message: str | None = None) -> Answer:
        """Have the answer to a message of the user again; to the last one unless its id is given."""
        ...

    def edit(self, message: str, text: str) -> Answer:
        """Say something else in place of a message of the user."""
        ...

    def held(self) -> Json:
        """What the client has: `messages` and more."""
        ...


@dataclass(frozen=True)
class Opening:
    """How a client is set up."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    past: Sequence[Json] = ()
    """Messages that the client says there were, in its own format."""
    last_only: bool = False
    """Send only the last message, not all of them."""
    tools: Sequence[Json] = ()
    """Tools that run in the browser (AG-UI)."""
    state: Any = None
    """Shared state (AG-UI)."""
    text: bool = False
    """Have the answer as nothing but text (AI SDK)."""
    body: Json = field(default_factory=dict[str, Any])
    """More members for each request body (AI SDK)."""
    thread: str = field(default_factory=lambda: str(uuid.uuid4()))


class AgUi:
    """`HttpAgent` on one thread of one agent."""

    def __init__(self, node: Node, url: str, agent: str, opening: Opening) -> None:
        self._node, self._opening = node, opening
        self._key = str(uuid.uuid4())
        self._node.call(
            "open",
            key=self._key,
            url=f"{url}/agents/{agent}/ag-ui",
            threadId=opening.thread,
            headers=dict(opening.headers),
            state={} if opening.state is None else opening.state,
            messages=list(opening.past),
        )

    def ask(self, text: str, *, image: bytes | None = None) -> Answer:
        content: Any = text
        if image:
            source = {"type": "data", "value": base64.b64encode(image).decode(), "mimeType": "image/png"}
            content = [{"type": "text", "text": text}, {"type": "image", "source": source}]
        return self.run(add=[{"id": str(uuid.uuid4()), "role": "user", "content": content}])

    def decide(self, decisions: Mapping[str, bool], *, reason: str | None = None, edited: Json | None = None) -> Answer:
        more = {key: value for key, value in (("reason", reason), ("editedArgs", edited)) if value is not None}
        resume = [
            {"interruptId": key, "status": "resolved", "payload": {"approved": approved, **more}}
            for key, approved in decisions.items()
        ]
        return self.run(resume=resume)

    def give(self, call: ToolUse, output: Any) -> Answer:
        message = {"id": str(uuid.uuid4()), "role": "tool", "toolCallId": call.id, "content": output}
        return self.run(add=[message])

    def regenerate(self, message: str | None = None) -> Answer:
        """There is no such method: a front end shortens the list and runs again."""
        *before, asked = self._up_to(message)
        return self.run(replace=before, add=[asked])

    def edit(self, message: str, text: str) -> Answer:
        *before, asked = self._up_to(message)
        return self.run(replace=before, add=[{**asked, "content": text}])

    def held(self) -> Json:
        return self._node.call("held", key=self._key)

    def follow(self, url: str) -> Json:
        """Read the frames at `url` as those of a run of its own, and tell what the client has then."""
        return self._node.call("follow", key=self._key, url=url)

    def _up_to(self, message: str | None) -> list[Json]:
        """The messages up to that one of the user, or to the last one."""
        messages: list[Json] = self.held()["messages"]
        wanted = [at for at, each in enumerate(messages) if each["role"] == "user" and message in (None, each["id"])]
        return messages[: wanted[-1] + 1]

    def run(
        self, *, add: Sequence[Json] = (), resume: Sequence[Json] = (), replace: Sequence[Json] | None = None
    ) -> Answer:
        """`runAgent`, with `add` appended to the messages, or to `replace` in their place."""
        parameters: Json = {"tools": list(self._opening.tools)}
        if resume:
            parameters["resume"] = list(resume)
        if self._opening.last_only:
            replace = []
        raw = self._node.call("run", key=self._key, add=list(add), replace=replace, parameters=parameters)
        wire = "".join(exchange["text"] for exchange in raw["exchanges"])
        status: int = raw["exchanges"][-1]["status"]
        failure: Json = next((event for event in raw["events"] if event["type"] == "RUN_ERROR"), None) or {}
        if status == HTTPStatus.OK:
            frames = _checked(wire)
            assert raw["error"] is None, raw["error"]
            assert frames[-1]["type"] in {"RUN_FINISHED", "RUN_ERROR"}
            assert raw["events"] == frames, "the client lost or changed an event"
            assert failure or not raw["printed"], raw["printed"]
        else:
            # The client parses `application/json` and nothing else, so a problem comes as text.
            problem: Json = json.loads(raw["error"]["payload"])
            failure = {"message": problem["detail"], "code": problem["code"]}
        messages = raw["newMessages"]
        return Answer(
            text="".join(m["content"] for m in messages if m["role"] == "assistant" and m.get("content")),
            reasoning="".join(m["content"] for m in messages if m["role"] == "reasoning"),
            tools=list(_ag_ui_tools(messages)),
            approvals=[interrupt["id"] for interrupt in raw["interrupts"]],
            error=failure.get("message", ""),
            code=failure.get("code", ""),
            status=status,
            wire=wire,
            requests=[exchange["request"] for exchange in raw["exchanges"]],
            raw=raw,
        )


class AiSdk:
    """The AI SDK's `Chat` with one agent, set up as `useChat` would."""

    def __init__(self, node: Node, url: str, agent: str, opening: Opening) -> None:
        self._node, self._opening = node, opening
        self._key = str(uuid.uuid4())
        self._node.call(
            "open",
            key=self._key,
            url=f"{url}/agents/{agent}/vercel-ai{'?protocol=text' * opening.text}",
            text=opening.text,
            threadId=opening.thread,
            headers=dict(opening.headers),
            body=opening.body,
            messages=list(opening.past),
            lastOnly=opening.last_only,
        )

    def ask(self, text: str, *, image: bytes | None = None, edit: str | None = None) -> Answer:
        message: Json = {"text": text}
        if image:
            url = f"data:image/png;base64,{base64.b64encode(image).decode()}"
            message["files"] = [{"type": "file", "mediaType": "image/png", "url": url}]
        if edit:
            message["messageId"] = edit
        return self.call("sendMessage", message)

    def decide(self, decisions: Mapping[str, bool], *, reason: str | None = None, edited: Json | None = None) -> Answer:
        assert edited is None, "the AI SDK has no way to send edited arguments"
        more = {} if reason is None else {"reason": reason}
        *_, answer = [
            self.call("addToolApprovalResponse", {"id": key, "approved": approved, **more})
            for key, approved in decisions.items()
        ]
        return answer

    def give(self, call: ToolUse, output: Any) -> Answer:
        return self.call("addToolOutput", {"tool": call.name, "toolCallId": call.id, "output": output})

    def regenerate(self, message: str | None = None) -> Answer:
        return self.call("regenerate", {"messageId": message} if message else {})

    def edit(self, message: str, text: str) -> Answer:
        return self.ask(text, edit=message)

    def held(self) -> Json:
        return self._node.call("held", key=self._key)

    def resume(self) -> None:
        """Begin to read the run that goes on on the thread."""
        self._node.call("resume", key=self._key)

    def rest(self) -> Json:
        """How things stand when nothing is under way any more."""
        return self._node.call("rest", key=self._key)

    def call(self, method: str, argument: Json | None = None) -> Answer:
        """A method of the chat, and all that it set off."""
        raw = self._node.call("call", key=self._key, method=method, argument=argument)
        wire = "".join(exchange["text"] for exchange in raw["exchanges"])
        error: Json = raw["error"] or {}
        shown: str = error.get("message", "")
        problem: Json = json.loads(shown) if shown.startswith("{") else {}
        if wire and not problem and not self._opening.text:
            for exchange in raw["exchanges"]:
                frames = _checked(exchange["text"])
                assert {"finish", "error", "abort"} & {frame["type"] for frame in frames[-3:]}
                assert exchange["text"].endswith("data: [DONE]\n\n")
        assert shown or not raw["printed"], raw["printed"]
        last: Json = raw["messages"][-1]
        parts: list[Json] = last["parts"] if last["role"] == "assistant" else []
        code = re.search(r"\[(\w+)\]$", shown)
        return Answer(
            text="".join(part["text"] for part in parts if part["type"] == "text"),
            reasoning="".join(part["text"] for part in parts if part["type"] == "reasoning"),
            tools=[_ai_tool(part) for part in parts if part["type"].startswith("tool-")],
            approvals=[part["approval"]["id"] for part in parts if part.get("state") == "approval-requested"],
            error=problem.get("detail") or shown,
            code=problem.get("code") or (code[1] if code else ""),
            status=raw["exchanges"][-1]["status"] if raw["exchanges"] else 0,
            wire=wire,
            requests=[exchange["request"] for exchange in raw["exchanges"]],
            raw=raw,
        )


def _checked(wire: str) -> list[Json]:
    """The frames of a stream. JSON that an agent's author chose may have nulls, the envelope around it may not."""
    assert "\r" not in wire
    assert wire.endswith("\n\n")
    assert numbers_of(wire) == list(range(1, len(frames_of(wire)) + 1))
    frames = events_of(wire)
    assert not [frame for frame in frames if None in frame.values()]
    return frames


def _ag_ui_tools(messages: Sequence[Json]) -> Iterator[ToolUse]:
    results = {message["toolCallId"]: message["content"] for message in messages if message["role"] == "tool"}
    for call in (call for message in messages for call in message.get("toolCalls", ())):
        function = call["function"]
        yield ToolUse(call["id"], function["name"], _arguments(function["arguments"]), results.get(call["id"]))


def _arguments(written: str) -> Any:
    """A call that was stopped half-way has the beginning of its arguments."""
    try:
        return json.loads(written or "{}")
    except ValueError:
        return written


def _ai_tool(part: Json) -> ToolUse:
    output = part.get("output", part.get("errorText"))
    return ToolUse(part["toolCallId"], part["type"].removeprefix("tool-"), part.get("input"), output)

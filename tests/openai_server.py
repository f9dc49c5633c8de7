"""A chat completions request -> an answer: a small OpenAI-compatible server, for the real client over real HTTP.

It answers with the prompt ("Echo: ..."), and calls a tool when the prompt has a word of the tool's name in it or when
the request demands a call. After a tool result it answers with that. Three model names fail: `broken` with status 500,
`limited` with 429, and `cut` in the middle of the answer, by closing the connection.
"""

import json
import re
import socket
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from serving import answering
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Json = dict[str, Any]

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
ERRORS = {
    "broken": (500, {"message": "Engine 7 on 10.0.0.7 stopped.", "type": "server_error", "code": None, "param": None}),
    "limited": (429, {"message": "Slow down.", "type": "requests", "code": "rate_limit_exceeded", "param": None}),
}


@dataclass
class OpenAIServer:
    """The address of a running server, and what it was asked."""

    base_url: str
    bodies: list[Json] = field(default_factory=list[Json])
    keys: list[str] = field(default_factory=list[str])

    async def chat(self, request: Request) -> Response:
        body: Json = await request.json()
        self.bodies.append(body)
        self.keys.append(request.headers.get("authorization", "").removeprefix("Bearer "))
        if body["model"] in ERRORS:
            status, error = ERRORS[body["model"]]
            # The client would try a 500 or 429 twice more, with pauses; this header is how OpenAI tells it not to.
            return JSONResponse({"error": error}, status, headers={"x-should-retry": "false"})
        message = answer(body)
        if body.get("stream"):
            return StreamingResponse(events(body, message), media_type="text/event-stream")
        finish = "tool_calls" if message["tool_calls"] else "stop"
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
        return JSONResponse({**head(body, "chat.completion"), "choices": [choice], "usage": USAGE})


@contextmanager
def openai_server() -> Generator[OpenAIServer]:
    """Run the server on a free port; `base_url` ends in `/v1`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        state = OpenAIServer(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        app = Starlette(routes=[Route("/v1/chat/completions", state.chat, methods=["POST"])])
        with answering(listener, app):
            yield state


def answer(body: Json) -> Json:
    """The message that answers a request: `{content, tool_calls}`."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return {"content": f"The tool answered: {last['content']}", "tool_calls": None}
    content = last["content"]
    prompt = content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
    tool = suitable(body, prompt)
    if tool is None:
        return {"content": f"Echo: {prompt}", "tool_calls": None}
    arguments = json.dumps({name: sample(schema) for name, schema in tool["parameters"]["properties"].items()})
    function = {"name": tool["name"], "arguments": arguments}
    return {
        "content": None,
        "tool_calls": [{"id": f"call_{len(body['messages'])}", "type": "function", "function": function}],
    }


def suitable(body: Json, prompt: str) -> Json | None:
    tools: list[Json] = body.get("tools", [])
    words = set(re.findall(r"\w+", prompt.lower()))
    demanded = body.get("tool_choice", "auto") not in ("auto", "none")
    functions: list[Json] = [tool["function"] for tool in tools]
    return next((tool for tool in functions if demanded or words & set(tool["name"].split("_"))), None)


def sample(schema: Json) -> Any:
    """A value that fits a JSON schema, as far as the demo agents need it."""
    if "anyOf" in schema:
        return sample(schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    if "pattern" in schema:
        return "+44 20 7946 0018" if re.search(schema["pattern"], "+44 20 7946 0018") else "ada@example.com"
    if schema["type"] == "array":
        return [sample(schema["items"])]
    return {"string": "Ada", "integer": 1, "number": 1.5, "boolean": True}[schema["type"]]


def head(body: Json, kind: str) -> Json:
    return {"id": f"chatcmpl-{len(body['messages'])}", "object": kind, "created": 1_700_000_000, "model": body["model"]}


async def events(body: Json, message: Json) -> AsyncIterator[str]:
    """The message as server-sent events, a few characters each."""
    for delta in deltas(message):
        yield event(body, [{"index": 0, "delta": delta, "finish_reason": None}])
        if body["model"] == "cut" and "content" in delta:
            raise ConnectionAbortedError
    finish = "tool_calls" if message["tool_calls"] else "stop"
    yield event(body, [{"index": 0, "delta": {}, "finish_reason": finish}])
    if "stream_options" in body and body["stream_options"].get("include_usage"):
        yield event(body, [], usage=USAGE)
    yield "data: [DONE]\n\n"


def event(body: Json, choices: list[Json], **more: object) -> str:
    return f"data: {json.dumps({**head(body, 'chat.completion.chunk'), 'choices': choices, **more})}\n\n"


def deltas(message: Json) -> Iterator[Json]:
    yield {"role": "assistant"}
    yield from ({"content": piece} for piece in re.findall(r".{1,8}", message["content"] or "", re.DOTALL))
    for index, call in enumerate(message["tool_calls"] or []):
        name = {"name": call["function"]["name"], "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": name}]}
        for piece in re.findall(r".{1,8}", call["function"]["arguments"], re.DOTALL):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}

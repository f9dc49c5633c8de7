"""A recording -> its text: a small server with OpenAI's API for transcriptions, for the real client over real HTTP.

A recording in these tests is its own text, in UTF-8. The server answers with that ("Heard: ..."), unless the recording
is the name of something that can go wrong.
"""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from serving import answering
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

KEY = "sk-speech-hunter2"

REFUSALS = {
    "broken": (500, f"Engine 7 on 10.0.0.7 stopped ({KEY})."),
    "busy": (503, "Overloaded."),
    "limited": (429, "Slow down."),
    "unpaid": (429, "You exceeded your current quota."),
    "denied": (401, f"Incorrect API key provided: {KEY}."),
    "forbidden": (403, f"Project of {KEY} does not have access to the model."),
    "unknown": (404, "The model does not exist."),
    "short": (400, "Audio file is too short. Minimum audio length is 0.1 seconds."),
    "long": (400, "audio duration 1502.3 seconds is longer than 1400 seconds which is the maximum for this model"),
    "large": (413, "Maximum content size limit (26214400) exceeded."),
    "unreadable": (400, "Invalid file format. Supported formats: ['flac', 'mp3', 'webm']"),
    "corrupted": (400, "Audio file might be corrupted or unsupported"),
    "misconfigured": (400, "Unrecognized request argument supplied: response_format"),
}


UNFIT = {
    "wordless": ("application/json", '{"task": "transcribe", "segments": ["hunter2"]}'),
    "page": ("text/html", "<p>hunter2</p>"),
    "garbage": ("application/json", "{hunter2"),
}
"""Answers without a text."""


@dataclass
class Asked:
    """One request for a transcription."""

    key: str
    fields: dict[str, str]
    filename: str
    media_type: str
    data: bytes = field(repr=False)
    account: frozenset[str] = frozenset()
    """Headers that say whose account it is."""


class InMemory(MultiPartParser):
    """Leaves the disk to the server under test."""

    spool_max_size = 0


@dataclass
class SpeechServer:
    """The address of a running server, and what it was asked."""

    base_url: str
    asked: list[Asked] = field(default_factory=list[Asked])
    waiting: threading.Event = field(default_factory=threading.Event)
    """Set when the recording `wait` is there, which is answered by nothing."""
    left: threading.Event = field(default_factory=threading.Event)
    """Set when its client has gone."""

    async def transcriptions(self, request: Request) -> Response:
        form = await InMemory(request.headers, request.stream()).parse()
        file = form["file"]
        assert isinstance(file, UploadFile)
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        data = await file.read()
        names = frozenset(name for name in request.headers if name.startswith("openai-"))
        self.asked.append(Asked(key, fields, file.filename or "", file.content_type or "", data, names))
        return await self._answer(request, data.decode(errors="replace"))

    async def _answer(self, request: Request, said: str) -> Response:
        if said in REFUSALS:
            status, message = REFUSALS[said]
            error = {"message": message, "type": "test", "code": None, "param": None}
            # The client would try some of them once more, with a pause; this is how OpenAI tells it not to.
            return JSONResponse({"error": error}, status, headers={"x-should-retry": "false"})
        if said == "hiccup" and len([each for each in self.asked if each.data == b"hiccup"]) == 1:
            return JSONResponse({}, 503, headers={"retry-after-ms": "1"})
        if said in UNFIT:
            media_type, content = UNFIT[said]
            return Response(content, media_type=media_type)
        if said == "wait":
            self.waiting.set()
            while (await request.receive())["type"] != "http.disconnect":
                pass
            self.left.set()
        if said == "drip":
            return StreamingResponse(_spaces(), media_type="application/json")
        return JSONResponse({"text": f"Heard: {said[:100]}"})


async def _spaces() -> AsyncIterator[bytes]:
    """The beginning of an answer, for as long as somebody reads it."""
    while True:
        yield b" "
        await asyncio.sleep(0.02)


@contextmanager
def speech_server() -> Generator[SpeechServer]:
    """Run the server on a free port; `base_url` ends in `/v1`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        state = SpeechServer(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        app = Starlette(routes=[Route("/v1/audio/transcriptions", state.transcriptions, methods=["POST"])])
        with answering(listener, app):
            yield state


def speech(server: SpeechServer, **more: Any) -> dict[str, Any]:
    """The section of a config that uses the server."""
    return {"model": "whisper-1", "base_url": server.base_url, "api_key": KEY, **more}

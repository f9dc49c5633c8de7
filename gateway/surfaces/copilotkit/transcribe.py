"""`{path}/transcribe` of a CopilotKit runtime: a recording -> `{text, size, type}`, for the microphone of its chat.

The client sends `multipart/form-data` with the file `audio`, or through the single endpoint JSON with `{audio: base64,
mimeType, filename}`. It looks in a failure for `error`, `message` and `retryable`, which the problem has besides.

Source: `handle-transcribe.ts` of `@copilotkit/runtime` 1.75.0, `transcription-errors.ts` of `@copilotkit/shared`, and
`transcription-client.ts` of `@copilotkit/react-core`, which is the client.
"""

from __future__ import annotations

import asyncio
import base64
import string
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.errors import (
    BodyTooLarge,
    GatewayError,
    MalformedBody,
    NotFound,
    RateLimited,
    RecordingRejected,
    SpeechDenied,
    SpeechFailed,
    SpeechNotConfigured,
    problem,
)
from gateway.speech import Recording
from gateway.surfaces.endpoint import LARGE, check_media_type, refuse_cross_site
from gateway.surfaces.thread_requests import json_body

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sized

    from starlette.requests import Request

    from gateway.auth import Principal
    from gateway.config import GatewayConfig
    from gateway.surfaces.endpoint import Services

EXTENSIONS = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/mp4": "mp4",
    "audio/wav": "wav",
    "audio/webm": "webm",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
    "audio/aac": "aac",
}
"""The media types that CopilotKit's own runtime takes, and what a file of each is called."""

UNKNOWN_TYPES = ("", "application/octet-stream")
"""Then the name of the file says more, or it is what browsers record."""

RECORDED = "audio/webm"

SPARE = 65_536
"""Bytes around a recording, in either kind of body."""

MAX_FIELDS, MAX_FIELD_BYTES = 8, 1024
"""Of a form, besides its file."""

IN_BASE64 = (string.ascii_letters + string.digits + "+/=").encode()

MAX_ELSE = 1000
"""Characters of a large envelope that are not base64."""

SHOWN: dict[type[GatewayError], tuple[str, bool]] = {
    BodyTooLarge: ("audio_too_long", False),
    RateLimited: ("rate_limited", True),
    SpeechDenied: ("auth_failed", False),
    SpeechFailed: ("provider_error", True),
    SpeechNotConfigured: ("service_not_configured", False),
}
"""An error -> `TranscriptionErrorCode`, and whether the client may try again. All else is an `invalid_request`."""


class Recorded(BaseModel):
    """The body of `transcribe` as JSON."""

    audio: str = Field(repr=False)
    """Base64, also as a data URL."""
    mimeType: str = Field(min_length=1)  # noqa: N815 - the wire's name
    filename: str = ""


class InMemory(MultiPartParser):
    """Keeps the file where the request was: nobody's voice gets on a disk. The body's limit bounds it."""

    spool_max_size = 0


def body_limits(config: GatewayConfig) -> dict[str, int]:
    """Path -> bytes, where a body may be a recording, in base64 at worst."""
    if config.speech is None:
        return {}
    largest = max(config.server.max_body_bytes, -(-config.speech.max_bytes // 3) * 4 + SPARE)
    behind = ("", "/", "/transcribe")
    return {f"{runtime.path}{end}": largest for runtime in config.copilotkit for end in behind}


def transcribe_route(path: str, services: Services, usable_by: Callable[[Principal], Sized]) -> Route:
    """The route of one runtime, for those who may use an agent of it: transcribing costs money."""

    async def transcribe(request: Request) -> Response:
        try:
            return JSONResponse(await _answer(request, services, usable_by))
        except GatewayError as error:
            return problem(shown(error), request.scope["state"].get("request_id"))

    return Route(f"{path}/transcribe", transcribe, methods=["POST"])


async def check_size(request: Request, services: Services) -> bool:
    """Whether the body, of JSON, is larger than usual. Raises `BodyTooLarge` if it is, and is no recording.

    Its parsing, which takes many times the body's memory for JSON that is nothing but brackets, stays bounded by what
    is usual.
    """
    check_media_type(request)
    try:
        body = await request.body()
    except BodyTooLarge as error:
        # Only a recording may be that large, where there is voice input.
        raise (shown(error) if services.speech else error) from None
    usual = services.server.max_body_bytes
    # Off the loop: it looks at every byte (law 9).
    if len(body) > usual and len(await asyncio.to_thread(body.translate, None, IN_BASE64)) > MAX_ELSE:
        raise BodyTooLarge
    return len(body) > usual


def shown(error: GatewayError) -> GatewayError:
    """The error with the members that CopilotKit's client looks for."""
    code, retryable = SHOWN.get(type(error), ("invalid_request", False))
    if isinstance(error, RecordingRejected):
        code = error.reason
    error.members |= {"error": code, "message": error.detail, "retryable": retryable}
    return error


async def _answer(request: Request, services: Services, usable_by: Callable[[Principal], Sized]) -> dict[str, Any]:
    if services.speech is None:
        raise SpeechNotConfigured
    if not usable_by(request.user):
        raise NotFound
    recording = await _read(request, services)
    if not recording.data:
        raise RecordingRejected("audio_too_short", "The recording is empty.")
    if len(recording.data) > services.speech.max_bytes:
        msg = f"The recording is too large: at most {services.speech.max_bytes} bytes."
        raise BodyTooLarge(msg)
    text = await _unless_left(request, services.speech.transcribe(recording))
    return {"text": text, "size": len(recording.data), "type": recording.media_type}


async def _read(request: Request, services: Services) -> Recording:
    match request.headers.get("content-type", "").partition(";")[0].strip().lower():
        case "multipart/form-data":
            # A form is what a foreign page can send without asking (law 13).
            refuse_cross_site(request, services.allowed_origins)
            return await _from_form(request)
        case "application/json":
            await check_size(request, services)
            return await _from_json(request)
        case _:
            msg = "A recording must be sent as multipart/form-data, or in application/json."
            raise _invalid(msg)


async def _from_form(request: Request) -> Recording:
    parser = InMemory(
        request.headers, request.stream(), max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
    )
    try:
        audio = (await parser.parse()).get("audio")
    except (MultiPartException, ValueError):  # the latter of character sets that are none
        msg = "The form could not be read: it must have one file, and may have a few short fields."
        raise _invalid(msg) from None
    if not isinstance(audio, UploadFile):
        msg = "There is no file `audio` in the form."
        raise _invalid(msg)
    kind = _kind(audio.content_type or "", audio.filename or "")
    return Recording(await audio.read(), *kind)


async def _from_json(request: Request) -> Recording:
    try:
        recorded = await json_body(request, Recorded)
    except MalformedBody as error:
        raise _invalid(error.detail) from None
    kind = _kind(recorded.mimeType, recorded.filename)
    try:
        return Recording(await _decoded(recorded.audio), *kind)
    except ValueError:
        msg = "audio: Not base64."
        raise _invalid(msg) from None


async def _decoded(audio: str) -> bytes:
    _, _, data = audio.rpartition(",")  # a data URL has its media type in front
    padded = data + "=" * (-len(data) % 4)
    if len(padded) < LARGE:
        return base64.b64decode(padded, validate=True)
    return await asyncio.to_thread(base64.b64decode, padded, validate=True)


def _kind(said: str, filename: str) -> tuple[str, str]:
    """(Media type, extension) as they are sent on: words of ours, whatever the client says."""
    media_type = said.partition(";")[0].strip().lower()
    if media_type in UNKNOWN_TYPES:
        _, _, extension = filename.lower().rpartition(".")
        media_type = next((each for each, name in EXTENSIONS.items() if name == extension), RECORDED)
    if media_type not in EXTENSIONS:
        msg = f"This audio format is not supported; these are: {', '.join(EXTENSIONS)}."
        raise RecordingRejected("invalid_audio_format", msg)
    return media_type, EXTENSIONS[media_type]


def _invalid(detail: str) -> RecordingRejected:
    return RecordingRejected("invalid_request", detail)


async def _unless_left(request: Request, work: Coroutine[Any, Any, str]) -> str:
    """What `work` gives; it is cancelled when the client goes, since nobody would read it, and it costs money."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

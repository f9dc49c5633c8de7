"""A recording -> its text, by a server with OpenAI's API for transcriptions; OpenAI's own, or any other.

What was recorded and what was said are never logged. What the server says of a failure is, without the key, which some
servers repeat.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from gateway.errors import (
    OPENAI_IS_AN_EXTRA,
    ConfigError,
    ConfigProblem,
    RateLimited,
    RecordingRejected,
    SpeechDenied,
    SpeechFailed,
)
from gateway.telemetry import get_logger

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

    from gateway.config import SpeechSettings

log = get_logger(__name__)

RETRIES = 1
"""Of a request that failed in passing: the recording is gone with it, and would have to be spoken again."""

NO_KEY = "none"
"""For servers that ask for no key; the client, left without one, would take OpenAI's from the environment."""

MAX_LOGGED = 300
"""Characters of what the server says of a failure."""


@dataclass(frozen=True)
class Recording:
    """What somebody said."""

    data: bytes = field(repr=False)
    media_type: str
    """Such as `audio/webm`."""
    extension: str
    """Such as `webm`: servers go by the name of the file."""


class Speech:
    """The speech server of a gateway.

    Args:
        settings: where it is, and what it is asked for.

    Raises:
        ConfigError: OpenAI's client is not installed.
    """

    def __init__(self, settings: SpeechSettings) -> None:
        try:
            import openai  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ConfigError([ConfigProblem(OPENAI_IS_AN_EXTRA, key="speech")]) from error
        self._openai = openai
        self._settings = settings
        self._client: AsyncOpenAI | None = None

    @property
    def max_bytes(self) -> int:
        """Of a recording."""
        return self._settings.max_bytes

    def open(self) -> None:
        """Make the client, whose connections belong to the event loop of their first use."""
        settings = self._settings
        self._client = self._openai.AsyncOpenAI(
            api_key=settings.api_key or NO_KEY,
            base_url=settings.base_url,
            timeout=settings.timeout,
            max_retries=RETRIES,
        )
        # Of the environment, which is read by the config alone; and they are nothing to another server.
        self._client.organization = self._client.project = None

    async def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.close()
        self._client = None

    async def transcribe(self, recording: Recording) -> str:
        """What was said. Raises `RecordingRejected`, `RateLimited`, `SpeechDenied` or `SpeechFailed`."""
        assert self._client is not None, "it is not open"  # noqa: S101 - the app opens it
        file = (f"recording.{recording.extension}", recording.data, recording.media_type)
        language = self._settings.language or self._openai.omit
        try:
            async with asyncio.timeout(self._settings.timeout):  # the client's own counts for each read and attempt
                answer = await self._client.audio.transcriptions.create(
                    file=file, model=self._settings.model, language=language, response_format="json"
                )
        except self._openai.APIStatusError as error:
            self._refused(error)
        except (self._openai.OpenAIError, TimeoutError, ValueError) as error:
            log.error("speech_failed", why=self._why(error))  # noqa: TRY400 - a trace may hold what was said
            raise SpeechFailed from None
        # The client checks nothing of what a server answers.
        text = getattr(answer, "text", None)
        if not isinstance(text, str):
            log.error("speech_failed", why="the answer has no text")
            raise SpeechFailed
        return text

    def _refused(self, error: APIStatusError) -> NoReturn:
        rejected = _rejection(error.status_code, error.message.lower())
        level = log.info if rejected else log.error
        said = self._without_key(error.message)
        level("speech_refused", status=error.status_code, reference=error.request_id, said=said)
        if rejected:
            raise RecordingRejected(*rejected) from None
        match error.status_code:
            case 401 | 403:
                raise SpeechDenied from None
            case 429:
                raise RateLimited from None
            case _:
                raise SpeechFailed from None

    def _why(self, error: Exception) -> str:
        """Of an answer that does not fit, only its kind: the rest would be what was said."""
        is_network = isinstance(error, self._openai.APIConnectionError)
        cause = f": {error.__cause__}" if is_network and error.__cause__ else ""
        return self._without_key(f"{type(error).__name__}{cause}")

    def _without_key(self, text: str) -> str:
        key = self._settings.api_key
        return (text.replace(key, "***") if key else text)[:MAX_LOGGED]


def _rejection(status: int, said: str) -> tuple[str, str] | None:
    """(Reason, sentence) if it is the recording that is refused. OpenAI tells in words why, and not by its codes."""
    if status == 413:  # noqa: PLR2004 - content too large
        return TOO_LONG
    if status not in (400, 415, 422):
        return None
    if "too short" in said:
        return "audio_too_short", "The recording is too short."
    if any(words in said for words in ("too long", "longer than", "too large", "maximum")):
        return TOO_LONG
    if any(words in said for words in ("file format", "audio file", "corrupted", "decode", "unsupported")):
        return "invalid_audio_format", "The speech service cannot read this recording."
    return None


TOO_LONG = ("audio_too_long", "The recording is too long.")

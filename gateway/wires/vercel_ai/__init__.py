"""The Vercel AI SDK: a chat request in, UI message chunks out, or nothing but the text. pydantic-ai's adapter inside.

The request carries no version of the SDK, so the newest wire is spoken, which 6 and 7 understand. Version 5 refuses
approvals, and early releases of it every field that they do not know: a front end on it says so with `sdkVersion: 5` in
the body.
"""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic_ai.ui.vercel_ai import VercelAIAdapter

from gateway.errors import MalformedBody
from gateway.ids import new_id
from gateway.sse import Framing, StreamBroken
from gateway.wires import Turn, checked_thread_id, parsed
from gateway.wires.states import StateForHandlers
from gateway.wires.vercel_ai import body as vercel_ai_body
from gateway.wires.vercel_ai.dump import dumped
from gateway.wires.vercel_ai.metadata import Account
from gateway.wires.vercel_ai.stream import EventStream, error_text

if TYPE_CHECKING:
    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults

    from gateway.config import Surface
    from gateway.errors import RunError
    from gateway.failures import Report
    from gateway.history import Line
    from gateway.wires import Opening

TEXT = "text/plain"
UNREADABLE = "messages: A file, or data of pydantic-ai's own, cannot be read"


def _text_of(_number: int, frame: bytes) -> bytes:
    """What a chunk adds to the text. A text has no word for a failure, nor for a stop: its response breaks off."""
    if frame.startswith(b"data: [DONE]"):
        return b""
    chunk = json.loads(frame[len(b"data: ") : frame.index(b"\n")])
    if chunk["type"] in ("error", "abort"):
        raise StreamBroken
    return chunk["delta"].encode() if chunk["type"] == "text-delta" else b""


CHUNKS = Framing({"x-vercel-ai-ui-message-stream": "v1"})
# A browser must not take for a page what a model has written.
AS_TEXT = Framing({"content-type": f"{TEXT}; charset=utf-8", "x-content-type-options": "nosniff"}, _text_of, b"")


@dataclass
class _Adapter(StateForHandlers, VercelAIAdapter[Any, Any]):
    _: KW_ONLY
    report: Report
    opened: Opening
    whole: bool

    def build_event_stream(self) -> EventStream:
        return EventStream(
            self.run_input,
            accept=self.accept,
            sdk_version=self.sdk_version,
            server_message_id=self.server_message_id,
            report=self.report,
            account=Account(self.opened, self.run_input.id),
            in_message=self.whole or self.opened.continues,
        )

    @cached_property
    def messages(self) -> list[ModelMessage]:
        try:
            return self.load_messages(self.run_input.messages) if self.whole else []
        except (ValueError, KeyError, TypeError) as error:  # payloads that pydantic-ai reads by itself: files, data
            raise MalformedBody(UNREADABLE) from error

    @cached_property
    def deferred_tool_results(self) -> DeferredToolResults | None:
        return super().deferred_tool_results if self.whole else None

    @cached_property
    def state(self) -> dict[str, Any] | None:
        return self.opened.state


class VercelAi:
    """The AI SDK wire. Stateless."""

    surface: Surface = "vercel-ai"
    protocol = "vercel-ai"
    comes_back = resumes = True

    def read(self, body: bytes, history: Literal["server", "client"] = "server") -> Turn:
        """A body of `DefaultChatTransport`, or `{id, message}` of its documented persistence pattern -> turn."""
        whole = history == "client"
        run_input = parsed(vercel_ai_body.whole if whole else vercel_ai_body.new_in, body)
        prompts = vercel_ai_body.prompts(run_input)
        # Decodes what the messages carry, so that broken base64 is a 422 here and not a failed run.
        messages = parsed(lambda _: [vercel_ai_body.request_of(prompt) for prompt in prompts], b"")
        turn = Turn(
            thread_id=checked_thread_id(run_input.id),
            prompt_chars=sum(map(vercel_ai_body.text_length, prompts)),
            run_input=run_input,
            client_input=vercel_ai_body.client_input(run_input),
            whole=whole,
        )
        if whole:
            return turn
        return replace(
            turn,
            messages=messages,
            message_ids=[prompt.id for prompt in prompts],
            regenerate=vercel_ai_body.regenerate(run_input),
            answers=parsed(lambda _: vercel_ai_body.answers(run_input), b""),
        )

    def adapter(self, agent: AbstractAgent[Any, Any], turn: Turn, opened: Opening, report: Report) -> _Adapter:
        """An adapter that runs on the messages that it is given; on the client's, if the turn was read with those."""
        # The id is how a resumed stream finds the message that was cut; where an answer goes on it would begin another.
        continued = opened.continues or (turn.whole and vercel_ai_body.continues(turn.run_input))
        return _Adapter(
            agent,
            turn.run_input,
            sdk_version=vercel_ai_body.sdk_version(turn.run_input),
            server_message_id=None if continued else new_id(),
            report=report,
            opened=opened,
            whole=turn.whole,
        )

    def dump(self, line: Line, waiting: DeferredToolRequests | None) -> list[dict[str, Any]]:
        """See `Wire`. As `process-ui-message-stream.ts` of the AI SDK 7 builds them from the chunks."""
        return dumped(line, waiting)

    def last_words(self, error: RunError) -> bytes:
        """An `error` chunk and the end marker."""
        chunk = json.dumps({"type": "error", "errorText": error_text(error)})
        return f"data: {chunk}\n\ndata: [DONE]\n\n".encode()

    def framing(self, run_id: str, recorded: str, asked: str) -> Framing:  # noqa: ARG002 - one for all runs
        """UI message chunks, or their text for a reader that asks for `text/plain`."""
        return AS_TEXT if asked == TEXT else CHUNKS

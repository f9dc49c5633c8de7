"""What is said of plain streams, whole answers and chats of sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.errors import CrossSite, MalformedBody, RunError, UnsuitableAgent, all_errors
from gateway.openapi.chats import RUN_HEADERS, TURN_ERRORS
from gateway.openapi.models import RunAnswer
from gateway.openapi.operation import EVENTS, IDEMPOTENCY_KEY, Answer, Body, Operation, Parameter
from gateway.wires.native.body import MAX_DEBOUNCE, ChatRequest, PlainRequest
from gateway.wires.native.framing import NDJSON, TEXT

if TYPE_CHECKING:
    from gateway.openapi.operation import Errors

STREAM = Answer(
    "Events, or with `Accept: application/x-ndjson` one JSON object for each on a line of its own, up to `done`. "
    "With `Accept: text/plain`, for `text`, the pieces of text alone; a failure breaks the response off.",
    media=(*EVENTS, NDJSON, TEXT),
    headers=RUN_HEADERS,
)

QUESTION: dict[str, Any] = {"prompt": "What is the weather in Paris?"}

ERRORS: Errors = (*TURN_ERRORS, UnsuitableAgent)

RUN_OUTCOMES = tuple(all_errors(RunError))
"""How a run may end badly, which is told by its status where the answer comes in one piece."""

IN_QUERY = (
    Parameter("q", "The question. `prompt` is another name for it."),
    Parameter("thread_id", "The thread to ask it on. Without one, nothing is stored."),
    Parameter("delta", "Whether each piece of text is only what is new.", {"type": "boolean", "default": True}),
    Parameter(
        "debounce",
        "Seconds for which pieces are gathered.",
        {"type": "number", "minimum": 0, "maximum": MAX_DEBOUNCE, "default": 0.1},
    ),
    Parameter("max_tokens", "Most tokens of one answer of the model.", {"type": "integer", "minimum": 1}),
)

OPERATIONS = {
    "GET /agents/{agent}/stream/{form}": Operation(
        "ask_plain",
        "Ask an agent, or go on reading, as `EventSource` and `curl` do.",
        {200: STREAM, 204: Answer("With `Last-Event-ID`: there is nothing left to read.")},
        description="With `Last-Event-ID` it goes on after that event and starts no run; without, `q` is needed.",
        parameters=(
            *IN_QUERY,
            Parameter("Last-Event-ID", "The id of the last event that the reader has.", where="header"),
            IDEMPOTENCY_KEY,
        ),
        errors=(*ERRORS, CrossSite, MalformedBody),
    ),
    "POST /agents/{agent}/stream/{form}": Operation(
        "stream_plain",
        "Ask an agent, and read its answer as it grows.",
        {200: STREAM},
        parameters=(IDEMPOTENCY_KEY,),
        body=Body(PlainRequest, QUESTION),
        errors=ERRORS,
    ),
    "POST /agents/{agent}/run": Operation(
        "run_whole",
        "Ask an agent for the whole answer, as one JSON document.",
        {200: Answer("The answer.", RunAnswer, headers=RUN_HEADERS)},
        description="A run that fails is a problem with its status and code. Leaving stops the run.",
        parameters=(IDEMPOTENCY_KEY,),
        body=Body(PlainRequest, QUESTION),
        errors=(*ERRORS, *RUN_OUTCOMES),
    ),
    "POST /agents/{agent}/chat": Operation(
        "chat_plain",
        "Say something in a session, and read the answer as it grows.",
        {200: STREAM},
        parameters=(IDEMPOTENCY_KEY,),
        body=Body(ChatRequest, {"session_id": "chat-1", "message": "What is the weather in Paris?"}),
        errors=ERRORS,
    ),
}

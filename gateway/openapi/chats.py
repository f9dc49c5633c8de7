"""What is said of the chat protocols: AG-UI and the AI SDK's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ag_ui.core import RunAgentInput
from pydantic import BaseModel, ConfigDict, Field
from pydantic_ai.ui.vercel_ai.request_types import RegenerateMessage, SubmitMessage, UIMessage

from gateway.errors import (
    AgentNotFound,
    AgentUnready,
    ApprovalExpired,
    BadRequest,
    CrossSite,
    Draining,
    NotFound,
    PromptTooLong,
    RunConflict,
    StoreUnavailable,
    StreamUnavailable,
    ThreadChanged,
    TurnRejected,
    UnsuitableAgent,
)
from gateway.openapi.models import Stopped
from gateway.openapi.operation import EVENTS, IDEMPOTENCY_KEY, Answer, Body, Operation, Parameter
from gateway.surfaces.vercel_ai import PROTOCOLS
from gateway.wires.native.framing import TEXT

RUN_HEADERS = ("x-run-id", "x-thread-id")

RUN_ERRORS = (
    AgentNotFound,
    AgentUnready,
    BadRequest,
    Draining,
    PromptTooLong,
    RunConflict,
    StoreUnavailable,
    StreamUnavailable,
)
"""Refusals of everything that starts a run."""

TURN_ERRORS = (*RUN_ERRORS, ApprovalExpired, ThreadChanged, TurnRejected)
"""Those of a turn on a thread, besides."""


class LastMessage(BaseModel):
    """The persistence pattern of the AI SDK: the new message alone, and what else the front end sends along."""

    model_config = ConfigDict(extra="allow")

    id: str
    message: UIMessage
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"


class Prompt(BaseModel):
    """What `useCompletion` sends, with what the front end sends along."""

    model_config = ConfigDict(extra="allow")

    prompt: Annotated[str, Field(min_length=1)]


CHUNKS = Answer("UI message chunks, up to `[DONE]`; or the text alone.", media=(*EVENTS, TEXT), headers=RUN_HEADERS)

PROTOCOL = Parameter(
    "protocol",
    "`text` for the text alone, which has no words for a failure: the response breaks off. `Accept: text/plain` asks "
    "for the same.",
    {"type": "string", "enum": list(PROTOCOLS), "default": "data"},
)

QUESTION: dict[str, Any] = {"id": "m1", "role": "user"}

OPERATIONS = {
    "POST /agents/{agent}/ag-ui": Operation(
        "run_ag_ui",
        "Run an agent over AG-UI.",
        {
            200: Answer(
                "AG-UI events, up to `RUN_FINISHED` or `RUN_ERROR`.", media=EVENTS, headers=RUN_HEADERS, always=False
            )
        },
        description="The server owns the history: of `messages` only those behind the last answer count. "
        "A request that repeats a `runId` joins that run. What the page of an MCP App asks "
        "(`forwardedProps.__proxiedMCPRequest`) is no run: its answer is the `result` of `RUN_FINISHED`.",
        parameters=(IDEMPOTENCY_KEY,),
        body=Body(
            RunAgentInput,
            {
                "threadId": "chat-1",
                "runId": "run-1",
                "protocolVersion": "1.0",
                "state": {},
                "messages": [{**QUESTION, "content": "What is the weather in Paris?"}],
                "tools": [],
                "context": [],
                "forwardedProps": {},
            },
        ),
        errors=TURN_ERRORS,
    ),
    "POST /agents/{agent}/vercel-ai": Operation(
        "run_vercel_ai",
        "Run an agent over the chat wire of the Vercel AI SDK.",
        {200: CHUNKS},
        description="The server owns the history: of `messages` only those from the last answer on count.",
        parameters=(PROTOCOL, IDEMPOTENCY_KEY),
        body=Body(
            SubmitMessage | RegenerateMessage | LastMessage,
            {"id": "chat-1", "message": {**QUESTION, "parts": [{"type": "text", "text": "Count to 20"}]}},
        ),
        errors=TURN_ERRORS,
    ),
    "GET /agents/{agent}/vercel-ai/{chat_id}/stream": Operation(
        "resume_vercel_ai",
        "Read the answer that is being written in a chat, from its beginning.",
        {
            200: CHUNKS,
            204: Answer("Nothing is being written."),
        },
        parameters=(PROTOCOL,),
        errors=(AgentNotFound, BadRequest, NotFound, StreamUnavailable),
    ),
    "POST /agents/{agent}/vercel-ai/{chat_id}/stop": Operation(
        "stop_vercel_ai",
        "Stop the answer that is being written in a chat.",
        {200: Answer("Whether there was something to stop.", Stopped)},
        errors=(AgentNotFound, CrossSite, NotFound, StreamUnavailable),
    ),
    "POST /agents/{agent}/completion": Operation(
        "complete",
        "Run an agent for `useCompletion`: one question, on no thread.",
        {200: CHUNKS},
        description="There is nothing to come back to: a run whose reader has gone is stopped.",
        parameters=(PROTOCOL, IDEMPOTENCY_KEY),
        body=Body(Prompt, {"prompt": "A name for a cat"}),
        errors=RUN_ERRORS,
    ),
    "POST /agents/{agent}/object": Operation(
        "fill_in_object",
        "Run an agent for `useObject`: structured output as a text that grows.",
        {200: Answer("JSON, piece by piece. A failure breaks the response off.", media=(TEXT,), headers=RUN_HEADERS)},
        description="The question is a text, the `prompt` of an object, or any other JSON as it is. There is nothing "
        "to come back to: a run whose reader has gone is stopped.",
        parameters=(IDEMPOTENCY_KEY,),
        body=Body(Any, {"prompt": "Three notifications of an app for messages"}),
        errors=(*RUN_ERRORS, UnsuitableAgent),
    ),
}

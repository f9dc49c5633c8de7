"""Bodies of plain requests -> turns: a question, perhaps on a thread, and how its answer is to be told."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, ToolReturn, UserPromptPart
from pydantic_ai.tools import DeferredToolResults, ToolApproved, ToolDenied
from pydantic_core import PydanticCustomError, from_json

from gateway.errors import MalformedBody
from gateway.ids import new_id
from gateway.wires import Turn, checked_thread_id, parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_ai.messages import ModelMessage

MAX_DEBOUNCE = 10.0
"""Seconds."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "It is empty.")
    return text


Text = Annotated[str, StringConstraints(min_length=1), AfterValidator(_not_blank)]


class Told(BaseModel):
    """How an answer is told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    delta: bool = True
    """Whether each piece of text is only what is new."""
    debounce: Annotated[float, Field(ge=0, le=MAX_DEBOUNCE)] = 0.1
    """Seconds for which pieces are gathered; 0 for every token."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Most tokens of one answer of the model; the agent's own limits still hold."""


class Decision(BaseModel):
    """What a person says to a call: `true`, `false`, or this."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    approved: bool
    reason: str | None = None
    """Why not; told to the model."""
    override_args: dict[str, Any] | None = None
    """Arguments in place of the model's."""

    def as_result(self) -> ToolApproved | ToolDenied:
        """pydantic-ai's word for it."""
        if self.approved:
            return ToolApproved(override_args=self.override_args)
        return ToolDenied(self.reason) if self.reason else ToolDenied()


class PlainMessage(BaseModel):
    """A message of a conversation that the client keeps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["user", "assistant"]
    content: Text

    def as_message(self) -> ModelMessage:
        """pydantic-ai's message."""
        if self.role == "user":
            return ModelRequest([UserPromptPart(self.content)])
        return ModelResponse([TextPart(self.content)])


class PlainRequest(Told):
    """A question for an agent."""

    prompt: Annotated[Text | None, Field(validation_alias=AliasChoices("prompt", "q"))] = None
    """The question. `q` is another name for it."""
    thread_id: str | None = None
    """The thread to ask it on. Without one, nothing is stored."""
    approvals: dict[str, bool | Decision] = {}
    """Decisions on calls that the thread waits for, by `tool_call_id`."""
    results: dict[str, Any] = {}
    """Results of calls that the client runs itself, by `tool_call_id`."""
    messages: Annotated[list[PlainMessage], Field(min_length=1)] | None = None
    """The conversation so far, for agents with `history: client`, in place of `prompt` or before it."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.prompt is None and not self.approvals and not self.results and not self.messages:
            raise PydanticCustomError("missing_prompt", "`prompt` is required")
        if (self.approvals or self.results) and self.thread_id is None:
            raise PydanticCustomError("missing_thread", "`thread_id` is required with approvals and results")
        return self


class ChatRequest(Told):
    """A message of a session."""

    session_id: str
    """The thread of the session, made by its first message."""
    message: Text


def from_query(fields: Mapping[str, str]) -> bytes:
    """The query of a GET -> the body that says the same. Raises `MalformedBody`."""
    request = parsed(lambda _: PlainRequest.model_validate_strings(dict(fields)), b"")
    return request.model_dump_json(exclude_unset=True).encode()


def question(body: bytes, history: Literal["server", "client"]) -> Turn:
    """A `PlainRequest` -> turn. Raises `MalformedBody`."""
    request = parsed(partial(PlainRequest.model_validate_json, strict=True), body)
    if request.messages is not None and history == "server":
        msg = "messages: This agent's conversations are kept by the gateway; send `prompt` and `thread_id`."
        raise MalformedBody(msg)
    if history == "client" or request.thread_id is None:
        return _whole(request)
    return replace(
        _turn(request, request.thread_id, request.prompt),
        answers=DeferredToolResults(
            approvals={call: _decided(said) for call, said in request.approvals.items()},
            calls={call: ToolReturn(value) for call, value in request.results.items()},
        ),
    )


def message(body: bytes, history: Literal["server", "client"]) -> Turn:
    """A `ChatRequest` -> turn. Raises `MalformedBody`."""
    request = parsed(partial(ChatRequest.model_validate_json, strict=True), body)
    if history == "client":
        msg = "This agent keeps no sessions: its conversations are kept by the client."
        raise MalformedBody(msg)
    return _turn(request, request.session_id, request.message)


def anything(body: bytes) -> Turn:
    """What `useObject` submits, any JSON -> turn: a text or the `prompt` in an object, or else the JSON itself.

    Source: `JSON.stringify(input)` in `use-object.ts` of `@ai-sdk/react`. Raises `MalformedBody`.
    """
    value: Any = parsed(from_json, body)
    if isinstance(value, dict) and isinstance(value.get("prompt"), str):  # pyright: ignore[reportUnknownMemberType]
        value = value["prompt"]  # pyright: ignore[reportUnknownVariableType]
    text: str = value if isinstance(value, str) else body.decode()  # UTF-8: it was parsed
    if not text.strip():
        msg = "prompt: It is empty."
        raise MalformedBody(msg)
    return _whole(PlainRequest(prompt=text))


def _whole(request: PlainRequest) -> Turn:
    """A turn that holds all there is; its thread is a name for the run's place, and nothing is stored."""
    said = [*(request.messages or ()), *([PlainMessage(role="user", content=request.prompt)] if request.prompt else ())]
    if request.approvals or request.results:
        msg = "approvals, results: This agent's conversations are kept by the client, and wait for nothing."
        raise MalformedBody(msg)
    if not said or said[-1].role != "user":
        msg = "messages: The last one must be the user's."
        raise MalformedBody(msg)
    return replace(
        _turn(request, request.thread_id or new_id(), None),
        run_input=(request, [each.as_message() for each in said]),
        prompt_chars=sum(len(each.content) for each in said if each.role == "user"),
        unnamed=request.thread_id is None,
        whole=True,
    )


def _turn(request: Told, thread_id: str, prompt: str | None) -> Turn:
    return Turn(
        thread_id=checked_thread_id(thread_id),
        prompt_chars=len(prompt or ""),
        run_input=(request, []),
        messages=[ModelRequest([UserPromptPart(prompt)])] if prompt is not None else [],
        message_ids=[new_id()] if prompt is not None else [],
        max_tokens=request.max_tokens,
    )


def _decided(said: bool | Decision) -> ToolApproved | ToolDenied:
    return (Decision(approved=said) if isinstance(said, bool) else said).as_result()

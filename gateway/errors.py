"""One exception tree, one table of codes, one renderer.

Every failure that a client may see is a class here: its `code` is stable, its `sentence` is safe to show to an end
user, and its `status` is what HTTP says. Nothing here ever renders the text of a foreign exception: that text belongs
to the log, next to the correlation id that the client gets.

Before the first event an error is answered as RFC 9457 `application/problem+json`; afterwards the wire of the run puts
`code` and `sentence` into its own terminal event.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pydantic import ValidationError


class GatewayError(Exception):
    """Whatever the gateway refuses or fails to do, with its meaning on the wire.

    Args:
        detail: a sentence for this one occurrence, safe to show; `sentence` when left out.
        headers: extra response headers, such as `Retry-After`.
        members: extension members of the problem, such as the id of the run in the way.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    sentence: ClassVar[str] = "Something went wrong in the gateway."

    def __init__(
        self,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, str | bool] | None = None,
    ) -> None:
        self.detail = detail or self.sentence
        self.headers = dict(headers or {})
        self.members = dict(members or {})
        super().__init__(self.detail)


class BadRequest(GatewayError):
    """The request cannot be understood at the HTTP level."""

    code = "bad_request"
    status = 400
    sentence = "The request could not be understood."


class HostNotAllowed(BadRequest):
    """The `Host` header names a host that this gateway does not answer for (DNS rebinding)."""

    code = "host_not_allowed"
    sentence = "This gateway does not answer for that host name."


class CrossSite(GatewayError):
    """A request that a foreign page could send without a preflight."""

    code = "cross_site"
    status = 403
    sentence = "This request may not come from another site."


class Unauthenticated(GatewayError):
    """No credentials, or credentials that do not hold."""

    code = "unauthenticated"
    status = 401
    sentence = "Please sign in: valid credentials are needed."

    def __init__(self, detail: str | None = None, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="gateway"', **(headers or {})})


class NotFound(GatewayError):
    """No such route, or nothing there for this principal."""

    code = "not_found"
    status = 404
    sentence = "There is nothing at this address."


class AgentNotFound(NotFound):
    """No such agent, or none that this principal may use: the same answer to both."""

    code = "agent_not_found"
    sentence = "There is no such agent."


class MethodNotAllowed(GatewayError):
    """The route exists, the verb does not."""

    code = "method_not_allowed"
    status = 405
    sentence = "This address does not answer that method."


class RunConflict(GatewayError):
    """A run goes on on the thread, and the agent takes one at a time."""

    code = "run_conflict"
    status = 409
    sentence = "The previous answer is still being written."


class StreamExpired(GatewayError):
    """The run is over, and its frames are no longer kept; what was said is in the thread."""

    code = "stream_expired"
    status = 410
    sentence = "This answer is no longer kept as a stream: please load the conversation."

    def __init__(self, scope: str, thread_id: str) -> None:
        super().__init__(members={"thread_id": thread_id})
        self.scope = scope
        """Owner key: to everybody else the run never was."""


class BodyTooLarge(GatewayError):
    """More bytes than `server.max_body_bytes`, or than `speech.max_bytes` for a recording."""

    code = "body_too_large"
    status = 413
    sentence = "The request is too large."


class UnsupportedMediaType(GatewayError):
    """Not JSON. This is the CSRF control: JSON is what a foreign page cannot send without a preflight."""

    code = "unsupported_media_type"
    status = 415
    sentence = "The request must be sent as application/json."


class MalformedBody(GatewayError):
    """JSON that is broken, or not what the wire asks for."""

    code = "malformed_body"
    status = 422
    sentence = "The request body is not what this address expects."


class UnsuitableAgent(GatewayError):
    """Data asked of an agent that answers in text, or text of one that answers in data."""

    code = "unsuitable_agent"
    status = 422
    sentence = "This agent does not answer in that form."


class PromptTooLong(GatewayError):
    """More characters of new text than `server.max_prompt_chars`."""

    code = "prompt_too_long"
    status = 422
    sentence = "The message is too long."


class RateLimited(GatewayError):
    """Over a rule of `limits:`."""

    code = "rate_limited"
    status = 429
    sentence = "Too many requests: please wait a moment."


class AgentUnready(GatewayError):
    """The agent's toolsets did not open; the log says why, and the next request tries again."""

    code = "agent_unready"
    status = 503
    sentence = "This agent is not available right now."


class Draining(GatewayError):
    """This process is being stopped, and starts no more runs."""

    code = "draining"
    status = 503
    sentence = "The service is being restarted: please try again."


class LimitsUnavailable(GatewayError):
    """The store of the rate limits cannot be reached; without it nothing is let through."""

    code = "limits_unavailable"
    status = 503
    sentence = "The service is busy: please try again shortly."


class RecordingRejected(GatewayError):
    """No recording in the request, or one that cannot be transcribed; `reason` is CopilotKit's word for why."""

    code = "recording_rejected"
    status = 400
    sentence = "This recording cannot be used."

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason


class SpeechDenied(GatewayError):
    """The speech server does not take the gateway's key. Not a 401, which would send the user to sign in again."""

    code = "speech_denied"
    status = 502
    sentence = "The speech service refused to work for this gateway."


class SpeechFailed(GatewayError):
    """The speech server failed, took too long or could not be reached; the log says which."""

    code = "speech_failed"
    status = 500
    sentence = "The recording could not be transcribed: please try again."


class SpeechNotConfigured(GatewayError):
    """There is no `speech` in the config."""

    code = "speech_not_configured"
    status = 503
    sentence = "There is no voice input here."


class RunError(GatewayError):
    """A run that ended badly; the wire turns it into its terminal event."""

    code = "run_failed"
    sentence = "The agent could not finish its answer."


class RunTimeout(RunError):
    """The agent's `timeout` passed."""

    code = "run_timeout"
    status = 504
    sentence = "The agent took too long."


class UsageLimit(RunError):
    """The agent's `usage_limits` were reached."""

    code = "usage_limit"
    sentence = "The agent reached the limit for a single answer."


class ModelBehavior(RunError):
    """The model answered something that the agent cannot use, even after its retries."""

    code = "model_behavior"
    status = 502
    sentence = "The model gave an answer that could not be used."


class ModelUnavailable(RunError):
    """The model's provider refused, failed or could not be reached."""

    code = "model_unavailable"
    status = 502
    sentence = "The model is not available right now."


class RunLost(RunError):
    """The process that ran the agent died, or lost its lease on the thread."""

    code = "run_lost"
    status = 502
    sentence = "The connection to the agent was lost: please try again."


class RunInterrupted(RunError):
    """The process that ran the agent was stopped, and the time to finish was over."""

    code = "run_interrupted"
    status = 503
    sentence = "The service was restarted: please try again."


class ClientInputInvalid(RunError):
    """The properties that a page sent with its turn are not what the agent takes (`ClientInput.properties_as`)."""

    code = "client_input_invalid"
    status = 422
    sentence = "What the page sent along does not fit."


class StreamFull(RunError):
    """The answer is larger than a stream may be (`streams:`)."""

    code = "stream_full"
    sentence = "The answer became too long."


class StreamUnavailable(RunError):
    """The stream log cannot be reached, for longer than it is tried."""

    code = "stream_unavailable"
    status = 503
    sentence = "The answer cannot be delivered right now: please try again."


class StoreUnavailable(RunError):
    """The conversation store cannot be reached: nothing was run, or what was said could not be stored."""

    code = "store_unavailable"
    status = 503
    sentence = "The conversation cannot be loaded or saved right now: please try again."


class TurnRejected(GatewayError):
    """An approval, a tool result or an edit that does not fit the stored thread."""

    code = "turn_rejected"
    status = 409
    sentence = "This does not fit the conversation any more: please reload it."


class ApprovalExpired(TurnRejected):
    """An approval that came later than `threads.approval_ttl` after it was asked for."""

    code = "approval_expired"
    sentence = "It is too late to approve this: please ask for it again."


class ThreadExists(GatewayError):
    """A thread of that id is there already."""

    code = "thread_exists"
    status = 409
    sentence = "There is a conversation of that name already."


class ThreadChanged(RunError):
    """Another request stored a turn on this thread while this run went on."""

    code = "thread_changed"
    status = 409
    sentence = "The conversation was changed by another request: please reload it."


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing that is wrong with the configuration: where, and what to do about it."""

    message: str
    key: str = ""
    """Dotted path of the key, such as `agents.support.timeout`."""
    file: Path | None = None
    line: int | None = None
    """1-based."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else str(self.file or "")
        return ": ".join(part for part in (place, self.key, self.message) if part)


REDIS_IS_AN_EXTRA = "redis:// needs another package: install agent-gateway[redis]"
OPENAI_IS_AN_EXTRA = "speech needs another package: install agent-gateway[openai]"
NOT_A_REDIS_URL = "not a Redis URL: write redis://host:port/db"
"""The URL itself is never shown: it may hold a password."""


class ConfigError(GatewayError):
    """The configuration cannot be served; carries every problem, not just the first."""

    code = "config_error"
    sentence = "The configuration is not valid."

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


def all_errors(root: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    """Every error class, parents first: what the docs' table of codes is checked against."""
    yield root
    for child in root.__subclasses__():
        yield from all_errors(child)


def first_problem(error: ValidationError, *within: str) -> str:
    """The first thing that does not fit, and its place in the body; `within` is the place of what was validated.

    pydantic's own report repeats the input and links to its documentation; an AI SDK front end would show all of it.
    """
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in (*within, *first["loc"][:4]))
    # These repeat the input, or the words of whoever wrote the validator.
    vague = first["type"] in ("union_tag_invalid", "value_error", "assertion_error")
    unknown = first["type"] == "extra_forbidden"
    said = "Not a value that fits here" if vague else "There is no such member" if unknown else first["msg"]
    return f"{place or 'body'}: {said}"[:200]


def problem(error: GatewayError, request_id: str | None = None) -> JSONResponse:
    """`error` -> `application/problem+json` (RFC 9457, with `code` and `request_id` as extension members).

    `type` is left out, which means `about:blank`: `title` is then the phrase of the status (RFC 9457, 4.2.1). The body
    stays this small because an AI SDK front end shows it to its user as it is.
    """
    body: dict[str, str | int] = {
        **error.members,
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
    }
    if request_id:
        body["request_id"] = request_id
    return JSONResponse(body, error.status, error.headers, media_type="application/problem+json")

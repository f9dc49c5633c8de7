"""What may go wrong for a caller: one tree of exceptions, and problem+json -> one of them.

`str(error)` is always a sentence that may be shown to a user; what a program decides by is in the class and its fields.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.client.shapes import Deferred

PROBLEM = "application/problem+json"


class ClientError(Exception):
    """Whatever goes wrong; its text is a sentence for users."""


class Unreachable(ClientError):
    """No connection to the gateway, or none that lasts, after it was tried again."""

    def __init__(self, message: str = "The service cannot be reached: please try again.", *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent
        """Whether the request may have reached the gateway."""


class StreamLost(ClientError):
    """The connection broke, and the rest of the answer cannot be read any more. The thread, if any, may have it."""

    def __init__(self, run_id: str) -> None:
        super().__init__("The rest of this answer is no longer there: please load the conversation.")
        self.run_id = run_id


class UnexpectedAnswer(ClientError):
    """An answer that is not a gateway's: of a proxy in between, or of something else at this address."""

    def __init__(self, status: int) -> None:
        super().__init__("The service gave an answer that could not be understood.")
        self.status = status
        """Of HTTP."""


class InvalidOutput(ClientError):
    """The agent's output does not fit the type that was asked for; `__cause__` is pydantic's `ValidationError`."""

    def __init__(self, output: Any) -> None:
        super().__init__("The answer does not have the expected form.")
        self.output = output
        """As it came, parsed from JSON."""


class NoResult(ClientError):
    """The result of a run that has none: it goes on, was stopped, or waits for somebody (`deferred`)."""

    def __init__(self, outcome: str | None, deferred: Deferred | None = None) -> None:
        reasons = {None: "The answer is not complete.", "deferred": "The agent waits for an approval or a result."}
        super().__init__(reasons.get(outcome, "The answer was stopped."))
        self.outcome = outcome
        self.deferred = deferred


class RunFailed(ClientError):
    """The run ended with an error: `code` is one of docs/errors.md or of the agent's author, `run_id` finds the log."""

    def __init__(self, code: str, message: str, run_id: str) -> None:
        super().__init__(message)
        self.code = code
        self.run_id = run_id


class Refused(ClientError):
    """The gateway's answer to a request that it did not carry out (docs/errors.md, "Answers to a request")."""

    codes: ClassVar[tuple[str, ...]] = ()
    """Which `code` or, as digits, which status is told with this class; a code counts more."""

    def __init__(self, status: int, members: Mapping[str, Any], retry_after: float | None = None) -> None:
        super().__init__(str(members.get("detail") or members.get("title") or "The request was refused."))
        self.status = status
        """Of HTTP."""
        self.code = str(members.get("code", ""))
        """Stable; what to decide by."""
        self.request_id: str | None = members.get("request_id")
        """Finds the request in the gateway's log."""
        self.members = dict(members)
        """All of the problem's members (RFC 9457)."""
        self.retry_after = retry_after
        """Seconds after which it makes sense to try again, where the gateway says so."""


class BadRequest(Refused):
    """The request cannot be understood."""

    codes = ("400",)


class Unauthenticated(Refused):
    """No credentials, or credentials that do not hold: look at `api_key`."""

    codes = ("401",)


class Forbidden(Refused):
    """Not allowed to do this."""

    codes = ("403",)


class NotFound(Refused):
    """Not there, or not the caller's."""

    codes = ("404",)


class AgentNotFound(NotFound):
    """No such agent, or none that the caller may use."""

    codes = ("agent_not_found",)


class Conflict(Refused):
    """Something in the way; see the subclasses."""

    codes = ("409",)


class RunConflict(Conflict):
    """A run goes on on the thread."""

    codes = ("run_conflict",)

    @property
    def run_id(self) -> str | None:
        """The run in the way, for `cancel`."""
        return self.members.get("run_id")


class ThreadExists(Conflict):
    """A thread of that id is there already."""

    codes = ("thread_exists",)


class TurnRejected(Conflict):
    """An approval or a result that does not fit the thread any more."""

    codes = ("turn_rejected", "approval_expired")


class StreamExpired(Refused):
    """The run is over, and its events are no longer kept."""

    codes = ("410",)


class Invalid(Refused):
    """Something in the request does not fit; the sentence names it."""

    codes = ("413", "415", "422")


class PromptTooLong(Invalid):
    """More characters than `server.max_prompt_chars`."""

    codes = ("prompt_too_long",)


class UnsuitableAgent(Invalid):
    """Text from an agent without text, or structured output from one without it."""

    codes = ("unsuitable_agent",)


class RateLimited(Refused):
    """Too many requests; `retry_after` says for how long to wait."""

    codes = ("429",)


class Unavailable(Refused):
    """The agent or something that the gateway needs is not there right now."""

    codes = ("503",)


def _all(root: type[Refused]) -> list[type[Refused]]:
    return [root, *(error for child in root.__subclasses__() for error in _all(child))]


_BY_CODE = {code: error for error in _all(Refused) for code in error.codes}


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refused | UnexpectedAnswer:
    """An answer other than a success -> the error to raise."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != PROBLEM:
        return UnexpectedAnswer(status)
    try:
        members: dict[str, Any] = dict(json.loads(body))
    except (ValueError, TypeError):
        return UnexpectedAnswer(status)
    by_status = _BY_CODE.get(str(status), Refused)
    return _BY_CODE.get(str(members.get("code")), by_status)(status, members, _seconds(headers.get("retry-after")))


def _seconds(value: str | None) -> float | None:
    """`Retry-After` as the gateway writes it; proxies may also send a date, which is as good as nothing."""
    return float(value) if value and value.isascii() and value.isdecimal() else None

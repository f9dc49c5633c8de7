"""Answers to the calls that a thread waits on: which of a request's count, and what is still missing.

An approval counts once, for a call that the stored thread asks about, and not after its time; a client's tool result
counts for a call that was left to the client. pydantic-ai has types for both, which are used throughout.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import TypeAdapter
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.messages import ModelRequest, ToolReturn, ToolReturnPart
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, ToolApproved, ToolDenied

from gateway.errors import ApprovalExpired, TurnRejected

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pydantic_ai.messages import ToolCallPart

    from gateway.history import TurnRecord

SUPERSEDED = "Not approved: the user sent a new message instead."
UNANSWERED = "Not run: the user sent a new message instead."

_RESULTS = TypeAdapter(DeferredToolResults)
_RETURN = TypeAdapter(ToolReturn)


def ids_of(asked: DeferredToolRequests | DeferredToolResults | None) -> set[str]:
    """The ids of the tool calls in question."""
    if asked is None:
        return set()
    if isinstance(asked, DeferredToolResults):
        return {*asked.approvals, *asked.calls}
    return {call.tool_call_id for call in (*asked.approvals, *asked.calls)}


def stored(turn: TurnRecord | None) -> DeferredToolResults:
    """The answers that are kept with a turn."""
    if turn is None or not turn.answers:
        return DeferredToolResults()
    answers = _RESULTS.validate_python(turn.answers)
    # A result may be anything, so that one that was a `ToolReturn` is taken for the dictionary that it was stored as.
    calls = {call: _as_given(result) for call, result in answers.calls.items()}
    return DeferredToolResults(approvals=answers.approvals, calls=calls)


def _as_given(result: Any) -> Any:
    if isinstance(result, dict) and cast("dict[str, Any]", result).get("kind") == "tool-return":
        return _RETURN.validate_python(result)
    return cast("Any", result)


def stored_ids(turn: TurnRecord | None) -> set[str]:
    """The ids of the tool calls whose answers are kept with a turn; of every turn of a thread, so not validated."""
    if turn is None or not turn.answers:
        return set()
    return {*turn.answers.get("approvals", ()), *turn.answers.get("calls", ())}


def to_store(answers: DeferredToolResults) -> Mapping[str, Any]:
    """The answers as JSON."""
    return _RESULTS.dump_python(answers, mode="json")


def that_count(
    given: DeferredToolResults,
    waiting: DeferredToolRequests | None,
    *,
    settled: Collection[str],
    expires_at: datetime | None,
    by_the_way: bool,
) -> DeferredToolResults:
    """The answers of a request that answer what the thread waits on.

    Clients repeat what is settled, results of the server's own tools among it: that is left out.

    Args:
        given: as the wire read them.
        waiting: what the thread waits on.
        settled: ids of calls whose answers a run has taken before.
        expires_at: when nothing more can be approved.
        by_the_way: the request has something else to say. An AI SDK client sends the buttons that were pressed in its
            last message along with every new one: those that do not count are left out then.

    Raises:
        TurnRejected: an approval of a call that nobody asked about.
        ApprovalExpired: an approval that comes too late. A denial never does.
    """
    approvable = {call.tool_call_id for call in waiting.approvals} if waiting else set[str]()
    answerable = {call.tool_call_id for call in waiting.calls} if waiting else set[str]()
    if given.approvals.keys() - approvable - set(settled) and not by_the_way:
        raise TurnRejected
    late = expires_at is not None and expires_at <= datetime.now(UTC)
    approvals = {call: answer for call, answer in given.approvals.items() if call in approvable}
    in_time = {call: answer for call, answer in approvals.items() if not (late and _approves(answer))}
    if len(in_time) < len(approvals) and not by_the_way:
        raise ApprovalExpired
    calls = {call: result for call, result in given.calls.items() if call in answerable}
    return DeferredToolResults(approvals=dict(in_time), calls=calls)


def _approves(answer: object) -> bool:
    return answer is True or isinstance(answer, ToolApproved)


def together(earlier: DeferredToolResults, later: DeferredToolResults) -> DeferredToolResults:
    """Both; the first answer to a call stays."""
    approvals, calls = {**later.approvals, **earlier.approvals}, {**later.calls, **earlier.calls}
    return DeferredToolResults(approvals=approvals, calls=calls)


def superseding(answers: DeferredToolResults, waiting: DeferredToolRequests) -> DeferredToolResults:
    """The answers, and a no for each call without one."""
    missing = waiting.remaining(answers)
    if missing is None:
        return answers
    denied = {call.tool_call_id: ToolDenied(SUPERSEDED) for call in missing.approvals}
    failed = {call.tool_call_id: ToolFailed(UNANSWERED) for call in missing.calls}
    return together(answers, DeferredToolResults(approvals=dict(denied), calls=dict(failed)))


def given_up(waiting: DeferredToolRequests) -> ModelRequest:
    """A no for each call, as a message: for a history that goes on with an agent which did not make them."""
    denied = [_without_result(call, SUPERSEDED, "denied") for call in waiting.approvals]
    return ModelRequest([*denied, *(_without_result(call, UNANSWERED, "failed") for call in waiting.calls)])


def _without_result(call: ToolCallPart, why: str, outcome: Literal["denied", "failed"]) -> ToolReturnPart:
    return ToolReturnPart(call.tool_name, why, call.tool_call_id, outcome=outcome)

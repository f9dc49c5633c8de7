"""Whatever a run raised -> the `RunError` that its readers get.

The text of the exception stays here: it is logged under the run's id, and the reader gets a code, a safe sentence and
that id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from pydantic_ai.exceptions import (
    FallbackExceptionGroup,
    ModelAPIError,
    RunTimedOut,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
)

from gateway.errors import (
    ClientInputInvalid,
    ModelBehavior,
    ModelUnavailable,
    RunError,
    RunInterrupted,
    RunLost,
    RunTimeout,
    StoreUnavailable,
    StreamFull,
    StreamUnavailable,
    ThreadChanged,
    UsageLimit,
)
from gateway.telemetry import get_logger

log = get_logger("gateway.runs")

Report = Callable[[Exception], RunError]
"""An exception -> the error to show."""

_KINDS: tuple[tuple[type[Exception], type[RunError]], ...] = (
    (RunTimedOut, RunTimeout),
    (UsageLimitExceeded, UsageLimit),
    (UnexpectedModelBehavior, ModelBehavior),
    (ModelAPIError, ModelUnavailable),
    (FallbackExceptionGroup, ModelUnavailable),
)


FROM_OUTSIDE = (RunInterrupted, RunLost, StreamFull, StreamUnavailable, ThreadChanged, ClientInputInvalid)
"""Failures that are the gateway's own word: a traceback of them would show the gateway, or what a client sent."""

EXPECTED = (*FROM_OUTSIDE, StoreUnavailable, UsageLimit, RunTimeout)
"""Failures that say nothing about the agent's code."""


def classify(error: Exception) -> type[RunError]:
    """The class of a failure."""
    return next((kind for raised, kind in _KINDS if isinstance(error, raised)), RunError)


def reporter(run_id: str, agent_id: str) -> Report:
    """A function that logs the failures of one run and says what to show for them."""

    def report(error: Exception) -> RunError:
        # An agent's author may raise a RunError: its sentence was written to be shown.
        failure = error if isinstance(error, RunError) else classify(error)()
        expected = isinstance(failure, EXPECTED)
        cause = None if isinstance(failure, FROM_OUTSIDE) else error
        level = logging.WARNING if expected else logging.ERROR
        log.log(level, failure.code, run_id=run_id, agent=agent_id, exc_info=cause)
        shown = type(failure)(f"{failure.detail} (reference {run_id})")
        shown.members["run_id"] = run_id
        return shown

    return report

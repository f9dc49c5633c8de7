"""Storing how a run ended, once, whichever of its ways to end comes first."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic_ai.exceptions import RunCancelled, RunTimedOut
from pydantic_ai.messages import ModelRequest, ModelResponse
from pydantic_ai.tools import DeferredToolRequests

from gateway.errors import RunError, RunLost
from gateway.failures import classify
from gateway.history import CANCELLED, FINISHED
from gateway.openturn import Outcome
from gateway.state import state_of
from gateway.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.run import AgentRunResult

    from gateway.openturn import OpenTurn
    from gateway.streams import StreamInfo
    from gateway.wires.endings import Endable

log = get_logger("gateway.runs")


class Storing:
    """What a run tells its thread.

    Args:
        info: the run.
        opened: the turn on the stored thread; none when there is nothing to store.
        protocol: the name of the wire for its ids.
        stream: knows the ids that were streamed, and the results that tools gave.
        deps: knows the shared state.
    """

    def __init__(self, info: StreamInfo, opened: OpenTurn | None, protocol: str, stream: Endable, deps: Any) -> None:
        self._info = info
        self._protocol = protocol
        self._opened = opened
        self._stream = stream
        self._deps = deps
        self._ending = ""
        self._told = asyncio.Event()

    @property
    def done(self) -> bool:
        """Nothing is left to store."""
        return self._opened is None

    async def finished(self, result: AgentRunResult[Any]) -> None:
        """The agent came to an end. What this raises makes a failure of the run, which would be forgotten otherwise."""
        waiting = result.output if isinstance(result.output, DeferredToolRequests) else None
        await self._store(Outcome(FINISHED, result.new_messages(), result.usage, waiting))

    async def cancelled(self, cancelled: RunCancelled) -> None:
        """The agent was stopped, or took too long. Raises like `finished`."""
        await self._store(Outcome(self._ending or ending_of(cancelled), cancelled.new_messages(), cancelled.usage))

    async def ended(self, ending: str, messages: Sequence[ModelMessage], patience: float) -> None:
        """The run is ended from outside: the agent, which was asked to stop, has that long to say how far it came."""
        self._ending = ending
        if self._opened and ending != RunLost.code:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._told.wait()
        await self.failed(ending, messages)

    async def failed(self, ending: str, messages: Sequence[ModelMessage]) -> None:
        """The run did not come to an end by itself. Raises nothing: its readers are told of what happened first.

        Args:
            ending: the name of what happened.
            messages: the run's own list of messages, as far as it is.
        """
        if self._opened is None:
            return
        if ending == RunLost.code:
            self._opened = None  # the thread may be another's by now
            return
        try:
            await self._store(Outcome(ending, self._with_results(self._opened.said(messages))))
        except Exception as error:
            log.warning("run_not_stored", run_id=self._info.run_id, agent=self._info.agent, exc_info=error)

    def _with_results(self, said: list[ModelMessage]) -> list[ModelMessage]:
        """The messages with what tools have given back already, while another one of the same answer still runs."""
        last = said[-1] if said else None
        if not isinstance(last, ModelResponse):
            return said
        calls = {call.tool_call_id for call in last.tool_calls}
        results = [part for part in self._stream.results if part.tool_call_id in calls]
        return [*said, ModelRequest(results, run_id=self._info.run_id, state="interrupted")] if results else said

    async def _store(self, outcome: Outcome) -> None:
        opened, self._opened = self._opened, None
        self._told.set()
        if opened:
            ids = {self._protocol: self._stream.wire_ids}
            await opened.store(replace(outcome, state=state_of(self._deps), wire_ids=ids))


def ending_of(error: Exception) -> str:
    """What a run that ended with `error` is said to be: `cancelled`, or a code."""
    if isinstance(error, RunCancelled) and not isinstance(error, RunTimedOut):
        return CANCELLED
    return error.code if isinstance(error, RunError) else classify(error).code

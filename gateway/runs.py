"""A run: an agent's events -> encoded frames in the stream log, of which the last is always the wire's terminal frame.

A run belongs to no connection. It ends in one of three ways: the agent comes to an end; somebody stops it, and the
agent gives up; or it is ended from outside, because the agent does not give up, or because the process, the lease or
the log is gone. Nothing here sees a `Request`.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError
from pydantic_ai import Agent, CancellationToken, capture_run_messages
from pydantic_ai.exceptions import RunCancelled, RunTimedOut, UserError

from gateway.calls import Calls
from gateway.coordination import CANCEL, GIVE_WAY, LOST
from gateway.errors import MalformedBody, RunError, RunLost, StreamFull, StreamUnavailable, first_problem
from gateway.failures import reporter
from gateway.frontend.client_input import CarriesClientInput
from gateway.history import CANCELLED, FINISHED
from gateway.stops import signal_for
from gateway.storing import Storing, ending_of
from gateway.streams import StreamInfo
from gateway.telemetry import get_logger
from gateway.wires import Opening

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
    from concurrent.futures import Executor

    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.messages import ModelMessage

    from gateway.auth import Principal
    from gateway.coordination import Lease
    from gateway.openturn import OpenTurn
    from gateway.registry import AgentEntry
    from gateway.streams import StreamWriter
    from gateway.wires import Turn, Wire
    from gateway.wires.endings import Endable

log = get_logger("gateway.runs")

MAX_KEY = 256
"""Characters of a key of repetition that is remembered as it is."""

GRACE = 0.5
"""Seconds that a stopped agent has to come to an end by itself, before its readers get the closing frames."""

STORE_TIME = 1.0
"""Seconds to store a run that was ended from outside, before its readers get the closing frames all the same."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is made of: a turn for an agent, by whom, and the key under which a repetition is known."""

    entry: AgentEntry
    wire: Wire
    turn: Turn
    principal: Principal
    repeat_key: str = ""
    """`Idempotency-Key`, or the wire's own id of the request; empty for one that is never joined."""

    @property
    def repeat_name(self) -> str:
        """The name under which the run of this request is remembered: for this owner, agent, surface and thread."""
        place = f"{self.principal.scope}/{self.entry.id}/{self.wire.surface}"
        thread = "" if self.turn.unnamed else self.turn.thread_id
        # Of bounded length: it is remembered for longer than the request is there.
        key = (
            self.repeat_key
            if len(self.repeat_key) <= MAX_KEY
            else sha256(self.repeat_key.encode(errors="surrogatepass")).hexdigest()
        )
        return f"request/{place}/{len(self.repeat_key)}:{key}/{thread}"

    def info(self, run_id: str) -> StreamInfo:
        """What the stream log keeps of the run beside its frames."""
        return StreamInfo(
            run_id=run_id,
            agent=self.entry.id,
            surface=self.wire.surface,
            scope=self.principal.scope,
            thread_id=self.turn.thread_id,
            started_at=time.time(),
            lost=self.wire.last_words(RunLost(f"{RunLost.sentence} (reference {run_id})", members={"run_id": run_id})),
            dialect=self.turn.dialect,
            request_id=self.turn.request_id,
        )

    @property
    def continues(self) -> bool:
        """Whether the run goes on when its last reader has gone."""
        comes_back = self.wire.comes_back and not self.turn.fleeting
        return comes_back and self.entry.on_disconnect.for_surface(self.wire.surface) == "continue"

    @property
    def capabilities(self) -> Sequence[AbstractCapability[Any]]:
        """What the agent gets besides its own."""
        carried, added = self.turn.client_input, self.entry.capabilities
        return [*added, CarriesClientInput(carried=carried)] if carried else added

    async def deps(self) -> Any:
        """Fresh dependencies for this run."""
        return await self.entry.deps_for(self.principal)


class Run:
    """One execution of an agent on a thread, under a lease.

    Raises:
        MalformedBody: the turn is well formed, but not for this agent: state of another shape, say.
    """

    def __init__(self, request: RunRequest, info: StreamInfo, lease: Lease, threads: Executor) -> None:
        self.request = request
        self.info = info
        self.lease = lease
        self.readers = 0
        """Responses in this process that follow the run."""
        self.orphaned: asyncio.TimerHandle | None = None
        """When it is looked whether there is still none."""
        self.on_give_way: Callable[[], None] | None = None
        """Called when a new turn wants the thread."""
        self.ended = False
        """Nothing of it runs any more, abandoned calls included."""
        self._token = CancellationToken()
        self._calls = Calls(threads)
        self._failure: RunError | None = None
        self._log_failure = reporter(info.run_id, info.agent)
        self._messages: list[ModelMessage] = []
        """The run's own list of its messages, for the case that it does not come to an end by itself."""
        self._over = False
        """The terminal frame is written or being written; what the agent still says is dropped."""
        self._writer: StreamWriter | None = None
        self._ended_early: Exception | None = None
        """What has ended it before it had anything to write to."""
        self._ending: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        lease.on_signal = self._hear

    def prepare(self, opened: OpenTurn | None, deps: Any) -> None:
        """Make ready what can be refused. Raises `MalformedBody`.

        Args:
            opened: the turn on the stored thread; none when the client keeps the history.
            deps: the agent's dependencies.
        """
        request, entry = self.request, self.request.entry
        opening = opened.opening if opened else Opening(self.info.run_id, agent=self.info.agent)
        adapter = request.wire.adapter(entry.agent, request.turn, opening, self._report)
        self._stream = cast("Endable", adapter.build_event_stream())  # as every wire's is
        events = opened.events if opened else None
        # Without a run of the agent there is nothing new to store.
        self._storing = Storing(self.info, None if events else opened, request.wire.protocol, self._stream, deps)
        if events:
            self._events = events
            return
        try:
            self._events: AsyncIterator[Any] = adapter.run_stream_native(
                message_history=opened.history() if opened else None,
                deferred_tool_results=opened.answers if opened else None,
                run_id=self.info.run_id,
                deps=deps,
                cancellation_token=self._token,
                timeout=entry.timeout,
                usage_limits=entry.usage_limits,
                capabilities=request.capabilities,
                model_settings=entry.settings(request.turn.max_tokens),
            )
        except ValidationError as error:
            # The one thing that is validated here and not when the body is read: state, by the agent's own model.
            raise MalformedBody(first_problem(error, "state")) from error
        except UserError as error:
            raise MalformedBody from error

    async def execute(self, writer: StreamWriter) -> None:
        """Run to the end, whatever it is. Returns when the agent and all that it called have ended."""
        self._writer = writer
        writer.on_failed = lambda: self.end(StreamUnavailable())
        self._end_later(self.request.entry.timeout + GRACE, RunTimedOut("The run timed out."))
        if self._ended_early:
            self.end(self._ended_early)
        elif self._token.cancelled:
            self.stop()
        log.info("run_started", run_id=self.info.run_id, agent=self.info.agent, surface=self.info.surface)
        try:
            with Agent.using_thread_executor(self._calls), capture_run_messages() as self._messages:
                await self._pump(writer)
            if running := self._calls.running:
                log.warning("run_abandoned_calls", run_id=self.info.run_id, agent=self.info.agent, calls=running)
                await self._calls.ended()
        finally:
            for timer in self._timers:
                timer.cancel()
            if self._ending:
                await self._ending
                log.info("run_let_go", run_id=self.info.run_id, agent=self.info.agent)

    def stop(self) -> None:
        """Ask the agent to stop; its readers get the closing frames within a second, whatever it does."""
        self._token.cancel()
        if self._writer and not self._over:
            self._end_later(GRACE, RunCancelled("The run was stopped."))

    def end(self, error: Exception) -> None:
        """End the stream now, with `error`; the agent is told to stop, and let go."""
        self._token.cancel()
        if self._writer is None:
            self._ended_early = error
        elif not self._over:
            self._over = True
            self._ending = asyncio.get_running_loop().create_task(self._end(self._writer, error))

    async def _pump(self, writer: StreamWriter) -> None:
        encode, append = self._stream.encode_event, writer.append
        storing, self._stream.emit = self._storing, self._emit
        try:
            stream = self._stream.transform_stream(
                self._events, on_complete=storing.finished, on_cancel=storing.cancelled
            )
            async with aclosing(cast("AsyncGenerator[Any]", stream)) as events:
                async for event in events:
                    if self._failure and not storing.done:
                        await storing.failed(self._failure.code, self._messages)
                    if not self._over:
                        append(encode(event).encode())
        except StreamFull as error:
            self.end(error)
        except asyncio.CancelledError:
            # Nobody cancels this task but the end of the event loop: something in the agent gave up.
            self.end(RuntimeError("cancelled from within"))
        except Exception as error:  # noqa: BLE001 - reported, and told to the readers
            if not self._over:
                failure = self._report(error)
                await storing.failed(failure.code, self._messages)
                await self._close(writer, self.request.wire.last_words(failure))
        if not self._over:
            await self._close(writer)

    def _emit(self, event: Any) -> None:
        if self._writer and not self._over:
            try:
                self._writer.append(self._stream.encode_event(event).encode())
            except StreamFull as error:
                self.end(error)

    async def _end(self, writer: StreamWriter, error: Exception) -> None:
        """Close what is open and say how it ended, beside a pump that is stuck."""
        # One that was stopped or timed out has had its time.
        patience = 0.0 if isinstance(error, RunCancelled) else GRACE
        with suppress(TimeoutError):
            async with asyncio.timeout(patience + STORE_TIME):
                await self._storing.ended(ending_of(error), self._messages, patience)
        try:
            frames = [self._stream.encode_event(event).encode() async for event in self._stream.end(error)]
        except Exception as trouble:  # noqa: BLE001 - reported, and told to the readers
            frames = [self.request.wire.last_words(self._report(trouble))]
        *closing, last = frames
        try:
            for frame in closing:
                writer.append(frame)
        except StreamFull as full:
            # One of them may be the word on how it ended: that must fit into the last one.
            last = self.request.wire.last_words(self._failure or self._report(full))
        await self._close(writer, last)
        # A tool in a thread of its own cannot be stopped, and an async one need not give way.
        log.warning("run_ended_from_outside", run_id=self.info.run_id, agent=self.info.agent)

    async def _close(self, writer: StreamWriter, last: bytes = b"") -> None:
        self._over = True
        stopped = isinstance(self._stream.cancelled, RunCancelled)
        ending = self._failure.code if self._failure else CANCELLED if stopped else FINISHED
        await writer.close(ending, last)
        log.info("run_ended", run_id=self.info.run_id, agent=self.info.agent, ending=ending)

    def _hear(self, signal: str) -> None:
        if signal in (CANCEL, signal_for(self.info.agent), signal_for(self.info.agent, self.info.surface)):
            self.stop()
        elif signal == GIVE_WAY and self.on_give_way:
            self.on_give_way()
        elif signal == LOST:
            self.end(RunLost())

    def _end_later(self, seconds: float, error: Exception) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, self.end, error))

    def _report(self, error: Exception) -> RunError:
        self._failure = self._log_failure(error)
        return self._failure

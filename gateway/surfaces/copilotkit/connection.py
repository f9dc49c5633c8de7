"""`connect` of a CopilotKit runtime: a thread as it is stored, then the run that goes on on it, as one stream.

Source: `connect-replay.ts` of `@copilotkit/core`, which reads it without the rules of a single run. A thread is looked
at in two places, the store and the stream log, and may change in between: what is told is one moment of it, nothing
twice and nothing missing.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from gateway.history import FINISHED, RUNNING, Line
from gateway.sse import EventStreamResponse, Framing
from gateway.surfaces.endpoint import run_headers
from gateway.surfaces.thread_requests import json_body, view_of
from gateway.surfaces.thread_shapes import details
from gateway.wires import checked_thread_id
from gateway.wires.ag_ui import AgUi
from gateway.wires.ag_ui.copilotkit import frames, told

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

    from gateway.history import Thread, TurnRecord
    from gateway.streams import StreamInfo
    from gateway.surfaces.endpoint import Services

    Json = dict[str, Any]

WIRE = AgUi()

SPOKEN = ("ag-ui", "copilotkit")
"""Surfaces whose frames a CopilotKit client understands."""

SILENT = Framing(write=lambda _number, _frame: b"")
"""For a run of another surface: its end is waited for."""

PATIENCE = (0.0, 0.05)
"""Seconds between looks at a thread on which a run just begins or ends."""


class ConnectRequest(BaseModel):
    """Of the `RunAgentInput` of a `connect`, what is looked at."""

    threadId: str  # noqa: N815 - the wire's name
    protocolVersion: str = ""  # noqa: N815 - the wire's name


@dataclass(frozen=True)
class Seen:
    """A thread at one moment."""

    thread: Thread | None
    line: Line
    running: StreamInfo | None = None

    @property
    def turn(self) -> TurnRecord | None:
        """The last one."""
        return self.thread.turn if self.thread else None

    @property
    def live(self) -> StreamInfo | None:
        """The run that goes on; none if what it said is among the messages already."""
        run, turn = self.running, self.turn
        ended = run and turn and turn.run_id == run.run_id and turn.outcome != RUNNING
        return None if ended else run

    @property
    def is_one_moment(self) -> bool:
        """Whether the messages and the run belong together."""
        if self.live:
            return self.turn is not None and self.live.run_id in (self.turn.run_id, self.turn.answered_run)
        return self.turn is None or not _goes_on(self.turn)


class Connection:
    """One client's look at a thread.

    Args:
        request: whose principal's thread it is.
        services: know threads and runs.
        asked: its body.
    """

    def __init__(self, request: Request, services: Services, asked: ConnectRequest) -> None:
        self._request = request
        self._services = services
        self._thread_id = checked_thread_id(asked.threadId)
        self._dialect = asked.protocolVersion

    async def seen(self) -> Seen:
        """The thread as it stands, and the run that goes on on it; nothing for one that never was (law 6)."""
        for wait in PATIENCE:
            seen = await self._look()
            if seen.is_one_moment:
                return seen
            await asyncio.sleep(wait)
        return await self._look()  # a run was lost, or stores nothing

    async def stored(self, seen: Seen) -> bytes:
        """The thread as it was seen, in frames; none for one that never was."""
        if seen.thread is None:
            return b""
        # A long one takes a while (law 9).
        return await asyncio.to_thread(_written, seen.thread, seen.line, seen.running, self._dialect)

    async def told(self, seen: Seen, stored: bytes) -> AsyncGenerator[bytes]:
        """What was seen, and what comes."""
        live = seen.live
        if stored:
            yield stored
        # A run may go on for minutes, with many readers: none of them keeps a whole thread for that.
        del seen, stored
        if live is None:
            return
        spoken = live.surface in SPOKEN
        framing = WIRE.framing(live.run_id, live.dialect, self._dialect) if spoken else SILENT
        async with aclosing(self._services.runs.read(live.run_id, 0, framing)) as batches:
            async for batch in batches:
                yield batch
        if not spoken:
            yield await self.stored(Seen(*await self._read()))

    async def _look(self) -> Seen:
        user = self._request.user
        running = await self._services.runs.find_on_thread(user.scope, self._thread_id)
        running = running if running and user.may_use(running.agent) else None
        return Seen(*await self._read(), running)

    async def _read(self) -> tuple[Thread | None, Line]:
        view, may_use = view_of(self._request, self._services), self._request.user.may_use
        thread = await view.read_thread(self._thread_id)
        if thread is None or (thread.agent and not may_use(thread.agent)):
            return None, Line()
        try:
            return thread, await view.read_line(thread.record.head_id)
        except LookupError:  # deleted between the two reads
            return None, Line()


async def connect(request: Request, services: Services) -> EventStreamResponse:
    """The response to a `connect` of an agent that the caller may use."""
    connection = Connection(request, services, await json_body(request, ConnectRequest))
    seen = await connection.seen()
    return EventStreamResponse(
        connection.told(seen, await connection.stored(seen)),
        headers=run_headers(seen.live) if seen.live else {},
        heartbeat=services.server.heartbeat,
    )


def _written(thread: Thread, line: Line, running: StreamInfo | None, dialect: str) -> bytes:
    return frames(events(thread, line, running), dialect)


def events(thread: Thread, line: Line, running: StreamInfo | None) -> list[Json]:
    """A stored thread as events."""
    shown = details(thread, running)
    # `@ag-ui/client` 0.0.59 refuses to send anything at all while it holds an interrupt whose time is over.
    is_late = thread.turn and thread.turn.expires_at and thread.turn.expires_at <= datetime.now(UTC)
    interrupts: list[Json] = [] if running or is_late else shown["interrupts"]
    run_id = thread.turn.run_id if thread.turn else thread.id
    return told(thread.id, run_id, messages(thread, line), shown["state"], interrupts)


def messages(thread: Thread, line: Line) -> list[Json]:
    """A stored thread's messages."""
    return WIRE.dump(line, thread.record.deferred_tool_requests)


def _goes_on(turn: TurnRecord) -> bool:
    """Whether the turn's run, or the one that took its answers, has not stored its end."""
    return turn.outcome == RUNNING or (bool(turn.answered_run) and turn.outcome == FINISHED)

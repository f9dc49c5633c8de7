"""A run that is read: events, each once and in order, over as many connections as that takes.

A connection that breaks, or a response that ends before `done`, is followed by a request for the rest; the run itself
does not notice. What cannot be read any more is an error, never an end.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.client import calls
from gateway.client.connection import opened
from gateway.client.errors import ClientError, NotFound, StreamExpired, StreamLost, UnexpectedAnswer, Unreachable
from gateway.client.lines import HEARTBEAT, MEDIA_TYPE, Lines, number_of
from gateway.client.requests import resume
from gateway.client.retries import Attempts

if TYPE_CHECKING:
    from gateway.client.connection import Connection, Response
    from gateway.client.requests import Request
    from gateway.client.shapes import Event

NO_CONTENT = 204
DONE = "done"

LEAVE_TIMEOUT = 5.0
"""Seconds of silence until a run that was stopped is not waited for; a gateway needs about half a second."""


class Place:
    """How far a run was read.

    A frame of the run may hold several events, all with its number, and a connection may break between them. So the
    last frame is asked for again, and as many of its events are passed over as were seen.
    """

    def __init__(self) -> None:
        self._number = 0
        self._seen = 0
        self._skip = 0

    def resumed(self) -> int:
        """The number behind which to go on."""
        self._skip = self._seen
        return max(self._number - 1, 0)

    def is_new(self, event: Event) -> bool:
        """Whether the event, the next one that came, was not seen before. Raises `UnexpectedAnswer`."""
        number = number_of(event)
        if number < self._number:
            return False
        if number > self._number:
            self._number, self._seen, self._skip = number, 0, 0
        if self._skip:
            self._skip -= 1
            return False
        self._seen += 1
        return True


class Reading:
    """One run, from the request that starts it to its last event.

    Args:
        connection: the way to the gateway.
        start: starts the run; safe to repeat.
    """

    def __init__(self, connection: Connection, start: Request) -> None:
        self.run_id: str | None = None
        """From the first response on."""
        self.thread_id: str | None = _thread_of(start)
        """The one that was named: every run has a thread, but nothing is stored on one that nobody named."""
        self.complete = False
        """The last event was read."""
        self.closed = False
        """There is nothing more to read, or nobody wants it."""
        self._connection = connection
        self._start = start
        self._attempts = Attempts(connection.retries)
        self._timeout: float | None = None
        self._place = Place()
        self._response: Response | None = None
        self._lines = Lines()
        self._events: deque[Event] = deque()

    async def begin(self) -> None:
        """Start the run, or go on reading it, unless that is being done. Raises `ClientError`."""
        while self._response is None and not self.closed:
            try:
                self._response = await self._opened()
            except ClientError as error:
                pause = self._attempts.failed(error, begun=self.run_id is not None)
                await self._connection.pause(pause)

    async def read(self) -> Event | None:
        """The next event; `None` behind the last one. Raises `ClientError`, also when asked again."""
        while not self.closed:
            await self.begin()
            if not self._events and self._response is not None:
                await self._fill(self._response)
            while self._events:
                event = self._events.popleft()
                if not self._is_new(event):
                    continue
                if event.name == DONE:
                    await self._end()
                return event
        return None

    def _is_new(self, event: Event) -> bool:
        is_new = event.name != HEARTBEAT and self._place.is_new(event)
        # A gateway that cuts long streams may do so again and again while a tool works: heartbeats tell that it does.
        if is_new or event.name == HEARTBEAT:
            self._attempts.achieved()
        return is_new

    async def close(self) -> list[Event]:
        """Stop reading; a run that was not read to its end is stopped. Its last events. Raises nothing.

        The end is waited for, since only then what was said is stored and the thread takes another question.
        """
        events: list[Event] = []
        if self.closed:
            return events
        await self._hang_up()
        self._attempts, self._timeout = Attempts(0), LEAVE_TIMEOUT
        try:
            with suppress(ClientError):
                if self.run_id and await calls.made(self._connection, calls.cancel(self.run_id)):
                    while event := await self.read():
                        events.append(event)
        finally:
            self.closed = True
            await self._hang_up()
        return events

    async def _opened(self) -> Response:
        if self.run_id is None:
            response = await opened(self._connection, self._start)
        else:
            response = await self._resumed(self.run_id)
        if not response.headers.get("content-type", "").startswith(MEDIA_TYPE):
            await response.close()
            raise UnexpectedAnswer(response.status)
        self.run_id = response.headers.get("x-run-id") or self.run_id
        self._lines = Lines()
        return response

    async def _resumed(self, run_id: str) -> Response:
        try:
            response = await opened(self._connection, resume(run_id, self._place.resumed(), self._timeout))
        except (NotFound, StreamExpired) as error:
            raise StreamLost(run_id) from error
        if response.status == NO_CONTENT:
            await response.close()
            raise StreamLost(run_id)
        return response

    async def _fill(self, response: Response) -> None:
        """Wait for more events; hang up and wait a little when the connection has broken."""
        broken = Unreachable("The connection broke off: please try again.")
        try:
            chunk = await response.chunk()
        except Unreachable as error:
            chunk, broken = b"", error
        if chunk:
            self._events.extend(self._lines.feed(chunk))
            return
        await self._hang_up()
        await self._connection.pause(self._attempts.failed(broken, begun=self.run_id is not None))

    async def _end(self) -> None:
        self.complete = self.closed = True
        # Behind `done` there is nothing but the end of the response: with that read, the connection can be used again.
        with suppress(ClientError):
            if self._response is not None:
                await self._response.chunk()
        await self._hang_up()

    async def _hang_up(self) -> None:
        self._events.clear()
        response, self._response = self._response, None
        if response is not None:
            await response.close()


def _thread_of(start: Request) -> str | None:
    body = start.body or {}
    return body.get("thread_id") or body.get("session_id")

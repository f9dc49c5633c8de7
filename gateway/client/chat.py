"""A session with an agent, whose history the gateway keeps: what a chat page needs and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from gateway.client import calls, requests
from gateway.client.blocking import finished
from gateway.client.reading import Reading
from gateway.client.streams import TextStream

if TYPE_CHECKING:
    from gateway.client.connection import Connection
    from gateway.client.requests import ChatOptions, StreamOptions
    from gateway.client.shapes import Message


class Chat:
    """One conversation, on the caller's thread of that id; made by `Client.chat`."""

    def __init__(self, connection: Connection, session_id: str, agent: str) -> None:
        self.session_id = session_id
        self.agent = agent
        self._connection = connection

    def send(self, message: str, **options: Unpack[ChatOptions]) -> str:
        """Say something; the whole answer. Raises `NoResult` when it was stopped or waits for somebody."""
        with self.stream(message, **options) as stream:
            stream.finish()
            return stream.result

    def stream(self, message: str, *, delta: bool = True, **options: Unpack[ChatOptions]) -> TextStream:
        """Say something and read the answer while it is written."""
        said = requests.chat(self.agent, self.session_id, message, {"delta": delta, **options})
        return TextStream(self._connection, Reading(self._connection, said), delta=delta)

    def answer(self, *, delta: bool = True, **options: Unpack[StreamOptions]) -> TextStream:
        """Answer what the conversation waits for, with `approvals` and `results`, and read how it goes on."""
        options["thread_id"] = self.session_id
        start = requests.start(self.agent, "text", None, {"delta": delta, **options})
        return TextStream(self._connection, Reading(self._connection, start), delta=delta)

    def history(self) -> list[Message]:
        """What was said so far, oldest first; nothing in a new session."""
        return finished(calls.made(self._connection, calls.said(self.session_id, [])))

    def stop(self) -> bool:
        """Stop the answer that is being written, wherever it is read. Whether there was one."""
        run_id = finished(calls.made(self._connection, calls.running(self.session_id)))
        return run_id is not None and finished(calls.made(self._connection, calls.cancel(run_id)))

    def delete(self) -> bool:
        """Delete the conversation; whether there was one. Raises `RunConflict` while an answer is being written."""
        return finished(calls.made(self._connection, calls.delete(self.session_id, False)))  # noqa: FBT003 - the value

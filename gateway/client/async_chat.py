"""A session with an agent, over the async client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from gateway.client import calls, requests
from gateway.client.async_streams import AsyncTextStream
from gateway.client.reading import Reading

if TYPE_CHECKING:
    from gateway.client.connection import Connection
    from gateway.client.requests import ChatOptions, StreamOptions
    from gateway.client.shapes import Message


class AsyncChat:
    """One conversation, on the caller's thread of that id; made by `AsyncClient.chat`."""

    def __init__(self, connection: Connection, session_id: str, agent: str) -> None:
        self.session_id = session_id
        self.agent = agent
        self._connection = connection

    async def send(self, message: str, **options: Unpack[ChatOptions]) -> str:
        """Say something; the whole answer. Raises `NoResult` when it was stopped or waits for somebody."""
        async with self.stream(message, **options) as stream:
            await stream.finish()
            return stream.result

    def stream(self, message: str, *, delta: bool = True, **options: Unpack[ChatOptions]) -> AsyncTextStream:
        """Say something and read the answer while it is written."""
        said = requests.chat(self.agent, self.session_id, message, {"delta": delta, **options})
        return AsyncTextStream(self._connection, Reading(self._connection, said), delta=delta)

    def answer(self, *, delta: bool = True, **options: Unpack[StreamOptions]) -> AsyncTextStream:
        """Answer what the conversation waits for, with `approvals` and `results`, and read how it goes on."""
        options["thread_id"] = self.session_id
        start = requests.start(self.agent, "text", None, {"delta": delta, **options})
        return AsyncTextStream(self._connection, Reading(self._connection, start), delta=delta)

    async def history(self) -> list[Message]:
        """What was said so far, oldest first; nothing in a new session."""
        return await calls.made(self._connection, calls.said(self.session_id, []))

    async def stop(self) -> bool:
        """Stop the answer that is being written, wherever it is read. Whether there was one."""
        run_id = await calls.made(self._connection, calls.running(self.session_id))
        return run_id is not None and await calls.made(self._connection, calls.cancel(run_id))

    async def delete(self) -> bool:
        """Delete the conversation; whether there was one. Raises `RunConflict` while an answer is being written."""
        return await calls.made(self._connection, calls.delete(self.session_id, False))  # noqa: FBT003 - the value

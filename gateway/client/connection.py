"""What the core needs of a connection, and what is the same for every request: refusals -> errors, and trying again.

The core is written once, as coroutines over the two Protocols here. Over httpx's async client they wait as coroutines
do (`waiting.py`); over its sync client they block and never suspend, so that one step runs them to their end, without
an event loop (`blocking.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.client.errors import ClientError, refusal
from gateway.client.retries import Attempts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.client.requests import Request

SUCCESS = range(200, 300)


class Response(Protocol):
    """The answer to a request, whose body is still to come."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""

    async def chunk(self) -> bytes:
        """More of the body; nothing at its end. Raises `Unreachable` when the connection breaks."""
        ...

    async def close(self) -> None:
        """Hang up, if it has not come to its end. Raises nothing."""
        ...


class Connection(Protocol):
    """The way to a gateway."""

    retries: int
    """How often something is tried again."""

    async def open(self, request: Request) -> Response:
        """Send the request and read the head of the answer. Raises `Unreachable`."""
        ...

    async def pause(self, seconds: float) -> None:
        """Let time pass."""
        ...


async def opened(connection: Connection, request: Request) -> Response:
    """The answer to a request that was carried out. Raises `Unreachable`, `Refused` or `UnexpectedAnswer`."""
    response = await connection.open(request)
    if response.status in SUCCESS:
        return response
    raise refusal(response.status, response.headers, await whole(response))


async def whole(response: Response) -> bytes:
    """All of the body."""
    try:
        chunks: list[bytes] = []
        while chunk := await response.chunk():
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        await response.close()


async def answer(connection: Connection, request: Request) -> tuple[int, bytes]:
    """`(status, body)` of the answer, tried again where that is safe and may help. Raises `ClientError`."""
    attempts = Attempts(connection.retries if request.retries is None else request.retries)
    while True:
        try:
            response = await opened(connection, request)
            return response.status, await whole(response)
        except ClientError as error:
            pause = attempts.failed(error, repeatable=request.repeatable)
        await connection.pause(pause)

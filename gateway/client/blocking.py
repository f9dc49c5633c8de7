"""The core over httpx's sync client: it blocks, never suspends, and has nothing to do with any event loop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.client.outgoing import Target, built, failures

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    import httpx

    from gateway.client.requests import Request

T = TypeVar("T")


def finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine whose connection blocks: its first step is its last."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    work.close()
    msg = "a coroutine of the blocking client has waited for something"
    raise RuntimeError(msg)


class BlockingResponse:
    """See `Response`."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks = response.iter_bytes()
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def chunk(self) -> bytes:
        """More of the body."""
        with failures():
            return next(self._chunks, b"")

    async def close(self) -> None:
        """Hang up."""
        self._response.close()


class BlockingConnection:
    """See `Connection`. Several threads may use it at a time, as `httpx.Client` may be used."""

    def __init__(self, http: httpx.Client, target: Target) -> None:
        self._http = http
        self._target = target
        self.retries = target.retries

    async def open(self, request: Request) -> BlockingResponse:
        """Send the request."""
        with failures():
            return BlockingResponse(self._http.send(built(self._http, self._target, request), stream=True))

    async def pause(self, seconds: float) -> None:
        """Let the thread sleep."""
        time.sleep(seconds)  # noqa: ASYNC251 - no loop runs this coroutine

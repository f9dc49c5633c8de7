"""The core over httpx's async client: it waits as coroutines do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from gateway.client.outgoing import Target, built, failures

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from gateway.client.requests import Request


class WaitingResponse:
    """See `Response`."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks = response.aiter_bytes()
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def chunk(self) -> bytes:
        """More of the body."""
        with failures():
            return await anext(self._chunks, b"")

    async def close(self) -> None:
        """Hang up."""
        await self._response.aclose()


class WaitingConnection:
    """See `Connection`."""

    def __init__(self, http: httpx.AsyncClient, target: Target) -> None:
        self._http = http
        self._target = target
        self.retries = target.retries

    async def open(self, request: Request) -> WaitingResponse:
        """Send the request."""
        with failures():
            return WaitingResponse(await self._http.send(built(self._http, self._target, request), stream=True))

    async def pause(self, seconds: float) -> None:
        """Let others run."""
        await anyio.sleep(seconds)

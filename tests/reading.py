"""Runs on a real socket, read piece by piece."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
import run_probes
from serving import make_config
from talking import run_url, turn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from gateway.config import GatewayConfig

TIMEOUT = 20.0
NAMES = ("gated", "half_a_call", "swallowing", "sleeping", "calling", "fast")
KEYS = [{"id": name, "sha256": hashlib.sha256(name.encode()).hexdigest()} for name in ("ada", "bob")]


def run_config(*, settings: dict[str, Any] | None = None, **sections: Any) -> GatewayConfig:
    """A gateway with the agents of `run_probes`, each with `settings`, for Ada and for Bob."""
    agents = {name: {"import": f"run_probes:{name}", **(settings or {})} for name in NAMES}
    agents["broken"] = {"import": "probes:broken", **(settings or {})}
    return make_config(agents=agents, auth={"api_keys": KEYS}, **sections)


def client_for(url: str, who: str = "ada", **headers: str) -> httpx.AsyncClient:
    """A client without a bound on its connections."""
    return httpx.AsyncClient(
        base_url=url,
        headers={"x-api-key": who, **{name.replace("_", "-"): value for name, value in headers.items()}},
        timeout=TIMEOUT,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
    )


class Reader:
    """A response that is being read."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.text = ""
        self._chunks = response.aiter_text()

    @property
    def run_id(self) -> str:
        return self.response.headers["x-run-id"]

    async def until(self, part: str, within: float = TIMEOUT) -> str:
        """Read until `part` was seen."""
        async with asyncio.timeout(within):
            while part not in self.text:
                self.text += await anext(self._chunks)
        return self.text

    async def rest(self) -> str:
        """Read to the end; everything."""
        async with asyncio.timeout(TIMEOUT):
            async for chunk in self._chunks:
                self.text += chunk
        return self.text

    async def leave(self) -> None:
        """Close the connection."""
        await self.response.aclose()

    async def broken_off(self) -> str:
        """Read to an end that is none; everything."""
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            await self.rest()
        return self.text


@asynccontextmanager
async def reading(client: httpx.AsyncClient, method: str, path: str, **request: Any) -> AsyncGenerator[Reader]:
    """A response as it comes; the connection is closed when the block is left."""
    async with client.stream(method, path, **request) as response:
        if response.status_code != 200:
            await response.aread()
        assert response.status_code == 200, response.text
        yield Reader(response)


class Held:
    """A run that has begun and waits at its gate."""

    def __init__(self, wire: str, gate: str, thread: str, reader: Reader) -> None:
        self.wire, self.gate, self.thread, self.reader = wire, run_probes.gates[gate], thread, reader
        self.prompt = gate

    @property
    def id(self) -> str:
        return self.reader.run_id

    @property
    def path(self) -> str:
        return f"/runs/{self.id}"


@asynccontextmanager
async def held(
    client: httpx.AsyncClient, wire: str, agent: str = "gated", *, thread: str = "", headers: Any = None, **fields: Any
) -> AsyncGenerator[Held]:
    """Start a run and read up to its gate, which is opened in the end so that nothing is left waiting."""
    thread, gate = thread or f"thread-{uuid4()}", f"gate-{uuid4()}"
    body = turn(wire, gate, thread, **fields)
    try:
        async with reading(client, "POST", run_url(wire, agent), json=body, headers=headers) as reader:
            run = Held(wire, gate, thread, reader)
            await happens(run.gate.reached.is_set)
            yield run
    finally:
        run_probes.gates[gate].open()


async def happens(what: Callable[[], Any], within: float = TIMEOUT) -> None:
    """Return when `what` is so; it is set by another thread, so that there is nothing to wait for."""
    async with asyncio.timeout(within):
        while not what():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.005)


async def eventually(what: Callable[[], Awaitable[bool]], within: float = TIMEOUT) -> None:
    """Return when `what` answers yes; for what only another request can tell."""
    async with asyncio.timeout(within):
        while not await what():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)


async def status_of(client: httpx.AsyncClient, run_id: str) -> str:
    """How the run stands."""
    response = await client.get(f"/runs/{run_id}")
    assert response.status_code == 200, response.text
    status: str = response.json()["status"]
    return status


async def becomes(client: httpx.AsyncClient, run_id: str, status: str) -> None:
    """Return when the run has that status."""
    await eventually(lambda: _is(client, run_id, status))


async def _is(client: httpx.AsyncClient, run_id: str, status: str) -> bool:
    return await status_of(client, run_id) == status


async def stop(client: httpx.AsyncClient, run_id: str) -> bool:
    """Cancel the run; whether there was something to stop."""
    response = await client.post(f"/runs/{run_id}/cancel")
    assert response.status_code == 200, response.text
    stopped: bool = response.json()["stopped"]
    return stopped


def of_chat(chat: str, what: str, agent: str = "gated") -> str:
    """Where `DefaultChatTransport` resumes a chat, and where it is stopped."""
    encoded = quote(chat, safe="-_.!~*'()")
    return f"/agents/{agent}/vercel-ai/{encoded}/{what}"

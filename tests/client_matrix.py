"""Both Python clients behind one interface, the blocking one, so that one test is about both.

The async client lives in an event loop of its own thread, where everything that it gives out is awaited, iterated and
dropped.
"""

from __future__ import annotations

import hashlib
import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fault_proxy import FaultProxy
from serving import make_config

from gateway.client import AsyncClient, Client

if TYPE_CHECKING:
    import asyncio
    import threading
    from collections.abc import Generator

    from gateway.config import GatewayConfig

KINDS = ("sync", "async")
TIMEOUT = 20.0
AGENTS: dict[str, Any] = {
    "plain": "probes:plain",
    "remembering": "probes:remembering",
    "broken": "probes:broken",
    "sorry": "probes:sorry",
    "gated": "run_probes:gated",
    "calling": "run_probes:calling",
    "fast": "run_probes:fast",
    "asking": "client_agents:asking",
    "counting": "client_agents:counting",
    "contact": "client_agents:contact",
    "assistant": "agents.assistant:agent",
    "approver": "agents.approver:agent",
}
KEYS = [{"id": name, "sha256": hashlib.sha256(name.encode()).hexdigest()} for name in ("ada", "bob")]


def client_config(**sections: Any) -> GatewayConfig:
    """A gateway for Ada and for Bob."""
    sections = {"agents": AGENTS, "auth": {"api_keys": KEYS}, **sections}
    return make_config(**sections)


@contextmanager
def client_of(kind: str, url: str, **options: Any) -> Generator[Client]:
    """Ada's client, of either kind."""
    options = {"api_key": "ada", **options}
    if kind == "sync":
        with Client(url, **options) as client:
            yield client
        return
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(AsyncClient(url, **options)) as client:
        yield cast("Client", Blocking(portal, client))


@contextmanager
def faults_before(url: str) -> Generator[Faults]:
    """A proxy in front of a server."""
    with start_blocking_portal() as portal:
        proxy = CountingProxy(httpx.URL(url).port or 0)
        with portal.wrap_async_context_manager(proxy):
            yield Faults(portal, proxy)


class CountingProxy(FaultProxy):
    """Knows how often it was connected to."""

    accepted = 0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        await super()._accept(reader, writer)


class Faults:
    """A proxy that lives in another thread."""

    def __init__(self, portal: BlockingPortal, proxy: CountingProxy) -> None:
        self._portal, self._proxy = portal, proxy
        self.url = f"http://127.0.0.1:{proxy.port}"

    @property
    def accepted(self) -> int:
        return self._proxy.accepted

    def cut(self, *, refuse: bool = False) -> None:
        self._portal.call(lambda: self._proxy.cut(refuse=refuse))

    def mend(self) -> None:
        self._portal.call(self._proxy.mend)

    def delay(self, seconds: float) -> None:
        self._proxy.delay = seconds

    def pause(self) -> None:
        self._portal.call(self._proxy.pause)

    def resume(self) -> None:
        self._portal.call(self._proxy.resume)


class Blocking:
    """Something of the async client, used from a thread without an event loop."""

    def __init__(self, portal: BlockingPortal, thing: Any) -> None:
        self._portal, self._thing = portal, thing

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._thing, name)
        return self._calling(value) if callable(value) else self._seen(value)

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        try:
            return self._portal.call(anext, self._thing)
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> Any:
        self._portal.call(self._thing.__aenter__)
        return self

    def __exit__(self, *error: object) -> None:
        self._portal.call(self._thing.__aexit__, *error)

    def _calling(self, method: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            return self._seen(self._portal.call(_result, method, args, options))

        return call

    def _seen(self, value: Any) -> Any:
        is_ours = hasattr(value, "__anext__") or type(value).__name__.startswith("Async")
        return Blocking(self._portal, value) if is_ours else value


async def _result(method: Any, args: Any, options: Any) -> Any:
    value = method(*args, **options)
    return await value if inspect.isawaitable(value) else value


def happens(event: threading.Event) -> None:
    """Wait for what another thread does."""
    assert event.wait(TIMEOUT), "it did not happen"

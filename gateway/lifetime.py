"""An agent -> an agent whose toolsets are open, from the first use to an orderly end, in one task of its own."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from gateway import mcp_servers
from gateway.errors import AgentUnready
from gateway.telemetry import get_logger

if TYPE_CHECKING:
    from pydantic_ai.agent import AbstractAgent

log = get_logger("gateway.agents")

OPEN_TIMEOUT = 30.0
"""Seconds that an agent's toolsets have to open."""

RETRY_AFTER = 5.0
"""Seconds until an agent that did not open is tried again, by the request that comes then."""


class AgentLifetime:
    """Opens an agent when it is first needed, and closes it when told to or when its event loop ends."""

    def __init__(self, agent_id: str, agent: AbstractAgent[Any, Any]) -> None:
        self._id = agent_id
        self._agent = agent
        self._opened: asyncio.Future[bool] | None = None
        self._failed_at = 0.0
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the agent is open now."""
        return self._opened is not None and self._opened.done() and self._opened.result()

    def open(self) -> asyncio.Future[bool]:
        """Begin to open the agent, unless it is open or being opened. The result says whether it did open."""
        loop = asyncio.get_running_loop()
        # A host may run each of its tests on an event loop of its own.
        stale = self._opened is None or self._opened.get_loop() is not loop
        if stale or self._may_try_again():
            self._opened, self._closing = loop.create_future(), asyncio.Event()
            self._task = loop.create_task(self._hold(self._opened, self._closing), name=f"agent {self._id}")
        assert self._opened is not None  # noqa: S101 - for the type checker
        return self._opened

    async def ready(self) -> None:
        """Return when the agent is open. Raises `AgentUnready` when it does not open."""
        # Shielded: a request that goes away must not take the opening with it.
        if not await asyncio.shield(self.open()):
            raise AgentUnready(headers={"Retry-After": str(round(RETRY_AFTER))})
        await mcp_servers.reconnect(self._agent.toolsets)

    async def close(self) -> None:
        """Close the agent, in the task that opened it; give up on one that is still opening."""
        if self._task is not None and self._opened is not None:
            self._closing.set()
            if not self._opened.done():
                self._task.cancel()
            await asyncio.wait([self._task])
        self._opened = self._task = None

    def _may_try_again(self) -> bool:
        failed = self._opened is not None and self._opened.done() and not self._opened.result()
        return failed and time.monotonic() - self._failed_at > RETRY_AFTER

    async def _hold(self, opened: asyncio.Future[bool], closing: asyncio.Event) -> None:
        try:
            async with AsyncExitStack() as stack:
                stack.push_async_callback(mcp_servers.release, self._agent.toolsets)
                async with asyncio.timeout(OPEN_TIMEOUT):
                    await stack.enter_async_context(self._agent)
                opened.set_result(True)
                await closing.wait()
        except Exception:
            # The cause names hosts and commands: it goes to the log, callers learn that the agent is not available.
            log.exception("agent_close_failed" if opened.done() else "agent_unready", agent=self._id)
            self._failed_at = time.monotonic()
        finally:
            if not opened.done():
                opened.set_result(False)

"""`memory://`: leases in this process. Nothing runs out, because a holder that dies takes this with it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from gateway.coordination import Lease

if TYPE_CHECKING:
    from collections.abc import Iterator


def _tokens() -> Iterator[int]:
    """Microseconds since 1970, as in Redis: stored threads remember the token of a process that was before this one."""
    token = 0
    while True:
        token = max(token + 1, time.time_ns() // 1000)
        yield token


TOKENS = _tokens()
"""For all of this process, since several apps in it may share a store."""


class MemoryCoordination:
    """Leases in a dict; the event loop makes every step atomic."""

    ttl = 0.0

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._remembered: dict[str, tuple[str, float]] = {}
        self._until: list[tuple[float, str]] = []
        """When which name is to be forgotten, the first one first."""

    async def acquire(self, key: str, holder: str, *, queue: int = 0, timeout: float = 0.0) -> Lease | None:
        """See `Coordination`."""
        if key in self._leases and not await self._waited(key, queue, timeout):
            return None
        lease = self._leases[key] = Lease(key, holder, next(TOKENS))
        return lease

    async def _waited(self, key: str, queue: int, seconds: float) -> bool:
        """Wait for the key's turn; true when it was handed over."""
        waiting = self._waiting.setdefault(key, deque())
        if len(waiting) >= queue:
            return False
        turn = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        # Unlike a timeout, `wait` cannot end both ways: what was handed over in the last moment counts.
        try:
            await asyncio.wait([turn], timeout=seconds)
        except asyncio.CancelledError:
            if turn.done():
                self._hand_over(key)
            raise
        finally:
            if turn in waiting:
                waiting.remove(turn)
        return turn.done()

    async def release(self, lease: Lease) -> None:
        """See `Coordination`."""
        lease.held = False
        if self._leases.get(lease.key) is lease:
            self._hand_over(lease.key)

    def _hand_over(self, key: str) -> None:
        """Let the next one have the key."""
        if waiting := self._waiting.get(key):
            # The key stays taken until the one whose turn it is has run: nobody can slip in between.
            waiting.popleft().set_result(None)
            return
        del self._leases[key]
        self._waiting.pop(key, None)

    async def holder(self, key: str) -> str | None:
        """See `Coordination`."""
        lease = self._leases.get(key)
        return lease.holder if lease else None

    async def signal(self, key: str, holder: str, signal: str) -> bool:
        """See `Coordination`."""
        lease = self._leases.get(key)
        if lease is None or lease.holder != holder or not lease.held:
            return False
        lease.on_signal(signal)
        return True

    async def remember(self, name: str, value: str, seconds: float) -> str:
        """See `Coordination`."""
        now = time.monotonic()
        while self._until and self._until[0][0] < now:
            until, old = heappop(self._until)
            if self._remembered.get(old, ("", 0.0))[1] == until:
                del self._remembered[old]
        if name not in self._remembered:
            self._remembered[name] = (value, now + seconds)
            heappush(self._until, (now + seconds, name))
        return self._remembered[name][0]

    async def forget(self, name: str, value: str) -> None:
        """See `Coordination`."""
        if self._remembered.get(name, ("", 0.0))[0] == value:
            del self._remembered[name]

    async def close(self) -> None:
        """See `Coordination`."""

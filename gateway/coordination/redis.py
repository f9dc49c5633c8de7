"""`redis://`: leases that run out by themselves, and signals that are kept until their holder has seen them.

All keys of a lease change in one script. A lease that ran out can be renewed as long as the newest token of its key is
still its own. Tokens are taken from the server's clock where that is ahead, so that they grow even when the server has
lost its memory. Each process renews its leases and asks for signals in one call about every second; pub/sub only says
that it is time to do so.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

from redis.exceptions import RedisError

from gateway.coordination import LOST, Lease
from gateway.coordination.redis_scripts import ACQUIRE, BEAT, FORGET, HOLDER, LEAVE, RELEASE, REMEMBER, SIGNAL
from gateway.errors import StreamUnavailable
from gateway.redisconn import Attempts, Link, Listener, fence_key, lease_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.config import StreamSettings

CONNECTIONS = 8
AT_ONCE = 200
"""Leases that are renewed in one call."""
CHANNEL = "nudges"
NUDGE_SIGNAL, NUDGE_FREE = b"s", b"f"


class RedisCoordination:
    """Leases and signals in Redis.

    Args:
        url: of the server.
        settings: `lease` and `retry`.
        prefix: of all keys.
    """

    def __init__(self, url: str, settings: StreamSettings, prefix: str = "gateway:") -> None:
        self.ttl = settings.lease
        self._prefix = prefix
        # A lease that ran out has a moment to be regained: both together are the lease time.
        grace = min(1.0, settings.lease / 2)
        self._ttl_ms, self._grace_ms = int((settings.lease - grace) * 1000), int(grace * 1000)
        self._every = min(1.0, (settings.lease - grace) / 3)
        timeout = max(0.5, min(5.0, settings.lease / 2))
        self._link = Link(url, connections=CONNECTIONS, timeout=timeout, budget=settings.retry)
        self._listener = Listener(self._link)
        self._held: dict[str, Held] = {}
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._nudged: set[str] = set()
        self._due = asyncio.Event()
        self._beating: asyncio.Task[object] | None = None

    async def acquire(self, key: str, holder: str, *, queue: int = 0, timeout: float = 0.0) -> Lease | None:
        """See `Coordination`."""
        await self._start()
        try:
            return await self._acquire(key, holder, queue, timeout)
        except asyncio.CancelledError:
            # What was asked for may be granted, now or later, to somebody who is not there any more.
            self._link.spawn(self._leave(key, holder))
            raise

    async def _acquire(self, key: str, holder: str, queue: int, seconds: float) -> Lease | None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        args = (holder, self._ttl_ms, queue, self._grace_ms)
        free = asyncio.Event()
        self._waiting.setdefault(key, set()).add(free)
        try:
            while True:
                free.clear()
                granted, token = await self._link.run(ACQUIRE, self._keys(key), args)
                if granted == b"granted":
                    lease = Lease(key, holder, int(token))
                    self._held[holder] = Held(lease)
                    return lease
                left = until - loop.time()
                if granted == b"soon":
                    left = self._every / 4
                elif granted == b"refused" or left <= 0:
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, self._every)):
                        await free.wait()
        finally:
            self._waiting[key].discard(free)
            if not self._waiting[key]:
                del self._waiting[key]
        if queue:
            await self._leave(key, holder)
        return None

    async def _leave(self, key: str, holder: str) -> None:
        await self._link.run(LEAVE, self._keys(key), (holder, self._prefix + CHANNEL, key))

    async def release(self, lease: Lease) -> None:
        """See `Coordination`."""
        lease.held = False
        if self._held.pop(lease.holder, None):
            keys = [*self._keys(lease.key), self._signals(lease.holder)]
            args = (lease.token, self._prefix + CHANNEL, lease.key)
            with contextlib.suppress(StreamUnavailable):
                # After this long it has run out by itself.
                await self._link.run(RELEASE, keys, args, budget=self.ttl)

    async def holder(self, key: str) -> str | None:
        """See `Coordination`."""
        held = cast("bytes | None", await self._link.run(HOLDER, [lease_key(self._prefix, key)], ()))
        return held.decode() if held else None

    async def signal(self, key: str, holder: str, signal: str) -> bool:
        """See `Coordination`."""
        keys = [lease_key(self._prefix, key), self._signals(holder)]
        args = (holder, signal, self._prefix + CHANNEL, self._ttl_ms * 10 + 60_000)
        told = bool(await self._link.run(SIGNAL, keys, args))
        if told:
            self._nudge(holder)
        return told

    async def remember(self, name: str, value: str, seconds: float) -> str:
        """See `Coordination`."""
        kept = await self._link.run(REMEMBER, [f"{self._prefix}kept:{name}"], (value, max(1, int(seconds * 1000))))
        return cast("bytes", kept).decode()

    async def forget(self, name: str, value: str) -> None:
        """See `Coordination`."""
        await self._link.run(FORGET, [f"{self._prefix}kept:{name}"], (value,))

    async def close(self) -> None:
        """See `Coordination`."""
        await self._link.close()
        self._beating = None

    def _keys(self, key: str) -> list[str]:
        queue = f"{self._prefix}queue:{key}"
        return [lease_key(self._prefix, key), fence_key(self._prefix, key), queue, queue + ":seen"]

    def _signals(self, holder: str) -> str:
        return f"{self._prefix}signals:{holder}"

    async def _start(self) -> None:
        if self._beating is None or self._beating.done():
            self._beating = self._link.spawn(self._beat_forever())
            await self._listener.subscribe(self._prefix + CHANNEL, self._heard)

    def _heard(self, message: bytes) -> None:
        kind, name = message[:1], message[1:].decode()
        if kind == NUDGE_SIGNAL:
            self._nudge(name)
        elif kind == NUDGE_FREE:
            for free in self._waiting.get(name, ()):
                free.set()

    def _nudge(self, holder: str) -> None:
        if holder in self._held:
            self._nudged.add(holder)
            self._due.set()

    async def _beat_forever(self) -> None:
        """Renew all leases about every second, and those that were nudged at once."""
        attempts = Attempts(self._link.budget)
        loop = asyncio.get_running_loop()
        wait = self._every
        full = loop.time() + wait
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._due.wait()
            self._due.clear()
            nudged, self._nudged = self._nudged, set()
            chosen: Iterable[str] = nudged
            if loop.time() >= full or attempts.since:
                chosen, full = list(self._held), loop.time() + self._every
            try:
                await self._beat([self._held[holder] for holder in chosen if holder in self._held])
            except (RedisError, OSError):
                wait = attempts.failed()
                if attempts.over:
                    for held in list(self._held.values()):
                        self._lost(held)
            else:
                attempts.succeeded()
                wait = max(0.0, full - loop.time())

    async def _beat(self, helds: Sequence[Held]) -> None:
        for start in range(0, len(helds), AT_ONCE):
            chunk = helds[start : start + AT_ONCE]
            keys: list[str] = []
            args: list[str | int] = [self._ttl_ms]
            for held in chunk:
                lease = held.lease
                keys += [
                    lease_key(self._prefix, lease.key),
                    fence_key(self._prefix, lease.key),
                    self._signals(lease.holder),
                ]
                args += [lease.token, lease.holder, held.seen]
            replies = await self._link.once(BEAT, len(keys), *keys, *args)
            for held, (alive, *signals) in zip(chunk, cast("list[list[bytes]]", replies), strict=True):
                self._tell(held, alive=bool(alive), signals=signals)

    def _tell(self, held: Held, *, alive: bool, signals: list[bytes]) -> None:
        if self._held.get(held.lease.holder) is not held:
            return  # released in the meantime
        held.seen += len(signals)
        for signal in signals:
            asyncio.get_running_loop().call_soon(held.lease.on_signal, signal.decode())
        if not alive:
            self._lost(held)

    def _lost(self, held: Held) -> None:
        if self._held.pop(held.lease.holder, None):
            held.lease.held = False
            asyncio.get_running_loop().call_soon(held.lease.on_signal, LOST)


class Held:
    """A lease of this process."""

    __slots__ = ("lease", "seen")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.seen = 0
        """Signals that were delivered."""

"""Who runs what: leases with fencing tokens, signals to their holders, and a memory for what was asked before.

The contract, for every backend:

- At most one lease on a key is held at a time, over all processes that share the backend. It ends by `release`, or by
  itself when its holder has not renewed it for `ttl` seconds. Backends renew by themselves, well before that time; a
  holder that was cut off gets its lease back as long as nobody else has acquired the key since.
- Each lease has a token, greater than every token given out for its key before. Whoever writes on behalf of a lease
  shows it, and a token that is not the newest one writes nothing.
- Those who wait for a key get it in the order in which they came.
- A signal reaches the holder within a second or two even if the message that carries it is lost: holders poll.
- A holder learns of the loss of its lease by the signal `LOST`: at once when another has it, and after the retry budget
  when the backend cannot be reached. Until then `held` is what was true last; whoever must know for certain asks
  `holder(key)`, and the stream log checks the lease in the same step as it appends.
"""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - a field's type
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.config import StoreSettings, StreamSettings

CANCEL = "cancel"
"""Stop, because somebody asked for it."""

GIVE_WAY = "give way"
"""Stop, if nobody reads the run any more."""

LOST = "lost"
"""The lease may be held by another: stop, and write nothing more."""


@dataclass(eq=False, slots=True)
class Lease:
    """The right to run on a key, as its holder sees it."""

    key: str
    holder: str
    """Name of the holder, such as a run's id; told to those who are refused."""
    token: int
    """Fencing token."""
    held: bool = True
    """False as soon as it was released or lost."""
    on_signal: Callable[[str], None] = lambda _signal: None
    """Called on the event loop with each signal; set by the holder."""


class Coordination(Protocol):
    """Leases, signals and memory."""

    ttl: float
    """Seconds after which the lease of a dead process is free."""

    async def acquire(self, key: str, holder: str, *, queue: int = 0, timeout: float = 0.0) -> Lease | None:
        """A lease, or nothing when another holds the key.

        Args:
            key: what to lock.
            holder: name of the new holder, unique for each call.
            queue: how many may wait for the key, this call included; 0 does not wait.
            timeout: seconds to wait at most.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Give the key free. A lease that was lost stays lost."""
        ...

    async def holder(self, key: str) -> str | None:
        """Who holds the key."""
        ...

    async def signal(self, key: str, holder: str, signal: str) -> bool:
        """Tell `holder` something, if it still holds the key. Whether it does."""
        ...

    async def remember(self, name: str, value: str, seconds: float) -> str:
        """Keep `value` under `name` unless something is kept there. What is kept there now."""
        ...

    async def forget(self, name: str, value: str) -> None:
        """Let go of `name`, if `value` is what is kept there."""
        ...

    async def close(self) -> None:
        """Let go of tasks and connections. Leases that were not released run out by themselves."""
        ...


def open_coordination(stores: StoreSettings, settings: StreamSettings) -> Coordination:
    """The backend for `stores.streams`: leases live beside the streams that they protect."""
    if stores.streams.startswith("memory:"):
        from gateway.coordination.memory import MemoryCoordination  # noqa: PLC0415 - one is chosen

        return MemoryCoordination()
    from gateway.coordination.redis import RedisCoordination  # noqa: PLC0415 - an extra

    return RedisCoordination(stores.streams, settings)

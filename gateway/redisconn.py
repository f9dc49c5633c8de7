"""A Redis URL -> one bounded pool of connections, scripts that are run until they succeed, and one pub/sub connection.

Every script that goes through here may be run twice: a reply that is lost, or a command that a paused server runs after
its caller gave up, must change nothing. Pub/sub only makes things faster; whoever listens also asks from time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from gateway.errors import StreamUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from redis.asyncio.connection import AbstractConnection

PASSING = (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError, MasterDownError, OSError)
"""Errors that may be gone at the next attempt: a restart, a failover, a pause, a full server."""

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.4
"""Seconds between two attempts. Short enough for an owner that was cut off to be back before it is taken for dead."""

SILENCE = 10.0
"""Seconds without a message after which the pub/sub connection is asked whether it is still there."""


LEASE_STATE = """
local function lease_state(lease, fence, token)
  local held = redis.call('GET', lease)
  if held then return string.match(held, '^%d+') == token and 'held' or 'taken' end
  if tonumber(redis.call('GET', fence) or 0) > tonumber(token) then return 'taken' end
  return 'free'
end
"""
"""Lua: whether the lease with a token is `held`, `free` (ran out, nobody has acquired it since), or `taken`."""


def lease_key(prefix: str, key: str) -> str:
    """Where `token|holder` stands: coordination writes it, the stream log checks it in the same step as it appends."""
    return f"{prefix}lease:{key}"


def fence_key(prefix: str, key: str) -> str:
    """Where the newest token of a key stands."""
    return f"{prefix}fence:{key}"


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, known to the server by its hash."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


@dataclass(slots=True)
class Attempts:
    """How long something has been failing, and how long to wait for the next attempt."""

    budget: float
    since: float = 0.0
    pause: float = FIRST_PAUSE

    @property
    def over(self) -> bool:
        """Whether the budget is used up."""
        return self.since > 0 and time.monotonic() - self.since > self.budget

    def succeeded(self) -> None:
        """Start over."""
        self.since, self.pause = 0.0, FIRST_PAUSE

    def failed(self) -> float:
        """Count a failure. Seconds to wait now."""
        self.since = self.since or time.monotonic()
        pause, self.pause = self.pause, min(self.pause * 2, LONGEST_PAUSE)
        return pause


class Link:
    """One process and one Redis.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        connections: how many at most.
        timeout: seconds to wait for a reply, or for a free connection.
        budget: seconds that a failing call is repeated.
    """

    def __init__(self, url: str, *, connections: int, timeout: float, budget: float) -> None:
        parse_url(url)  # raises ValueError now, and not at the first request
        self.budget = budget
        self._url = url
        self._connections = connections
        self._timeout = timeout
        self._client: Redis | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def client(self) -> Redis:
        """The client, made when it is needed: a pool belongs to the event loop that uses it."""
        if self._client is None:
            pool = BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
                self._url,
                max_connections=self._connections,
                timeout=self._timeout,
                # Replies are waited for in `bounded`: with a timeout of its own the client uses `asyncio.wait_for`,
                # which before Python 3.12 may swallow a cancellation.
                socket_timeout=None,
                socket_connect_timeout=self._timeout,
                # Attempts are counted here, where it is known what may be repeated and for how long.
                retry=Retry(NoBackoff(), 0),
                # RESP3 brings a handshake for notifications that only Redis Enterprise has.
                protocol=2,
            )
            self._client = Redis.from_pool(pool)
        return self._client

    async def run(
        self, script: Script, keys: Sequence[str], args: Iterable[str | bytes | float], *, budget: float | None = None
    ) -> Any:
        """Run a script, again and again until it succeeds. Raises `StreamUnavailable` when the budget is used up."""
        call = (len(keys), *keys, *args)
        return await self.repeat(lambda: self.once(script, *call), budget=budget)

    async def once(self, script: Script, *call: str | bytes | float) -> Any:
        """Run a script, one time. A call starts with its number of keys."""
        keys, *arguments = cast("tuple[int, str | bytes | float]", call)
        async with self.bounded():
            try:
                return await self.client.evalsha(script.sha, keys, *arguments)
            except NoScriptError:
                await self.client.script_load(script.text)
                return await self.client.evalsha(script.sha, keys, *arguments)

    def bounded(self) -> asyncio.Timeout:
        """For everything that waits for a reply. Raises `TimeoutError`."""
        return asyncio.timeout(self._timeout)

    async def all(self, script: Script, calls: Sequence[tuple[str | bytes | float, ...]]) -> list[Any]:
        """Run a script once for each call, in one round trip. Errors are among the results, but for those of the line.

        Each call starts with its number of keys.
        """
        pipe = self.client.pipeline(transaction=False)
        for keys, *arguments in calls:
            pipe.evalsha(script.sha, cast("int", keys), *arguments)
        async with self.bounded():
            results = await pipe.execute(raise_on_error=False)
            if not any(isinstance(result, NoScriptError) for result in results):
                return results
            await self.client.script_load(script.text)
        return await self.all(script, calls)

    async def repeat(self, attempt: Callable[[], Coroutine[Any, Any, Any]], *, budget: float | None = None) -> Any:
        """The result of the first attempt that succeeds. Raises `StreamUnavailable`."""
        attempts = Attempts(self.budget if budget is None else budget)
        while True:
            try:
                return await attempt()
            except PASSING as error:
                pause = attempts.failed()
                if attempts.over:
                    raise StreamUnavailable from error
            await asyncio.sleep(pause)

    def spawn(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[Any]:
        """Run something until it ends or this is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End tasks, close connections."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.1)
        client, self._client = self._client, None
        if client:
            with contextlib.suppress(*PASSING):
                await client.aclose()


class Listener:
    """One pub/sub connection, with channels that come and go. Messages may be lost."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._channels: dict[bytes, Callable[[bytes], None]] = {}
        self._confirmed: dict[bytes, asyncio.Event] = {}
        self._connection: AbstractConnection | None = None
        self._task: asyncio.Task[Any] | None = None

    async def subscribe(self, channel: str, on_message: Callable[[bytes], None], *, within: float = 0.0) -> None:
        """Hear a channel from now on; wait a moment for the server's word that this has begun."""
        name = channel.encode()
        self._channels[name] = on_message
        confirmed = self._confirmed[name] = asyncio.Event()
        if self._task is None or self._task.done():
            self._task = self._link.spawn(self._listen())
        await self._send("SUBSCRIBE", name)
        if within:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await confirmed.wait()

    async def unsubscribe(self, channel: str) -> None:
        """Hear it no more."""
        name = channel.encode()
        self._channels.pop(name, None)
        self._confirmed.pop(name, None)
        await self._send("UNSUBSCRIBE", name)

    async def _send(self, *command: str | bytes) -> None:
        # Without a connection there is nothing to say: a new one subscribes to all channels.
        if self._connection and self._connection.is_connected:
            with contextlib.suppress(*PASSING, RuntimeError):
                await self._connection.send_command(*command)

    async def _listen(self) -> None:
        attempts = Attempts(self._link.budget)
        while True:
            connection = None
            try:
                async with self._link.bounded():
                    connection = await self._link.client.connection_pool.get_connection()
                    if self._channels:
                        await connection.send_command("SUBSCRIBE", *self._channels)
                self._connection = connection
                await self._hear(connection, attempts)
            except (RedisError, OSError):
                pass
            finally:
                self._connection = None
                if connection:
                    # Never back into the pool as it is: it is subscribed.
                    await connection.disconnect(nowait=True)
                    await self._link.client.connection_pool.release(connection)
            await asyncio.sleep(attempts.failed())

    async def _hear(self, connection: AbstractConnection, attempts: Attempts) -> None:
        asked = False
        while True:
            reply = cast("list[bytes] | None", await connection.read_response(timeout=SILENCE, push_request=True))
            if reply is None:
                if asked:
                    raise RedisConnectionError("no answer on the pub/sub connection")
                asked = True
                await connection.send_command("PING")
                continue
            asked = False
            attempts.succeeded()
            if reply[0] == b"message":
                if handler := self._channels.get(reply[1]):
                    handler(reply[2])
            elif reply[0] == b"subscribe" and (confirmed := self._confirmed.get(reply[1])):
                confirmed.set()

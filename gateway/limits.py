"""Rules -> allow or refuse, with the counting left to the `limits` library.

Refuses with `RateLimited`, which carries `Retry-After`; tells how much is left in the `RateLimit` header field
(draft-ietf-httpapi-ratelimit-headers-10). When the counters cannot be reached nothing is let through: a limit that
opens on failure is no limit.
"""

from __future__ import annotations

import ipaddress
import math
import time
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError
from limits.storage import storage_from_string

from gateway.errors import (
    NOT_A_REDIS_URL,
    REDIS_IS_AN_EXTRA,
    ConfigError,
    ConfigProblem,
    LimitsUnavailable,
    RateLimited,
)
from gateway.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config import LimitSettings

log = get_logger(__name__)

Per = Literal["principal", "ip", "agent"]

KEY_PREFIX = "gateway:limits"
"""Prefix of the keys in Redis."""

REDIS_TIMEOUT = 1.0
"""Seconds that Redis has to answer, twice: the second time on a new connection, if it has closed the first."""


class RateLimiter:
    """The rules of one gateway over one store of counters.

    Args:
        rules: all of them apply.
        url: `memory://` or `redis://...`; the store is shared by every process that uses the same URL.
    """

    def __init__(self, rules: Sequence[LimitSettings], url: str = "memory://") -> None:
        self._rules = {per: [rule.rate for rule in rules if rule.per == per] for per in ("principal", "ip", "agent")}
        # The sliding window counter needs two integers a key, where a moving window keeps every request.
        self._limiter = SlidingWindowCounterRateLimiter(_storage(url))  # pyright: ignore[reportArgumentType]

    async def check(self, per: Per, key: str) -> str | None:
        """Count one request of `key`, and return the `RateLimit` field to answer with, if a rule applies.

        Raises:
            RateLimited: a rule is used up.
            LimitsUnavailable: the counters cannot be reached.
        """
        field = None
        for rate in self._rules[per]:
            try:
                allowed = await self._limiter.hit(rate, per, key)
                reset, remaining = await self._limiter.get_window_stats(rate, per, key)
            except Exception as error:
                log.exception("limits_unavailable")
                raise LimitsUnavailable(headers={"Retry-After": "5"}) from error
            seconds = max(1, math.ceil(reset - time.time()))
            if not allowed:
                headers = {"Retry-After": str(seconds), "RateLimit": f'"{per}";r=0;t={seconds}'}
                raise RateLimited(headers=headers)
            field = f'"{per}";r={remaining};t={seconds}'
        return field


def address_key(host: str) -> str:
    """A client address -> what it is counted by: IPv6 by its /64, which is what one subscriber gets."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
    return host


def _storage(url: str) -> object:
    if url.startswith("memory:"):
        return storage_from_string("async+memory://")
    try:
        from redis.asyncio.retry import Retry  # noqa: PLC0415 - an extra
        from redis.backoff import NoBackoff  # noqa: PLC0415

        return storage_from_string(
            f"async+{_with_port(url)}",
            implementation="redispy",
            key_prefix=KEY_PREFIX,
            wrap_exceptions=True,
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
            retry=Retry(NoBackoff(), 1),  # pyright: ignore[reportArgumentType] - options are the client's own
        )
    except ImportError:
        message = REDIS_IS_AN_EXTRA
    except (ValueError, ConfigurationError):
        message = NOT_A_REDIS_URL
    raise ConfigError([ConfigProblem(message, key="stores.limits")])


def _with_port(url: str) -> str:
    """redis://host/db -> redis://host:6379/db: redis-py has that default, `limits` has none."""
    parts = urlsplit(url)
    return url if parts.port or not parts.hostname else parts._replace(netloc=f"{parts.netloc}:6379").geturl()

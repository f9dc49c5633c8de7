"""Requests as data -> httpx's requests, and httpx's failures -> `Unreachable`: the same for both of its clients."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

import httpx

from gateway.client.errors import ClientError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from gateway.client.requests import Request

TIMEOUT = 60.0
"""Seconds; four heartbeats of a gateway that is left as it is."""

CONNECT_TIMEOUT = 10.0
"""Seconds."""

RETRIES = 8

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)
"""A stream holds its connection; how many there may be is for the gateway to say."""

UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Failures before a request has left."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and as whose. Raises `ValueError` for what is no URL of the web."""

    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    timeout: float
    """Seconds of silence after which a connection counts as broken."""
    retries: int

    def __post_init__(self) -> None:
        if httpx.URL(self.base_url).scheme not in ("http", "https"):
            msg = f"not the URL of a gateway: {self.base_url!r}; write http://host:port"
            raise ValueError(msg)


class ClientOptions(TypedDict, total=False):
    """What both clients take besides the URL."""

    api_key: str | None
    """An API key or a token; sent as `Authorization: Bearer`."""
    headers: Mapping[str, str] | None
    """Sent with each request."""
    timeout: float
    """Seconds of silence after which a connection counts as broken, 60 when left out; more than `server.heartbeat`."""
    retries: int
    """How often a broken connection is tried again while nothing new comes, 8 when left out: for about 12 seconds,
    with pauses that grow. Requests that never got through are tried again twice."""


def target(base_url: str, options: ClientOptions) -> Target:
    """What a client is told -> where it sends its requests. Raises `ValueError`."""
    key = options.get("api_key")
    credentials = {"authorization": f"Bearer {key}"} if key else {}
    headers = {**credentials, **(options.get("headers") or {})}
    return Target(base_url.rstrip("/"), headers, options.get("timeout", TIMEOUT), options.get("retries", RETRIES))


def built(http: httpx.Client | httpx.AsyncClient, target: Target, request: Request) -> httpx.Request:
    """The request for httpx. Raises `ClientError` when the client was closed."""
    if http.is_closed:
        msg = "This client was closed."
        raise ClientError(msg)
    timeout = request.timeout or target.timeout
    return http.build_request(
        request.method,
        target.base_url + request.path,
        params=request.params or None,
        json=request.body,
        headers={**target.headers, **request.headers},
        timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
    )


@contextmanager
def failures() -> Generator[None]:
    """Tell httpx's failures as `Unreachable`."""
    try:
        yield
    except (httpx.RequestError, httpx.StreamError) as error:
        raise Unreachable(sent=not isinstance(error, UNSENT)) from error

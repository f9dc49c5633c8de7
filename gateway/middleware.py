"""What Starlette does not ship, one short class each. Pure ASGI: nothing here buffers or wraps a stream's body.

Their order is in `app.py`. Each reads the scope and raises a `GatewayError` or passes on; `Problems` renders, and
`TrustedHosts`, which stands outside of it.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from gateway.errors import (
    BadRequest,
    BodyTooLarge,
    Draining,
    GatewayError,
    HostNotAllowed,
    MethodNotAllowed,
    NotFound,
    UnsupportedMediaType,
    problem,
)
from gateway.ids import new_id
from gateway.limits import address_key
from gateway.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from gateway.auth import Principal
    from gateway.limits import RateLimiter

log = get_logger("gateway.access")
error_log = get_logger("gateway.errors")
origins_log = get_logger("gateway.cors")

FROM_ELSEWHERE = ("cross-site", "same-site")
"""`Sec-Fetch-Site` of a page of another origin."""

MAX_REFUSED = 20
"""Origins that are told apart in the log; then it is silent, because anybody may send any."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")


class RequestId:
    """A request id for the log and the client: the caller's `x-request-id` if it is well formed, else a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        header = (b"x-request-id", request_id.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], header]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self.app(scope, receive, send_with_id)


class AccessLog:
    """One line for each request, when its response has ended. Never the query string, never a header."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status, ended = 0, False

        async def send_and_look(message: Message) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body", False):
                ended = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_look)
        finally:
            user: Principal | None = scope.get("user")
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                ended=ended,
                ms=round((time.perf_counter() - started) * 1000, 1),
                client=scope["client"][0] if scope.get("client") else None,
                subject=user.subject if user else None,
            )


class TrustedHosts:
    """Answers for the host names it is told to. Starlette's own answers in plain text.

    A refusal is rendered here: outside of CORS, because no page of a foreign host is meant to read it.
    """

    def __init__(self, app: ASGIApp, *, allowed: Sequence[str]) -> None:
        self.app = app
        self.names = {name.lower() for name in allowed if not name.startswith("*.")}
        self.suffixes = tuple(name[1:].lower() for name in allowed if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "*" not in self.names:
            host = Headers(scope=scope).get("host", "")
            # "[::1]:8000" and "localhost:8000": the port goes, the brackets stay.
            name = re.sub(r":\d+$", "", host).lower().rstrip(".")
            if name not in self.names and not (self.suffixes and name.endswith(self.suffixes)):
                await problem(HostNotAllowed(), scope["state"].get("request_id"))(scope, receive, send)
                return
        await self.app(scope, receive, send)


class Origins(CORSMiddleware):
    """Starlette's CORS, and a line in the log for each origin turned away: the page's author sees no reason."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._refused: set[str] = set()

    def preflight_response(self, request_headers: Headers) -> Response:
        self._look_at(request_headers["origin"])
        return super().preflight_response(request_headers)

    async def simple_response(self, scope: Scope, receive: Receive, send: Send, request_headers: Headers) -> None:
        # Without a preflight, as from `EventSource`. A proxy may pass on the `Origin` of a page that it serves itself.
        if request_headers.get("sec-fetch-site") in FROM_ELSEWHERE:
            self._look_at(request_headers.get("origin", ""))
        await super().simple_response(scope, receive, send, request_headers)

    def _look_at(self, origin: str) -> None:
        if not origin or self.is_allowed_origin(origin):  # without one it is a link that somebody follows
            return
        shown = re.sub(r"[^!-~]", "?", origin[:200])  # a client's text
        if shown not in self._refused and len(self._refused) < MAX_REFUSED:
            self._refused.add(shown)
            origins_log.warning("origin_refused", origin=shown, hint="`cors.allow_origins` lists whose pages may call")


class Problems:
    """The catch-all: whatever is raised inside becomes problem+json. Sits inside CORS, so that a page can read it.

    After the first byte there is no status left to send: the error goes on to the server, which closes the connection
    without the last chunk (DESIGN law 1).

    `runtimes` are the paths of CopilotKit runtimes: that client shows a developer the `message` of a failure, and
    without one nothing but its status (`runtime-info-error.ts` of `@copilotkit/core`).
    """

    def __init__(self, app: ASGIApp, *, runtimes: Sequence[str] = ()) -> None:
        self.app = app
        self.runtimes = tuple(f"{path}/" for path in runtimes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_and_look(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_look)
        except ClientDisconnect:
            return  # in the middle of its upload: nothing failed here, and nobody is there to be answered
        except Exception as error:
            if started:
                raise
            failure = as_gateway_error(error)
            if failure.status >= 500 and not isinstance(failure, Draining):  # noqa: PLR2004 - server errors
                error_log.error("request_failed", code=failure.code, exc_info=error)
            if f"{_path_in(scope)}/".startswith(self.runtimes):
                failure.members = {"message": failure.detail, **failure.members}
            await problem(failure, scope["state"].get("request_id"))(scope, receive, send)


def _path_in(scope: Scope) -> str:
    """The path behind where the app is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def as_gateway_error(error: Exception) -> GatewayError:
    """Anything raised -> the error to show for it. Starlette's router raises 404 and 405 as `HTTPException`."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, HTTPException):
        known = {404: NotFound, 405: MethodNotAllowed, 413: BodyTooLarge, 415: UnsupportedMediaType}
        return known.get(error.status_code, BadRequest)(headers=error.headers)
    return GatewayError()


class AddressLimit:
    """`limits: [{per: ip}]`, before anything is read or checked."""

    def __init__(self, app: ASGIApp, *, limiter: RateLimiter) -> None:
        self.app = app
        self.limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("client"):
            field = await self.limiter.check("ip", address_key(scope["client"][0]))
            send = _with_rate_limit(send, field)
        await self.app(scope, receive, send)


class PrincipalLimit:
    """`limits: [{per: principal}]`, after authentication. All anonymous callers count as one."""

    def __init__(self, app: ASGIApp, *, limiter: RateLimiter) -> None:
        self.app = app
        self.limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            field = await self.limiter.check("principal", scope["user"].scope)
            send = _with_rate_limit(send, field)
        await self.app(scope, receive, send)


def _with_rate_limit(send: Send, field: str | None) -> Send:
    if field is None:
        return send

    async def send_with_field(message: Message) -> None:
        if message["type"] == "http.response.start":
            # A list-valued field: several layers may each add their member (RFC 9651, 3.1).
            MutableHeaders(raw=message["headers"]).append("ratelimit", field)
        await send(message)

    return send_with_field


class BodyLimit:
    """413 as soon as the declared or the received size passes the limit. Starlette's own answers in plain text.

    `larger` has the paths with a limit of their own. Their routes are told when they begin to read, so that they can
    answer in the form that their clients look for.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, larger: Mapping[str, int] | None = None) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.larger = larger or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        own = self.larger.get(_path_in(scope))
        limit = own or self.max_bytes
        declared = Headers(scope=scope).get("content-length", "")
        too_large = declared.isdecimal() and int(declared) > limit
        if too_large and own is None:
            raise BodyTooLarge
        received = 0

        async def receive_and_count() -> Message:
            nonlocal received
            if too_large:
                raise BodyTooLarge
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise BodyTooLarge
            return message

        await self.app(scope, receive_and_count, send)

"""The single endpoint of a CopilotKit runtime: `{method, params, body}` in a POST -> the request that it stands for.

Behind a proxy that passes one URL on, all of the runtime goes through it. Each envelope is turned into the request of
the same name and given to the same routes, so that the answers are the same, too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, unquote

from pydantic import BaseModel
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.routing import Route, Router

from gateway.errors import BodyTooLarge, MalformedBody, NotFound
from gateway.middleware import as_gateway_error
from gateway.surfaces.copilotkit.transcribe import check_size
from gateway.surfaces.endpoint import LARGE
from gateway.surfaces.thread_requests import json_body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import Message, Receive, Scope, Send

    from gateway.surfaces.endpoint import Services


SENT = "/%?&=:@!$'()*+,;~"
"""What stands in an encoded path or query as it is."""


class Params(BaseModel):
    """What the path of the request would hold."""

    agentId: str = ""  # noqa: N815 - the wire's name
    threadId: str = ""  # noqa: N815 - the wire's name
    path: str = ""
    """Of a `resource/request`: behind the runtime's own."""
    httpMethod: Literal["GET", "POST", "PATCH", "DELETE"] = "GET"  # noqa: N815 - the wire's name


class Envelope(BaseModel):
    """A request in a request. Source: `single-route-helpers.ts` of `@copilotkit/runtime`."""

    method: str
    params: Params = Params()
    body: Any = None

    def request(self) -> tuple[str, str]:
        """Its method, and its path behind the runtime's own, encoded. Raises `NotFound` or `MalformedBody`."""
        agent, thread = quote(self.params.agentId, safe=""), quote(self.params.threadId, safe="")
        match self.method:
            case "info":
                return "GET", "/info"
            case "agent/run" | "agent/connect" | "agent/suggest":
                return "POST", f"/agent/{agent}/{self.method.removeprefix('agent/')}"
            case "agent/stop":
                return "POST", f"/agent/{agent}/stop/{thread}"
            case "transcribe":
                return "POST", "/transcribe"
            case "resource/request":
                if not self.params.path.startswith(("/threads/", "/threads?")) and self.params.path != "/threads":
                    raise NotFound
                return self.params.httpMethod, self.params.path
            case _:
                msg = f"method: There is no {self.method[:40]!r} here."
                raise MalformedBody(msg)


class _Passed:
    """A response that another request's is."""

    def __init__(self, app: Router, scope: Scope, body: bytes) -> None:
        self._app = app
        self._scope = scope
        self._body: bytes | None = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        async def body_first() -> Message:
            body, self._body = self._body, None
            if body is None:
                return await receive()
            return {"type": "http.request", "body": body, "more_body": False}

        try:
            await self._app(self._scope, body_first, send)
        except HTTPException as error:
            # Inside of a route, Starlette itself would answer what a router raises, in plain text.
            raise as_gateway_error(error) from error


def single(path: str, routes: Sequence[BaseRoute], services: Services) -> list[Route]:
    """The endpoint in front of the routes of a runtime at that path, with and without a slash at its end."""
    router = Router(routes, redirect_slashes=False)  # a redirect would repeat the envelope elsewhere

    async def pass_on(request: Request) -> Any:
        is_large = await check_size(request, services)
        envelope = await json_body(request, Envelope)
        if is_large and envelope.method != "transcribe":
            raise BodyTooLarge
        method, sent = envelope.request()
        sent, _, query = f"{request.scope.get('root_path', '')}{path}{sent}".partition("?")
        scope = {
            **request.scope,
            "method": method,
            "path": unquote(sent),
            "raw_path": quote(sent, safe=SENT).encode(),
            "query_string": quote(query, safe=SENT).encode(),
        }
        return _Passed(router, scope, await _written(request, envelope.body))

    return [Route(path, pass_on, methods=["POST"]), Route(f"{path}/", pass_on, methods=["POST"])]


async def _written(request: Request, body: Any) -> bytes:
    """The inner body, written again; a large one off the loop (law 9)."""
    if body is None:
        return b""
    return to_json(body) if len(await request.body()) < LARGE else await asyncio.to_thread(to_json, body)

"""One agent on one wire: request in, stream of frames out. The gateway's routes and the mountable apps share it.

Order of refusals: media type, body, size of the prompt, names of client tools, the agent's own rate, the thread's run;
then the run starts, and everything that goes wrong from there on is told inside the stream.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.errors import AgentNotFound, BadRequest, CrossSite, MalformedBody, PromptTooLong, UnsupportedMediaType
from gateway.registry import tools_of
from gateway.runs import RunRequest
from gateway.sse import EventStreamResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from gateway.auth import Principal
    from gateway.config import ServerSettings
    from gateway.limits import RateLimiter
    from gateway.manager import RunManager
    from gateway.registry import AgentEntry, Registry
    from gateway.streams import StreamInfo
    from gateway.wires import Turn, Wire

MAX_IDEMPOTENCY_KEY = 255
"""Characters."""

LARGE = 100_000
"""Bytes of a body that is not parsed on the event loop, where it would hold up every stream."""


@dataclass(frozen=True)
class Services:
    """What runs need and agents share; owned by the app."""

    runs: RunManager
    server: ServerSettings
    """`max_prompt_chars`, `heartbeat` and `max_stream_seconds`."""
    limiter: RateLimiter
    allowed_origins: Sequence[str] = ()
    """Origins of pages that may send requests without a body."""


class AgentEndpoint:
    """Answers a wire's requests for any agent of a gateway, or for the one agent of a mounted app."""

    def __init__(self, wire: Wire, services: Services) -> None:
        self.wire = wire
        self._services = services

    async def respond(self, request: Request, entry: AgentEntry, principal: Principal) -> Response:
        """Start a run of `entry` for `principal`, or join the one that the same request started, and stream it."""
        check_media_type(request)
        return await self.answer(request, await request.body(), entry, principal)

    async def answer(
        self, request: Request, body: bytes, entry: AgentEntry, principal: Principal, asked: str | None = None
    ) -> Response:
        """The same for a body from elsewhere; `asked` is what the reader asks for, if the body does not say it."""
        turn = await self._read(body, entry)
        self._check(turn, entry)
        # Counted here, because only here the agent is known.
        field = await self._services.limiter.check("agent", entry.id)
        repeat_key = _idempotency_key(request) or turn.request_id
        info = await self._services.runs.start(RunRequest(entry, self.wire, turn, principal, repeat_key))
        response = stream(self._services, self.wire, info, asked=turn.dialect if asked is None else asked)
        if field:
            response.headers["ratelimit"] = field
        return response

    async def resume(self, request: Request, entry: AgentEntry, principal: Principal) -> Response:
        """The run that goes on on the thread `chat_id`, from its first frame; 204 when there is none."""
        chat_id = request.path_params["chat_id"]
        info = await self._services.runs.find_running(entry.id, self.wire.surface, chat_id, principal)
        return stream(self._services, self.wire, info) if info else Response(status_code=204)

    async def stop(self, request: Request, entry: AgentEntry, principal: Principal) -> Response:
        """Stop the run that goes on on the thread `chat_id`: `{"stopped": ...}`."""
        refuse_cross_site(request, self._services.allowed_origins)
        chat_id = request.path_params["chat_id"]
        info = await self._services.runs.find_running(entry.id, self.wire.surface, chat_id, principal)
        return JSONResponse({"stopped": info is not None and await self._services.runs.cancel(info)})

    async def _read(self, body: bytes, entry: AgentEntry) -> Turn:
        if len(body) < LARGE:
            return self.wire.read(body, entry.history)
        return await asyncio.to_thread(self.wire.read, body, entry.history)

    def _check(self, turn: Turn, entry: AgentEntry) -> None:
        if turn.prompt_chars > self._services.server.max_prompt_chars:
            msg = f"The message is too long: at most {self._services.server.max_prompt_chars} characters."
            raise PromptTooLong(msg)
        if turn.client_tools:
            taken = turn.client_tools & {tool.name for tool in tools_of(entry.agent)}
            if taken:
                msg = f"The agent has a tool of that name already: {', '.join(sorted(taken))}."
                raise MalformedBody(msg)


def agent_routes(wire: Wire, registry: Registry, services: Services, *, resumable: bool = False) -> list[BaseRoute]:
    """A surface's routes, for every agent that the caller may use and that offers the surface."""
    endpoint = AgentEndpoint(wire, services)

    def find(request: Request) -> AgentEntry:
        entry = registry.find(request.path_params["agent"], request.user)
        if wire.surface not in entry.surfaces:
            raise AgentNotFound
        return entry

    async def run(request: Request) -> Response:
        return await endpoint.respond(request, find(request), request.user)

    async def resume(request: Request) -> Response:
        return await endpoint.resume(request, find(request), request.user)

    async def stop(request: Request) -> Response:
        return await endpoint.stop(request, find(request), request.user)

    path = f"/agents/{{agent}}/{wire.surface}"
    routes: list[BaseRoute] = [Route(path, run, methods=["POST"], name=wire.surface)]
    if resumable:
        # A chat's id is the client's, and may hold an encoded slash: hence `:path`.
        routes += [
            Route(f"{path}/{{chat_id:path}}/stream", resume, methods=["GET"]),
            Route(f"{path}/{{chat_id:path}}/stop", stop, methods=["POST"]),
        ]
    return routes


def stream(
    services: Services, wire: Wire, info: StreamInfo, *, after: int = 0, asked: str | None = None
) -> EventStreamResponse:
    """The response that reads a run from the frame behind `after` on, as the reader asks for it, or as recorded."""
    framing = wire.framing(info.run_id, info.dialect, info.dialect if asked is None else asked)
    headers = {
        "x-run-id": info.run_id,
        # The thread id is the client's: quoted, so that it cannot end the header line.
        "x-thread-id": quote(info.thread_id, safe="!#$&'()*+,/:;=?@[]~ "),
    }
    return EventStreamResponse(
        services.runs.read(info.run_id, after, framing),
        headers=headers,
        framing=framing,
        heartbeat=services.server.heartbeat,
        cut_after=services.server.max_stream_seconds,
    )


def refuse_cross_site(request: Request, allowed_origins: Sequence[str]) -> None:
    """Law 13: a request that changes something must not be one that a foreign page can send without asking.

    A JSON body is asked for by a preflight. Without a body it is for the headers that only a browser can set to tell.
    """
    origin = request.headers.get("origin")
    if origin is None:
        if request.headers.get("sec-fetch-site") == "cross-site":
            raise CrossSite
    elif not {origin, "*"} & set(allowed_origins) and origin != f"{request.url.scheme}://{request.url.netloc}":
        raise CrossSite


def check_media_type(request: Request) -> None:
    """Law 13: JSON is what a foreign page cannot send without asking. Raises `UnsupportedMediaType`."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType


def _idempotency_key(request: Request) -> str:
    key = request.headers.get("idempotency-key", "")
    if len(key) > MAX_IDEMPOTENCY_KEY:
        msg = f"An Idempotency-Key may have {MAX_IDEMPOTENCY_KEY} characters."
        raise BadRequest(msg)
    return f"key:{key}" if key else ""

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

from gateway.errors import (
    AgentNotFound,
    BadRequest,
    CrossSite,
    MalformedBody,
    PromptTooLong,
    UnsuitableAgent,
    UnsupportedMediaType,
)
from gateway.registry import tools_of
from gateway.runs import RunRequest
from gateway.sse import EventStreamResponse
from gateway.stops import Stop, signal_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from gateway.auth import Principal
    from gateway.config import ServerSettings
    from gateway.limits import RateLimiter
    from gateway.manager import RunManager
    from gateway.registry import AgentEntry, Registry
    from gateway.speech import Speech
    from gateway.streams import StreamInfo
    from gateway.wires import Turn, Wire

    Asked = Callable[[Request], str | None]
    """A request -> what its reader asks for; none for what the body says."""

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
    speech: Speech | None = None
    """Voice input, if there is any."""


@dataclass(frozen=True)
class Begun:
    """A run that was asked for."""

    info: StreamInfo
    dialect: str
    """What its client understands, if the body said so."""
    headers: Mapping[str, str]
    """For the response."""
    taken_up: bool
    """Whether its client can go on reading after a response that breaks off."""


class AgentEndpoint:
    """Answers a wire's requests for any agent of a gateway, or for the one agent of a mounted app."""

    def __init__(self, wire: Wire, services: Services, asked: Asked | None = None) -> None:
        self.wire = wire
        self._services = services
        self._asked = asked or _nothing

    async def respond(self, request: Request, entry: AgentEntry, principal: Principal) -> Response:
        """Start a run of `entry` for `principal`, or join the one that the same request started, and stream it."""
        check_media_type(request)
        asked = self._asked(request)
        return await self.answer(request, await request.body(), entry, principal, asked)

    async def answer(
        self, request: Request, body: bytes, entry: AgentEntry, principal: Principal, asked: str | None = None
    ) -> Response:
        """The same for a body from elsewhere; `asked` is what the reader asks for, if the body does not say it."""
        begun = await self.begin(request, body, entry, principal)
        asked = begun.dialect if asked is None else asked
        response = stream(self._services, self.wire, begun.info, asked=asked, taken_up=begun.taken_up)
        response.headers.update(begun.headers)
        return response

    async def begin(self, request: Request, body: bytes, entry: AgentEntry, principal: Principal) -> Begun:
        """Start a run of `entry`, or find the one that the same request started."""
        turn = await self._read(body, entry)
        self._check(turn, entry)
        # Counted here, because only here the agent is known.
        field = await self._services.limiter.check("agent", entry.id)
        repeat_key = _idempotency_key(request) or turn.repeat_key
        asked = RunRequest(entry, self.wire, turn, principal, repeat_key)
        info = await self._services.runs.start(asked)
        taken_up = asked.continues and self.wire.resumes
        return Begun(info, turn.dialect, {"ratelimit": field} if field else {}, taken_up)

    async def resume(self, request: Request, entry: AgentEntry, principal: Principal) -> Response:
        """The run that goes on on the thread `chat_id`, from its first frame; 204 when there is none."""
        chat_id, asked = request.path_params["chat_id"], self._asked(request)
        info = await self._services.runs.find_running(entry.id, self.wire.surface, chat_id, principal)
        if info is None:
            return Response(status_code=204)
        goes_on = entry.on_disconnect.for_surface(self.wire.surface) == "continue"
        return stream(self._services, self.wire, info, asked=asked, taken_up=goes_on)

    async def stop(self, request: Request, entry: AgentEntry, principal: Principal) -> Response:
        """Stop the run that goes on on the thread `chat_id`: `{"stopped": ...}`."""
        refuse_cross_site(request, self._services.allowed_origins)
        place = (entry.id, self.wire.surface)
        asked = Stop(
            principal.scope,
            request.path_params["chat_id"],
            is_meant=lambda run: (run.agent, run.surface) == place,
            unbegun=signal_for(*place),
        )
        return JSONResponse({"stopped": await self._services.runs.stops.on_thread(asked)})

    async def _read(self, body: bytes, entry: AgentEntry) -> Turn:
        if len(body) < LARGE:
            return self.wire.read(body, entry.history)
        return await asyncio.to_thread(self.wire.read, body, entry.history)

    def _check(self, turn: Turn, entry: AgentEntry) -> None:
        most = self._services.server.max_prompt_chars
        for what, chars in (
            ("The message is", turn.prompt_chars),
            ("What is said of the client's tools is", turn.tool_chars),
        ):
            if chars > most:
                msg = f"{what} too long: at most {most} characters."
                raise PromptTooLong(msg)
        if turn.client_tools:
            taken = turn.client_tools & {tool.name for tool in tools_of(entry.agent)}
            if taken:
                msg = f"The agent has a tool of that name already: {', '.join(sorted(taken))}."
                raise MalformedBody(msg)


def _nothing(_request: Request) -> None:
    """For readers that say in the body what they understand."""


def offered(wire: Wire, registry: Registry, request: Request) -> AgentEntry:
    """The agent of a request, which offers the wire's surface to the caller. Raises `AgentNotFound`."""
    entry = registry.find(request.path_params["agent"], request.user)
    if wire.surface not in entry.surfaces:
        raise AgentNotFound
    return entry


def suitable(entry: AgentEntry, form: str) -> AgentEntry:
    """The agent, if it answers in that form. Raises `UnsuitableAgent`."""
    if form == "text" and not entry.answers_in_text:
        msg = "This agent answers in structured output, not in text: ask it for `output`."
        raise UnsuitableAgent(msg)
    if form in ("output", "object") and not entry.answers_in_data:
        msg = "This agent answers in text, not in structured output: ask it for `text`."
        raise UnsuitableAgent(msg)
    return entry


def agent_routes(endpoint: AgentEndpoint, registry: Registry, *, resumable: bool = False) -> list[BaseRoute]:
    """A surface's routes, for every agent that the caller may use and that offers the surface."""
    wire = endpoint.wire

    async def run(request: Request) -> Response:
        return await endpoint.respond(request, offered(wire, registry, request), request.user)

    async def resume(request: Request) -> Response:
        return await endpoint.resume(request, offered(wire, registry, request), request.user)

    async def stop(request: Request) -> Response:
        return await endpoint.stop(request, offered(wire, registry, request), request.user)

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
    services: Services, wire: Wire, info: StreamInfo, *, after: int = 0, asked: str | None = None, taken_up: bool = True
) -> EventStreamResponse:
    """The response that reads a run from the frame behind `after` on, as the reader asks for it, or as recorded.

    It lasts for `server.max_stream_seconds` at most, if it is `taken_up` where it has broken off.
    """
    framing = wire.framing(info.run_id, info.dialect, info.dialect if asked is None else asked)
    return EventStreamResponse(
        services.runs.read(info.run_id, after, framing),
        headers=run_headers(info),
        framing=framing,
        heartbeat=services.server.heartbeat,
        cut_after=services.server.max_stream_seconds if taken_up else None,
    )


def run_headers(info: StreamInfo) -> dict[str, str]:
    """Headers that name the run and its thread."""
    # The thread id is the client's: quoted, so that it cannot end the header line.
    return {"x-run-id": info.run_id, "x-thread-id": quote(info.thread_id, safe="!#$&'()*+,/:;=?@[]~ ")}


def refuse_cross_site(request: Request, allowed_origins: Sequence[str]) -> None:
    """Law 13: a request that changes something must not be one that a foreign page can send without asking.

    A JSON body is asked for by a preflight. Without a body it is for the headers that only a browser can set to tell.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if site == "same-origin":
        return  # also where a proxy has made another host or scheme of it
    if origin is None:
        if site == "cross-site":
            raise CrossSite
    elif not {origin, "*"} & set(allowed_origins) and origin != f"{request.url.scheme}://{request.url.netloc}":
        raise CrossSite


def check_media_type(request: Request) -> None:
    """Law 13: JSON is what a foreign page cannot send without asking. Raises `UnsupportedMediaType`."""
    if not says_json(request):
        raise UnsupportedMediaType


def says_json(request: Request) -> bool:
    """Whether the request says that its body is JSON, which a browser asks for first."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def _idempotency_key(request: Request) -> str:
    key = request.headers.get("idempotency-key", "")
    if len(key) > MAX_IDEMPOTENCY_KEY:
        msg = f"An Idempotency-Key may have {MAX_IDEMPOTENCY_KEY} characters."
        raise BadRequest(msg)
    return f"key:{key}" if key else ""

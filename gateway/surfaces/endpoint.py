"""One agent on one wire: request in, stream of frames out. The gateway's routes and the mountable apps share it.

Order of refusals: media type, body, size of the prompt, names of client tools, the agent's own rate; then the run
starts, and everything that goes wrong from there on is told inside the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.routing import Route

from gateway.errors import AgentNotFound, MalformedBody, PromptTooLong, UnsupportedMediaType
from gateway.registry import tools_of
from gateway.runs import Run
from gateway.sse import EventStreamResponse

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.auth import Principal
    from gateway.config import ServerSettings
    from gateway.limits import RateLimiter
    from gateway.registry import AgentEntry, Registry
    from gateway.stores import Store
    from gateway.wires import Turn, Wire


@dataclass(frozen=True)
class Services:
    """What runs need and agents share; owned by the app."""

    store: Store
    server: ServerSettings
    """`max_prompt_chars` and `heartbeat`."""
    limiter: RateLimiter


class AgentEndpoint:
    """Answers a wire's requests for any agent of a gateway, or for the one agent of a mounted app."""

    def __init__(self, wire: Wire, services: Services) -> None:
        self._wire = wire
        self._services = services

    async def respond(self, request: Request, entry: AgentEntry, principal: Principal) -> EventStreamResponse:
        """Start a run of `entry` for `principal` and return the response that streams it."""
        _check_media_type(request)
        turn = self._wire.read(await request.body())
        self._check(turn, entry)
        headers = {**self._wire.headers}
        # Counted here, because only here the agent is known.
        if field := await self._services.limiter.check("agent", entry.id):
            headers["ratelimit"] = field
        run = Run(entry, self._wire, turn, principal)
        frames = await run.start(self._services.store)
        # The thread id is the client's: quoted, so that it cannot end the header line.
        headers |= {"x-run-id": run.id, "x-thread-id": quote(turn.thread_id, safe="!#$&'()*+,/:;=?@[]~ ")}
        return EventStreamResponse(frames, headers=headers, heartbeat=self._services.server.heartbeat)

    def _check(self, turn: Turn, entry: AgentEntry) -> None:
        if turn.prompt_chars > self._services.server.max_prompt_chars:
            msg = f"The message is too long: at most {self._services.server.max_prompt_chars} characters."
            raise PromptTooLong(msg)
        if turn.client_tools:
            taken = turn.client_tools & {tool.name for tool in tools_of(entry.agent)}
            if taken:
                msg = f"The agent has a tool of that name already: {', '.join(sorted(taken))}."
                raise MalformedBody(msg)


def agent_route(wire: Wire, registry: Registry, services: Services) -> Route:
    """`POST /agents/{agent}/<surface>` for every agent that the caller may use and that offers the surface."""
    endpoint = AgentEndpoint(wire, services)

    async def run(request: Request) -> Response:
        entry = registry.find(request.path_params["agent"], request.user)
        if wire.surface not in entry.surfaces:
            raise AgentNotFound
        return await endpoint.respond(request, entry, request.user)

    return Route(f"/agents/{{agent}}/{wire.surface}", run, methods=["POST"], name=wire.surface)


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType

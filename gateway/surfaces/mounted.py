"""A single agent as an ASGI app, to mount in any Starlette or FastAPI app.

Hosts do not forward their lifespan to a mounted app, so nothing here depends on one: the agent opens at the first
request, in a task of its own. A host that wants an orderly end enters `app.lifespan` in its own lifespan.
"""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypedDict

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from gateway import mcp_servers
from gateway.auth import ANONYMOUS, Principal
from gateway.config import ServerSettings, StoreSettings, StreamSettings
from gateway.errors import Unauthenticated
from gateway.limits import RateLimiter
from gateway.manager import RunManager
from gateway.middleware import BodyLimit, Problems, RequestId
from gateway.registry import AgentEntry
from gateway.routing import Around
from gateway.surfaces.endpoint import AgentEndpoint, Services

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.usage import UsageLimits
    from starlette.authentication import BaseUser
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.config import McpAppsSettings
    from gateway.stores import Store
    from gateway.surfaces.endpoint import Asked
    from gateway.wires import Wire

    Caller = Principal | str | None
    Respond = Callable[[Request, AgentEntry, Principal], Awaitable[Response]]
    FindCaller = Callable[[Request], Caller | Awaitable[Caller]]


HANDED_ON = ("timeout", "usage_limits", "mcp_apps")


class MountOptions(TypedDict, total=False):
    """What `to_ag_ui` and `to_vercel_ai` take besides the agent; defaults are the gateway's."""

    principal: FindCaller
    """`(request) -> Principal | subject | None`, sync or async. None (or an empty subject) is a 401. Without it:
    `request.user` where the host authenticates, else one anonymous owner."""
    deps: Callable[[Principal], Any]
    """`(principal) -> deps`, sync or async, called for each run."""
    timeout: float
    """Seconds that one run may take."""
    usage_limits: UsageLimits
    """What one run may use."""
    capabilities: Sequence[AbstractCapability[Any]]
    """pydantic-ai capabilities to add to each run."""
    mcp_apps: McpAppsSettings
    """What pages of MCP Apps may ask (`to_ag_ui`)."""
    store: Store
    """Where threads are kept; give two apps the same one to share threads between them. In memory when left out."""
    server: ServerSettings
    """`max_body_bytes`, `max_prompt_chars` and `heartbeat` are used."""


class AgentApp(Starlette):
    """One agent on one wire. Answers POST at every path below its mount point."""

    def __init__(
        self,
        wire: Wire,
        agent: AbstractAgent[Any, Any],
        options: MountOptions,
        *,
        resumable: bool = False,
        asked: Asked | None = None,
        endpoint: type[AgentEndpoint] = AgentEndpoint,
    ) -> None:
        server = options.get("server") or ServerSettings()
        self._entry = _entry(agent, options)
        self._principal = options.get("principal")
        self._runs = RunManager.from_config(StoreSettings(), StreamSettings(), store=options.get("store"))
        services = Services(self._runs, server, RateLimiter([]))
        self._endpoint = endpoint(wire, services, asked)
        # Around a mount of its own, as in `app.py`: a Starlette app's middleware never sees what its router raises.
        middleware = [
            Middleware(RequestId),
            Middleware(Problems),
            Middleware(BodyLimit, max_bytes=server.max_body_bytes),
        ]
        routes = [Route("/{rest:path}", self._answer(self._endpoint.respond), methods=["POST"])]
        if resumable:
            resume, stop = self._answer(self._endpoint.resume), self._answer(self._endpoint.stop)
            routes.insert(0, Route("/{chat_id:path}/stream", resume, methods=["GET"]))
            routes.insert(1, Route("/{chat_id:path}/stop", stop, methods=["POST"]))
        super().__init__(routes=[Around(routes=routes, middleware=middleware)], lifespan=self.lifespan)

    @asynccontextmanager
    async def lifespan(self, _host: Starlette | None = None) -> AsyncGenerator[None]:
        """Open the agent early, and close it in order. For the lifespan of the host; optional."""
        self._runs.open()
        self._entry.lifetime.open()
        try:
            yield
        finally:
            await self._runs.close()
            await self._entry.lifetime.close()

    def _answer(self, respond: Respond) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return await respond(request, self._entry, await _caller(request, self._principal))

        return answer


def _entry(agent: AbstractAgent[Any, Any], options: MountOptions) -> AgentEntry:
    given: dict[str, Any] = {name: value for name, value in options.items() if name in HANDED_ON}
    capabilities = tuple(options.get("capabilities", ()))
    if pages := options.get("mcp_apps"):
        mcp_servers.check(pages.servers, mcp_servers.toolsets_of(agent, capabilities), "mcp_apps")
    return AgentEntry(
        id=agent.name or "agent",
        agent=agent,
        make_deps=options.get("deps"),
        capabilities=capabilities,
        **given,
    )


async def _caller(request: Request, find: FindCaller | None) -> Principal:
    """Who is calling a mounted app, as its host says it."""
    if find is None:
        user = request.scope.get("user")
        if isinstance(user, Principal):
            return user
        return Principal(_subject(user)) if user is not None and user.is_authenticated else ANONYMOUS
    found = find(request)
    caller = await found if inspect.isawaitable(found) else found
    if not caller:
        raise Unauthenticated
    return Principal(caller) if isinstance(caller, str) else caller


def _subject(user: BaseUser) -> str:
    """What tells the host's users apart: two may share a display name, but Starlette's `SimpleUser` has no more."""
    try:
        return str(user.identity)
    except (AttributeError, NotImplementedError):
        return user.display_name

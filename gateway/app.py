"""The composition root: a config -> an ASGI app. Middleware and routes are the lists below, outermost first."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from itertools import chain
from typing import TYPE_CHECKING, NoReturn

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway import openapi
from gateway.auth import Credentials
from gateway.errors import Unauthenticated
from gateway.limits import RateLimiter
from gateway.manager import RunManager
from gateway.middleware import (
    AccessLog,
    AddressLimit,
    BodyLimit,
    Origins,
    PrincipalLimit,
    Problems,
    RequestId,
    TrustedHosts,
)
from gateway.registry import Registry
from gateway.retention import keep_sweeping
from gateway.routing import Around
from gateway.speech import Speech
from gateway.surfaces import ag_ui, agents, copilotkit, health, native, threads, vercel_ai
from gateway.surfaces import runs as run_routes
from gateway.surfaces.copilotkit.transcribe import body_limits
from gateway.surfaces.endpoint import Services

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.authentication import AuthenticationError
    from starlette.requests import HTTPConnection
    from starlette.routing import BaseRoute

    from gateway.config import CorsSettings, GatewayConfig, ServerSettings

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")

RESPONSE_HEADERS = ("x-run-id", "x-thread-id", "x-request-id", "location", "retry-after", "ratelimit")
"""Response headers that a page may read."""


def create_app(config: GatewayConfig) -> Starlette:
    """Build every agent and wire the gateway together. Raises `ConfigError` with all agents that do not build."""
    registry = Registry.build(config)
    limiter = RateLimiter(config.limits, config.stores.limits)
    runs = RunManager.from_config(config.stores, config.streams, config.threads)
    speech = Speech(config.speech) if config.speech else None
    services = Services(runs, config.server, limiter, config.cors.allow_origins, speech)
    app = Starlette(
        routes=[
            *health.routes(registry, runs),
            Around(routes=_guarded(config, registry, services), middleware=_guards(config, limiter)),
        ],
        middleware=_observers(config.server),
        lifespan=lambda _app: _lifespan(registry, services, config.threads.keep_days),
    )
    app.state.registry = registry  # for `gateway check`, which says what would be served
    app.state.runs = runs  # for the server, which drains them before it closes its listeners
    return app


def _guarded(config: GatewayConfig, registry: Registry, services: Services) -> list[BaseRoute]:
    routes = _routes(config, registry, services)
    return [*openapi.routes(config.auth), Around(routes=routes, middleware=_callers(config, services.limiter))]


def _routes(config: GatewayConfig, registry: Registry, services: Services) -> list[BaseRoute]:
    return [
        *agents.routes(registry),
        *ag_ui.routes(registry, services),
        *vercel_ai.routes(registry, services),
        *chain.from_iterable(copilotkit.routes(registry, services, runtime) for runtime in config.copilotkit),
        *native.routes(registry, services),
        *run_routes.routes(services),
        *threads.routes(services),
    ]


def _observers(server: ServerSettings) -> list[Middleware]:
    """Around every request, probes included."""
    return [
        Middleware(ProxyHeadersMiddleware, trusted_hosts=server.trusted_proxies),
        Middleware(RequestId),
        Middleware(AccessLog),
    ]


def _guards(config: GatewayConfig, limiter: RateLimiter) -> list[Middleware]:
    """Around everything but the probes."""
    return [
        Middleware(TrustedHosts, allowed=_allowed_hosts(config.server)),
        _cors(config.cors),  # outside auth, so that a page can read a 401
        # Inside CORS, so that a page can read every error.
        Middleware(Problems, runtimes=[runtime.path for runtime in config.copilotkit]),
        Middleware(AddressLimit, limiter=limiter),  # before auth, so that guessing keys is limited
    ]


def _callers(config: GatewayConfig, limiter: RateLimiter) -> list[Middleware]:
    """Around everything that asks who is calling: not the document, which a browser reads without credentials."""
    return [
        Middleware(BodyLimit, max_bytes=config.server.max_body_bytes, larger=body_limits(config)),
        Middleware(AuthenticationMiddleware, backend=Credentials.from_config(config), on_error=_unauthenticated),
        Middleware(PrincipalLimit, limiter=limiter),
    ]


def _allowed_hosts(server: ServerSettings) -> tuple[str, ...]:
    """A loopback bind answers loopback names only, or a page could reach it by rebinding its own name (law 13)."""
    return tuple(server.allowed_hosts) or (LOOPBACK_HOSTS if server.loopback else ("*",))


def _cors(settings: CorsSettings) -> Middleware:
    return Middleware(
        Origins,
        allow_origins=settings.allow_origins,
        allow_credentials=settings.allow_credentials,
        allow_methods=("GET", "POST", "PATCH", "DELETE"),
        # Of its own too, such as `headers` of CopilotKit's provider: the origin decides, and no header adds rights.
        allow_headers=("*",),
        expose_headers=RESPONSE_HEADERS,
    )


def _unauthenticated(_conn: HTTPConnection, _error: AuthenticationError) -> NoReturn:
    raise Unauthenticated


@asynccontextmanager
async def _lifespan(registry: Registry, services: Services, keep_days: float | None) -> AsyncGenerator[None]:
    """Open the agents side by side, and wait for none: a server that hangs must not keep the others from serving."""
    runs, speech = services.runs, services.speech
    await runs.threads.store.open()
    runs.open()
    lifetimes = [entry.lifetime for entry in registry.entries.values()]
    for lifetime in lifetimes:
        lifetime.open()
    if speech:
        speech.open()
    sweeping = asyncio.create_task(keep_sweeping(runs.threads.store, runs, keep_days))
    try:
        yield
    finally:
        sweeping.cancel()
        await runs.close()
        await runs.threads.store.close()
        if speech:
            await speech.close()
        await asyncio.gather(*(lifetime.close() for lifetime in lifetimes))

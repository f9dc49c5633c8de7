"""`GET /healthz` (the process answers) and `GET /readyz` (it can serve).

Outside of hosts, auth and limits: a probe brings none of them, and learns nothing but yes or no.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from gateway.routing import Before

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from gateway.manager import RunManager
    from gateway.registry import Registry


def routes(registry: Registry, runs: RunManager) -> list[BaseRoute]:
    """The probes."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        """200 as long as one agent serves: a single broken toolset must not take the others off the address."""
        if runs.draining:
            return JSONResponse({"status": "draining"}, 503)
        ready = sum(entry.lifetime.is_ready for entry in registry.entries.values())
        total = len(registry.entries)
        status = "ready" if ready == total else "degraded" if ready else "unready"
        return JSONResponse({"status": status, "agents": {"ready": ready, "total": total}}, 200 if ready else 503)

    return [Before("/healthz", healthz, methods=["GET"]), Before("/readyz", readyz, methods=["GET"])]

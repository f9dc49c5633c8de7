"""`/runs/{run_id}`: how a run stands, its frames from any number on, and stopping it. For every surface."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.errors import NotFound
from gateway.streams import RUNNING
from gateway.surfaces.endpoint import refuse_cross_site, stream
from gateway.surfaces.readers import left_off, media_type_asked
from gateway.wires.ag_ui import AgUi
from gateway.wires.ag_ui.copilotkit import CopilotKit
from gateway.wires.native import Native
from gateway.wires.vercel_ai import VercelAi

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from gateway.surfaces.endpoint import Services
    from gateway.wires import Wire

WIRES: dict[str, Wire] = {wire.surface: wire for wire in (AgUi(), VercelAi(), CopilotKit(), Native())}


def routes(services: Services) -> list[BaseRoute]:
    """The routes of runs. A foreign run gets the answer of one that never was."""

    async def read(request: Request) -> Response:
        info, ending = await services.runs.find(request.path_params["run_id"], request.user)
        return JSONResponse(
            {
                "id": info.run_id,
                "agent": info.agent,
                "surface": info.surface,
                "thread_id": info.thread_id,
                "status": "running" if ending == RUNNING else ending,
                "started_at": datetime.fromtimestamp(info.started_at, UTC).isoformat(timespec="milliseconds"),
                "stream": str(request.url_for("run_stream", run_id=info.run_id)),
            }
        )

    async def resume(request: Request) -> Response:
        info, _ = await services.runs.find(request.path_params["run_id"], request.user)
        run_id, after = left_off(request)
        if run_id not in ("", info.run_id):
            raise NotFound
        asked = request.query_params.get("protocolVersion") or media_type_asked(request) or None
        return stream(services, WIRES[info.surface], info, after=after, asked=asked)

    async def cancel(request: Request) -> Response:
        refuse_cross_site(request, services.allowed_origins)
        info, ending = await services.runs.find(request.path_params["run_id"], request.user)
        # A run that has ended may still hold its thread, for a tool that does not give way.
        return JSONResponse({"stopped": ending == RUNNING and await services.runs.stops.cancel(info)})

    return [
        Route("/runs/{run_id}", read, methods=["GET"], name="run"),
        Route("/runs/{run_id}/stream", resume, methods=["GET"], name="run_stream"),
        Route("/runs/{run_id}/cancel", cancel, methods=["POST"], name="run_cancel"),
    ]

"""`python -m benchmarks.plain PORT`: the same agent as pydantic-ai's documentation serves it, on uvicorn at its best.

No authentication, no limits, no store, no log.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import uvicorn
from pydantic_ai.ui.ag_ui import AGUIAdapter
from pydantic_ai.ui.vercel_ai import VercelAIAdapter
from starlette.applications import Starlette
from starlette.routing import Route

from benchmarks.model import agent

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def ag_ui(request: Request) -> Response:
    return await AGUIAdapter.dispatch_request(request, agent=agent)


async def vercel_ai(request: Request) -> Response:
    return await VercelAIAdapter.dispatch_request(request, agent=agent, sdk_version=7)


app = Starlette(
    routes=[
        Route("/ag-ui", ag_ui, methods=["POST"]),
        Route("/vercel-ai", vercel_ai, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    port = int(sys.argv[1])
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")

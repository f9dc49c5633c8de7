"""`GET /openapi.json` and `GET /docs`, where `GET /` leads a browser: what the routes of a gateway take and answer.

Starlette has no generator: what is said of each operation stands in a table for its noun, as data, and the document is
made of those that the app really has routes for. It is the same for every caller and names no agent, so that it may be
read without credentials, as a page in a browser must be.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic_core import to_json
from starlette.responses import HTMLResponse, RedirectResponse, Response

from gateway.errors import NotFound
from gateway.openapi import document, page
from gateway.routing import Before

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from gateway.config import AuthSettings


def routes(auth: AuthSettings) -> list[BaseRoute]:
    """The routes of the document. It is made when it is first asked for."""

    @lru_cache(maxsize=4)
    def written(app: Starlette, root_path: str) -> tuple[bytes, str]:
        made = document.document(app.routes, auth, root_path)
        return to_json(made), page.page(made)

    async def read(request: Request) -> tuple[bytes, str]:
        # Off the loop: pydantic takes a while for the schemas of the protocols.
        return await asyncio.to_thread(written, request.app, request.scope.get("root_path", ""))

    async def openapi(request: Request) -> Response:
        return Response((await read(request))[0], media_type="application/json")

    async def docs(request: Request) -> Response:
        return HTMLResponse((await read(request))[1], headers=page.HEADERS)

    async def home(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            raise NotFound
        return RedirectResponse(f"{request.scope.get('root_path', '')}/docs", headers={"vary": "accept"})

    return [
        Before("/", home, methods=["GET"], include_in_schema=False),
        Before("/openapi.json", openapi, methods=["GET"]),
        Before("/docs", docs, methods=["GET"]),
    ]

"""For readers that speak no front end's protocol: plain streams, whole answers, chats of sessions.

    GET|POST /agents/{agent}/stream/{text|output|responses|events|nodes}
    POST     /agents/{agent}/run
    POST     /agents/{agent}/chat

See `docs/plain-streams.md`. A GET starts a run too, because `EventSource` and `curl` ask that way; so it must not come
from a foreign page (law 13), and with `Last-Event-ID` it only ever goes on.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.errors import MethodNotAllowed, NotFound, RunError, StreamExpired, all_errors
from gateway.streams import RUNNING
from gateway.surfaces.endpoint import (
    AgentEndpoint,
    check_media_type,
    offered,
    refuse_cross_site,
    run_headers,
    stream,
    suitable,
)
from gateway.surfaces.readers import left_off, media_type_asked
from gateway.wires.native import STREAMED, Native
from gateway.wires.native.body import from_query
from gateway.wires.native.framing import lines

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from gateway.registry import AgentEntry, Registry
    from gateway.streams import StreamInfo
    from gateway.surfaces.endpoint import Begun, Services

PLAIN = Native()


def routes(registry: Registry, services: Services) -> list[BaseRoute]:
    """The surface's routes."""
    most = services.server.max_tool_result_chars
    streams = {form: AgentEndpoint(Native(form, max_tool_result_chars=most), services) for form in STREAMED}
    chats, wholes = AgentEndpoint(Native("text", "message"), services), AgentEndpoint(Native("whole"), services)

    def find(request: Request, form: str) -> AgentEntry:
        entry = offered(chats.wire, registry, request)
        return suitable(entry, form)

    async def plain(request: Request) -> Response:
        form = request.path_params["form"]
        if form not in streams:
            raise NotFound
        if request.method == "POST" and "last-event-id" not in request.headers:
            return await _post(request, streams[form], find(request, form))
        if request.method == "HEAD":  # Starlette's routes for GET answer it too
            raise MethodNotAllowed(headers={"Allow": "GET, POST"})
        refuse_cross_site(request, services.allowed_origins)
        if "last-event-id" in request.headers:
            return await _go_on(request, services, find(request, form), form)
        body, asked = from_query(request.query_params), media_type_asked(request)
        return await streams[form].answer(request, body, find(request, form), request.user, asked)

    async def chat(request: Request) -> Response:
        return await _post(request, chats, find(request, "text"))

    async def run(request: Request) -> Response:
        check_media_type(request)
        begun = await wholes.begin(request, await request.body(), find(request, "whole"), request.user)
        return await _whole(request, services, begun)

    return [
        Route("/agents/{agent}/stream/{form}", plain, methods=["GET", "POST"], name="plain_stream"),
        Route("/agents/{agent}/run", run, methods=["POST"], name="native"),
        Route("/agents/{agent}/chat", chat, methods=["POST"], name="chat"),
    ]


async def _post(request: Request, endpoint: AgentEndpoint, entry: AgentEntry) -> Response:
    check_media_type(request)
    return await endpoint.answer(request, await request.body(), entry, request.user, media_type_asked(request))


async def _go_on(request: Request, services: Services, entry: AgentEntry, form: str) -> Response:
    """The rest of a run; 204 when there is none, which keeps an `EventSource` from asking again.

    A run that never was, one of somebody else or of another stream has nothing left either (law 6), nor has one whose
    frames are not kept any more.
    """
    run_id, after = left_off(request)
    try:
        info, ending = await services.runs.find(run_id, request.user)
    except (NotFound, StreamExpired):
        return Response(status_code=204)
    if (info.agent, info.surface, info.dialect) != (entry.id, PLAIN.surface, form):
        return Response(status_code=204)
    rest = stream(services, PLAIN, info, after=after, asked=media_type_asked(request))
    return rest if ending == RUNNING or await _is_more(services, info, after) else Response(status_code=204)


async def _is_more(services: Services, info: StreamInfo, after: int) -> bool:
    """Whether a run that has ended has frames after that number."""
    async with aclosing(services.runs.read(info.run_id, after, lines(info.run_id))) as frames:
        async for _ in frames:
            return True
    return False


async def _whole(request: Request, services: Services, begun: Begun) -> Response:
    """All that a run says, in one document; whoever leaves meanwhile stops it. Raises the run's `RunError`."""
    reading = asyncio.create_task(_read(services, begun.info))
    leaving = asyncio.ensure_future(request.receive())  # nothing is left to receive but the end
    try:
        await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return Response(status_code=204) if leaving.done() and not reading.done() else _answer(await reading, begun)
    finally:
        leaving.cancel()
        reading.cancel()


async def _read(services: Services, info: StreamInfo) -> dict[str, Any]:
    """The last data of each kind of event."""
    said: dict[str, Any] = {}
    async with aclosing(services.runs.read(info.run_id, 0, lines(info.run_id))) as frames:
        async for frame in frames:
            said |= {event["event"]: event["data"] for event in map(from_json, frame.splitlines())}
    return said


def _answer(said: dict[str, Any], begun: Begun) -> Response:
    """The document for what was said. Raises the run's `RunError`."""
    headers = {**begun.headers, **run_headers(begun.info)}
    if error := said.get("error"):
        kind = next((each for each in all_errors(RunError) if each.code == error["code"]), RunError)
        raise kind(error["message"], headers=headers)
    result = said.get("result", {})
    deferred = {"deferred": said["deferred"]} if "deferred" in said else {}
    # Joined to a run that was asked for its text, it finds that alone.
    output = {"output": result["text"]} if "text" in result else result
    text = {"text": output["output"]} if isinstance(output.get("output"), str) else {}
    return JSONResponse({**said["done"], **output, **text, **deferred, "usage": said.get("usage")}, headers=headers)

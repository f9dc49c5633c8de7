"""What the page of an MCP App asks of its server -> the server's answer, if the agent's `mcp_apps` allow it.

What a page is told of a refusal or a failure is a sentence from here: what a server says in its errors goes nowhere,
and is not logged, since it may repeat what the page sent.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import unquote

from pydantic import AfterValidator, AnyUrl, BaseModel, Field, ValidationError

from gateway.mcp_calls import NoServer, NotForPages, opened
from gateway.telemetry import get_logger
from gateway.wires.ag_ui.mcp_apps import answer, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from gateway.auth import Principal
    from gateway.config import McpAppsSettings
    from gateway.mcp_calls import Server
    from gateway.registry import AgentEntry
    from gateway.wires.ag_ui.mcp_apps import AppRequest, Asked

    Json = dict[str, Any]

T = TypeVar("T", bound=BaseModel)

log = get_logger("gateway.mcp_apps")

NO_SERVER = "There is no server of that name here that pages may use."
NO_METHOD = "Pages may not ask that of a server here."
NO_RESOURCE = "Pages may not read that here."
NO_TOOL = "Pages may not call that tool here."
MALFORMED = "The page asked for something that cannot be understood."
FAILED = "The server of this page could not answer."
TOO_LATE = "The server of this page took too long."
TOO_LARGE = "The server of this page answered with too much."

MAX_URI = 8000
"""Characters."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Parsers of URLs drop some of these unseen (WHATWG URL, 4.4), so that `.\\t.` becomes `..`."""


async def answered(asked: Asked, entry: AgentEntry, principal: Principal) -> bytes:
    """The frames of the answer, whatever becomes of the request.

    Raises:
        AgentUnready: the agent's toolsets do not open.
    """
    settings, request = entry.mcp_apps, asked.request
    if settings is None:
        return answer(asked, refusal(request, NO_SERVER))
    await entry.lifetime.ready()
    ending, result = await _Page(settings, entry, principal).ask(request)
    frames = await asyncio.to_thread(answer, asked, result)  # the server says how large it is
    if len(frames) > settings.max_bytes:
        ending, frames = "too_large", answer(asked, refusal(request, TOO_LARGE))
    log.info("mcp_app_answered", agent=entry.id, ending=ending, **_loggable(request, settings))
    return frames


class _Refused(Exception):
    """With the sentence for the page."""


class _ToolCall(BaseModel):
    name: str
    arguments: dict[str, Any] | None = None


def _normal(uri: str) -> str:
    """The URI as the server's client makes it before it is sent (`read_resource_mcp` of fastmcp), with `..` followed.

    Nothing else may be checked. Raises `ValueError` for what is no URI, or has control characters.
    """
    if _CONTROL.search(uri):
        raise ValueError
    return str(AnyUrl(uri))


class _Reading(BaseModel):
    uri: Annotated[str, Field(max_length=MAX_URI), AfterValidator(_normal)]


@dataclass(frozen=True, slots=True)
class _Page:
    """The pages of one agent, in the hands of one caller."""

    settings: McpAppsSettings
    entry: AgentEntry
    principal: Principal

    async def ask(self, request: AppRequest) -> tuple[str, Json]:
        """How it ended, and the result."""
        try:
            async with asyncio.timeout(self.settings.timeout):
                return "answered", await self._result(request)
        except _Refused as refused:
            return "refused", refusal(request, str(refused))
        except NoServer:
            return "refused", refusal(request, NO_SERVER)
        except NotForPages:
            return "refused", refusal(request, NO_TOOL)
        except TimeoutError:
            return "too_late", refusal(request, TOO_LATE)
        except Exception as error:  # noqa: BLE001 - whatever a server, or what the agent puts around it, raises
            log.warning("mcp_app_failed", agent=self.entry.id, error=_kind(error), **_loggable(request, self.settings))
            return "failed", refusal(request, FAILED)

    async def _result(self, request: AppRequest) -> Json:
        if request.server not in self.settings.servers:
            raise _Refused(NO_SERVER)
        if request.method not in self.settings.methods:
            raise _Refused(NO_METHOD)
        match request.method:
            case "tools/call":
                return await self._call(request)
            case "resources/read":
                return await self._read(request)
            case "ping":
                async with self._opened(request) as server:
                    return await server.ping()
            case _:
                # A page's log. Its front end shows it; to a server such a notification means nothing.
                return {"success": True}

    async def _call(self, request: AppRequest) -> Json:
        called = _understood(_ToolCall, request)
        if self.settings.tools is not None and called.name not in self.settings.tools:
            raise _Refused(NO_TOOL)
        async with self._opened(request) as server:
            return await server.call(called.name, called.arguments or {})

    async def _read(self, request: AppRequest) -> Json:
        uri = _understood(_Reading, request).uri
        if not uri.startswith(tuple(self.settings.resources)) or _may_lead_out(uri):
            raise _Refused(NO_RESOURCE)
        async with self._opened(request) as server:
            return await server.read(uri)

    def _opened(self, request: AppRequest) -> AbstractAsyncContextManager[Server]:
        return opened(self.entry, self.principal, request.server)


def _may_lead_out(uri: str) -> bool:
    """Whether a server may find `..` in the path of a normal URI, that it decodes, with control characters dropped."""
    path = unquote(re.split(r"[?#]", uri, maxsplit=1)[0])
    return ".." in re.split(r"[/\\?#]", path) or bool(_CONTROL.search(path))


def _understood(model: type[T], request: AppRequest) -> T:
    try:
        return model.model_validate(request.params)
    except ValidationError:
        raise _Refused(MALFORMED) from None


def _loggable(request: AppRequest, settings: McpAppsSettings) -> dict[str, str]:
    """What of the request may be logged: what the config names too; the rest is the client's own words."""
    allowed = {"server": settings.servers, "method": settings.methods}
    sent = {"server": request.server, "method": request.method}
    return {name: value for name, value in sent.items() if value in allowed[name]}


def _kind(error: BaseException) -> str:
    """The name of an exception; of the first one in a group."""
    inner: Sequence[BaseException] = getattr(error, "exceptions", ())
    return _kind(inner[0]) if inner else f"{type(error).__module__}.{type(error).__qualname__}"

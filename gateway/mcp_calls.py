"""A server of an agent's, opened as in a run of its caller's, but without a run: what a page of an MCP App asks of it.

A page calls a tool through everything that the agent puts around it: toolsets that filter, rename or ask for approval,
and what capabilities do to the tools of a run (`prepare_tools`, `get_wrapper_toolset`). Their hooks of single calls
(`wrap_tool_execute`, ...) and `process_tool_call` are for the model's calls alone, as in pydantic-ai.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from pydantic_ai.capabilities import CombinedCapability
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred
from pydantic_ai.models import Model
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import RunContext
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset, PreparedToolset, WrapperToolset
from pydantic_ai.usage import RunUsage

from gateway.ids import new_id
from gateway.mcp_servers import is_made_for_a_run, servers_in, toolsets_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mcp.types import Tool
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.mcp import MCPToolset
    from pydantic_ai.toolsets import ToolsetTool

    from gateway.auth import Principal
    from gateway.registry import AgentEntry

    Json = dict[str, Any]
    Context = RunContext[Any]
    Toolset = AbstractToolset[Any]

MARK = "gateway.mcp_apps"
"""In the metadata of the tool that a page calls, by which it is known whatever it is renamed to."""

METHOD_NOT_FOUND = -32601
"""JSON-RPC."""


class NoServer(LookupError):
    """The agent has no server of that id, for this caller."""


class NotForPages(Exception):
    """A tool that the agent has not, hides, or has approved; or whose answer it changes."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server while it is open."""

    _server: MCPToolset[Any]
    _toolset: Toolset
    """The agent's own that the server is in."""
    _context: Context

    async def read(self, uri: str) -> Json:
        """MCP's `ReadResourceResult`."""
        return await self._server.read_resource_for_app(uri)

    async def ping(self) -> Json:
        """Nothing, if it is there."""
        from fastmcp.exceptions import McpError  # noqa: PLC0415 - an extra  # pyright: ignore[reportPrivateImportUsage]
        from pydantic_ai.mcp import MCPError  # noqa: PLC0415

        try:
            await self._server.client.ping()
        except McpError as error:
            # Without a session MCP has no ping any more, and who says so is there.
            if MCPError.from_mcp_sdk(error).code != METHOD_NOT_FOUND:
                raise
        return {}

    async def call(self, name: str, arguments: Json) -> Json:
        """MCP's `CallToolResult`, for the server's own name of the tool. Raises `NotForPages`."""
        shown = _Shown(self._server, self._server, name)
        toolset = _as_in_a_run(_replaced(self._toolset, self._server, shown), self._context)
        tools = await toolset.get_tools(self._context)
        called, tool = next(((each, tool) for each, tool in tools.items() if _is_marked(tool)), (name, None))
        if tool is None or tool.tool_def.kind != "function":
            raise NotForPages
        context = replace(self._context, tool_name=called, tool_call_id=new_id())
        try:
            answer = await toolset.call_tool(called, arguments, context, tool)
        except (ApprovalRequired, CallDeferred):
            raise NotForPages from None
        # As pydantic-ai has it with `process_tool_call`: what was changed for the model is not shown unchanged.
        if shown.result is None or answer != shown.result:
            raise NotForPages
        return shown.result


@asynccontextmanager
async def opened(entry: AgentEntry, principal: Principal, server: str) -> AsyncGenerator[Server]:
    """The server of that id, as the caller's runs have it. Raises `NoServer`."""
    context = await _context(entry, principal)
    async with AsyncExitStack() as stack:
        for toolset in _with_server(toolsets_of(entry.agent, entry.capabilities), server):
            made = await stack.enter_async_context(await toolset.for_run(context))
            made = await made.for_run_step(context)
            if found := servers_in(made).get(server):
                yield Server(found, made, context)
                return
    raise NoServer


def _with_server(toolsets: list[Toolset], server: str) -> list[Toolset]:
    """The toolset that has it, or else all that may turn out to; without other parts, which nobody has to open."""
    for toolset in toolsets:
        if wanted := servers_in(toolset).get(server):
            return [_replaced(toolset, wanted, wanted)]
    return [toolset for toolset in toolsets if is_made_for_a_run(toolset)]


def _replaced(toolset: Toolset, leaf: Toolset, by: Toolset) -> Toolset:
    """The toolset with another leaf in place of one, and nothing in place of all others."""
    return toolset.visit_and_replace(lambda each: by if each is leaf else FunctionToolset())


async def _context(entry: AgentEntry, principal: Principal) -> Context:
    """What functions of the agent get that are asked about the caller's runs."""
    agent = entry.agent
    named: Any = getattr(agent, "model", None)
    # A context has one; nobody asks it anything.
    model: Model[Any] = cast("Model[Any]", named) if isinstance(named, Model) else TestModel()
    context: Context = RunContext(
        deps=await entry.deps_for(principal),
        model=model,
        usage=RunUsage(),
        usage_limits=entry.usage_limits,
        agent=cast("Any", agent),
        run_id=new_id(),
        run_step=1,
    )
    added = [each.for_agent(agent) for each in entry.capabilities]
    root = CombinedCapability([agent.root_capability, *added]) if added else agent.root_capability
    context.root_capability = await root.for_run(context)
    context.capabilities = _by_id(context.root_capability, root)
    return context


def _by_id(*roots: AbstractCapability[Any]) -> dict[str, AbstractCapability[Any]]:
    """All capabilities, each once; toolsets look there for the one that they came with."""
    found: list[AbstractCapability[Any]] = []
    for root in roots:
        root.apply(found.append)
    return {each.id or f"capability-{number}": each for number, each in reversed([*enumerate(found)])}


def _as_in_a_run(toolset: Toolset, context: Context) -> Toolset:
    """The toolset with what capabilities put around the tools of a run."""
    capability = context.root_capability
    if capability is None:
        return toolset
    return capability.get_wrapper_toolset(PreparedToolset(toolset, capability.prepare_tools)) or toolset


def _is_marked(tool: ToolsetTool[Any]) -> bool:
    return bool((tool.tool_def.metadata or {}).get(MARK))


def _is_for_pages(tool: ToolsetTool[Any]) -> bool:
    """Whether the server shows it to pages (SEP-1865); pydantic-ai has MCP's `_meta` in `meta`."""
    match (tool.tool_def.metadata or {}).get("meta"):
        case {"ui": {"visibility": [*audiences]}}:
            return "app" in audiences
        case _:
            return True


@dataclass
class _Shown(WrapperToolset[Any]):
    """A server with one tool, also if that is for pages alone, which answers as pages are answered."""

    server: MCPToolset[Any]
    name: str
    result: Json | None = field(default=None, init=False)

    async def get_tools(self, ctx: Context) -> dict[str, ToolsetTool[Any]]:
        tool = (await self.server.get_tools(ctx)).get(self.name) or await self._hidden(ctx)
        if tool is None or not _is_for_pages(tool):
            return {}
        metadata = {**(tool.tool_def.metadata or {}), MARK: True}
        return {self.name: replace(tool, tool_def=replace(tool.tool_def, metadata=metadata))}

    async def call_tool(self, name: str, tool_args: Json, ctx: Context, tool: ToolsetTool[Any]) -> Any:  # noqa: ARG002
        self.result = await self.server.call_tool_for_app(name, tool_args)
        return self.result

    async def _hidden(self, ctx: Context) -> ToolsetTool[Any] | None:
        """One that is for pages alone.

        pydantic-ai makes it, as if the model saw it: what filters and approvals go by is then there as in all others.
        """
        hidden = next((tool for tool in await self.server.list_tools() if tool.name == self.name), None)
        if hidden is None:
            return None
        found = (await _listing(self.server, _for_the_model(hidden)).get_tools(ctx)).get(self.name)
        if found is None:
            return None
        metadata = {**(found.tool_def.metadata or {}), "meta": hidden.meta}
        return self.server.tool_for_tool_def(replace(found.tool_def, metadata=metadata), ctx=ctx)


def _for_the_model(tool: Tool) -> Tool:
    """The tool as a server has it that shows it to models."""
    match tool.meta:
        case {"ui": {"visibility": [*audiences]} as ui}:
            return tool.model_copy(update={"meta": {**tool.meta, "ui": {**ui, "visibility": [*audiences, "model"]}}})
        case _:
            return tool


def _listing(server: MCPToolset[Any], tool: Tool) -> MCPToolset[Any]:
    """The server with nothing but one tool, to be asked for its definition."""

    async def list_tools() -> list[Tool]:
        return [tool]

    listing = copy(server)
    vars(listing)["list_tools"] = list_tools
    return listing

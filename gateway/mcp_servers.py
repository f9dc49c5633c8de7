"""An agent -> its MCP servers: by the ids of their toolsets, which are what their pages are known by; and reachable.

pydantic-ai's MCP client is an extra, and slow to import: it is imported here for those who configure `mcp_apps`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from pydantic_ai.toolsets import AbstractToolset, DynamicToolset

from gateway.errors import ConfigError, ConfigProblem
from gateway.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.capabilities import AbstractCapability
    from pydantic_ai.mcp import MCPToolset

    Toolset = AbstractToolset[Any]

log = get_logger("gateway.agents")

CONNECT_TIMEOUT = 5.0
"""Seconds that a lost connection has to be made again; a turn waits for it."""

RETRY_AFTER = 5.0
"""Seconds until that is tried again."""

MCP_IS_AN_EXTRA = "pages of MCP Apps need another package: install agent-gateway[mcp]"


def toolsets_of(agent: AbstractAgent[Any, Any], capabilities: Iterable[AbstractCapability[Any]]) -> list[Toolset]:
    """The toolsets that a run of the agent gets, with those that `capabilities` add."""
    added = [each for each in (capability.get_toolset() for capability in capabilities) if each is not None]
    return [*agent.toolsets, *(each if isinstance(each, AbstractToolset) else DynamicToolset(each) for each in added)]


def servers_in(toolset: Toolset) -> dict[str, MCPToolset[Any]]:
    """The MCP servers in a toolset and in whatever it wraps, by id. One without an id of its own has no pages."""
    from pydantic_ai.mcp import MCPToolset  # noqa: PLC0415 - an extra

    found: dict[str, MCPToolset[Any]] = {}
    for leaf in leaves(toolset):
        if isinstance(leaf, MCPToolset) and (server := _own_id(leaf)):
            found.setdefault(server, leaf)
    return found


def is_made_for_a_run(toolset: Toolset) -> bool:
    """Whether a function of the agent's says only at a run what is in there."""
    return any(isinstance(leaf, DynamicToolset) for leaf in leaves(toolset))


def leaves(toolset: Toolset) -> list[Toolset]:
    """The toolsets that are wrapped and combined in it."""
    found: list[Toolset] = []
    toolset.apply(found.append)
    return found


def check(names: Sequence[str], toolsets: Sequence[Toolset], key: str) -> None:
    """Raise `ConfigError` for names that no server of an agent has; `key` is where they stand in the config."""
    try:
        known = {name for toolset in toolsets for name in servers_in(toolset)}
    except ImportError as error:
        raise ConfigError([ConfigProblem(MCP_IS_AN_EXTRA, key=key)]) from error
    unknown = [name for name in names if name not in known]
    if unknown and not any(map(is_made_for_a_run, toolsets)):
        has = f"it has {', '.join(sorted(known))}" if known else "it has none with an id of its own"
        message = f"the agent has no MCP server {', '.join(unknown)}: {has} (`MCPToolset(..., id='...')`)"
        raise ConfigError([ConfigProblem(message, key=key)])


async def reconnect(toolsets: Iterable[Toolset]) -> None:
    """Connect anew what has lost its connection while it was open; what is still away fails where it is used.

    A client connects when it is first entered, and is then kept for the process: without this, one moment of a server's
    absence would be the end of it. (In pydantic-ai each run enters its clients, and so connects them.)
    """
    for server in _in_use(toolsets):
        connecting = _connecting.setdefault(server.client, _Connecting())
        async with connecting.lock:
            if not server.client.is_connected() and time.monotonic() - connecting.failed_at > RETRY_AFTER:
                await _connect(server, connecting)


async def release(toolsets: Iterable[Toolset]) -> None:
    """Close connections that were made anew: a toolset only closes the one that it made itself."""
    for server in _in_use(toolsets, is_running=False):
        if _connecting.pop(server.client, None) and server.client.is_connected():
            await server.client.close()


@dataclass
class _Connecting:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    failed_at: float = -inf


_connecting: WeakKeyDictionary[Any, _Connecting] = WeakKeyDictionary()
"""By client; one may be several agents'."""


async def _connect(server: MCPToolset[Any], connecting: _Connecting) -> None:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            with suppress(Exception):  # it says how the connection broke
                await server.client.close()
            await server.client.__aenter__()
    except Exception as error:  # noqa: BLE001 - whatever a transport raises; the server's users find it away
        connecting.failed_at = time.monotonic()
        log.warning("mcp_server_away", server=_own_id(server), error=type(error).__qualname__)
    else:
        log.info("mcp_server_back", server=_own_id(server))


def _in_use(toolsets: Iterable[Toolset], *, is_running: bool = True) -> list[MCPToolset[Any]]:
    """The MCP servers among them that are open, or that are not."""
    if not (module := sys.modules.get("pydantic_ai.mcp")):
        return []
    all_leaves = [leaf for toolset in toolsets for leaf in leaves(toolset)]
    servers = cast("list[MCPToolset[Any]]", [leaf for leaf in all_leaves if isinstance(leaf, module.MCPToolset)])
    return [server for server in servers if server.is_running is is_running]


def _own_id(toolset: MCPToolset[Any]) -> str | None:
    # Not one that pydantic-ai made of the URL's host: it tells clients none of those, which then ask for no page.
    return getattr(toolset, "_explicit_id", toolset.id)

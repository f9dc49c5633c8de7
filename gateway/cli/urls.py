"""Where an agent will answer, as far as the config can tell: `http://127.0.0.1:8000/agents/<id>/ag-ui`."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config import GatewayConfig, ServerSettings


PATHS = {"native": "run"}
"""Surfaces whose path has another name; plain clients find the streams beside it."""


def base_url(server: ServerSettings) -> str:
    """The URL of the listener on this machine, with the path prefix that a proxy would strip."""
    port = str(server.port) if server.port else "<port>"
    return f"http://{_host(server.host)}:{port}{server.root_path}"


def surface_url(config: GatewayConfig, agent_id: str, surface: str) -> str:
    """Where a front end reaches the agent; a CopilotKit one its runtime."""
    path = f"/agents/{agent_id}/{PATHS.get(surface, surface)}"
    return base_url(config.server) + (config.runtime_of(agent_id) or "" if surface == "copilotkit" else path)


def _host(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host
    if address.is_unspecified:  # "every address" is nothing that a browser can open
        return "127.0.0.1" if address.version == 4 else "[::1]"  # noqa: PLR2004 - IP versions
    return f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - IP versions

"""Where an agent will answer, as far as the config can tell: `http://127.0.0.1:8000/agents/<id>/ag-ui`."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config import GatewayConfig, ServerSettings


PATHS = {"native": "run"}
"""Surfaces whose path has another name; plain clients find the streams beside it."""


def base_url(server: ServerSettings) -> str:
    """The URL of the listener, by a name that it answers, with the path prefix that a proxy would strip."""
    port = str(server.port) if server.port else "<port>"
    return f"http://{_answered(server)}:{port}{server.root_path}"


def surface_urls(config: GatewayConfig, agent_id: str, surface: str) -> list[str]:
    """Where a front end reaches the agent; a CopilotKit one its runtimes."""
    paths = [f"/agents/{agent_id}/{PATHS.get(surface, surface)}"]
    if surface == "copilotkit":
        paths = [each.path for each in config.copilotkit if each.agents is None or agent_id in each.agents]
    return [base_url(config.server) + path for path in paths]


def _answered(server: ServerSettings) -> str:
    """The listener's own address, or the first of `allowed_hosts` when that is refused (`host_not_allowed`)."""
    own, allowed = _host(server.host), server.allowed_hosts
    names = [name for name in allowed if "*" not in name]
    return own if not names or "*" in allowed or own in names else names[0]


def _host(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host
    if address.is_unspecified:  # "every address" is nothing that a browser can open
        return "127.0.0.1" if address.version == 4 else "[::1]"  # noqa: PLR2004 - IP versions
    return f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - IP versions

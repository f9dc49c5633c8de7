"""`gateway check`: config -> what would be served, what is unsafe, and an exit code for a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from gateway.cli.options import CONFIG_FILE, ConfigFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config import AuthSettings, CopilotKitSettings, GatewayConfig, McpAppsSettings, ServerSettings
    from gateway.registry import Registry


def check(
    *,
    config: ConfigFile = CONFIG_FILE,
    strict: Annotated[bool, Parameter(help="Count warnings as problems.")] = False,
) -> int:
    """Validate the config and build every agent; the exit code says whether it could be served."""
    from gateway.cli.console import columns, console, labelled  # noqa: PLC0415 - not for `--help`
    from gateway.cli.findings import findings  # noqa: PLC0415
    from gateway.configfile import load  # noqa: PLC0415

    settings = load(config)
    from gateway.app import create_app  # noqa: PLC0415 - imports pydantic-ai

    table = columns("", "")
    # The whole app, as `gateway serve` builds it: keys and stores that cannot be used are found here too.
    registry: Registry = create_app(settings).state.registry
    for name, value in _summary(settings, registry):
        table.add_row(name, value)
    found = findings(settings, registry)
    warnings = [finding for finding in found if finding.level == "warning"]
    notes = [finding for finding in found if finding.level == "note"]
    out = console()
    out.print(table)
    for label, messages in (("note", notes), ("warning", warnings)):
        if messages:
            out.print(labelled(label, messages), soft_wrap=True)
    out.print(_verdict(str(config), len(warnings)))
    return 1 if strict and warnings else 0


def _verdict(name: str, warnings: int) -> str:
    return f"{name} is valid" + (f", with {warnings} warning{'s' if warnings > 1 else ''}." if warnings else ".")


def _summary(config: GatewayConfig, registry: Registry) -> Iterator[tuple[str, str]]:
    for entry in registry.entries.values():
        yield f"agent {entry.id}", ", ".join(entry.surfaces) or "on no surface"
    yield "server", _server(config.server)
    yield "auth", _auth(config.auth)
    yield "cors", ", ".join(config.cors.allow_origins) or "no other origin"
    yield "limits", ", ".join(f"{limit.requests} per {limit.per}" for limit in config.limits) or "none"
    yield "copilotkit", "; ".join(_runtime(each) for each in config.copilotkit) or "none"
    for agent_id, agent in config.agents.items():
        if agent.mcp_apps:
            yield f"mcp apps of {agent_id}", _pages(agent.mcp_apps)
    if config.speech:
        speech = config.speech
        yield "speech", f"{speech.model} at {_without_password(speech.base_url)}, up to {speech.max_bytes:,} bytes"
    yield "stores", ", ".join(f"{name} {_without_password(url)}" for name, url in config.stores)


def _server(server: ServerSettings) -> str:
    from gateway.cli.urls import base_url  # noqa: PLC0415 - not for `--help`

    workers = f"{server.workers} worker{'s' if server.workers > 1 else ''}"
    return f"{base_url(server)} on {server.host}, {workers}, bodies up to {server.max_body_bytes:,} bytes"


def _runtime(runtime: CopilotKitSettings) -> str:
    return f"{runtime.path}: {'all agents' if runtime.agents is None else ', '.join(runtime.agents)}"


def _pages(apps: McpAppsSettings) -> str:
    tools = "" if apps.tools is None else f"; tools: {', '.join(apps.tools) or 'none'}"
    return f"{', '.join(apps.servers)} ({', '.join(apps.methods)}{tools})"


def _auth(auth: AuthSettings) -> str:
    ways = [f"API key {key.id!r}: {' '.join(key.scopes) or 'no scopes'}" for key in auth.api_keys]
    if auth.jwt:
        ways.append(f"JWT from {auth.jwt.issuer}")
    if auth.anonymous or not ways:
        ways.append("anonymous")
    return ", ".join(ways)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}").geturl() if "@" in parts.netloc else url

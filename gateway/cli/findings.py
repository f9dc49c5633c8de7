"""A valid config -> what an operator should know before strangers can reach it.

A warning is something that is unsafe or surely not meant; a note is something that may well be right. What may never be
served is not here but in the config model, which refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config import ApiKeySettings, GatewayConfig
    from gateway.registry import Registry


_MAY_BE_NONE: tuple[Any, ...] = (object, type(None), UnionType, Union, Annotated)
"""Types of `deps` that None may fit; `object` is what an agent has that says nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth saying about the config."""

    level: Literal["warning", "note"]
    key: str
    """Dotted path of the key."""
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


def findings(config: GatewayConfig, registry: Registry) -> list[Finding]:
    """All of them, in the order of the config."""
    return [
        *_server(config),
        *_auth(config),
        *_cors(config),
        *_limits(config),
        *_stores(config),
        *_agents(config),
        *_deps(registry),
    ]


def _server(config: GatewayConfig) -> Iterator[Finding]:
    if config.server.loopback:
        return
    if not config.server.allowed_hosts:
        yield Finding(
            "warning", "server.allowed_hosts", "every host name is answered: list those that people use to get here"
        )
    if not config.server.trusted_proxies:
        yield Finding(
            "note", "server.trusted_proxies", "none; behind a proxy all clients share its address and its `ip` limits"
        )


def _auth(config: GatewayConfig) -> Iterator[Finding]:
    auth = config.auth
    if auth.anonymous and not config.server.loopback:
        yield Finding("warning", "auth.anonymous", "everybody who can reach this address may use every agent")
    elif auth.anonymous and (auth.api_keys or auth.jwt):
        yield Finding("note", "auth.anonymous", "callers without credentials are let in beside those with")
    elif not auth.configured:
        yield Finding("note", "auth", "no credentials are configured: everybody on this machine may use every agent")
    for index, key in enumerate(auth.api_keys):
        yield from _scopes(config, key, f"auth.api_keys.{index}.scopes")


def _scopes(config: GatewayConfig, key: ApiKeySettings, path: str) -> Iterator[Finding]:
    granted = [scope.removeprefix("agents:") for scope in key.scopes if scope.startswith("agents:")]
    if not granted:
        yield Finding("warning", path, f"the key {key.id!r} may use no agent: give it agents:* or agents:<id>")
    for agent_id in granted:
        if agent_id != "*" and agent_id not in config.agents:
            yield Finding("warning", path, f"the key {key.id!r} names the agent {agent_id!r}, which does not exist")


def _cors(config: GatewayConfig) -> Iterator[Finding]:
    if "*" in config.cors.allow_origins:
        yield Finding("warning", "cors.allow_origins", "'*' lets the pages of every site call the agents")


def _limits(config: GatewayConfig) -> Iterator[Finding]:
    if config.limits:
        return
    level = "note" if config.server.loopback else "warning"
    yield Finding(level, "limits", "no request rate is limited: add a rule such as {per: ip, requests: 600/minute}")


def _stores(config: GatewayConfig) -> Iterator[Finding]:
    stores = config.stores
    if "conversations" in stores.in_memory:
        message = "threads are gone when the process ends: sqlite:///gateway.db keeps them in a file"
        yield Finding("note", "stores.conversations", message)
    if "conversations" in stores.in_memory and "streams" not in stores.in_memory:
        message = "in memory beside shared streams: all turns of a thread have to reach the process that has it"
        yield Finding("warning", "stores.conversations", message)
    if stores.conversations.startswith("sqlite:") and "streams" not in stores.in_memory:
        message = "a file beside shared streams: replicas on other machines do not see it; they need postgresql://"
        yield Finding("note", "stores.conversations", message)


def _agents(config: GatewayConfig) -> Iterator[Finding]:
    for agent_id, agent in config.agents.items():
        for name in agent.usage_limits.lifted:
            path = f"agents.{agent_id}.usage_limits.{name}"
            yield Finding("warning", path, "the limit is lifted: one run may use any amount")


def _deps(registry: Registry) -> Iterator[Finding]:
    for entry in registry.entries.values():
        declared: Any = entry.agent.deps_type
        wanted: Any = get_origin(declared) or declared  # of StateDeps[Draft], StateDeps
        if entry.make_deps is None and isinstance(wanted, type) and wanted not in _MAY_BE_NONE:
            message = f"the agent wants {wanted.__name__} as its deps, and gets None: name a function that makes them"
            yield Finding("warning", f"agents.{entry.id}.deps", message)

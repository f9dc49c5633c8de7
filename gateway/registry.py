"""Config -> the agents, each built once at start. Fails with every culprit: agent, import string or file, and cause.

An agent's toolsets (MCP servers among them) are opened once per process, in a task of their own, because the scopes
inside them must be left in the task that entered them. An agent whose toolsets do not open is unready; others serve.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import ConfigDict, ValidationError
from pydantic_ai import Agent, AgentSpec
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.output import TextOutput
from pydantic_ai.settings import ModelSettings
from pydantic_ai.toolsets import ExternalToolset, FunctionToolset
from pydantic_ai.usage import UsageLimits

from gateway import mcp_servers
from gateway.config import SURFACES, AgentSettings, DisconnectSettings, GatewayConfig, UsageLimitSettings
from gateway.errors import AgentNotFound, ConfigError, ConfigProblem
from gateway.lifetime import AgentLifetime

if TYPE_CHECKING:
    from pydantic_ai.tools import ToolDefinition
    from pydantic_ai.toolsets import AbstractToolset

    from gateway.auth import Principal
    from gateway.config import McpAppsSettings, Surface


@dataclass(frozen=True)
class AgentEntry:
    """A name and the agent behind it, with everything that a run of it needs."""

    id: str
    agent: AbstractAgent[Any, Any]
    description: str = ""
    surfaces: tuple[Surface, ...] = SURFACES
    runtime: str | None = None
    """Path of the CopilotKit runtime that offers it."""
    timeout: float = AgentSettings.model_fields["timeout"].default
    """Seconds that one run may take."""
    usage_limits: UsageLimits = field(default_factory=lambda: _usage_limits(UsageLimitSettings()))
    on_disconnect: DisconnectSettings = field(default_factory=DisconnectSettings)
    orphan_timeout: float = AgentSettings.model_fields["orphan_timeout"].default
    """Seconds that a run continues without a reader."""
    concurrency: Literal["reject", "interrupt", "enqueue"] = "reject"
    max_queue: int = AgentSettings.model_fields["max_queue"].default
    history: Literal["server", "client"] = "server"
    """Whose copy of a conversation counts."""
    make_deps: Callable[[Principal], Any] | None = None
    """`(principal) -> deps`, sync or async; called for each run."""
    capabilities: tuple[AbstractCapability[Any], ...] = ()
    mcp_apps: McpAppsSettings | None = None
    """What pages of MCP Apps may ask."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "lifetime", AgentLifetime(self.id, self.agent))

    lifetime: AgentLifetime = field(init=False)

    async def deps_for(self, principal: Principal) -> Any:
        """Fresh dependencies for a run."""
        if self.make_deps is None:
            return None
        deps = self.make_deps(principal)
        return await deps if inspect.isawaitable(deps) else deps

    @cached_property
    def answers_in_data(self) -> bool:
        """Whether an answer may be structured output."""
        # One of several outputs may be text or a pause for approval; a schema of any other type is structured output.
        return any(
            choice.get("type") != "string" and "DeferredToolRequests" not in str(choice) for choice in self._outputs
        )

    @cached_property
    def answers_in_text(self) -> bool:
        """Whether an answer may be text, also such as an output function makes something else of."""
        declared: Any = self.agent.output_type
        outputs: list[Any] = [*declared] if isinstance(declared, list | tuple) else [declared]
        is_read = any(isinstance(output, TextOutput) for output in outputs)
        return is_read or any(choice.get("type") == "string" for choice in self._outputs)

    @cached_property
    def _outputs(self) -> list[dict[str, Any]]:
        schema = self.agent.output_json_schema()
        return schema.get("anyOf", [schema])

    def settings(self, max_tokens: int | None) -> ModelSettings | None:
        """What a run adds to the agent's model settings for a client that wants no more than `max_tokens`."""
        if max_tokens is None:
            return None
        own: Any = getattr(self.agent, "model_settings", None)
        limits: list[int | None] = [cast("dict[str, Any]", own).get("max_tokens") if isinstance(own, dict) else None]
        allowed = [limit for limit in (*limits, self.usage_limits.output_tokens_limit) if limit is not None]
        return ModelSettings(max_tokens=min([max_tokens, *allowed]))


class Registry:
    """The agents of one gateway, by id."""

    def __init__(self, entries: dict[str, AgentEntry]) -> None:
        self.entries = entries

    @classmethod
    def build(cls, config: GatewayConfig) -> Registry:
        """Import and build every agent. Raises `ConfigError` with all that failed."""
        if (folder := str(config.folder)) not in sys.path:
            sys.path.insert(0, folder)
        entries: dict[str, AgentEntry] = {}
        problems: list[ConfigProblem] = []
        for agent_id in config.agents:
            try:
                entries[agent_id] = _Builder(agent_id, config).entry()
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        return cls(entries)

    def find(self, agent_id: str, principal: Principal) -> AgentEntry:
        """The agent, or `AgentNotFound`: the same for one that is not there and one that is out of scope."""
        entry = self.entries.get(agent_id)
        if entry is None or not principal.may_use(agent_id):
            raise AgentNotFound
        return entry

    def usable_by(self, principal: Principal) -> list[AgentEntry]:
        """The agents that the principal may know of, in the order of the config."""
        return [entry for entry in self.entries.values() if principal.may_use(entry.id)]


class _Spec(AgentSpec):
    """pydantic-ai's spec, closed to unknown keys: a misspelled one would be left out without a word."""

    model_config = ConfigDict(extra="forbid")


class _Builder:
    """One agent's settings -> its entry, or everything about it that does not load."""

    def __init__(self, agent_id: str, config: GatewayConfig) -> None:
        self._id = agent_id
        self._config = config
        self._settings = config.agents[agent_id]
        self._folder = config.folder
        self._problems: list[ConfigProblem] = []

    def entry(self) -> AgentEntry:
        settings = self._settings
        agent = self._agent()
        make_deps = self._import("deps", settings.deps, Callable, "a function") if settings.deps else None
        capabilities = [
            self._import("capabilities", name, AbstractCapability, "a pydantic-ai capability")
            for name in settings.capabilities
        ]
        if self._problems:
            raise ConfigError(self._problems)
        if settings.mcp_apps:
            key = f"agents.{self._id}.mcp_apps"
            mcp_servers.check(settings.mcp_apps.servers, mcp_servers.toolsets_of(agent, capabilities), key)
        return AgentEntry(
            id=self._id,
            agent=agent,
            description=settings.description or _own_description(agent),
            surfaces=self._config.surfaces_of(self._id),
            runtime=self._config.runtime_of(self._id),
            timeout=settings.timeout,
            on_disconnect=settings.on_disconnect,
            orphan_timeout=settings.orphan_timeout,
            concurrency=settings.concurrency,
            max_queue=settings.max_queue,
            history=settings.history,
            usage_limits=_usage_limits(settings.usage_limits),
            make_deps=make_deps,
            capabilities=tuple(capabilities),
            mcp_apps=settings.mcp_apps,
        )

    def _agent(self) -> Any:
        settings = self._settings
        if settings.import_:
            return self._import("import", settings.import_, AbstractAgent, "a pydantic-ai agent")
        if settings.spec:
            path = self._folder / settings.spec
            return self._attempt("spec", str(path), lambda: self._from_spec(_Spec.from_file(path)))
        return self._attempt("inline", "inline spec", lambda: self._from_spec(_Spec.model_validate(settings.inline)))

    def _from_spec(self, spec: AgentSpec) -> Agent[Any, Any]:
        if spec.model is None:
            msg = "it names no `model`"
            raise ValueError(msg)
        return Agent.from_spec(spec, name=self._id)

    def _import(self, key: str, name: str, kind: Any, what: str) -> Any:
        module, _, attribute = name.partition(":")

        def load() -> Any:
            value: Any = import_module(module)
            for part in attribute.split("."):
                value = getattr(value, part)
            if kind is AbstractCapability and isinstance(value, type):
                value = value()  # of classes that need no arguments
            if not isinstance(value, kind):
                msg = f"it is a {type(value).__name__}, not {what}"
                raise TypeError(msg)
            return value

        return self._attempt(key, name, load)

    def _attempt(self, key: str, what: str, load: Callable[[], Any]) -> Any:
        try:
            return load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a foreign module raises when imported
            message = f"{what} could not be loaded: {type(error).__name__}: {_cause(error)}"
            self._problems.append(ConfigProblem(message, key=f"agents.{self._id}.{key}"))


def _cause(error: BaseException) -> str:
    """What an exception says; pydantic's without the values, among which may be a secret in the wrong place."""
    if not isinstance(error, ValidationError):
        return str(error)
    details = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in details)


def tools_of(agent: AbstractAgent[Any, Any]) -> list[ToolDefinition]:
    """The tools that the agent is known to have before any run: functions and external ones.

    What a toolset decides for each run, or asks a server for, is not among them.
    """
    found: list[ToolDefinition] = []

    def visit(toolset: AbstractToolset[Any]) -> None:
        if isinstance(toolset, FunctionToolset):
            found.extend(tool.tool_def for tool in toolset.tools.values())
        elif isinstance(toolset, ExternalToolset):
            found.extend(toolset.tool_defs)

    for toolset in agent.toolsets:
        toolset.apply(visit)
    return found


def _own_description(agent: AbstractAgent[Any, Any]) -> str:
    description = agent.description
    return description if isinstance(description, str) else ""


def _usage_limits(settings: UsageLimitSettings) -> UsageLimits:
    return UsageLimits(**settings.model_dump())

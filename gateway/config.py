"""`gateway.yaml` as typed models: every option is declared once, here or in the sections that are imported here.

The command line's flags, the JSON Schema, the docs table and `gateway check` are made from these declarations; a
default stands nowhere else. Models are frozen and refuse unknown keys. Nothing here reads a file or the environment:
`configfile.py` does that and hands over plain data.
"""

from __future__ import annotations

from collections.abc import Iterator  # noqa: TC003 - pydantic looks at annotations
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast, get_args
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, PrivateAttr, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from gateway.access import ApiKeySettings, AuthSettings, CorsSettings, JwtSettings, LimitSettings, McpAppsSettings
from gateway.process import ServerSettings, StoreSettings, StreamSettings, ThreadSettings
from gateway.settings import PositiveInt, Seconds, Settings

__all__ = [
    "SURFACES",
    "AgentSettings",
    "ApiKeySettings",
    "AuthSettings",
    "CopilotKitSettings",
    "CorsSettings",
    "DisconnectSettings",
    "GatewayConfig",
    "JwtSettings",
    "LimitSettings",
    "McpAppsSettings",
    "ServerSettings",
    "SpeechSettings",
    "StoreSettings",
    "StreamSettings",
    "Surface",
    "ThreadSettings",
    "UsageLimitSettings",
]

Surface = Literal["ag-ui", "vercel-ai", "copilotkit", "native"]
"""A way in to an agent."""

SURFACES: tuple[Surface, ...] = get_args(Surface)

AgentId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""An agent's name: part of a URL and of a scope."""

ImportString = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
"""`package.module:attribute`, resolved against the folder of the config file."""


class UsageLimitSettings(Settings):
    """What one run may use (pydantic-ai's `UsageLimits`); `null` lifts a limit."""

    request_limit: PositiveInt | None = 25
    """Model requests."""
    tool_calls_limit: PositiveInt | None = 100
    """Successful tool calls."""
    input_tokens_limit: PositiveInt | None = None
    """Input tokens, summed over the run's requests."""
    output_tokens_limit: PositiveInt | None = 32_000
    """Output tokens, summed over the run's requests."""
    total_tokens_limit: PositiveInt | None = 1_000_000
    """Input and output tokens together."""

    @property
    def lifted(self) -> list[str]:
        """Limits that have a default and were set to `null`."""
        fields = type(self).model_fields.items()
        return [name for name, field in fields if field.default is not None and getattr(self, name) is None]


OnDisconnect = Literal["cancel", "continue"]


class DisconnectSettings(Settings):
    """What a run does when its last reader has gone, for each surface; a bare word is meant for all."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    ag_ui: Annotated[OnDisconnect, Field(alias="ag-ui")] = "cancel"
    """AG-UI clients stop by closing the connection, and cannot come back."""
    vercel_ai: Annotated[OnDisconnect, Field(alias="vercel-ai")] = "continue"
    """AI SDK clients come back with `resumeStream`."""
    copilotkit: OnDisconnect = "continue"
    """CopilotKit says when it wants a run stopped."""
    native: OnDisconnect = "continue"
    """`EventSource` and the Python client come back by themselves, and the latter says when it wants a run stopped."""

    @model_validator(mode="before")
    @classmethod
    def _bare_word(cls, data: object) -> object:
        return dict.fromkeys(SURFACES, data) if isinstance(data, str) else data

    def for_surface(self, surface: Surface) -> OnDisconnect:
        """The policy of one surface."""
        return getattr(self, surface.replace("-", "_"))


class AgentSettings(Settings):
    """One agent: where it comes from and how it is served. A bare string is its `import`."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    import_: Annotated[ImportString | None, Field(alias="import")] = None
    """Import string of a pydantic-ai agent, such as `agents.assistant:agent`."""
    spec: Path | None = None
    """YAML or JSON file with a pydantic-ai `AgentSpec`."""
    inline: dict[str, Any] | None = None
    """A pydantic-ai `AgentSpec`, written here."""
    description: str | None = None
    """One sentence for the catalogue; the agent's own when left out."""
    deps: ImportString | None = None
    """Import string of a function `(principal) -> deps`, sync or async, called for each run."""
    surfaces: Annotated[list[Surface], Field(min_length=1)] = list(SURFACES)
    """Ways in to offer."""
    timeout: Seconds = 300.0
    """Seconds that one run may take."""
    usage_limits: UsageLimitSettings = UsageLimitSettings()
    """What one run may use."""
    on_disconnect: DisconnectSettings = DisconnectSettings()
    """What a run does when its last reader has gone: `cancel` or `continue`."""
    orphan_timeout: Seconds = 120.0
    """Seconds that a run continues without a reader."""
    concurrency: Literal["reject", "interrupt", "enqueue"] = "reject"
    """What a new turn does while a run goes on on its thread: fail with 409 (or stop it, if nobody reads it any more),
    stop that run, or wait for it."""
    max_queue: PositiveInt = 5
    """Turns that may wait on one thread, with `concurrency: enqueue`."""
    history: Literal["server", "client"] = "server"
    """Whose copy of a conversation counts. `client` stores nothing and believes whatever a client says was said."""
    capabilities: list[ImportString] = []
    """Import strings of pydantic-ai capabilities to add, or of classes of them that need no arguments, such as
    `gateway:ContextInstructions`."""
    mcp_apps: McpAppsSettings | None = None
    """What pages of MCP Apps may ask of the agent's MCP servers; nothing when left out."""

    @model_validator(mode="before")
    @classmethod
    def _bare_import_string(cls, data: object) -> object:
        return {"import": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.import_, self.spec, self.inline)) != 1:
            msg = "say where the agent comes from: exactly one of `import`, `spec` and `inline`"
            raise ValueError(msg)
        return self


OWN_PATHS = ("/agents", "/runs", "/threads", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs")


class CopilotKitSettings(Settings):
    """A CopilotKit runtime: the path of its `runtimeUrl`, and the agents behind it."""

    path: Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9._~-]+)+$")] = "/copilotkit"
    """Where it is, such as `/kits/support`: with a slash in front, and none at the end."""
    agents: Annotated[list[AgentId] | None, Field(min_length=1)] = None
    """Agents to offer; all when left out."""
    a2ui: bool | None = None
    """Whether its agents may show interfaces (A2UI); when left out, those of pages that have components for it."""
    open_generative_ui: bool | None = None
    """Whether HTML that a model writes is drawn (open generative UI); when left out, for pages with the tool for it."""


OPENAI = "https://api.openai.com/v1"


class SpeechSettings(Settings):
    """Voice input: a server with OpenAI's API for transcriptions."""

    model: Annotated[str, StringConstraints(min_length=1)]
    """Its model, such as `whisper-1`."""
    base_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")] = OPENAI
    """Where it is: http:// or https://, up to what stands before `/audio/transcriptions`."""
    api_key: Annotated[Annotated[str, StringConstraints(min_length=1)] | None, Field(repr=False)] = None
    """Its key; OpenAI's own server needs one."""
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*$")] | None = None
    """Language that is spoken, such as `en`; the model finds out when left out."""
    max_bytes: PositiveInt = 25_000_000
    """Largest recording, in bytes; more than `server.max_body_bytes`, if need be."""
    timeout: Seconds = 60.0
    """Seconds that one transcription may take."""

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            _ = urlsplit(value).port
        except ValueError:
            msg = "not the address of a server: write https://host:port/v1"
            raise ValueError(msg) from None
        return value

    @model_validator(mode="after")
    def _openai_needs_a_key(self) -> Self:
        if self.base_url == OPENAI and not self.api_key:
            msg = "say the `api_key` of OpenAI, or the `base_url` of another server"
            raise ValueError(msg)
        return self


class GatewayConfig(Settings):
    """Everything in `gateway.yaml`. `server` is the process, the rest is what it serves and to whom."""

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    cors: CorsSettings = CorsSettings()
    limits: list[LimitSettings] = []
    """Request rates; all rules apply."""
    stores: StoreSettings = StoreSettings()
    threads: ThreadSettings = ThreadSettings()
    streams: StreamSettings = StreamSettings()
    copilotkit: list[CopilotKitSettings] = [CopilotKitSettings()]
    """CopilotKit runtimes; one, or a list of them."""
    speech: SpeechSettings | None = None
    """Voice input for CopilotKit; none when left out."""
    agents: Annotated[dict[AgentId, AgentSettings], Field(min_length=1)]
    """The agents, by name."""

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    def surfaces_of(self, agent_id: str) -> tuple[Surface, ...]:
        """The ways in to an agent."""
        without = () if self.runtime_of(agent_id) else ("copilotkit",)
        return tuple(each for each in SURFACES if each in self.agents[agent_id].surfaces and each not in without)

    def runtime_of(self, agent_id: str) -> str | None:
        """The path of the first CopilotKit runtime that offers the agent."""
        return next((each.path for each in self.copilotkit if each.agents is None or agent_id in each.agents), None)

    @property
    def folder(self) -> Path:
        """What import strings and relative paths are resolved against."""
        return self._folder

    def located(self, folder: Path) -> Self:
        """This config, as one that was read from `folder`."""
        config = self.model_copy()
        config._folder = folder.resolve()  # noqa: SLF001 - a copy of ourselves
        return config

    @field_validator("copilotkit", mode="before")
    @classmethod
    def _one_runtime(cls, value: object) -> object:
        return [cast("Any", value)] if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _safe_to_serve(self) -> Self:
        if refusals := dict(self._refusals()):
            # Custom, so that `configfile.py` can show each refusal at its own line.
            context = {"text": "\n".join(refusals.values()), "refusals": refusals}
            raise PydanticCustomError("unsafe_to_serve", "{text}", context)
        return self

    def _refusals(self) -> Iterator[tuple[str, str]]:
        """(Dotted key, why not)."""
        yield from self._misplaced_runtimes()
        if not self.auth.configured and not self.server.loopback:
            why = (
                "no credentials are configured, but this address can be reached from other machines: add "
                "`auth.api_keys` (`gateway keys new` makes one) or `auth.jwt`, bind to 127.0.0.1, or open it to "
                "everybody with `auth: {anonymous: true}`"
            )
            yield "server.host", why
        if self.server.workers > 1 and (in_memory := self.stores.in_memory):
            names = ", ".join(f"`stores.{name}`" for name in in_memory)
            why = (
                f"{self.server.workers} workers cannot share what is in memory: give {names} a URL that every process "
                "can reach, or use one worker"
            )
            yield "server.workers", why

    def _misplaced_runtimes(self) -> Iterator[tuple[str, str]]:
        taken: set[str] = set()
        for number, runtime in enumerate(self.copilotkit):
            key = f"copilotkit.{number}"
            if unknown := [name for name in runtime.agents or () if name not in self.agents]:
                yield f"{key}.agents", f"no such agent: {', '.join(unknown)}"
            if runtime.path in taken or any(f"{runtime.path}/".startswith(f"{own}/") for own in OWN_PATHS):
                yield f"{key}.path", f"{runtime.path} is taken: choose another path"
            taken.add(runtime.path)

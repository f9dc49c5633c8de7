"""`gateway.yaml` as typed models: every option is declared here, once.

The command line's flags, the JSON Schema, the docs table and `gateway check` are made from these declarations; a
default stands nowhere else. Models are frozen and refuse unknown keys. Nothing here reads a file or the environment:
`configfile.py` does that and hands over plain data.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator  # noqa: TC003 - pydantic looks at annotations
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from limits import RateLimitItem, parse
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

Surface = Literal["ag-ui", "vercel-ai", "copilotkit", "native"]
"""A way in to an agent."""

SURFACES: tuple[Surface, ...] = get_args(Surface)

Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip
"""JWT signature algorithms that may be allowed; `none` is not among them."""

AgentId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""An agent's name: part of a URL and of a scope."""

Scope = Annotated[str, StringConstraints(pattern=r"^[a-z]+(:[A-Za-z0-9_*-]+)?$")]
"""`agents:*`, `agents:<id>`, or a verb such as `admin`."""

ImportString = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
"""`package.module:attribute`, resolved against the folder of the config file."""

PositiveInt = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """Frozen, and closed to unknown keys. No message repeats a value, because it may be a secret in the wrong place."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, hide_input_in_errors=True
    )


class ServerSettings(Settings):
    """The process: where it listens, what it accepts, how it logs."""

    host: str = "127.0.0.1"
    """Address to listen on. Anything but a loopback address needs `auth`."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 lets the system choose."""
    workers: PositiveInt = 1
    """Worker processes; more than one needs stores that are shared."""
    max_body_bytes: PositiveInt = 10_000_000
    """Largest request body, in bytes."""
    max_prompt_chars: PositiveInt = 100_000
    """Most characters of new text in one turn."""
    allowed_hosts: list[str] = []
    """Host names to answer for, `*.example.com` included. Empty: loopback names on a loopback bind, else every name."""
    trusted_proxies: list[str] = []
    """Addresses or networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    root_path: Annotated[str, StringConstraints(pattern=r"^(/[^/].*[^/]|/[^/])?$")] = ""
    """Path prefix that a proxy strips, such as `/ai`; URLs in answers carry it."""
    heartbeat: Seconds = 15.0
    """Seconds of silence on a stream after which a comment keeps the connection open."""
    shutdown_timeout: Seconds = 10.0
    """Seconds that open responses get to finish after a stop signal."""
    log_format: Literal["auto", "console", "json"] = "auto"
    """How to log; `auto` is `console` on a terminal and `json` elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level to log."""

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for proxy in value:
            if proxy == "*":
                msg = "'*' would let every client choose its own address: name the proxies' addresses or networks"
                raise ValueError(msg)
            try:
                ipaddress.ip_network(proxy, strict=False)
            except ValueError:
                msg = "not an address or a network: write 10.0.0.7, 10.0.0.0/8 or fd00::/8"
                raise ValueError(msg) from None
        return value

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the listener."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


class ApiKeySettings(Settings):
    """One API key, by its hash; `gateway keys new` makes the pair."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """Name of the key in logs."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)]
    """SHA-256 of the key, in hex."""
    subject: str | None = None
    """Who the key speaks for; the key's `id` when left out."""
    tenant: str | None = None
    """The subject's tenant; threads of different tenants never meet."""
    scopes: list[Scope] = ["agents:*"]
    """What the key may do: `agents:*`, `agents:<id>`."""


class JwtSettings(Settings):
    """Bearer tokens signed by an identity provider."""

    issuer: Annotated[str, StringConstraints(min_length=1)]
    """Required value of `iss`."""
    audience: Annotated[str, StringConstraints(min_length=1)]
    """Required value of `aud`."""
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = ["RS256"]
    """Signature algorithms to accept: either all HMAC (with `secret`) or all asymmetric (with `public_key`)."""
    public_key: str | None = None
    """PEM public key, for RS*, PS*, ES* and EdDSA; `${file:...}` reads it from a file."""
    secret: Annotated[str, StringConstraints(min_length=32)] | None = None
    """Shared secret of 32 characters or more, for HS*."""
    subject_claim: str = "sub"
    """Claim that names the subject."""
    tenant_claim: str = "tenant"
    """Claim that names the tenant, if there is one."""
    scopes_claim: str = "scope"
    """Claim that holds the scopes: a list, or one string with spaces."""
    leeway: Annotated[float, Field(ge=0, le=300)] = 10.0
    """Seconds of clock difference to forgive."""

    @model_validator(mode="after")
    def _one_kind_of_key(self) -> Self:
        hmac = {algorithm.startswith("HS") for algorithm in self.algorithms}
        if len(hmac) > 1:
            # A public key taken for an HMAC secret is the classic way to forge a token (RFC 8725, 2.1).
            msg = "HS* and asymmetric algorithms may not be mixed"
            raise ValueError(msg)
        if hmac == {True} and not (self.secret and not self.public_key):
            msg = "HS* algorithms need `secret`, and no `public_key`"
            raise ValueError(msg)
        if hmac == {False} and not (self.public_key and not self.secret):
            msg = "these algorithms need `public_key`, and no `secret`"
            raise ValueError(msg)
        return self


class AuthSettings(Settings):
    """Who may call."""

    api_keys: list[ApiKeySettings] = []
    """Keys sent as `Authorization: Bearer` or `x-api-key`."""
    jwt: JwtSettings | None = None
    """Tokens sent as `Authorization: Bearer`."""
    anonymous: bool = False
    """Let callers without credentials in, all as one owner. The explicit way to open the gateway."""

    @field_validator("api_keys")
    @classmethod
    def _ids_are_unique(cls, value: list[ApiKeySettings]) -> list[ApiKeySettings]:
        for name in ("id", "sha256"):
            seen = [getattr(key, name) for key in value]
            if len(set(seen)) < len(seen):
                msg = f"two keys have the same `{name}`"
                raise ValueError(msg)
        return value

    @property
    def configured(self) -> bool:
        """Whether anybody said who may call."""
        return bool(self.api_keys or self.jwt or self.anonymous)


class CorsSettings(Settings):
    """Pages of which origins may call from a browser."""

    allow_origins: list[str] = []
    """Origins such as `https://app.example.com`, or `*` for every one (never together with credentials)."""
    allow_credentials: bool = False
    """Let those pages send cookies and read the answers."""

    @field_validator("allow_origins")
    @classmethod
    def _origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            if origin != "*" and not re.fullmatch(r"https?://[^/?#\s*]+", origin):
                msg = "not an origin: write scheme://host[:port], without a path"
                raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _no_credentials_for_everyone(self) -> Self:
        if self.allow_credentials and "*" in self.allow_origins:
            msg = "`allow_credentials` together with the origin '*' would let every site act for your users"
            raise ValueError(msg)
        return self


class LimitSettings(Settings):
    """One rule: so many requests in a window, for each principal, client address or agent."""

    per: Literal["principal", "ip", "agent"]
    """What the requests are counted by; `ip` counts before authentication, so that guessing keys is limited too."""
    requests: str
    """How many in which window: `60/minute`, `5 per 10 seconds`."""

    @field_validator("requests")
    @classmethod
    def _rate(cls, value: str) -> str:
        try:
            parse(value)
        except ValueError:
            msg = "not a rate: write 60/minute, 1000/hour or '5 per 10 seconds'"
            raise ValueError(msg) from None
        return value

    @property
    def rate(self) -> RateLimitItem:
        """`requests` as the `limits` library takes it."""
        return parse(self.requests)


class StoreSettings(Settings):
    """Where things are kept, by URL."""

    conversations: str = "memory://"
    """Stored threads. `memory://`."""
    streams: str = "memory://"
    """Frames of running and recent runs. `memory://`."""
    limits: str = "memory://"
    """Counters of the rate limits. `memory://` or `redis://host:port/db`."""

    @field_validator("conversations", "streams")
    @classmethod
    def _memory_only(cls, value: str) -> str:
        return _known_scheme(value, {"memory"})

    @field_validator("limits")
    @classmethod
    def _limits(cls, value: str) -> str:
        return _known_scheme(value, {"memory", "redis", "rediss"})

    @property
    def in_memory(self) -> list[str]:
        """Names of the stores that other processes cannot see."""
        return [name for name in type(self).model_fields if getattr(self, name).startswith("memory:")]


def _known_scheme(url: str, known: set[str]) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in known:
        choices = ", ".join(f"{name}://" for name in sorted(known))
        msg = f"not a store that this version has here: use {choices}"
        raise ValueError(msg)
    return url


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
    capabilities: list[ImportString] = []
    """Import strings of pydantic-ai capabilities to add, such as a `ProcessEventStream` tap."""

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


class GatewayConfig(Settings):
    """Everything in `gateway.yaml`. `server` is the process, the rest is what it serves and to whom."""

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    cors: CorsSettings = CorsSettings()
    limits: list[LimitSettings] = []
    """Request rates; all rules apply."""
    stores: StoreSettings = StoreSettings()
    agents: Annotated[dict[AgentId, AgentSettings], Field(min_length=1)]
    """The agents, by name."""

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def folder(self) -> Path:
        """What import strings and relative paths are resolved against."""
        return self._folder

    def located(self, folder: Path) -> Self:
        """This config, as one that was read from `folder`."""
        config = self.model_copy()
        config._folder = folder.resolve()  # noqa: SLF001 - a copy of ourselves
        return config

    @model_validator(mode="after")
    def _safe_to_serve(self) -> Self:
        if refusals := dict(self._refusals()):
            # Custom, so that `configfile.py` can show each refusal at its own line.
            context = {"text": "\n".join(refusals.values()), "refusals": refusals}
            raise PydanticCustomError("unsafe_to_serve", "{text}", context)
        return self

    def _refusals(self) -> Iterator[tuple[str, str]]:
        """(Dotted key, why not)."""
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

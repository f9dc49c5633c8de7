"""The sections of `gateway.yaml` that say who may call, from where, and how often: `auth`, `cors`, `limits`.

And what an agent lets the pages of MCP Apps do: its `mcp_apps`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from limits import RateLimitItem, parse
from pydantic import Field, StringConstraints, field_validator, model_validator

from gateway.settings import PositiveInt, Seconds, Settings

Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip
"""JWT signature algorithms that may be allowed; `none` is not among them."""

Scope = Annotated[str, StringConstraints(pattern=r"^[a-z]+(:[A-Za-z0-9_*-]+)?$")]
"""`agents:*`, `agents:<id>`, or a verb such as `admin`."""


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
    secret: Annotated[Annotated[str, StringConstraints(min_length=32)] | None, Field(repr=False)] = None
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


AppMethod = Literal["resources/read", "tools/call", "ping", "notifications/message"]
"""What a page of an MCP App may ask of its server."""


class McpAppsSettings(Settings):
    """What the pages of MCP Apps may ask of the agent's MCP servers. Neither the model nor the user is asked first."""

    servers: Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(min_length=1)]
    """Ids of the agent's MCP toolsets whose pages are served: `MCPToolset(..., id='...')`."""
    methods: Annotated[list[AppMethod], Field(min_length=1)] = ["resources/read", "ping", "notifications/message"]
    """What pages may ask. `tools/call` lets them call every tool that the server shows to pages and that the agent
    neither hides nor has approved; `tools` narrows it."""
    tools: list[str] | None = None
    """Tools that pages may call, by the names that the server has for them."""
    resources: Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(min_length=1)] = ["ui://"]
    """Beginnings of the URIs that pages may read, as URLs are normally written: `%20` for a space."""
    timeout: Seconds = 30.0
    """Seconds that one answer may take."""
    max_bytes: PositiveInt = 4_000_000
    """Largest answer."""

    @model_validator(mode="after")
    def _tools_are_called(self) -> Self:
        if self.tools is not None and "tools/call" not in self.methods:
            msg = "`tools` says which tools pages may call: add `tools/call` to `methods`"
            raise ValueError(msg)
        return self

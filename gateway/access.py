"""The sections of `gateway.yaml` that say who may call, from where, and how often: `auth`, `cors`, `limits`.

And what an agent lets the pages of MCP Apps do: its `mcp_apps`.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Annotated, Literal, Self

from limits import RateLimitItem, parse
from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from gateway.settings import PositiveInt, Seconds, Settings

Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip
"""JWT signature algorithms that may be allowed; `none` is not among them."""

_WORDS = """
0 1 123 1234 12345 123456 12345678 123456789 abc abc123 admin agent api-key api_key apikey change-me change_me changeit
changeme demo dev example foo gateway guest hello hunter2 key letmein local none null pass passw0rd password qwerty root
sample secret sha256 test test-key test_key testing testkey token undefined user web welcome your-api-key your_api_key
"""
_WELL_KNOWN = {sha256(f"{word}{end}".encode()).hexdigest() for word in ("", *_WORDS.split()) for end in ("", "\n")}
"""Hashes that no key may have: of words that are tried first, or stand in examples, also with what `echo` adds."""

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

    @field_validator("sha256")
    @classmethod
    def _of_a_secret(cls, value: str) -> str:
        if value in _WELL_KNOWN:
            msg = "the hash of nothing, or of a word that anybody would try: `gateway keys new` makes a key"
            raise ValueError(msg)
        return value


class JwtSettings(Settings):
    """Bearer tokens signed by an identity provider."""

    issuer: Annotated[str, StringConstraints(min_length=1)]
    """Required value of `iss`."""
    audience: Annotated[str, StringConstraints(min_length=1)]
    """Required value of `aud`."""
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = ["RS256"]
    """Signature algorithms to accept: either all HMAC (with `secret`) or all asymmetric (with `public_key`)."""
    public_key: str | None = None
    """PEM public key, for RS*, PS*, ES* and EdDSA; `${file:...}` reads it from a file. Keys are not fetched (no
    JWKS): after a rotation, put the new one here and restart."""
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
    """Let callers without credentials in, all as one owner. The explicit way to open the gateway. Credentials that are
    sent must hold all the same, here and without any `auth`."""

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


_ORIGIN = r"https?://[^/?#\s*]+"


def _origin(value: str) -> str:
    if value == "*" or re.fullmatch(_ORIGIN, value):
        return value
    msg = "not an origin: write scheme://host[:port], without a path"
    if re.fullmatch(f"{_ORIGIN}/", value):
        msg = "not an origin: leave out the slash at the end"
    elif "*" in value:
        msg = "not an origin: there are no patterns such as http://localhost:*: write each one, or '*' for every one"
    raise ValueError(msg)


class CorsSettings(Settings):
    """Pages of which origins may call from a browser."""

    allow_origins: list[Annotated[str, AfterValidator(_origin)]] = []
    """Origins such as `https://app.example.com`, or `*` for every one (never together with credentials). Their pages
    may send any header. `localhost` and `127.0.0.1` are two origins, and so are two ports."""
    allow_credentials: bool = False
    """Let those pages send cookies and read the answers."""

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

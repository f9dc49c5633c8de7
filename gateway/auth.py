"""Credentials -> `Principal`. API keys, JWT, anonymous.

A backend either says who is calling or fails; a request with credentials that do not hold is never downgraded to an
anonymous one. What a principal may use is asked in one place, `Registry.find`.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, BaseUser

from gateway.errors import ConfigError, ConfigProblem
from gateway.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import HTTPConnection

    from gateway.config import ApiKeySettings, GatewayConfig, JwtSettings

log = get_logger("gateway.auth")


@dataclass(frozen=True)
class Principal(BaseUser):
    """Who is calling. `request.user` inside the gateway, the argument of an agent's `deps` function."""

    subject: str
    tenant: str | None = None
    scopes: frozenset[str] = frozenset({"agents:*"})
    anonymous: bool = False

    @property
    def scope(self) -> str:
        """The owner key of this principal's threads: equal for the same tenant and subject, for nobody else.

        Parts are quoted, so that no choice of names can imitate another tenant's key or the anonymous one.
        """
        if self.anonymous:
            return "anonymous"
        return f"tenant:{quote(self.tenant or '', safe='')}/subject:{quote(self.subject, safe='')}"

    def may_use(self, agent_id: str) -> bool:
        """Whether the scopes cover the agent."""
        return not self.scopes.isdisjoint(("agents:*", f"agents:{agent_id}"))

    @property
    def agents(self) -> frozenset[str] | None:
        """The agents that the scopes name; none for every agent."""
        if "agents:*" in self.scopes:
            return None
        return frozenset(scope.removeprefix("agents:") for scope in self.scopes if scope.startswith("agents:"))

    @property
    def is_authenticated(self) -> bool:
        """Starlette's question; an anonymous principal was let in, but is not signed in."""
        return not self.anonymous

    @property
    def display_name(self) -> str:
        """The subject."""
        return self.subject

    @property
    def identity(self) -> str:
        """The owner key."""
        return self.scope


ANONYMOUS = Principal("anonymous", anonymous=True)
"""The one owner of all requests without credentials, where those are let in."""


class ApiKeys:
    """`Authorization: Bearer` or `x-api-key` -> principal, by the SHA-256 of the key."""

    def __init__(self, keys: list[ApiKeySettings]) -> None:
        self._principals = [
            (
                bytes.fromhex(key.sha256),
                Principal(key.subject or key.id, tenant=key.tenant, scopes=frozenset(key.scopes)),
            )
            for key in keys
        ]

    def find(self, token: str) -> Principal | None:
        """The key's principal. Every hash is compared, in constant time, whichever one matches."""
        digest = hashlib.sha256(token.encode()).digest()
        found = None
        for known, principal in self._principals:
            if hmac.compare_digest(known, digest):
                found = principal
        return found


class Jwt:
    """A signed token -> principal. Signature, issuer, audience and expiry must all be there and hold."""

    def __init__(self, settings: JwtSettings) -> None:
        import jwt  # noqa: PLC0415 - 30 ms with cryptography; only those who configure it pay

        self._jwt = jwt
        self._settings = settings
        key = settings.secret or settings.public_key or ""
        try:
            # Parsed once, and at start: a key that does not fit fails here instead of refusing every caller.
            self._key: Any = jwt.get_algorithm_by_name(settings.algorithms[0]).prepare_key(key)
        except (jwt.InvalidKeyError, ValueError, TypeError):
            message = f"not a key for {settings.algorithms[0]}: a PEM public key is needed"  # its text stays out of it
            raise ConfigError([ConfigProblem(message, key="auth.jwt.public_key")]) from None

    def find(self, token: str) -> Principal | None:
        """The token's principal, or none when anything about the token is wrong."""
        try:
            claims: Mapping[str, Any] = self._jwt.decode(
                token,
                self._key,
                algorithms=list(self._settings.algorithms),
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                leeway=self._settings.leeway,
                options={"require": ["exp", "iss", "aud", self._settings.subject_claim]},
            )
        except self._jwt.PyJWTError:
            return None
        subject, tenant = claims.get(self._settings.subject_claim), claims.get(self._settings.tenant_claim)
        if not isinstance(subject, str) or not subject or not isinstance(tenant, str | None):
            return None
        return Principal(subject, tenant=tenant, scopes=_scopes(claims.get(self._settings.scopes_claim)))


def _scopes(claim: object) -> frozenset[str]:
    if isinstance(claim, str):
        return frozenset(claim.split())  # RFC 8693, 4.2: one string with spaces
    if isinstance(claim, list):
        return frozenset(str(scope) for scope in claim)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return frozenset()


class Credentials(AuthenticationBackend):
    """The backend of the gateway: the first kind of credentials that knows the token speaks for the caller."""

    def __init__(self, kinds: list[ApiKeys | Jwt], *, anonymous: bool) -> None:
        self._kinds = kinds
        self._anonymous = anonymous
        self._hinted = False

    @classmethod
    def from_config(cls, config: GatewayConfig) -> Credentials:
        """What `auth:` says; anonymous callers where it says so, or where nothing is said on a loopback bind."""
        auth = config.auth
        kinds: list[ApiKeys | Jwt] = []
        if auth.api_keys:
            kinds.append(ApiKeys(auth.api_keys))
        if auth.jwt:
            kinds.append(Jwt(auth.jwt))
        return cls(kinds, anonymous=auth.anonymous or (not auth.configured and config.server.loopback))

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, Principal]:
        """The caller, or `AuthenticationError`."""
        token = _token(conn)
        if token is None and self._anonymous:
            return AuthCredentials(sorted(ANONYMOUS.scopes)), ANONYMOUS
        for kind in self._kinds if token else ():
            if principal := kind.find(token or ""):
                return AuthCredentials(sorted(principal.scopes)), principal
        if not self._kinds and not self._hinted:
            self._hinted = True  # once is enough, and not a word of what came
            hint = "none are configured, so none hold: send none, or add `auth.api_keys` or `auth.jwt` to the config"
            log.warning("credentials_without_auth", hint=hint)
        raise AuthenticationError


def _token(conn: HTTPConnection) -> str | None:
    """The token that came with the request: none when no credentials came, empty when they are unreadable."""
    if (authorization := conn.headers.get("authorization")) is not None:
        scheme, _, token = authorization.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""
    return conn.headers.get("x-api-key")

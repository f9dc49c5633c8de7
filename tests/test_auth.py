"""Credentials of every kind, right and wrong, against the gateway in memory."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from itertools import combinations
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from serving import make_config, serving
from talking import WIRES, assert_problem, calling, run_url, turn

from gateway.app import create_app
from gateway.auth import ANONYMOUS, Principal

if TYPE_CHECKING:
    from starlette.applications import Starlette

pytestmark = pytest.mark.anyio

KEY = "gw_0123456789abcdef"
NARROW_KEY = "gw_narrow"
ISSUER, AUDIENCE = "https://id.example.com/", "gateway"
SECRET = "a shared secret that is long enough for the longest hash, too: 64 bytes"
AGENTS = {"plain": "probes:plain", "ticking": "probes:ticking"}

PRIVATE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC_PEM = (
    PRIVATE_KEY.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


KEYS = [
    {"id": "web", "sha256": sha256(KEY), "subject": "web", "tenant": "acme"},
    {"id": "narrow", "sha256": sha256(NARROW_KEY), "scopes": ["agents:plain"]},
]
RS256 = {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ["RS256"], "public_key": PUBLIC_PEM}
HS256 = {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ["HS256"], "secret": SECRET}


def gateway(**auth: Any) -> Starlette:
    return create_app(make_config(auth=auth, agents=AGENTS))


def claims(**changes: Any) -> dict[str, Any]:
    given = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ada",
        "exp": int(time.time()) + 3600,
        "scope": "agents:*",
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}


def rs256(**changes: Any) -> str:
    return jwt.encode(claims(**changes), PRIVATE_KEY, "RS256")


def hs256(**changes: Any) -> str:
    return jwt.encode(claims(**changes), SECRET, "HS256")


def segment(data: object) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer {KEY}"},
        {"authorization": f"Bearer   {KEY}  "},
        {"x-api-key": KEY},
        {"authorization": f"Bearer {KEY}", "x-api-key": KEY},
    ],
    ids=["bearer", "lower-case scheme", "spaces", "x-api-key", "both"],
)
async def test_a_known_key_gets_in(headers: dict[str, str]) -> None:
    async with calling(gateway(api_keys=KEYS)) as client:
        response = await client.get("/agents", headers=headers)
    assert response.status_code == 200
    assert [agent["id"] for agent in response.json()["agents"]] == ["plain", "ticking"]


WRONG_CREDENTIALS = {
    "wrong key": {"authorization": "Bearer gw_wrong"},
    "wrong x-api-key": {"x-api-key": "gw_wrong"},
    "key in other case": {"x-api-key": KEY.upper()},
    "empty bearer": {"authorization": "Bearer "},
    "bare bearer": {"authorization": "Bearer"},
    "empty authorization": {"authorization": ""},
    "empty x-api-key": {"x-api-key": ""},
    "basic": {"authorization": "Basic " + base64.b64encode(f"web:{KEY}".encode()).decode()},
    "unknown scheme": {"authorization": f"Token {KEY}"},
    "no scheme": {"authorization": KEY},
    "the hash of a key": {"x-api-key": sha256(KEY)},
    "a wrong bearer beside a right x-api-key": {"authorization": "Bearer gw_wrong", "x-api-key": KEY},
    "an unknown scheme beside a right x-api-key": {"authorization": "Basic YTpi", "x-api-key": KEY},
    "not ASCII": {"x-api-key": "gw_\u00e9"},
}


@pytest.mark.parametrize("anonymous", [False, True])
@pytest.mark.parametrize("headers", WRONG_CREDENTIALS.values(), ids=list(WRONG_CREDENTIALS))
async def test_credentials_that_do_not_hold_are_refused_even_where_anonymous_callers_are_let_in(
    headers: dict[str, str], anonymous: bool
) -> None:
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    async with calling(gateway(api_keys=KEYS, anonymous=anonymous)) as client:
        response = await client.get("/agents", headers=raw)  # pyright: ignore[reportArgumentType] - bytes are fine
    body = assert_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == 'Bearer realm="gateway"'
    assert KEY not in json.dumps(body)


async def test_no_credentials_are_refused_unless_anonymous_callers_are_let_in() -> None:
    async with calling(gateway(api_keys=KEYS)) as client:
        assert_problem(await client.get("/agents"), 401, "unauthenticated")
        assert_problem(await client.post("/agents/plain/ag-ui", json=turn("ag-ui")), 401, "unauthenticated")
        assert_problem(await client.get("/no/such/route"), 401, "unauthenticated")
    async with calling(gateway(api_keys=KEYS, anonymous=True)) as client:
        assert (await client.get("/agents")).status_code == 200
        assert (await client.get("/agents", headers={"x-api-key": NARROW_KEY})).json()["agents"][0]["id"] == "plain"


async def test_the_probes_need_no_credentials() -> None:
    async with calling(gateway(api_keys=KEYS)) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz", headers={"x-api-key": "gw_wrong"})).status_code in (200, 503)


@pytest.mark.parametrize(("settings", "sign"), [(RS256, rs256), (HS256, hs256)], ids=["RS256", "HS256"])
async def test_a_token_that_holds_gets_in_with_its_scopes(settings: dict[str, Any], sign: Any) -> None:
    async with calling(gateway(jwt=settings)) as client:

        async def sees(token: str) -> list[str]:
            response = await client.get("/agents", headers=bearer(token))
            assert response.status_code == 200, response.text
            return [agent["id"] for agent in response.json()["agents"]]

        assert await sees(sign()) == ["plain", "ticking"]
        assert await sees(sign(scope="openid agents:plain")) == ["plain"]
        assert await sees(sign(scope=["openid", "agents:ticking"])) == ["ticking"]
        assert await sees(sign(aud=["another", AUDIENCE])) == ["plain", "ticking"]
        assert await sees(sign(exp=int(time.time()) - 2)) == ["plain", "ticking"], "within the leeway"
        nothings: list[Any] = [None, "", [], {}, 7, "agents", "agents:", "AGENTS:*", "agents:PLAIN", {"agents:*": True}]
        for nothing in nothings:
            assert await sees(sign(scope=nothing)) == [], nothing


async def test_a_token_may_come_as_x_api_key_and_keys_may_stand_beside_tokens() -> None:
    async with calling(gateway(jwt=RS256, api_keys=KEYS)) as client:
        for headers in ({"x-api-key": rs256()}, bearer(rs256()), bearer(KEY)):
            assert (await client.get("/agents", headers=headers)).status_code == 200


def hs256_with_the_public_key() -> str:
    """The classic forgery (RFC 8725, 2.1): the public key is public, and an HMAC secret for who mixes them up."""
    signed = f"{segment({'alg': 'HS256', 'typ': 'JWT'})}.{segment(claims())}"
    return f"{signed}.{segment(hmac.digest(PUBLIC_PEM.encode(), signed.encode(), 'sha256'))}"


def with_header(**header: Any) -> str:
    """A token with a right payload and signature bytes under a header of the caller's choice."""
    return f"{segment(header)}.{segment(claims())}.{rs256().rpartition('.')[2]}"


def signed_as_is(payload: object) -> str:
    """A rightly signed token with a payload that `jwt.encode` would not take."""
    return jwt.PyJWS().encode(json.dumps(payload).encode(), PRIVATE_KEY, "RS256")


def tampered() -> str:
    head, _, signature = rs256().split(".")
    return f"{head}.{segment(claims(sub='root'))}.{signature}"


OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
BAD_TOKENS = {
    "expired": rs256(exp=int(time.time()) - 60),
    "no expiry": rs256(exp=None),
    "expiry that is not a number": signed_as_is(claims() | {"exp": "soon"}),
    "expiry that is endless": signed_as_is(claims() | {"exp": float("inf")}),
    "payload that is not an object": signed_as_is(["ada"]),
    "not valid yet": rs256(nbf=int(time.time()) + 3600),
    "wrong issuer": rs256(iss="https://evil.example/"),
    "no issuer": rs256(iss=None),
    "wrong audience": rs256(aud="another"),
    "no audience": rs256(aud=None),
    "no subject": rs256(sub=None),
    "empty subject": rs256(sub=""),
    "tenant that is not a string": rs256(tenant=["acme"]),
    "alg none": f"{segment({'alg': 'none', 'typ': 'JWT'})}.{segment(claims())}.",
    "alg NoNe": f"{segment({'alg': 'NoNe', 'typ': 'JWT'})}.{segment(claims())}.",
    "HS256 with the public key": hs256_with_the_public_key(),
    "an algorithm that is not on the list": jwt.encode(claims(), PRIVATE_KEY, "RS512"),
    "a key of its own": jwt.encode(
        claims(), OTHER_KEY, "RS256", headers={"jwk": {"kty": "RSA"}, "jku": "https://evil.example/jwks"}
    ),
    "other payload": tampered(),
    "no signature": rs256().rpartition(".")[0] + ".",
    "critical header": with_header(alg="RS256", crit=["x"], x=1),
    "no alg": with_header(typ="JWT"),
    "alg that is not a string": with_header(alg=["RS256"]),
    "two parts": "a.b",
    "no parts": "abc",
    "not base64": "!.!.!",
    "header that nests": f"{segment(b'[' * 6000)}.{segment(claims())}.x",
}


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=list(BAD_TOKENS))
async def test_a_token_that_does_not_hold_is_refused(token: str) -> None:
    async with calling(gateway(jwt=RS256, api_keys=KEYS, anonymous=True)) as client:
        response = await client.get("/agents", headers=bearer(token))
    assert_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == 'Bearer realm="gateway"'


@pytest.mark.parametrize(
    "token",
    [
        jwt.encode(claims(), SECRET[::-1], "HS256"),
        jwt.encode(claims(), SECRET, "HS512"),
        rs256(),
        hs256(exp=1),
    ],
    ids=["other secret", "other algorithm", "asymmetric", "expired"],
)
async def test_a_token_of_another_secret_is_refused(token: str) -> None:
    async with calling(gateway(jwt=HS256)) as client:
        assert_problem(await client.get("/agents", headers=bearer(token)), 401, "unauthenticated")


async def test_an_agent_out_of_scope_is_answered_like_one_that_never_was() -> None:
    """Law 6: whoever may not use an agent cannot tell that it exists."""
    async with calling(gateway(api_keys=KEYS), x_api_key=NARROW_KEY) as client:

        async def answer(agent: str, path: str = "", body: dict[str, Any] | None = None) -> tuple[int, Any, Any]:
            method = "POST" if body else "GET"
            response = await client.request(method, f"/agents/{agent}{path}", json=body)
            problem = assert_problem(response, 404, "agent_not_found")
            del problem["request_id"]
            headers = response.headers.copy()
            del headers["x-request-id"]
            return response.status_code, problem, sorted(headers.items())

        assert await answer("ticking") == await answer("nothing")
        for wire in WIRES:
            assert await answer("ticking", f"/{wire}", turn(wire)) == await answer("nothing", f"/{wire}", turn(wire))
            assert await answer("ticking", f"/{wire}", {"no": "turn"}) == await answer("nothing", f"/{wire}", {"n": 1})
        assert (await client.get("/agents/plain")).status_code == 200
        assert (await client.post(run_url("ag-ui", "plain"), json=turn("ag-ui"))).status_code == 200


async def test_a_surface_that_an_agent_does_not_offer_is_not_there() -> None:
    agents = {"plain": {"import": "probes:plain", "surfaces": ["ag-ui"]}}
    async with calling(create_app(make_config(agents=agents))) as client:
        assert_problem(await client.post(run_url("vercel-ai", "plain"), json=turn("vercel-ai")), 404, "agent_not_found")
        assert list((await client.get("/agents/plain")).json()["surfaces"]) == ["ag-ui"]


NAMES = [
    "a/subject:b",
    "b/subject:a",
    "a",
    "b",
    "a/b",
    "a:b",
    "a%2Fb",
    "a%b",
    "%",
    "/",
    ":",
    "",
    "anonymous",
    "subject:a",
    "/subject:a",
    "A",
    "\u00e4",
]


def test_owner_keys_are_equal_for_the_same_tenant_and_subject_and_for_nobody_else() -> None:
    principals = [Principal(subject, tenant=tenant) for subject in NAMES for tenant in NAMES]
    principals += [Principal(subject) for subject in NAMES if subject]
    principals.append(ANONYMOUS)
    keys: dict[str, Principal] = {}
    for principal in principals:
        other = keys.setdefault(principal.scope, principal)
        assert (other.tenant or "", other.subject, other.anonymous) == (
            principal.tenant or "",
            principal.subject,
            principal.anonymous,
        )
    assert Principal("a", tenant="t").scope == Principal("a", tenant="t", scopes=frozenset({"agents:x"})).scope
    for one, other in combinations((Principal("a"), Principal("a", tenant="a"), Principal("anonymous"), ANONYMOUS), 2):
        assert one.scope != other.scope


async def test_with_nothing_configured_only_loopback_host_names_are_answered() -> None:
    """A page that rebinds its own name to 127.0.0.1 sends its own name as `Host`."""
    async with calling(create_app(make_config(agents=AGENTS))) as client:
        for host in ("localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]", "LocalHost", "localhost."):
            assert (await client.get("/agents", headers={"host": host})).status_code == 200, host
        for host in ("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "", "*"):
            assert_problem(await client.get("/agents", headers={"host": host}), 400, "host_not_allowed")
            preflight = {"host": host, "origin": "https://evil.example", "access-control-request-method": "POST"}
            assert_problem(await client.options("/agents", headers=preflight), 400, "host_not_allowed")
            assert (await client.get("/healthz", headers={"host": host})).status_code == 200


async def test_allowed_hosts_are_the_ones_that_the_config_names() -> None:
    config = make_config(agents=AGENTS, server={"allowed_hosts": ["api.example.com", "*.apps.example.com"]})
    async with calling(create_app(config)) as client:
        for host in ("api.example.com", "api.example.com:443", "one.apps.example.com", "API.example.com"):
            assert (await client.get("/agents", headers={"host": host})).status_code == 200, host
        for host in (
            "localhost",
            "example.com",
            "apps.example.com",
            "evilapps.example.com",
            "api.example.com.evil.org",
        ):
            assert_problem(await client.get("/agents", headers={"host": host}), 400, "host_not_allowed")


@pytest.mark.parametrize(
    "sections",
    [
        {"server": {"host": "0.0.0.0"}, "auth": {"anonymous": True}},  # noqa: S104 - nothing is bound
        {"server": {"allowed_hosts": ["*"]}},
    ],
    ids=["any bind", "wildcard"],
)
async def test_other_binds_and_the_wildcard_answer_every_host_name(sections: dict[str, Any]) -> None:
    async with calling(create_app(make_config(agents=AGENTS, **sections))) as client:
        assert (await client.get("/agents", headers={"host": "anything.example"})).status_code == 200


def test_a_foreign_host_name_is_refused_on_a_real_socket_too() -> None:
    with serving(make_config(agents=AGENTS)) as url, httpx.Client(base_url=url) as client:
        assert client.get("/agents").status_code == 200
        assert_problem(client.get("/agents", headers={"host": "evil.example"}), 400, "host_not_allowed")

"""What a page of another origin may send, and what it may read."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from logs import capture_logs
from serving import make_config
from talking import WIRES, assert_problem, calling, run_url, turn

from gateway.app import create_app

if TYPE_CHECKING:
    import httpx
    from starlette.applications import Starlette

pytestmark = pytest.mark.anyio

ORIGIN, FOREIGN = "https://app.example.com", "https://evil.example"
KEY = "gw_key"
EXPOSED = {"x-run-id", "x-thread-id", "x-request-id", "location", "retry-after", "ratelimit"}


def gateway(cors: dict[str, Any] | None = None, **sections: Any) -> Starlette:
    sections.setdefault("agents", {"plain": "probes:plain", "broken_deps": {"import": "probes:who", "deps": DEPS}})
    return create_app(make_config(cors=cors or {"allow_origins": [ORIGIN]}, **sections))


DEPS = "probes:broken_deps"
AUTH = {"api_keys": [{"id": "web", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}]}


def preflight(origin: str = ORIGIN, method: str = "POST", headers: str = "content-type") -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": headers,
    }


def listed(response: httpx.Response, header: str) -> set[str]:
    return {name.strip().lower() for name in response.headers[header].split(",")}


def assert_readable(response: httpx.Response, origin: str = ORIGIN) -> None:
    assert response.headers["access-control-allow-origin"] == origin
    assert listed(response, "access-control-expose-headers") == EXPOSED


@pytest.mark.parametrize("wire", WIRES)
async def test_a_preflight_of_a_listed_origin_passes_without_credentials(wire: str) -> None:
    """Browsers send no credentials with a preflight; auth must not see it."""
    async with calling(gateway(auth=AUTH)) as client:
        wanted = "authorization,content-type,x-api-key,last-event-id,traceparent,idempotency-key"
        response = await client.options(run_url(wire, "plain"), headers=preflight(headers=wanted))
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert listed(response, "access-control-allow-headers") >= set(wanted.split(","))
    assert {"get", "post", "patch", "delete"} <= listed(response, "access-control-allow-methods")
    assert "access-control-allow-credentials" not in response.headers
    assert "origin" in listed(response, "vary")


@pytest.mark.parametrize(
    "headers",
    [
        preflight(origin=FOREIGN),
        preflight(origin="https://app.example.com.evil.example"),
        preflight(origin="http://app.example.com"),
        preflight(origin="null"),
    ],
    ids=["foreign", "suffix", "scheme", "null"],
)
async def test_a_preflight_of_another_origin_is_refused(headers: dict[str, str]) -> None:
    async with calling(gateway()) as client:
        response = await client.options(run_url("ag-ui", "plain"), headers=headers)
    assert response.status_code == 400
    assert "access-control-allow-origin" not in response.headers


async def test_a_preflight_for_a_method_that_is_not_served_is_refused() -> None:
    async with calling(gateway()) as client:
        response = await client.options(run_url("ag-ui", "plain"), headers=preflight(method="PUT"))
    assert response.status_code == 400


@pytest.mark.parametrize(
    "cors",
    [
        {"allow_origins": [ORIGIN]},
        {"allow_origins": [ORIGIN], "allow_credentials": True},
        {"allow_origins": ["*"]},
    ],
    ids=["listed", "credentials", "every origin"],
)
async def test_pages_that_are_let_in_may_send_headers_of_their_own(cors: dict[str, Any]) -> None:
    """`headers` of CopilotKit's provider, and what it sends for `publicApiKey`. Beside credentials `*` would not do."""
    wanted = "authorization,content-type,x-copilotcloud-public-api-key,x-shop-language"
    async with calling(gateway(cors=cors)) as client:
        response = await client.options("/copilotkit/info", headers=preflight(headers=wanted))
        assert response.status_code == 200
        assert listed(response, "access-control-allow-headers") == set(wanted.split(","))
        response = await client.options("/copilotkit/info", headers=preflight(origin=FOREIGN, headers=wanted))
        assert response.status_code == (200 if cors["allow_origins"] == ["*"] else 400)


def refusals(logs: list[dict[str, Any]]) -> list[str]:
    return [line["origin"] for line in logs if line["event"] == "origin_refused"]


async def test_an_origin_that_is_turned_away_is_logged_once_with_what_to_do() -> None:
    with capture_logs() as logs:
        async with calling(gateway()) as client:
            for _ in range(3):
                await client.options(run_url("ag-ui", "plain"), headers=preflight(origin=FOREIGN))
            await client.options(run_url("ag-ui", "plain"), headers=preflight())
    (line,) = [line for line in logs if line["event"] == "origin_refused"]
    assert (line["log_level"], line["origin"]) == ("warning", FOREIGN)
    assert "cors.allow_origins" in line["hint"]


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"origin": FOREIGN, "sec-fetch-site": "cross-site"}, [FOREIGN]),
        ({"origin": "http://127.0.0.1:5199", "sec-fetch-site": "same-site"}, ["http://127.0.0.1:5199"]),
        ({"origin": ORIGIN, "sec-fetch-site": "cross-site"}, []),
        ({"origin": "http://localhost", "sec-fetch-site": "same-origin"}, []),
        ({"origin": FOREIGN}, []),
        ({"sec-fetch-site": "cross-site"}, []),
    ],
    ids=["event source", "another port", "listed", "own page", "proxied page", "a link"],
)
async def test_a_read_without_a_preflight_is_logged_when_a_browser_will_not_show_it(
    headers: dict[str, str], refused: list[str]
) -> None:
    with capture_logs() as logs:
        async with calling(gateway()) as client:
            await client.get("/agents/plain/stream/text?q=hi", headers=headers)
    assert refusals(logs) == refused


async def test_the_log_of_refused_origins_is_bounded_and_holds_nothing_but_plain_characters() -> None:
    with capture_logs() as logs:
        async with calling(gateway()) as client:
            for origin in (b"https://\x1b[31m\xff .example", b"https://" + b"x" * 5000):
                headers = {name.encode(): value.encode() for name, value in preflight().items()} | {b"origin": origin}
                await client.options("/agents", headers=headers)
            for number in range(50):
                await client.options("/agents", headers=preflight(origin=f"https://{number}.example"))
    seen = refusals(logs)
    assert len(seen) == 20
    assert seen[0] == "https://?[31m??.example"
    assert len(seen[1]) == 200


async def test_a_foreign_page_cannot_read_an_answer() -> None:
    async with calling(gateway()) as client:
        response = await client.get("/agents", headers={"origin": FOREIGN})
        assert "access-control-allow-origin" not in response.headers
        response = await client.post(run_url("ag-ui", "plain"), json=turn("ag-ui"), headers={"origin": FOREIGN})
        assert "access-control-allow-origin" not in response.headers


async def test_with_no_origins_listed_no_page_gets_in() -> None:
    async with calling(gateway(cors={"allow_origins": []})) as client:
        response = await client.options(run_url("ag-ui", "plain"), headers=preflight())
        assert response.status_code == 400
        assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("wire", WIRES)
async def test_a_page_can_read_a_stream_and_the_ids_in_its_headers(wire: str) -> None:
    async with calling(gateway(limits=[{"per": "ip", "requests": "9/minute"}])) as client:
        response = await client.post(run_url(wire, "plain"), json=turn(wire), headers={"origin": ORIGIN})
    assert response.status_code == 200
    assert_readable(response)
    assert response.headers.keys() >= {"x-run-id", "x-thread-id", "x-request-id", "ratelimit"}


async def test_a_page_can_read_every_refusal() -> None:
    """Starlette's own error page stands outside of CORS; a browser would show 'network error' for all of these."""
    limits = [{"per": "principal", "requests": "4/hour"}, {"per": "ip", "requests": "6/hour"}]
    async with calling(gateway(auth=AUTH, limits=limits), origin=ORIGIN) as client:
        key = {"x-api-key": KEY}
        answers = [
            (await client.get("/agents"), 401, "unauthenticated"),
            (await client.get("/agents/nothing", headers=key), 404, "agent_not_found"),
            (await client.get("/nothing", headers=key), 404, "not_found"),
            (await client.post("/agents", headers=key), 405, "method_not_allowed"),
            (
                await client.post(run_url("ag-ui", "broken_deps"), json=turn("ag-ui"), headers=key),
                500,
                "internal_error",
            ),
            (await client.get("/agents", headers=key), 429, "rate_limited"),  # by principal
            (await client.get("/agents", headers=key), 429, "rate_limited"),  # by address
        ]
        assert answers[-2][0].headers["ratelimit"] != answers[-1][0].headers["ratelimit"]
    for response, status, code in answers:
        assert_problem(response, status, code)
        assert_readable(response)


async def test_a_page_can_read_that_its_body_was_too_large() -> None:
    async with calling(gateway(server={"max_body_bytes": 10}), origin=ORIGIN) as client:
        response = await client.post(run_url("ag-ui", "plain"), json=turn("ag-ui"))
    assert_problem(response, 413, "body_too_large")
    assert_readable(response)


async def test_credentials_go_to_a_listed_origin_by_name() -> None:
    async with calling(gateway(cors={"allow_origins": [ORIGIN], "allow_credentials": True})) as client:
        for response in (
            await client.options("/agents", headers=preflight(method="GET")),
            await client.get("/agents", headers={"origin": ORIGIN, "cookie": "a=b"}),
        ):
            assert response.headers["access-control-allow-credentials"] == "true"
            assert response.headers["access-control-allow-origin"] == ORIGIN
        response = await client.get("/agents", headers={"origin": FOREIGN, "cookie": "a=b"})
        assert "access-control-allow-origin" not in response.headers


async def test_every_origin_is_let_in_without_credentials_only() -> None:
    async with calling(gateway(cors={"allow_origins": ["*"]})) as client:
        for response in (
            await client.options("/agents", headers=preflight(origin=FOREIGN, method="GET")),
            await client.get("/agents", headers={"origin": FOREIGN, "cookie": "a=b"}),
        ):
            assert response.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in response.headers


def test_credentials_together_with_every_origin_is_a_config_error() -> None:
    with pytest.raises(ValueError, match="every site act for your users"):
        make_config(cors={"allow_origins": ["*"], "allow_credentials": True})

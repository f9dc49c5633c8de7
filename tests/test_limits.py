"""Request rates: what is counted by what, over which store, and what a refusal says."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import redis
from ports import free_port
from serving import make_config
from talking import WIRES, assert_problem, calling, run_url, turn

from gateway import limits
from gateway.app import create_app
from gateway.errors import ConfigError
from gateway.limits import address_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.applications import Starlette

pytestmark = pytest.mark.anyio

KEYS = {name: f"gw_{name}" for name in ("ada", "bob")}
AUTH = {
    "api_keys": [
        {"id": name, "sha256": hashlib.sha256(key.encode()).hexdigest(), "tenant": "acme"} for name, key in KEYS.items()
    ]
}
AGENTS = {"plain": "probes:plain", "other": "probes:plain"}
FIELD = re.compile(r'"(principal|ip|agent)";r=(\d+);t=(\d+)')


def gateway(*rules: tuple[str, str], **sections: Any) -> Starlette:
    rates = [{"per": per, "requests": requests} for per, requests in rules]
    sections.setdefault("agents", AGENTS)
    return create_app(make_config(limits=rates, **sections))


async def test_requests_are_counted_for_each_principal() -> None:
    async with calling(gateway(("principal", "2/hour"), auth=AUTH)) as client:

        async def call(name: str) -> Any:
            return await client.get("/agents", headers={"x-api-key": KEYS[name]})

        for left in ("1", "0"):
            response = await call("ada")
            assert response.status_code == 200
            assert FIELD.fullmatch(response.headers["ratelimit"])[2] == left  # pyright: ignore[reportOptionalSubscript]
            assert "retry-after" not in response.headers
        refused = await call("ada")
        assert_problem(refused, 429, "rate_limited")
        field = FIELD.fullmatch(refused.headers["ratelimit"])
        assert field
        assert field[1] == "principal"
        assert field[2] == "0"
        assert field[3] == refused.headers["retry-after"]
        assert 0 < int(refused.headers["retry-after"]) <= 3600
        assert (await call("bob")).status_code == 200


async def test_all_anonymous_callers_are_counted_as_one() -> None:
    app = gateway(("principal", "1/hour"))
    async with calling(app, address="192.0.2.1") as client:
        assert (await client.get("/agents")).status_code == 200
    async with calling(app, address="192.0.2.2") as client:
        assert_problem(await client.get("/agents"), 429, "rate_limited")


async def test_addresses_are_counted_before_auth_so_that_guessing_keys_is_limited() -> None:
    async with calling(gateway(("ip", "3/hour"), auth=AUTH)) as client:
        for number in range(3):
            assert_problem(await client.get("/agents", headers={"x-api-key": f"gw_{number}"}), 401, "unauthenticated")
        refused = await client.get("/agents", headers={"x-api-key": KEYS["ada"]})
        assert_problem(refused, 429, "rate_limited")
        assert refused.headers["ratelimit"].startswith('"ip";r=0;')


async def test_each_address_has_a_count_of_its_own() -> None:
    app = gateway(("ip", "1/hour"))
    async with calling(app, address="192.0.2.1") as client:
        assert (await client.get("/agents")).status_code == 200
        assert_problem(await client.get("/agents"), 429, "rate_limited")
    async with calling(app, address="192.0.2.2") as client:
        assert (await client.get("/agents")).status_code == 200


async def test_an_ipv6_subscriber_is_counted_by_network() -> None:
    """Whoever has one address of a /64 has 2^64 of them."""
    app = gateway(("ip", "1/hour"))
    async with calling(app, address="2001:db8:1:2::1") as client:
        assert (await client.get("/agents")).status_code == 200
    async with calling(app, address="2001:db8:1:2:ffff::9") as client:
        assert_problem(await client.get("/agents"), 429, "rate_limited")
    async with calling(app, address="2001:db8:1:3::1") as client:
        assert (await client.get("/agents")).status_code == 200


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:0DB8:0:0:1::"),
        ("fe80::1%eth0", "fe80::2%eth0"),
        ("unix", "unix"),
    ],
)
def test_spellings_of_one_subscriber_share_a_count(one: str, other: str) -> None:
    assert address_key(one) == address_key(other)


@pytest.mark.parametrize("wire", WIRES)
async def test_runs_are_counted_for_each_agent_whoever_starts_them(wire: str) -> None:
    async with calling(gateway(("agent", "2/hour"), auth=AUTH)) as client:

        async def run(agent: str, name: str) -> Any:
            return await client.post(run_url(wire, agent), json=turn(wire), headers={"x-api-key": KEYS[name]})

        assert (await run("plain", "ada")).headers["ratelimit"].startswith('"agent";r=1;')
        assert (await run("plain", "bob")).status_code == 200
        assert_problem(await run("plain", "bob"), 429, "rate_limited")
        assert (await run("other", "bob")).status_code == 200
        assert (await client.get("/agents/plain", headers={"x-api-key": KEYS["ada"]})).status_code == 200


async def test_a_request_that_is_no_turn_does_not_count_as_a_run() -> None:
    async with calling(gateway(("agent", "1/hour"))) as client:
        assert_problem(await client.post(run_url("ag-ui", "plain"), json={"no": "turn"}), 422, "malformed_body")
        assert (await client.post(run_url("ag-ui", "plain"), json=turn("ag-ui"))).status_code == 200


async def test_every_rule_that_applies_is_told_and_each_can_refuse() -> None:
    app = gateway(("ip", "9/hour"), ("principal", "8/day"), ("principal", "2/hour"), ("agent", "7/hour"))
    async with calling(app) as client:
        response = await client.post(run_url("ag-ui", "plain"), json=turn("ag-ui"))
        fields = {per: int(left) for per, left, _ in FIELD.findall(", ".join(response.headers.get_list("ratelimit")))}
        assert fields == {"ip": 8, "principal": 1, "agent": 6}
        assert (await client.get("/agents")).status_code == 200
        assert_problem(await client.get("/agents"), 429, "rate_limited")


async def test_a_window_that_has_passed_lets_the_caller_in_again() -> None:
    deadline = time.monotonic() + 20
    refused = None
    while refused is None:
        assert time.monotonic() < deadline
        async with calling(gateway(("principal", "1/second"))) as client:
            window = int(time.time())
            assert (await client.get("/agents")).status_code == 200
            second = await client.get("/agents")
            if int(time.time()) == window:  # they begin with the seconds of the clock
                refused = second
            while (await client.get("/agents")).status_code == 429:
                assert time.monotonic() < deadline
    assert_problem(refused, 429, "rate_limited")


async def test_the_probes_are_never_limited() -> None:
    async with calling(gateway(("ip", "1/hour"), ("principal", "1/hour"))) as client:
        for _ in range(5):
            response = await client.get("/healthz")
            assert response.status_code == 200
            assert "ratelimit" not in response.headers
        assert (await client.get("/agents")).status_code == 200


async def test_a_forwarded_address_is_not_believed_by_default() -> None:
    async with calling(gateway(("ip", "1/hour")), address="10.0.0.7") as client:
        assert (await client.get("/agents", headers={"x-forwarded-for": "192.0.2.1"})).status_code == 200
        refused = await client.get("/agents", headers={"x-forwarded-for": "192.0.2.2"})
        assert_problem(refused, 429, "rate_limited")


@pytest.mark.parametrize("proxy", ["10.0.0.7", "10.0.0.0/8"])
async def test_a_trusted_proxy_is_believed_about_the_address_and_another_is_not(proxy: str) -> None:
    app = gateway(("ip", "1/hour"), server={"trusted_proxies": [proxy]})
    async with calling(app, address="10.0.0.7") as client:

        async def status(forwarded: str) -> int:
            return (await client.get("/agents", headers={"x-forwarded-for": forwarded})).status_code

        assert await status("192.0.2.1") == 200
        assert await status("192.0.2.2") == 200
        assert await status("192.0.2.1") == 429
        # What the client itself put in front is not what the proxy saw.
        assert await status("192.0.2.99, 192.0.2.1") == 429
    async with calling(app, address="192.168.0.7") as client:
        assert await status("192.0.2.3") == 200
        assert await status("192.0.2.4") == 429


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that answers: the one of this machine, else a private one."""
    try:
        connect("redis://127.0.0.1:6379/9", socket_connect_timeout=1).ping()
    except redis.RedisError:
        if not shutil.which("redis-server"):
            pytest.skip("no Redis on 127.0.0.1:6379 and no redis-server to start")
        yield from _private_redis(tmp_path_factory.mktemp("redis"))
    else:
        yield "redis://127.0.0.1:6379/9"


def _private_redis(folder: Path) -> Iterator[str]:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        client = connect(f"redis://127.0.0.1:{port}/0")
        while True:
            try:
                client.ping()
                break
            except redis.RedisError:
                assert time.monotonic() < deadline, "the private Redis did not start"
                time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)


def connect(url: str, **options: Any) -> Any:
    """A client of Redis, whose own types are full of holes."""
    return redis.Redis.from_url(url, **options)  # pyright: ignore[reportUnknownMemberType]


@pytest.fixture
def own_keys(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A prefix of our own for the keys in Redis, which are gone afterwards."""
    prefix = f"gateway:test:{uuid4()}"
    monkeypatch.setattr(limits, "KEY_PREFIX", prefix)
    yield prefix
    client = connect(redis_url)
    for key in client.scan_iter(f"{prefix}*"):
        client.delete(key)


async def test_two_processes_share_their_counts_in_redis(redis_url: str, own_keys: str) -> None:
    stores = {"limits": redis_url}
    rules = (("principal", "2/hour"),)
    async with (
        calling(gateway(*rules, auth=AUTH, stores=stores), x_api_key=KEYS["ada"]) as one,
        calling(gateway(*rules, auth=AUTH, stores=stores), x_api_key=KEYS["ada"]) as other,
    ):
        assert (await one.get("/agents")).headers["ratelimit"].startswith('"principal";r=1;')
        assert (await other.get("/agents")).headers["ratelimit"].startswith('"principal";r=0;')
        for client in (one, other):
            refused = await client.get("/agents")
            assert_problem(refused, 429, "rate_limited")
            assert int(refused.headers["retry-after"]) > 0
        assert (await one.get("/agents", headers={"x-api-key": KEYS["bob"]})).status_code == 200
    client = connect(redis_url)
    keys = list(client.scan_iter(f"{own_keys}*"))
    assert keys
    assert all(client.ttl(key) > 0 for key in keys), "counters that never go away fill the store"


@pytest.mark.usefixtures("own_keys")
async def test_a_connection_that_redis_closed_is_opened_again_without_a_refusal(redis_url: str) -> None:
    """As after a restart of Redis, or an idle hour."""
    name = f"gateway-test-{uuid4()}"
    stores = {"limits": f"{redis_url}?client_name={name}"}
    async with calling(gateway(("principal", "9/hour"), stores=stores)) as client:
        assert (await client.get("/agents")).status_code == 200
        other = connect(redis_url)
        killed = [other.client_kill_filter(_id=entry["id"]) for entry in other.client_list() if entry["name"] == name]
        assert killed == [1]
        assert (await client.get("/agents")).status_code == 200


async def test_with_redis_down_nothing_is_let_through_and_nobody_waits_long() -> None:
    """A limit that opens on failure is no limit."""
    stores = {"limits": f"redis://127.0.0.1:{free_port()}/0"}
    async with calling(gateway(("principal", "9/hour"), stores=stores)) as client:
        started = time.monotonic()
        refused = await client.get("/agents")
        assert time.monotonic() - started < 2
        body = assert_problem(refused, 503, "limits_unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert "redis" not in str(body).lower()
        assert (await client.get("/healthz")).status_code == 200
        assert_problem(await client.post(run_url("ag-ui", "plain"), json=turn("ag-ui")), 503, "limits_unavailable")


async def test_a_redis_that_accepts_and_never_answers_is_a_redis_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REDIS_TIMEOUT", 0.1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        stores = {"limits": f"redis://127.0.0.1:{listener.getsockname()[1]}/0"}
        async with calling(gateway(("ip", "9/hour"), stores=stores)) as client:
            assert_problem(await client.get("/agents"), 503, "limits_unavailable")


def test_a_store_of_counters_that_cannot_be_made_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"stores\.limits: not a Redis URL") as raised:
        gateway(stores={"limits": "redis://user:hunter2@host:port/0"})
    assert "hunter2" not in str(raised.value)
    monkeypatch.setitem(sys.modules, "redis.asyncio.retry", None)
    with pytest.raises(ConfigError, match=r"install agent-gateway\[redis\]"):
        gateway(stores={"limits": "redis://127.0.0.1:6379/0"})

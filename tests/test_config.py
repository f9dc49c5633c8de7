from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from serving import make_config

from gateway.config import (
    SURFACES,
    AgentSettings,
    ApiKeySettings,
    CorsSettings,
    GatewayConfig,
    JwtSettings,
    LimitSettings,
    ServerSettings,
    StoreSettings,
    UsageLimitSettings,
)

AGENTS = {"one": "agents.one:agent"}
HASH = "a" * 64
KEY = {"id": "web", "sha256": HASH}
JWT = {"issuer": "https://id.example.com/", "audience": "gateway"}


def config(**sections: Any) -> GatewayConfig:
    return GatewayConfig.model_validate({"agents": AGENTS, **sections})


def complaint(model: Any, **values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(values)
    return "\n".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in caught.value.errors())


def test_the_defaults_serve_this_machine_only_and_remember_nothing() -> None:
    made = config()
    assert (made.server.host, made.server.port, made.server.workers) == ("127.0.0.1", 8000, 1)
    assert not made.auth.configured
    assert made.stores.in_memory == ["conversations", "streams", "limits"]
    assert made.agents["one"].surfaces == list(SURFACES)


def test_a_config_cannot_be_changed_after_it_was_read() -> None:
    with pytest.raises(ValidationError):
        config().server.port = 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "model", [ServerSettings, ApiKeySettings, JwtSettings, CorsSettings, LimitSettings, StoreSettings, AgentSettings]
)
def test_every_section_refuses_a_key_that_it_does_not_know(model: Any) -> None:
    assert "nonsense: Extra inputs are not permitted" in complaint(model, nonsense=1)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"port": 65536}, "port"),
        ({"port": -1}, "port"),
        ({"workers": 0}, "workers"),
        ({"max_body_bytes": 0}, "max_body_bytes"),
        ({"max_prompt_chars": -5}, "max_prompt_chars"),
        ({"heartbeat": 0}, "heartbeat"),
        ({"heartbeat": "inf"}, "heartbeat"),
        ({"drain_timeout": "soon"}, "drain_timeout"),
        ({"root_path": "ai"}, "root_path"),
        ({"root_path": "/ai/"}, "root_path"),
        ({"root_path": "//evil.example"}, "root_path"),
        ({"log_format": "xml"}, "log_format"),
        ({"log_level": "loud"}, "log_level"),
        ({"trusted_proxies": ["proxy.example.com"]}, "trusted_proxies"),
    ],
)
def test_the_server_refuses(values: dict[str, Any], key: str) -> None:
    assert complaint(ServerSettings, **values).startswith(f"{key}: ")


def test_no_proxy_may_stand_for_every_address() -> None:
    assert "choose its own address" in complaint(ServerSettings, trusted_proxies=["*"])


def test_proxies_are_addresses_and_networks() -> None:
    proxies = ["10.0.0.7", "10.0.0.0/8", "fd00::/8"]
    assert ServerSettings(trusted_proxies=proxies).trusted_proxies == proxies


def test_a_network_of_proxies_is_read_without_the_bits_of_a_host() -> None:
    assert ServerSettings(trusted_proxies=["10.0.0.1/8"]).trusted_proxies == ["10.0.0.0/8"]


@pytest.mark.parametrize("root_path", ["", "/a", "/ai", "/ai/agents"])
def test_a_root_path_is_empty_or_starts_with_one_slash(root_path: str) -> None:
    assert ServerSettings(root_path=root_path).root_path == root_path


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - this is the point
        ("::", False),
        ("10.0.0.1", False),
        ("gateway.example.com", False),
        ("", False),
    ],
)
def test_what_counts_as_a_loopback_bind(host: str, loopback: bool) -> None:
    assert ServerSettings(host=host).loopback is loopback


def test_strings_that_hold_numbers_and_booleans_are_taken_for_them() -> None:
    made = config(
        server={"port": "9000", "heartbeat": "2.5", "max_body_bytes": "10_000_000"}, auth={"anonymous": "true"}
    )
    assert (made.server.port, made.server.heartbeat, made.server.max_body_bytes) == (9000, 2.5, 10_000_000)
    assert made.auth.anonymous is True


@pytest.mark.parametrize("sha256", ["", "secret", "g" * 64, "a" * 63, "a" * 65])
def test_a_key_is_configured_by_its_sha256_in_hex(sha256: str) -> None:
    assert "sha256" in complaint(ApiKeySettings, id="web", sha256=sha256)


def test_a_hash_in_capitals_is_the_same_hash() -> None:
    assert ApiKeySettings(id="web", sha256="A" * 64).sha256 == HASH


@pytest.mark.parametrize("scope", ["", "Agents:*", "agents:", "agents:a b", "agents:a:b"])
def test_a_malformed_scope_is_refused(scope: str) -> None:
    assert "scopes" in complaint(ApiKeySettings, **KEY, scopes=[scope])


@pytest.mark.parametrize("key_id", ["", "x" * 65])
def test_a_key_needs_a_short_name(key_id: str) -> None:
    assert complaint(ApiKeySettings, id=key_id, sha256=HASH).startswith("id: ")


@pytest.mark.parametrize(
    ("other", "name"), [({"id": "web", "sha256": "b" * 64}, "id"), ({"id": "app", "sha256": HASH}, "sha256")]
)
def test_two_keys_may_not_share_a_name_or_a_hash(other: dict[str, str], name: str) -> None:
    assert f"two keys have the same `{name}`" in complaint(
        GatewayConfig, agents=AGENTS, auth={"api_keys": [KEY, other]}
    )


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "these algorithms need `public_key`"),
        ({"public_key": "pem", "secret": "s" * 32}, "no `secret`"),
        ({"algorithms": ["HS256"]}, "HS* algorithms need `secret`"),
        ({"algorithms": ["HS256"], "secret": "s" * 32, "public_key": "pem"}, "no `public_key`"),
        ({"algorithms": ["HS256", "RS256"], "secret": "s" * 32}, "may not be mixed"),
        ({"algorithms": ["HS256"], "secret": "short"}, "secret: "),
        ({"algorithms": ["none"]}, "algorithms.0: "),
        ({"algorithms": []}, "algorithms: "),
        ({"public_key": "pem", "issuer": ""}, "issuer: "),
        ({"public_key": "pem", "audience": ""}, "audience: "),
        ({"public_key": "pem", "leeway": 301}, "leeway: "),
    ],
)
def test_a_jwt_section_that_could_be_forged_or_never_match_is_refused(values: dict[str, Any], says: str) -> None:
    assert says in complaint(JwtSettings, **{**JWT, **values})


def test_a_jwt_section_has_either_a_public_key_or_a_secret() -> None:
    assert JwtSettings.model_validate({**JWT, "public_key": "pem"}).algorithms == ["RS256"]
    assert JwtSettings.model_validate({**JWT, "algorithms": ["HS512"], "secret": "s" * 32}).public_key is None


@pytest.mark.parametrize(
    "origin", ["app.example.com", "https://app.example.com/", "https://*.example.com", "ftp://x", "null", ""]
)
def test_what_is_not_an_origin_is_refused(origin: str) -> None:
    assert "not an origin" in complaint(CorsSettings, allow_origins=[origin])


def test_credentials_are_never_shared_with_every_origin() -> None:
    assert "every site act for your users" in complaint(CorsSettings, allow_origins=["*"], allow_credentials=True)
    assert CorsSettings(allow_origins=["*"]).allow_origins == ["*"]
    assert CorsSettings(allow_origins=["http://localhost:3000"], allow_credentials=True).allow_credentials


@pytest.mark.parametrize("rate", ["", "60", "sixty/minute", "60/fortnight"])
def test_what_is_not_a_rate_is_refused(rate: str) -> None:
    assert "not a rate" in complaint(LimitSettings, per="ip", requests=rate)


def test_a_limit_counts_by_something_that_a_request_has() -> None:
    assert complaint(LimitSettings, per="user", requests="1/minute").startswith("per: ")
    rate = LimitSettings(per="ip", requests="5 per 10 seconds").rate
    assert (rate.amount, rate.get_expiry()) == (5, 10)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("conversations", "mysql://localhost/x"),
        ("conversations", "redis://localhost"),
        ("streams", "postgresql://localhost"),
        ("limits", "memcached://localhost"),
        ("limits", "memory"),
    ],
)
def test_a_store_that_this_version_does_not_have_is_refused(name: str, url: str) -> None:
    assert f"{name}: " in (said := complaint(StoreSettings, **{name: url}))
    assert "use memory://" in said


def test_threads_may_be_kept_in_a_database() -> None:
    assert StoreSettings(conversations="sqlite:///x.db").in_memory == ["streams", "limits"]
    assert StoreSettings(conversations="postgresql://localhost/x").in_memory == ["streams", "limits"]


def test_the_limits_may_be_counted_in_redis() -> None:
    assert StoreSettings(limits="redis://localhost/0").in_memory == ["conversations", "streams"]


def test_an_agent_may_be_written_as_its_import_string() -> None:
    assert config().agents["one"] == AgentSettings.model_validate({"import": "agents.one:agent"})


@pytest.mark.parametrize(
    "values", [{}, {"import": "a:b", "spec": "c"}, {"import": "a:b", "inline": {}}, {"spec": "c", "inline": {}}]
)
def test_an_agent_comes_from_exactly_one_place(values: dict[str, Any]) -> None:
    assert "exactly one of `import`, `spec` and `inline`" in complaint(AgentSettings, **values)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"import": "agents.one"}, "import"),
        ({"import": "agents/one.py:agent"}, "import"),
        ({"import": "a:b", "deps": "make_deps"}, "deps"),
        ({"import": "a:b", "capabilities": ["audit"]}, "capabilities.0"),
        ({"import": "a:b", "surfaces": []}, "surfaces"),
        ({"import": "a:b", "surfaces": ["grpc"]}, "surfaces.0"),
        ({"import": "a:b", "timeout": 0}, "timeout"),
        ({"import": "a:b", "usage_limits": {"request_limit": 0}}, "usage_limits.request_limit"),
    ],
)
def test_an_agent_refuses(values: dict[str, Any], key: str) -> None:
    assert complaint(AgentSettings, **values).startswith(f"{key}: ")


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "é", "x" * 65])
def test_a_name_that_cannot_stand_in_a_url_is_refused(name: str) -> None:
    assert complaint(GatewayConfig, agents={name: "a:b"}).startswith("agents.")


def test_a_gateway_without_agents_is_refused() -> None:
    assert complaint(GatewayConfig).startswith("agents: ")
    assert complaint(GatewayConfig, agents={}).startswith("agents: ")


def test_null_lifts_a_usage_limit_and_is_told_apart_from_one_that_never_was() -> None:
    assert UsageLimitSettings().lifted == []
    assert UsageLimitSettings(request_limit=None, input_tokens_limit=None).lifted == ["request_limit"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gateway.example.com"])  # noqa: S104 - the point
def test_an_open_address_without_credentials_is_refused(host: str) -> None:
    said = complaint(GatewayConfig, agents=AGENTS, server={"host": host})
    assert "no credentials are configured" in said
    assert "anonymous: true" in said


@pytest.mark.parametrize(
    "auth", [{"anonymous": True}, {"api_keys": [KEY]}, {"jwt": {**JWT, "public_key": "pem"}}], ids=str
)
def test_an_open_address_is_served_once_somebody_said_who_may_call(auth: dict[str, Any]) -> None:
    assert config(server={"host": "::"}, auth=auth).auth.configured


def test_several_workers_with_stores_in_memory_are_refused() -> None:
    said = complaint(GatewayConfig, agents=AGENTS, server={"workers": 2}, stores={"limits": "redis://localhost"})
    assert "2 workers cannot share" in said
    assert "`stores.conversations`, `stores.streams`" in said
    assert "`stores.limits`" not in said


def test_all_reasons_not_to_serve_are_said_together() -> None:
    said = complaint(GatewayConfig, agents=AGENTS, server={"host": "::", "workers": 2})
    assert "no credentials" in said
    assert "2 workers" in said


def test_a_validation_error_does_not_show_what_was_in_the_config() -> None:
    secret = "hunter2-hunter2"
    with pytest.raises(ValidationError) as caught:
        GatewayConfig.model_validate(
            {
                "server": {"host": secret, "root_path": secret, "trusted_proxies": [secret], "port": secret},
                "auth": {"api_keys": [{"id": "web", "sha256": secret, "scopes": [f"{secret}!"]}]},
                "cors": {"allow_origins": [secret]},
                "limits": [{"per": secret, "requests": secret}],
                "stores": {"conversations": f"{secret}://", "limits": secret},
                "agents": {"one": secret},
            }
        )
    assert secret not in str(caught.value)


MISPLACED: list[tuple[Any, str]] = [
    ([{}, {}], "/copilotkit is taken"),
    ([{"path": "/threads"}], "/threads is taken"),
    ([{"path": "/agents/kit"}], "/agents/kit is taken"),
    ({"agents": ["one", "nobody"]}, "no such agent: nobody"),
    ([{"path": "copilotkit"}], "pattern"),
    ([{"path": "/kit/"}], "pattern"),
    ([{"agents": []}], "at least 1 item"),
]


@pytest.mark.parametrize(("runtimes", "says"), MISPLACED)
def test_a_copilotkit_runtime_that_cannot_be_served_is_refused(runtimes: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        make_config(agents={"one": "m:a"}, copilotkit=runtimes)


def test_one_copilotkit_runtime_need_not_be_a_list() -> None:
    config = make_config(agents={"one": "m:a", "two": "m:b"}, copilotkit={"path": "/kit", "agents": ["two"]})
    assert [runtime.path for runtime in config.copilotkit] == ["/kit"]
    assert "copilotkit" in config.surfaces_of("two")
    assert "copilotkit" not in config.surfaces_of("one")

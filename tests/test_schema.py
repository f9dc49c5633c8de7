from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from configs import ConfigFile

from gateway.cli.schema import dumped_schema, json_schema
from gateway.configfile import load

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    return ConfigFile(tmp_path)


def test_the_schema_in_the_repository_is_current() -> None:
    assert (ROOT / "gateway.schema.json").read_text() == dumped_schema(), "run: gateway schema > gateway.schema.json"


def test_the_shipped_config_points_editors_at_the_schema() -> None:
    first_line = (ROOT / "gateway.yaml").read_text().splitlines()[0]
    assert first_line == "# yaml-language-server: $schema=./gateway.schema.json"


def test_the_shipped_config_is_valid_for_editors_and_for_the_gateway() -> None:
    jsonschema.validate(yaml.safe_load((ROOT / "gateway.yaml").read_text()), json_schema())
    config = load(ROOT / "gateway.yaml", environ={})
    assert list(config.agents) == ["assistant", "approver", "planner", "extractor"]
    assert config.server.port == 8000
    assert load(ROOT / "gateway.yaml", environ={"PORT": "9000"}).server.port == 9000


def test_the_commented_examples_in_the_shipped_config_work_when_uncommented(file: ConfigFile) -> None:
    text = (ROOT / "gateway.yaml").read_text()
    text = re.sub(r"^# ((auth|cors|limits):|  )", r"\1", text, flags=re.MULTILINE)
    text = text.replace("<64 hex digits>", "a" * 64).replace("/run/secrets/jwt.pem", "jwt.pem")
    (file.path.parent / "jwt.pem").write_text("pem")
    config = file.write(text).load()
    assert config.auth.api_keys
    assert config.auth.jwt
    assert config.cors.allow_origins
    assert len(config.limits) == 2


EVERY_KIND: dict[str, Any] = {
    "server": {"port": "${PORT:-8000}", "max_body_bytes": "10_000_000", "heartbeat": "${H}", "log_level": "${L:-info}"},
    "auth": {"anonymous": "${OPEN}", "api_keys": [{"id": "web", "sha256": "${HASH}", "scopes": ["${SCOPE}"]}]},
    "limits": [{"per": "${PER}", "requests": "60/minute"}],
    "agents": {
        "one": "agents.one:agent",
        "two": "${AGENT}",
        "three": {"spec": "three.yaml", "usage_limits": {"request_limit": "${N}", "tool_calls_limit": None}},
    },
}


def test_editors_accept_an_interpolation_wherever_the_gateway_does() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(EVERY_KIND, json_schema())


@pytest.mark.parametrize(
    "wrong",
    [
        {"server": {"port": "http"}},
        {"server": {"port": 70000}},
        {"server": {"prot": 1}},
        {"server": {"log_level": "loud"}},
        {"auth": {"anonymous": "perhaps"}},
        {"auth": {"api_keys": [{"id": "web", "sha256": "key"}]}},
        {"agents": {"one": "not an import string"}},
        {"agents": {"a b": "a:b"}},
        {"agents": {}},
        {"nonsense": 1},
    ],
    ids=json.dumps,
)
def test_editors_refuse_what_the_gateway_refuses(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"agents": {"one": "a:b"}, **wrong}, json_schema())


def test_every_option_is_described_for_editors() -> None:
    schema = json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    models = [*definitions.values(), *definitions["AgentSettings"]["anyOf"], schema]
    options = {name: node for model in models for name, node in model.get("properties", {}).items()}
    bare = [name for name, node in options.items() if "description" not in node and "$ref" not in node]
    assert len(options) > 40
    assert not bare
    assert not [name for name, model in definitions.items() if "description" not in model]

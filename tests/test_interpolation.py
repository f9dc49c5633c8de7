from __future__ import annotations

import re
from pathlib import Path

import pytest
from configs import AGENTS, SECRET, ConfigFile

from gateway.interpolation import interpolate


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    return ConfigFile(tmp_path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain $ and $$ and {} stay", "plain $ and $$ and {} stay"),
        ("${SET}", "value"),
        ("a-${SET}-${SET}-b", "a-value-value-b"),
        ("${EMPTY}", ""),
        ("${SET:-other}", "value"),
        ("${UNSET:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${UNSET:-}", ""),
        ("${UNSET:-http://x:1/?a=b#c}", "http://x:1/?a=b#c"),
        ("${SET:?needed}", "value"),
        ("$${SET}", "${SET}"),
        ("${TRICKY}", "${SET}"),
        ("${file:-x}", "x"),
    ],
)
def test_interpolation_gives(text: str, value: str) -> None:
    environ = {"SET": "value", "EMPTY": "", "TRICKY": "${SET}"}
    assert interpolate(text, environ, Path()) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("${UNSET}", "UNSET is not set"),
        ("${UNSET:?ask the platform team}", "UNSET is needed: ask the platform team"),
        ("${EMPTY:?needed}", "EMPTY is needed: needed"),
        ("${UNSET:?}", "UNSET is not set"),
        ("${A:-${B}}", "not nested"),
        ("${", "cannot be read"),
        ("${}", "cannot be read"),
        ("${1X}", "cannot be read"),
        ("${SET-x}", "cannot be read"),
        ("${file:}", "cannot be read"),
        ("${file:missing.txt}", "missing.txt cannot be read"),
    ],
)
def test_interpolation_refuses(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        interpolate(text, {"SET": "value", "EMPTY": ""}, tmp_path)


def test_a_secret_is_read_from_a_file_without_its_line_end(file: ConfigFile) -> None:
    (file.path.parent / "secret.txt").write_text(f"{SECRET * 3}\n")
    auth = "auth: {jwt: {issuer: i, audience: a, algorithms: [HS256], secret: '${file:secret.txt}'}}\n"
    config = file.write(AGENTS + auth).load()
    assert config.auth.jwt
    assert config.auth.jwt.secret == SECRET * 3


def test_a_secret_file_may_have_an_absolute_path_and_several_lines(file: ConfigFile, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("-----BEGIN\nx\n-----END\n")
    text = f"{AGENTS}auth: {{jwt: {{issuer: i, audience: a, public_key: '${{file:{tmp_path}/key.pem}}'}}}}\n"
    config = file.write(text).load()
    assert config.auth.jwt
    assert config.auth.jwt.public_key == "-----BEGIN\nx\n-----END"


def test_a_secret_file_that_is_not_text_is_refused(file: ConfigFile) -> None:
    (file.path.parent / "key").write_bytes(b"\xff\xff")
    assert "not UTF-8" in file.write(f"{AGENTS}server:\n  host: ${{file:key}}\n").problem().message


def test_strings_are_filled_in_wherever_they_stand_and_then_coerced(file: ConfigFile) -> None:
    config = file.write(
        "server: {port: '${PORT}', allowed_hosts: ['${HOST}']}\n"
        "auth: {anonymous: '${OPEN:-false}'}\n"
        "agents: {one: {inline: {model: '${MODEL}', nested: [{deep: 'x${MODEL}'}]}, timeout: '${T:-1.5}'}}\n"
    ).load({"PORT": "9_000", "HOST": "x.example", "OPEN": "yes", "MODEL": "test"})
    assert (config.server.port, config.server.allowed_hosts, config.auth.anonymous) == (9000, ["x.example"], True)
    assert config.agents["one"].inline == {"model": "test", "nested": [{"deep": "xtest"}]}
    assert config.agents["one"].timeout == 1.5


def test_keys_are_not_filled_in(file: ConfigFile) -> None:
    assert file.write("agents: {'${NAME}': 'a:b'}\n").problem({"NAME": "one"}).key == "agents.${NAME}"


def test_a_variable_that_is_not_set_is_one_problem_at_its_line(file: ConfigFile) -> None:
    problem = file.write(f"{AGENTS}server:\n  host: localhost\n  port: ${{PORT}}\n").problem()
    assert (problem.line, problem.key) == (4, "server.port")
    assert "PORT is not set" in problem.message


def test_what_depends_on_an_unset_variable_is_not_reported_as_well(file: ConfigFile) -> None:
    text = AGENTS + "auth: {jwt: {issuer: i, audience: a, public_key: '${PEM}'}}\nserver: {host: '${HOST}'}\n"
    assert [problem.key for problem in file.write(text).problems()] == ["auth.jwt.public_key", "server.host"]


def test_an_unknown_key_is_reported_even_when_its_value_is_not_set(file: ConfigFile) -> None:
    messages = [problem.message for problem in file.write(f"{AGENTS}server: {{prot: '${{PORT}}'}}\n").problems()]
    assert any("PORT is not set" in message for message in messages)
    assert any("did you mean `port`?" in message for message in messages)

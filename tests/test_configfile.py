from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
import yaml
from configs import AGENTS, SECRET, ConfigFile

from gateway.configfile import load
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    return ConfigFile(tmp_path)


def test_a_file_becomes_a_config_that_knows_its_folder(file: ConfigFile) -> None:
    config = file.write(f"server: {{port: 9000}}\n{AGENTS}").load()
    assert config.server.port == 9000
    assert config.agents["one"].import_ == "agents.one:agent"
    assert config.folder == file.path.parent.resolve()


def test_a_relative_path_is_resolved_once(file: ConfigFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write(AGENTS)
    monkeypatch.chdir(file.path.parent)
    config = load("gateway.yaml", environ={})
    monkeypatch.chdir("/")
    assert config.folder == file.path.parent.resolve()


def test_a_missing_file_is_named(file: ConfigFile) -> None:
    problem = file.problem()
    assert problem.file == file.path
    assert "no such file" in problem.message


def test_a_folder_is_not_a_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, environ={})


def test_a_file_that_is_not_text_is_named(file: ConfigFile) -> None:
    file.path.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in file.problem().message


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_file_is_told_apart_from_a_wrong_one(file: ConfigFile, text: str) -> None:
    assert "the file is empty" in file.write(text).problem().message


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text\n", "42\n"])
def test_a_file_that_is_not_a_mapping_is_refused(file: ConfigFile, text: str) -> None:
    assert "must be a mapping" in file.write(text).problem().message


def test_a_byte_order_mark_does_no_harm(file: ConfigFile) -> None:
    assert file.write("\ufeff" + AGENTS).load().agents


MANY_MISTAKES = """\
server:
  host: 0.0.0.0
  prot: 80
  port: "${NO_PORT}"
auth:
cors:
  allow_origins: [nonsense]
limits:
  - {per: ip, requests: 10/minute}
  - {per: everyone, requests: 10/minute}
stores: {conversations: "mysql:///x.db"}
agents:
  one: {import: nowhere, timeut: 3}
  two: {}
  a b: agents.one:agent
  two: agents.two:agent
"""


def test_everything_is_reported_in_one_go_with_line_and_key(file: ConfigFile) -> None:
    found = [(problem.line, problem.key) for problem in file.write(MANY_MISTAKES).problems()]
    assert sorted(found, key=str) == sorted(
        [
            (3, "server.prot"),
            (4, "server.port"),
            (5, "auth"),
            (7, "cors.allow_origins.0"),
            (10, "limits.1.per"),
            (11, "stores.conversations"),
            (13, "agents.one.import"),
            (13, "agents.one.timeut"),
            (14, "agents.two"),
            (15, "agents.a b"),
            (16, "agents.two"),
        ],
        key=str,
    )


def test_problems_come_in_the_order_of_the_file_one_line_each(file: ConfigFile) -> None:
    with pytest.raises(ConfigError) as caught:
        file.write(MANY_MISTAKES).load()
    lines = str(caught.value).splitlines()
    numbers = [int(line.removeprefix(f"{file.path}:").partition(":")[0]) for line in lines]
    assert len(lines) == 11
    assert numbers == sorted(numbers)
    assert not re.search("Value error|Input should|input_", str(caught.value)), "a sentence of pydantic's"


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("agents: {one: {import: 'a:b', usage_limit: {}}}", "agents.one.usage_limit", "did you mean `usage_limits`?"),
        ("agents: {one: {imports: 'a:b', spec: x}}", "agents.one.imports", "did you mean `import`?"),
        (f"cors: {{allow_origin: []}}\n{AGENTS}", "cors.allow_origin", "did you mean `allow_origins`?"),
        (f"auth: {{jwt: {{isuer: x}}}}\n{AGENTS}", "auth.jwt.isuer", "did you mean `issuer`?"),
        (f"limits: [{{per: ip, request: x}}]\n{AGENTS}", "limits.0.request", "did you mean `requests`?"),
        (f"servre: {{}}\n{AGENTS}", "servre", "did you mean `server`?"),
        (f"zzz: {{}}\n{AGENTS}", "zzz", "unknown key"),
        ("server: {}", "agents", "this key is required"),
        ("agents: {}", "agents", "needs 1 or more entries"),
        (f"server: {{port: x}}\n{AGENTS}", "server.port", "must be a whole number"),
        (f"server: {{port: 70000}}\n{AGENTS}", "server.port", "must be 65535 or less"),
        (f"server: {{workers: 0}}\n{AGENTS}", "server.workers", "must be greater than 0"),
        (f"server: {{heartbeat: x}}\n{AGENTS}", "server.heartbeat", "must be a number"),
        (f"server: {{host: 5}}\n{AGENTS}", "server.host", "must be text; put it in quotes"),
        (f"server: {{log_level: loud}}\n{AGENTS}", "server.log_level", "must be one of 'debug', 'info'"),
        (f"server: {{allowed_hosts: x}}\n{AGENTS}", "server.allowed_hosts", "must be a list"),
        (f"server: {{root_path: x}}\n{AGENTS}", "server.root_path", "expected here: Path prefix"),
        (f"server: []\n{AGENTS}", "server", "must be a mapping"),
        (f"auth: {{anonymous: perhaps}}\n{AGENTS}", "auth.anonymous", "must be true or false"),
        ("agents: {one: {import: 'a:b', deps: x}}", "agents.one.deps", "Import string of a function"),
        ("agents: {-x: 'a:b'}", "agents.-x", "may not stand in a URL"),
        ("agents: [one]", "agents", "must be a mapping"),
        (f"cors: {{allow_credentials: true, allow_origins: ['*']}}\n{AGENTS}", "cors", "every site act for your users"),
    ],
)
def test_a_mistake_is_explained(file: ConfigFile, text: str, key: str, says: str) -> None:
    messages = [problem.message for problem in file.write(f"{text}\n").problems() if problem.key == key]
    assert [message for message in messages if says in message], file.problems()


def test_an_unsafe_config_is_refused_at_the_line_that_makes_it_so(file: ConfigFile) -> None:
    first, second = file.write(f"{AGENTS}server:\n  workers: 2\n  host: '::'\n").problems()
    assert (first.line, first.key) == (3, "server.workers")
    assert (second.line, second.key) == (4, "server.host")
    assert "no credentials are configured" in second.message


def test_an_unsafe_config_is_reported_beside_other_mistakes(file: ConfigFile) -> None:
    text = "server: {host: 0.0.0.0, workers: 2, port: x, prot: 3}\nagents: {one: x}\ncors: {allow_origins: [x]}\n"
    keys = {problem.key for problem in file.write(text).problems()}
    assert keys > {"server.host", "server.workers", "server.port", "agents.one.import"}


MISPLACED: list[tuple[str, tuple[int, str, str]]] = [
    ("copilotkit:\n  - {path: /kits/one, agents: [oen]}\n", (2, "copilotkit.0.agents", "no such agent: oen")),
    ("copilotkit:\n  - {path: /kit}\n  - path: /kit\n", (3, "copilotkit.1.path", "/kit is taken")),
    ("copilotkit:\n  - {path: /kit}\n  - path: /agents/kit\n", (3, "copilotkit.1.path", "/agents/kit is taken")),
    ("copilotkit: {path: /threads}\n", (1, "copilotkit.0.path", "/threads is taken")),
]


@pytest.mark.parametrize(("text", "expected"), MISPLACED)
@pytest.mark.parametrize("beside", ["", "server: {prot: 1}\n", "auth: {anonymus: 1}\n", "stores: {limits: x}\n"])
def test_a_runtime_that_cannot_be_served_is_refused_at_its_line_also_beside_other_mistakes(
    file: ConfigFile, text: str, expected: tuple[int, str, str], beside: str
) -> None:
    line, key, says = expected
    found = {problem.key: problem for problem in file.write(f"{text}{beside}{AGENTS}").problems()}
    assert len(found) == (2 if beside else 1)
    assert found[key].line == line
    assert says in found[key].message


@pytest.mark.parametrize(
    ("agents", "keys"),
    [
        ("agents: {one: {}, two: x}", {"agents.one", "agents.two.import", "copilotkit.0.agents"}),
        ("agents: {}", {"agents"}),
        ("agents: 3", {"agents"}),
        ("", {"agents"}),
    ],
)
def test_agents_that_failed_are_there_for_a_runtime_that_names_them(
    file: ConfigFile, agents: str, keys: set[str]
) -> None:
    problems = file.write(f"copilotkit: {{agents: [one, nobody]}}\n{agents}\n").problems()
    assert {problem.key for problem in problems} == keys
    assert [problem.message for problem in problems if problem.key.startswith("copilotkit")] in (
        [],
        ["no such agent: nobody"],
    )


def test_there_is_always_a_sentence(file: ConfigFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_arguments: object) -> tuple[()]:
        return ()

    monkeypatch.setattr("gateway.configfile._refusals", nothing)
    problem = file.write(f"server: {{host: '::'}}\n{AGENTS}").problem()
    assert problem.file == file.path
    assert "the sections do not fit together" in problem.message


@pytest.mark.parametrize(
    ("origin", "says"),
    [
        ("http://localhost:3000/", "leave out the slash at the end"),
        ("http://localhost:*", "there are no patterns"),
        ("https://*.example.com", "there are no patterns"),
        ("localhost:3000", "write scheme://host[:port]"),
        ("https://example.com/app", "without a path"),
    ],
)
def test_an_origin_of_the_wrong_form_is_named_by_its_place(file: ConfigFile, origin: str, says: str) -> None:
    text = f"cors:\n  allow_origins:\n    - https://app.example.com\n    - {origin}\n{AGENTS}"
    problem = file.write(text).problem()
    assert (problem.line, problem.key) == (4, "cors.allow_origins.1")
    assert says in problem.message


WELL_KNOWN = ["", "test", "secret", "password", "changeme", "secret\n"]


@pytest.mark.parametrize("word", WELL_KNOWN)
def test_the_hash_of_a_word_that_anybody_would_try_is_no_key(file: ConfigFile, word: str) -> None:
    digest = sha256(word.encode()).hexdigest()
    problem = file.write(f"auth: {{api_keys: [{{id: web, sha256: {digest.upper()}}}]}}\n{AGENTS}").problem()
    assert problem.key == "auth.api_keys.0.sha256"
    assert "`gateway keys new` makes a key" in problem.message


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("auth: {anonymus: true}\nserver: {host: '::'}", "auth.anonymus"),
        ("auth: {api_keys: '${KEYS}'}\nserver: {host: '::'}", "auth.api_keys"),
        ("auth: 3\nserver: {host: '::'}", "auth"),
        ("server: {host: ['::']}", "server.host"),
        ("server: {hots: '::'}", "server.hots"),
        ("server: {workers: two}", "server.workers"),
        ("server: {workers: 2}\nstores: {conversation: 'sqlite://x'}", "stores.conversation"),
        ("server: '${S}'", "server"),
    ],
)
def test_a_mistake_in_what_decides_about_safety_raises_no_false_alarm(file: ConfigFile, text: str, key: str) -> None:
    assert file.write(f"{text}\n{AGENTS}").problem().key == key


def test_flags_go_before_the_file(file: ConfigFile) -> None:
    config = file.write(f"server: {{host: localhost, port: 1}}\n{AGENTS}").load(port=2, log_level="debug")
    assert (config.server.host, config.server.port, config.server.log_level) == ("localhost", 2, "debug")


@pytest.mark.parametrize("server", ["", "server:\n", "server: {}\n"])
def test_flags_need_no_server_section(file: ConfigFile, server: str) -> None:
    assert file.write(server + AGENTS).load(port=2).server.port == 2


def test_what_a_flag_replaces_may_be_unset_or_wrong(file: ConfigFile) -> None:
    assert file.write(f"server: {{port: '${{PORT}}', workers: x}}\n{AGENTS}").load(port=2, workers=1).server.port == 2


def test_a_flag_is_never_interpolated(file: ConfigFile) -> None:
    config = file.write(AGENTS + "auth: {anonymous: true}\n").load({"X": "y"}, host="${X}")
    assert config.server.host == "${X}"


def test_an_unsafe_flag_is_refused_without_blaming_a_line(file: ConfigFile) -> None:
    (problem,) = file.write(f"server: {{host: localhost}}\n{AGENTS}").problems(host="::")
    assert (problem.key, problem.file, problem.line) == ("server.host", None, None)


def test_flags_do_not_hide_a_server_section_of_the_wrong_kind(file: ConfigFile) -> None:
    (problem,) = file.write(f"server: [1]\n{AGENTS}").problems(port=2)
    assert problem.key == "server"


@pytest.mark.parametrize(
    "text",
    [
        f"server: {{host: [{SECRET}], root_path: {SECRET}, port: {SECRET}, log_level: {SECRET}}}",
        f"auth: {{api_keys: [{{id: web, sha256: {SECRET}, scopes: [{SECRET}!]}}], jwt: {SECRET}}}",
        f"auth: {{jwt: {{issuer: i, audience: a, algorithms: [HS256], secret: {SECRET}}}}}",
        f"cors: {{allow_origins: [{SECRET}]}}",
        f"limits: [{{per: {SECRET}, requests: {SECRET}}}, {SECRET}]",
        f"stores: {{conversations: '{SECRET}', limits: 'redis:{SECRET}@host'}}",
        f"agents: {{one: {SECRET}, two: {{import: {SECRET}, deps: {SECRET}, timeout: {SECRET}}}}}",
        f"server: {{host: !{SECRET} x}}",
        f"server: {{host: *{SECRET}}}",
        f"server: {{host: !{SECRET}!x y}}",
        f"server: {{host: '${{{SECRET}'}}",
        f'server: {{host: "{SECRET}\\q"}}',
        f"server: {{host: {SECRET}: x}}",
        f"server: {{host: {SECRET}\x07}}",
        "server: {host: ['${PASSWORD}'], trusted_proxies: ['${PASSWORD}'], port: '${PASSWORD}'}",
        "stores: {limits: '${PASSWORD}'}\nauth: {jwt: {public_key: '${PASSWORD}', secret: '${PASSWORD}'}}",
    ],
)
@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_no_value_is_ever_shown(file: ConfigFile, text: str, loader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.yamldoc._Loader", getattr(yaml, loader))
    problems = file.write(f"{text}\n" + (AGENTS if "agents:" not in text else "")).problems({"PASSWORD": SECRET})
    assert SECRET not in str(ConfigError(problems))

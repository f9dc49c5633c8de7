from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from configs import AGENTS, ConfigFile

from gateway.yamldoc import read_yaml

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    return ConfigFile(tmp_path)


def test_a_syntax_error_has_its_line(file: ConfigFile) -> None:
    problem = file.write(f"{AGENTS}server: [a, b\ncors: {{}}\n").problem()
    assert problem.line == 3
    assert "not valid YAML" in problem.message
    assert "${" not in problem.message


@pytest.mark.parametrize(
    "line",
    ["server: {port: ${PORT:-8000}}", "cors: {allow_origins: [${ORIGIN}]}", "server: {'host': \"a\", port: ${P}}"],
)
def test_an_interpolation_in_braces_without_quotes_is_told_what_it_lacks(file: ConfigFile, line: str) -> None:
    problem = file.write(f"{AGENTS}{line}\n").problem({"PORT": "1", "ORIGIN": "https://x", "P": "1"})
    assert problem.line == 2
    assert 'has to be quoted here: "${...}"' in problem.message


def test_a_quoted_interpolation_is_not_blamed_for_another_mistake(file: ConfigFile) -> None:
    problem = file.write(AGENTS + """server: {port: "${PORT}", host: '${HOST}'] # ${X}\n""").problem()
    assert problem.line == 2
    assert "quoted" not in problem.message


def test_a_key_that_stands_twice_is_refused_with_both_lines(file: ConfigFile) -> None:
    problem = file.write(f"{AGENTS}server:\n  port: 1\n  host: localhost\n  port: 2\n").problem()
    assert (problem.line, problem.key) == (5, "server.port")
    assert "line 3" in problem.message


@pytest.mark.parametrize("value", ["!secret x", "!!python/object/apply:os.system [id]", "!!binary aGk=", "!!int x"])
def test_yaml_tags_are_refused(file: ConfigFile, value: str) -> None:
    problem = file.write(f"{AGENTS}server:\n  host: {value}\n").problem()
    assert (problem.line, problem.key) == (3, "server.host")
    assert "tag" in problem.message


def test_a_key_that_is_not_text_is_refused(file: ConfigFile) -> None:
    assert file.write(f"{AGENTS}? [a, b]\n: 1\n").problem().message == "a key must be plain text"


def test_anchors_and_merges_work_and_own_keys_win(file: ConfigFile) -> None:
    config = file.write(
        "agents:\n"
        "  one: &one {import: 'a:one', timeout: 5, description: first}\n"
        "  two: {import: 'a:two', <<: *one, timeout: 7}\n"
        "  three: {<<: [{timeout: 9}, *one]}\n"
    ).load()
    two, three = config.agents["two"], config.agents["three"]
    assert (two.import_, two.timeout, two.description) == ("a:two", 7, "first")
    assert (three.import_, three.timeout) == ("a:one", 9)


def test_a_merge_needs_a_mapping(file: ConfigFile) -> None:
    assert "`<<` must name a mapping" in file.write(f"{AGENTS}server: {{<<: [1]}}\n").problem().message


def test_an_alias_inside_of_itself_is_refused(file: ConfigFile) -> None:
    problems = file.write(f"{AGENTS}limits: &x [*x]\n").problems()
    assert "an alias may not stand inside" in problems[0].message


@pytest.mark.parametrize("text", ["2026-01-02", "12:30:45", "10:30"])
def test_what_yaml_takes_for_a_date_or_a_time_stays_text(file: ConfigFile, text: str) -> None:
    config = file.write(f"agents: {{one: {{import: 'a:b', description: {text}}}}}\n").load()
    assert config.agents["one"].description == text


def test_keys_are_text_whatever_they_look_like(file: ConfigFile) -> None:
    assert list(file.write("agents: {42: 'a:b', on: 'a:c', 1_0: 'a:d'}\n").load().agents) == ["42", "on", "1_0"]


def test_numbers_may_have_underscores(file: ConfigFile) -> None:
    assert file.write(f"{AGENTS}server: {{max_body_bytes: 1_000}}\n").load().server.max_body_bytes == 1000


def test_the_parser_without_the_c_library_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "gateway.yaml").read_text()
    fast = read_yaml(text, Path("gateway.yaml"))
    monkeypatch.setattr("gateway.yamldoc._Loader", yaml.SafeLoader)
    slow = read_yaml(text, Path("gateway.yaml"))
    assert (fast.data, fast.lines) == (slow.data, slow.lines)

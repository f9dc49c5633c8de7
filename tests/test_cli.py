from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
import yaml
from projects import CONFIG, DEADLINE, KEY, SCRIPT, Project

from gateway import __version__
from gateway.config import ApiKeySettings, GatewayConfig

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_console_script_says_its_version() -> None:
    said = subprocess.run([SCRIPT, "--version"], capture_output=True, text=True, check=True, timeout=DEADLINE).stdout
    assert said.strip() == f"gateway {__version__}"


def test_help_lists_the_commands_with_what_they_do(project: Project) -> None:
    said = project.run("--help").stdout
    for command in ("serve", "check", "agents", "schema", "keys"):
        assert re.search(rf"\b{command} +[A-Z]\w+", said), command


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["keys", "new"], ["schema"], ["serve", "--help"]])
def test_commands_that_need_no_agent_do_not_import_the_agent_framework(project: Project, arguments: list[str]) -> None:
    # A module of that name in the working directory would be imported in its place.
    (project.folder / "pydantic_ai.py").write_text("raise SystemExit('imported')")
    done = project.run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_command_is_a_usage_error(project: Project) -> None:
    done = project.run("sevre")
    assert done.returncode == 2
    assert 'error: Unknown command "sevre"' in done.stderr


def test_without_a_terminal_there_are_no_colours(project: Project) -> None:
    done = project.run("check", NO_COLOR="")
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["serve", "check", "agents"])
def test_every_mistake_in_the_config_is_one_line_on_stderr(project: Project, command: str) -> None:
    project.write("server: {prot: 1}\nagents: {one: 'mine:agent', two: nowhere}\n")
    done = project.run(command)
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first == "error: gateway.yaml:1: server.prot: unknown key; did you mean `port`?"
    assert second.startswith("error: gateway.yaml:2: agents.two.import: not in the right form")


@pytest.mark.parametrize("command", ["serve", "check", "agents"])
def test_a_missing_config_is_explained(project: Project, command: str) -> None:
    done = project.run(command, "--config", "other.yaml")
    assert done.returncode == 1
    assert done.stderr.startswith("error: other.yaml: there is no such file")


@pytest.mark.parametrize("command", ["serve", "check", "agents"])
def test_an_agent_that_cannot_be_built_is_named_without_a_traceback(project: Project, command: str) -> None:
    project.write("agents: {one: 'mine:agent', two: 'mine:missing', three: 'nowhere:agent'}\n")
    done = project.run(command)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    two, three = done.stderr.splitlines()[-2:]
    assert two.startswith("error: agents.two.import: mine:missing")
    assert three.startswith("error: agents.three.import: nowhere:agent")


UNUSABLE = [
    ("auth: {jwt: {issuer: a, audience: b, public_key: hunter2}}", "auth.jwt.public_key", "not a key for RS256"),
    ("stores: {streams: 'redis://:hunter2@localhost:port'}", "stores.streams", "not a Redis URL"),
    ("stores: {limits: 'redis://:hunter2@localhost:port'}", "stores.limits", "not a Redis URL"),
]


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize(("config", "key", "says"), UNUSABLE)
def test_what_cannot_be_used_is_named_without_a_traceback(
    project: Project, command: str, config: str, key: str, says: str
) -> None:
    project.write(f"{config}\n{CONFIG}")
    done = project.run(command)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {key}: {says}")
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


UNUSABLE_DATABASES = [
    ("sqlite:///nowhere/threads.db", "the file nowhere/threads.db cannot be opened"),
    ("postgresql://me:hunter2@127.0.0.1:1/threads", ""),
]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("url", "says"), UNUSABLE_DATABASES)
def test_a_database_that_cannot_be_used_is_named_without_a_traceback(
    project: Project, url: str, says: str, workers: int
) -> None:
    shared = "redis://127.0.0.1:6379/0" if workers > 1 else "memory://"
    stores = f"stores: {{conversations: '{url}', streams: '{shared}', limits: '{shared}'}}"
    project.write(f"server: {{port: 0, workers: {workers}}}\n{stores}\n{CONFIG}")
    done = project.run("serve")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: stores.conversations: {says}")
    assert "Traceback" not in done.stderr + done.stdout
    assert "hunter2" not in done.stderr + done.stdout


def test_check_says_what_would_be_served(project: Project) -> None:
    project.write(
        f"auth: {{api_keys: [{KEY}]}}\n"
        "cors: {allow_origins: ['https://app.example.com']}\n"
        "limits: [{per: ip, requests: 600/minute}]\n"
        f"stores: {{limits: 'redis://user:hunter2@localhost/0'}}\n{CONFIG}"
    )
    done = project.run("check", "--strict")
    assert (done.returncode, done.stderr) == (0, "")
    said = re.sub(" +", " ", done.stdout)
    for fact in (
        "agent one ag-ui, vercel-ai",
        "http://127.0.0.1:8000",
        "auth API key 'web': agents:*",
        "https://app.example.com",
        "600/minute per ip",
        "conversations memory://",
        "redis://***@localhost/0",
        "gateway.yaml is valid.",
    ):
        assert fact in said
    assert "warning" not in said
    assert "hunter2" not in said


WARNINGS = [
    ("server: {host: '::', allowed_hosts: [x]}\nauth: {anonymous: true}", "auth.anonymous", "everybody"),
    (f"server: {{host: '::'}}\nauth: {{api_keys: [{KEY}]}}", "server.allowed_hosts", "every host name"),
    (f"server: {{host: '::'}}\nauth: {{api_keys: [{KEY}]}}", "limits", "no request rate"),
    ("cors: {allow_origins: ['*']}", "cors.allow_origins", "every site"),
    (f"auth: {{api_keys: [{KEY[:-1]}, scopes: ['agents:two']}}]}}", "auth.api_keys.0.scopes", "'two'"),
    (f"auth: {{api_keys: [{KEY[:-1]}, scopes: [admin]}}]}}", "auth.api_keys.0.scopes", "no agent"),
    ("stores: {streams: 'redis://localhost/0'}", "stores.conversations", "have to reach"),
    ("agents: {one: {import: 'mine:agent', usage_limits: {request_limit: null}}}", "agents.one.usage_limits", "lifted"),
]


@pytest.mark.parametrize(("config", "key", "says"), WARNINGS)
def test_check_warns(project: Project, config: str, key: str, says: str) -> None:
    project.write(f"{config}\n{'' if 'agents:' in config.split() else CONFIG}")
    done = project.run("check")
    warnings = [line for line in done.stdout.splitlines() if line.startswith(f"warning: {key}")]
    assert [line for line in warnings if says in line], done.stdout
    assert re.search(r"is valid, with \d warnings?\.$", done.stdout)
    assert done.returncode == 0


NEEDY = """
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.ui import StateDeps

class Draft(BaseModel):
    text: str = ""

def make(principal) -> dict[str, int]:
    return {}

plain, draft = Agent("test", deps_type=dict), Agent("test", deps_type=StateDeps[Draft])
none, maybe, anything = Agent("test", deps_type=type(None)), Agent("test", deps_type=dict | None), Agent("test")
made = Agent("test", deps_type=dict)
"""


def test_check_warns_of_deps_that_an_agent_wants_and_nobody_makes(project: Project) -> None:
    (project.folder / "needy.py").write_text(NEEDY)
    names = ("plain", "draft", "none", "maybe", "anything")
    agents = "".join(f"  {name}: needy:{name}\n" for name in names)
    project.write(f"agents:\n{agents}  made: {{import: 'needy:made', deps: 'needy:make'}}\n")
    done = project.run("check")
    warnings = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    assert [line.split(": ")[1] for line in warnings] == ["agents.plain.deps", "agents.draft.deps"], done.stderr
    assert "wants dict as its deps" in warnings[0]
    assert "wants StateDeps as its deps" in warnings[1]


def test_check_says_which_runtimes_and_pages_of_mcp_apps_are_served(project: Project) -> None:
    with (project.folder / "mine.py").open("a") as code:
        code.write(
            "from pydantic_ai.mcp import MCPToolset\n"
            "shop = Agent('test', toolsets=[MCPToolset('http://127.0.0.1:1/mcp', id='prices')])\n"
        )
    project.write(
        "copilotkit: [{path: /copilotkit}, {path: /kits/support, agents: [one]}]\n"
        "agents:\n  one: mine:agent\n  shop: {import: 'mine:shop', mcp_apps: {servers: [prices]}}\n"
    )
    done = project.run("check")
    said = re.sub(" +", " ", done.stdout)
    assert "copilotkit /copilotkit: all agents; /kits/support: one" in said, done.stderr
    assert "mcp apps of shop prices (resources/read, ping, notifications/message)" in said
    urls = project.run("agents").stdout
    assert urls.count("http://127.0.0.1:8000/copilotkit") == 2
    assert urls.count("http://127.0.0.1:8000/kits/support") == 1


@pytest.mark.parametrize(
    ("hosts", "shown"),
    [
        ("[gateway.example.com, other.example.com]", "gateway.example.com"),
        ("['*.example.com', gateway.example.org]", "gateway.example.org"),
        ("[gateway.example.com, 127.0.0.1]", "127.0.0.1"),
        ("['*.example.com']", "127.0.0.1"),
        ("['*', gateway.example.com]", "127.0.0.1"),
    ],
)
def test_the_urls_have_a_host_that_is_answered(project: Project, hosts: str, shown: str) -> None:
    project.write(f"server: {{host: 0.0.0.0, allowed_hosts: {hosts}}}\nauth: {{anonymous: true}}\n{CONFIG}")
    assert f"http://{shown}:8000/agents/one/ag-ui" in project.run("agents").stdout


def test_check_fails_for_warnings_only_when_asked_to(project: Project) -> None:
    project.write(f"cors: {{allow_origins: ['*']}}\n{CONFIG}")
    assert [project.run("check", *flags).returncode for flags in ([], ["--strict"])] == [0, 1]


def test_check_notes_what_may_well_be_right(project: Project) -> None:
    notes = [line for line in project.run("check").stdout.splitlines() if line.startswith("note: ")]
    assert [note.split(": ")[1] for note in notes] == ["auth", "limits", "stores.conversations"]
    assert "threads are gone when the process ends" in notes[-1]


def test_agents_lists_descriptions_tools_and_urls(project: Project) -> None:
    project.write(f"server: {{host: '::', port: 9000, root_path: /ai}}\nauth: {{anonymous: true}}\n{CONFIG}")
    header, first, *others = project.run("agents").stdout.splitlines()
    assert header.split() == ["Agent", "Description", "Tools", "URLs"]
    assert re.split("  +", first.strip()) == ["one", "Says little.", "look_up", "http://[::1]:9000/ai/agents/one/ag-ui"]
    at = "http://[::1]:9000/ai/agents/one"
    assert [other.strip() for other in others] == [f"{at}/vercel-ai", "http://[::1]:9000/ai/copilotkit", f"{at}/run"]


def test_without_a_terminal_a_table_is_not_cut_to_the_width_of_one(project: Project) -> None:
    description = "word " * 20 + "end"
    project.write(f"agents: {{one: {{import: 'mine:agent', description: {description}}}}}\n")
    assert description in project.run("agents").stdout.splitlines()[1]


def test_schema_prints_json(project: Project) -> None:
    schema = json.loads(project.run("schema").stdout)
    assert set(schema["properties"]) == set(GatewayConfig.model_fields)


def test_a_new_key_and_its_line_fit_together(project: Project) -> None:
    said = project.run("keys", "new", "--id", 'the "web" app: #1').stdout
    (key,) = re.findall(r"gw_[\w-]{43}$", said, re.MULTILINE)
    (line,) = re.findall(r"^ +(- \{.*\})$", said, re.MULTILINE)
    made = ApiKeySettings.model_validate(yaml.safe_load(line)[0])
    assert made.id == 'the "web" app: #1'
    assert made.sha256 == sha256(key.encode()).hexdigest()
    project.write(f"auth:\n  api_keys:\n    {line}\n{CONFIG}")
    assert project.run("check", "--strict").returncode == 0


def test_no_two_keys_are_the_same(project: Project) -> None:
    assert project.run("keys", "new").stdout != project.run("keys", "new").stdout


@pytest.mark.parametrize("key_id", ["", "x" * 65, "two\nlines"])
def test_a_key_that_the_config_would_refuse_is_not_made(project: Project, key_id: str) -> None:
    done = project.run("keys", "new", f"--id={key_id}")
    assert (done.returncode, done.stdout) == (2, "")


def test_a_reader_that_has_seen_enough_is_no_error(project: Project) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "gateway", "schema"]
    done = subprocess.run(command, cwd=project.folder, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")

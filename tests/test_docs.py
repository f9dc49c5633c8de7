"""What the documents say is run here: commands, snippets and tables."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from serving import DEMO_AGENTS, ROOT, make_config
from starlette.testclient import TestClient

from gateway.configfile import load
from gateway.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

README = (ROOT / "README.md").read_text()
NODE_MODULES = ROOT / "tests/clients/node_modules"
README_URL = "http://127.0.0.1:8000"


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_first_forty_lines_of_the_readme_get_a_reader_going() -> None:
    top = "\n".join(README.splitlines()[:40])
    for needed in ("make run", "make test", "curl -N", "useChat", "HttpAgent"):
        assert needed in top


def test_the_commands_of_the_readme_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [line.split("#")[0].split() for line in "".join(snippets("sh")).splitlines()]
    assert {"run", "test"} <= {words[1] for words in commands if words[:1] == ["make"]} <= set(targets)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_command_of_the_readme_streams_an_answer(demo_url: str) -> None:
    command = next(snippet for snippet in snippets("sh") if snippet.startswith("curl"))
    done = subprocess.run(
        ["sh", "-c", command.replace(README_URL, demo_url)], capture_output=True, text=True, timeout=30, check=True
    )
    assert "".join(re.findall(r'^data: {"text":"([^"]*)"}$', done.stdout, re.MULTILINE)).startswith("1 2 3 4")
    assert re.search(r'^event: done\ndata: {.*"outcome":"finished"}$', done.stdout, re.MULTILINE)


def test_the_python_client_snippet_of_the_readme_prints_an_answer(
    demo_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    snippet = next(snippet for snippet in snippets("python") if "gateway.client" in snippet)
    exec(snippet.replace(README_URL, demo_url), {})  # noqa: S102 - our own README
    assert "1 2 3 4" in capsys.readouterr().out


def test_the_event_source_of_the_readme_is_served(demo_url: str) -> None:
    url = re.findall(r"new EventSource\('([^']+)'\)", "".join(snippets("js")))[0]
    with httpx.stream("GET", url.replace(README_URL, demo_url)) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")


def test_the_ag_ui_snippet_of_the_readme_prints_an_answer(demo_url: str, tmp_path: Path) -> None:
    if not (NODE_MODULES / "@ag-ui/client").exists():
        pytest.skip("the npm packages of tests/clients are not installed: run make test")
    script = ROOT / "tests/clients" / f"{tmp_path.name}.readme.mjs"  # inside, where node finds the packages
    script.write_text(
        next(snippet for snippet in snippets("js") if "HttpAgent" in snippet).replace(README_URL, demo_url)
    )
    try:
        done = subprocess.run(["node", script], capture_output=True, text=True, timeout=60, check=False)
    finally:
        script.unlink()
    assert "in Paris." in done.stdout, done.stderr


def test_the_origin_that_the_readme_says_is_let_in_is_the_one() -> None:
    allowed = yaml.safe_load((ROOT / "gateway.yaml").read_text())["cors"]["allow_origins"]
    for page in (README, (ROOT / "docs/copilotkit.md").read_text()):
        assert re.findall(r"`make run` lets in `([^`]+)`", page) == allowed


def test_the_runtime_of_the_copilotkit_snippet_is_served(demo_url: str) -> None:
    url = re.findall(r'runtimeUrl="([^"]+)"', "".join(snippets("jsx")))[0]
    agent = re.findall(r'agentId="([^"]+)"', "".join(snippets("jsx")))[0]
    assert agent in httpx.get(f"{url.replace(README_URL, demo_url)}/info").json()["agents"]


def test_the_urls_of_the_react_snippet_are_served(demo_url: str) -> None:
    urls = re.findall(r"api: '([^']+)'", "".join(snippets("tsx")))
    assert urls
    for url in urls:
        answer = httpx.post(url.replace(README_URL, demo_url), json={})
        assert answer.json()["code"] == "malformed_body"


@pytest.mark.parametrize("snippet", snippets("yaml"))
def test_the_configs_of_the_readme_build_and_keep_threads(snippet: str, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(snippet)
    config = load(tmp_path / "gateway.yaml", environ={"WEB_KEY_SHA256": "0f" * 32})
    assert Registry.build(config.located(ROOT)).entries
    assert "conversations" not in config.stores.in_memory


def test_the_readme_holds_no_key_that_could_be_copied() -> None:
    assert not re.findall(r"\b[0-9a-f]{64}\b", README)


def test_the_extras_of_the_readme_are_all_that_there_are() -> None:
    import tomllib  # noqa: PLC0415

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    said = README.partition("are extras, ")[2].partition(":")[0]
    assert set(re.findall(r"`(\w+)`", said)) == extras.keys()
    dockerfile = (ROOT / "Dockerfile").read_text()
    for text in (README, dockerfile):
        asked = re.findall(r"EXTRAS=([\w,]+)", text)
        assert asked
        assert set(asked[0].split(",")) <= extras.keys()


def test_an_installation_for_development_links_in_the_package_and_nothing_else(tmp_path: Path) -> None:
    """A folder `agents` of the user's, without an `__init__.py`, would lose to that of this repository."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents/mine.py").write_text("from pydantic_ai import Agent\n\nagent = Agent('test')\n")
    (tmp_path / "gateway.yaml").write_text("agents: {mine: 'agents.mine:agent'}\n")
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "check"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "gateway.yaml is valid" in done.stdout, done.stderr


def test_the_python_snippet_of_the_readme_serves_its_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where it keeps its threads
    namespace: dict[str, Any] = {}
    exec(next(snippet for snippet in snippets("python") if "FastAPI" in snippet), namespace)  # noqa: S102 - our own README
    body: dict[str, Any] = {
        "threadId": "t",
        "runId": "r",
        "messages": [],
        "tools": [],
        "context": [],
        "state": {},
        "forwardedProps": {},
    }
    body["messages"] = [{"id": "1", "role": "user", "content": "hi"}]
    with TestClient(namespace["app"]) as client:
        assert client.post("/chat/", json=body).status_code == 401
        answer = client.post("/chat/", json=body, headers={"x-user": "ada"})
    assert '"type":"RUN_FINISHED"' in answer.text


def test_every_option_is_documented() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "gateway", "schema", "--markdown"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert (ROOT / "docs/configuration.md").read_text() == made.stdout, "run `make schema`"


def test_the_files_of_the_architecture_table_exist_and_none_is_left_out() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text().partition("## Files")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+(?:\.py|/))`", table))
    there = {path.name + "/" * path.is_dir() for path in (ROOT / "gateway").iterdir() if not path.name.startswith("_")}
    assert named == there - {"py.typed"}


def test_the_dependencies_are_all_explained() -> None:
    import tomllib  # noqa: PLC0415

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = (ROOT / "ARCHITECTURE.md").read_text().partition("## Dependencies")[2]
    for requirement in project["dependencies"]:
        assert re.split(r"[\[<>=;]", requirement)[0] in table


def test_the_demo_agents_of_the_tests_are_those_of_the_shipped_config() -> None:
    data: dict[str, Any] = yaml.safe_load((ROOT / "gateway.yaml").read_text())
    shipped = make_config(agents=data["agents"])
    assert shipped.agents == make_config(agents=DEMO_AGENTS).agents


def test_no_lock_file_names_where_packages_come_from() -> None:
    locks = [*(ROOT / "requirements").iterdir(), *(ROOT / "tests").glob("*/package-lock.json")]
    for lock in locks:
        assert not re.search(r"https?://|file:|--index|--find-links", _without_funding(lock.read_text())), lock
        assert "sha256:" in lock.read_text() or '"integrity"' in lock.read_text()


def _without_funding(text: str) -> str:
    """A package lock without what its packages say about themselves: links to sponsors."""
    return re.sub(r'"funding": (\{[^}]*\}|\[[^\]]*\]|"[^"]*")', "", text)

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest
from ports import free_port
from projects import AGENT, CONFIG, DEADLINE, Project, wait_for

from gateway.config import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def port() -> int:
    return free_port()


def test_every_server_option_is_a_flag(project: Project) -> None:
    said = project.run("serve", "--help").stdout
    for name in ServerSettings.model_fields:
        assert f"--{name.replace('_', '-')} " in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "http"], "error: --port: must be a whole number"),
        (["--port", "70000"], "error: --port: must be 65535 or less"),
        (["--trusted-proxies", "*"], "error: --trusted-proxies: '*' would let every client"),
        (["--log-level", "loud"], "--log-level"),
        (["--prot", "1"], "Did you mean --port?"),
    ],
)
def test_a_wrong_flag_is_a_usage_error(project: Project, arguments: list[str], says: str) -> None:
    done = project.run("serve", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unsafe_flag_is_refused_like_an_unsafe_config(project: Project) -> None:
    done = project.run("serve", "--host", "::", "--workers", "2")
    assert done.returncode == 1
    assert "error: server.host: no credentials are configured" in done.stderr
    assert "error: server.workers: 2 workers cannot share" in done.stderr


def test_serve_prints_the_urls_and_answers_at_them(project: Project, port: int) -> None:
    project.write(f"server: {{port: 1}}\n{CONFIG}")
    with project.serving("--port", str(port)) as process:
        wait_for(f"http://127.0.0.1:{port}/agents", process, "Says little.")
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=DEADLINE)
    for surface in ("ag-ui", "vercel-ai"):
        assert f"http://127.0.0.1:{port}/agents/one/{surface}" in said


def test_a_flag_that_was_not_given_leaves_what_the_file_says(project: Project, port: int) -> None:
    project.write(f"server: {{port: {port}}}\n{CONFIG}")
    with project.serving("--heartbeat", "5") as process:
        wait_for(f"http://127.0.0.1:{port}/agents", process, "Says little.")


def test_a_port_that_is_taken_is_explained(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = project.run("serve", "--port", str(port))
    assert done.returncode == 1
    assert f"error: 127.0.0.1 port {port} is already in use" in done.stderr
    assert "`server.port`, --port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("host", "what"), [("192.0.2.1", "an address of this machine"), ("no.invalid", "a name")])
def test_an_address_that_is_not_here_is_explained(project: Project, host: str, what: str) -> None:
    project.write(f"auth: {{anonymous: true}}\n{CONFIG}")
    done = project.run("serve", "--host", host, "--port", "0")
    assert done.returncode == 1
    assert f"error: {host} is not {what}" in done.stderr
    assert "Traceback" not in done.stderr


def test_reload_serves_a_changed_agent_and_survives_a_broken_config(project: Project, port: int) -> None:
    url = f"http://127.0.0.1:{port}/agents"
    with project.serving("--reload", "--port", str(port)) as process:
        wait_for(url, process, "Says little.")
        project.write("agents: {one: nowhere}\n")
        (project.folder / "mine.py").write_text(AGENT.replace("Says little.", "Says much."))
        assert process.stdout
        said = ""
        while "agents.one.import: not in the right form" not in said:
            said = process.stdout.readline()
            assert process.poll() is None
            assert "Traceback" not in said
        project.write(CONFIG)
        wait_for(url, process, "Says much.")

"""`examples/curl.md`: each of its commands, by the real curl, against the gateway that `make run` starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest
from ports import free_port
from serving import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

PAGE = (ROOT / "examples/curl.md").read_text()
URL = "http://127.0.0.1:8000"
START_TIMEOUT = 30.0

BLOCKS: list[tuple[str, str]] = re.findall(r"^```sh\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
"""(Commands, what comes) in the order of the page, of which the later ones may need the earlier ones."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the gateway keeps its threads and the commands their files."""
    return tmp_path_factory.mktemp("curl")


@pytest.fixture(scope="module")
def url(folder: Path) -> Generator[str]:
    """The shipped config in a process of its own, with the pace of the demo agents."""
    port = free_port()
    command = [sys.executable, "-m", "gateway", "serve", "--config", ROOT / "gateway.yaml", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(START_TIMEOUT)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until the gateway is ready."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        assert process.poll() is None, "the gateway ended before it was ready"
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        time.sleep(0.05)
    pytest.fail("the gateway did not become ready")


def run(commands: str, url: str, folder: Path) -> str:
    """What the commands print."""
    script = commands.replace("curl ", "curl -sS ").replace(URL, url)
    done = subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    quiet = re.sub(r"curl: \(28\) .*\n", "", done.stderr)  # where the page cuts a stream off
    assert not quiet, done.stderr
    return done.stdout


def assert_comes(expected: str, output: str) -> None:
    """The lines come in that order, perhaps with others between them; `…` stands for anything within a line."""
    rest = output
    for line in expected.splitlines():
        pattern = ".*?".join(map(re.escape, line.split("…")))
        found = re.search(pattern, rest)
        assert found, f"{line!r} does not come in:\n{output}"
        rest = rest[found.end() :]


def test_every_command_of_the_page_has_an_answer_on_the_page() -> None:
    assert len(BLOCKS) == PAGE.count("```sh\n") == PAGE.count("```text\n")
    assert len(BLOCKS) > 20


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_commands_of_the_page_get_what_it_says(number: int, url: str, folder: Path) -> None:
    commands, expected = BLOCKS[number]
    assert_comes(expected, run(commands, url, folder))


def test_the_page_shows_every_address_and_agent() -> None:
    asked = set(re.findall(rf"{URL}/agents/(?!nobody)(\w+)/([\w/]+)", PAGE))
    assert {agent for agent, _ in asked} == {"assistant", "extractor", "approver", "planner"}
    forms = {f"stream/{form}" for form in ("text", "output", "responses", "events", "nodes")}
    assert {address for _, address in asked} == forms | {"run", "chat", "object"}

"""A folder with a config and an agent, and the command line run in it, as a process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Generator

SCRIPT = Path(sys.executable).parent / "gateway"
DEADLINE = 30.0
AGENT = '''
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

agent = Agent(TestModel(), description="Says little.")

@agent.tool_plain
def look_up(word: str) -> str:
    """Look a word up."""
    return word
'''
CONFIG = "agents: {one: 'mine:agent'}\n"
KEY = "{id: web, sha256: '" + "a" * 64 + "'}"


class Project:
    """A folder with a config and an agent, and the command line run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "mine.py").write_text(AGENT)
        self.write(CONFIG)

    def write(self, config: str) -> None:
        (self.folder / "gateway.yaml").write_text(config)

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            cwd=self.folder,
            env=_environment(environ),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    @contextmanager
    def serving(self, *arguments: str, **environ: str) -> Generator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", *arguments],
            cwd=self.folder,
            env=_environment(environ),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(DEADLINE)


def _environment(extra: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "PORT"))}
    return {**inherited, "NO_COLOR": "1", **extra}


def wait_for(url: str, process: subprocess.Popen[str], wanted: str) -> None:
    """Until `url` answers 200 with `wanted` in it."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            answer = httpx.get(url)
        except httpx.TransportError:
            answer = None
        if answer and answer.status_code == 200 and wanted in answer.text:
            return
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline, answer and answer.text
        time.sleep(0.05)

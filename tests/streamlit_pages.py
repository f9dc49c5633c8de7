"""The Streamlit app of the examples: in the test process, as Streamlit's own AppTest runs it, and as a server."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ports import free_port
from projects import wait_for
from serving import ROOT
from streamlit.testing.v1 import AppTest

if TYPE_CHECKING:
    from collections.abc import Generator

FOLDER = ROOT / "examples/streamlit"
TIMEOUT = 30.0
FLAGS = ["--server.headless=true", "--server.fileWatcherType=none", "--browser.gatherUsageStats=false"]


def opened(session: str = "") -> AppTest:
    """The chat page, as a browser has it that comes with or without a session in the URL."""
    app = AppTest.from_file(FOLDER / "app.py", default_timeout=TIMEOUT)
    if session:
        app.query_params["session"] = session
    return checked(app.run())


def checked(app: AppTest) -> AppTest:
    """The page, which shows no exception."""
    assert not app.exception, app.exception[0].stack_trace
    return app


def session_of(app: AppTest) -> str:
    """The session that is in the URL."""
    return str(app.query_params["session"])


def said(app: AppTest) -> list[tuple[str, str]]:
    """Who said what, as the page shows it."""
    return [(line.name, "".join(text.value for text in line.markdown)) for line in app.chat_message]


def captions(app: AppTest) -> str:
    """All small print."""
    return "\n".join(caption.value for caption in app.caption)


@contextmanager
def served_pages(gateway: str) -> Generator[str]:
    """Run the command of the example's README, on a free port; the URL of its first page."""
    command = re.findall(r"^(streamlit run .*)$", (FOLDER / "README.md").read_text(), re.MULTILINE)[0]
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", *shlex.split(command), f"--server.port={port}", *FLAGS],
        cwd=ROOT,
        env={**os.environ, "GATEWAY_URL": gateway},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health", process, "ok")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(TIMEOUT)

"""The React example of CopilotKit, built once, on an origin of its own, and what a person does there."""

from __future__ import annotations

import atexit
import shutil
import subprocess
from contextlib import contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import mkdtemp
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from playwright.sync_api import expect
from serving import ROOT, make_config, serving

if TYPE_CHECKING:
    from collections.abc import Generator

    from playwright.sync_api import Locator, Page

FOLDER = ROOT / "examples/copilotkit-react"
GATEWAY = "http://127.0.0.1:8000"
"""Where the app looks for the gateway when nothing else is said."""
BUILD_TIME = 120


@cache
def built() -> Path:
    """The app, as its README builds it."""
    if not shutil.which("npm") or not (FOLDER / "node_modules/.bin/vite").exists():
        pytest.skip("the npm packages of the example are not installed: run make test")
    folder = Path(mkdtemp(prefix="copilotkit-react-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    command = ["npm", "run", "build", "--", "--outDir", str(folder), "--emptyOutDir", "--logLevel", "warn"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=BUILD_TIME, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Site(ThreadingHTTPServer):
    """Serves the built app, for the gateway that there is by then."""

    daemon_threads = True
    gateway = GATEWAY

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Files(SimpleHTTPRequestHandler):
    server: Site  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        file = Path(self.translate_path(self.path))
        if file.suffix != ".js" or not file.exists():
            super().do_GET()
            return
        script = file.read_text().replace(GATEWAY, self.server.gateway).encode()
        self.send_response(200)
        self.send_header("content-type", "text/javascript")
        self.send_header("content-length", str(len(script)))
        self.end_headers()
        self.wfile.write(script)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base
        pass


@contextmanager
def site() -> Generator[Site]:
    """The app on an origin of its own."""
    server = Site(("127.0.0.1", 0), partial(Files, directory=str(built())))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def app_with(agents: dict[str, Any], **sections: Any) -> Generator[tuple[str, str]]:
    """The app and a gateway that lets its pages in; the URLs of both."""
    with site() as server:
        sections = {"cors": {"allow_origins": [server.origin]}, **sections}
        with serving(make_config(agents=agents, **sections)) as url:
            server.gateway = url
            yield server.origin, url


class Planner:
    """A window with the app."""

    def __init__(self, page: Page, app: str, conversation: str = "") -> None:
        self.page = page
        self.app = app
        self.open(conversation)

    def open(self, conversation: str = "") -> None:
        """The app anew, with a conversation or without."""
        self.page.goto("about:blank")  # another fragment alone would load nothing
        self.page.goto(f"{self.app}/#{conversation}" if conversation else self.app)

    @property
    def conversation(self) -> str:
        """Its id, from the URL."""
        return unquote(self.page.url.partition("#")[2])

    @property
    def chat(self) -> Locator:
        return self.page.get_by_test_id("copilot-chat")

    @property
    def plan(self) -> Locator:
        """The steps that are shown."""
        return self.page.get_by_role("region", name="Plan").get_by_role("listitem")

    @property
    def problem(self) -> Locator:
        return self.page.get_by_role("alert")

    @property
    def button(self) -> Locator:
        """Sends, and stops what runs."""
        return self.page.get_by_test_id("copilot-send-button")

    @property
    def conversations(self) -> Locator:
        return self.page.get_by_role("navigation").get_by_role("link")

    def ask(self, text: str, beginning: str = "") -> None:
        """Send a message, and wait for that in the chat."""
        self.page.get_by_test_id("copilot-chat-textarea").fill(text)
        expect(self.button).to_be_enabled()
        self.page.keyboard.press("Enter")
        self.shows(beginning or text)

    def shows(self, text: str) -> None:
        expect(self.chat).to_contain_text(text)

    def is_idle(self) -> None:
        """Nothing runs: what would be written could be sent."""
        self.page.get_by_test_id("copilot-chat-textarea").fill("?")
        expect(self.button.locator(".lucide-arrow-up")).to_be_visible()
        expect(self.button).to_be_enabled()
        self.page.get_by_test_id("copilot-chat-textarea").fill("")

    def card(self, name: str) -> Locator:
        """A question in the chat."""
        return self.chat.get_by_role("group", name=name)

    def press(self, card: str, button: str) -> None:
        self.card(card).get_by_role("button", name=button).first.click()

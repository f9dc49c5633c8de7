"""The CopilotKit example's folder: its README, its packages, its development server, and the document's snippet."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
import yaml
from browser import browsing
from copilotkit_page import FOLDER, Planner, built
from playwright.sync_api import expect
from ports import free_port
from projects import wait_for
from serving import DEMO_AGENTS, ROOT, make_config, serving

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.timeout(300)  # which the build of the app may need

TIMEOUT = 60.0
README = (FOLDER / "README.md").read_text()


def test_the_readme_is_about_every_file() -> None:
    named = re.findall(r"^\| `src/(\S+)` \|", README, re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in (FOLDER / "src").iterdir())


def test_the_packages_are_pinned_and_the_lock_names_no_host() -> None:
    package = json.loads((FOLDER / "package.json").read_text())
    lock = (FOLDER / "package-lock.json").read_text()
    wanted = {**package["dependencies"], **package["devDependencies"]}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    root = json.loads(lock)["packages"][""]
    assert {**root["dependencies"], **root["devDependencies"]} == wanted
    assert '"resolved"' not in lock


def test_the_modules_of_the_document_fit_the_packages() -> None:
    page = (ROOT / "docs/copilotkit.md").read_text()
    modules = re.findall(r"^```tsx\n(import .*?)^```", page, re.MULTILINE | re.DOTALL)
    assert modules
    assert built()  # or there are no packages
    with TemporaryDirectory(dir=FOLDER / "node_modules") as folder:
        for number, module in enumerate(modules):
            (Path(folder) / f"Module{number}.tsx").write_text(module)
        config = {"extends": "../../tsconfig.json", "include": ["*.tsx"], "exclude": []}
        (Path(folder) / "tsconfig.json").write_text(json.dumps(config))
        command = [FOLDER / "node_modules/.bin/tsc", "-p", folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stdout


def test_the_shipped_config_lets_the_development_server_in() -> None:
    port = re.findall(r"server: \{ port: (\d+)", (FOLDER / "vite.config.ts").read_text())[0]
    allowed = yaml.safe_load((ROOT / "gateway.yaml").read_text())["cors"]["allow_origins"]
    assert allowed == [f"http://localhost:{port}"]
    assert f"http://localhost:{port}" in README


@contextmanager
def developed(gateway: str, port: int) -> Generator[str]:
    """The command of the README for development, on another port; the URL of the app."""
    command = re.findall(r"^(npm run dev)\b", README, re.MULTILINE)[0]
    process = subprocess.Popen(
        [*shlex.split(command), "--", "--port", str(port), "--host", "127.0.0.1"],
        cwd=FOLDER,
        env={**os.environ, "VITE_GATEWAY_URL": gateway},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/", process, "root")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(TIMEOUT)


def test_the_development_server_shows_the_app_which_react_renders_twice_there() -> None:
    assert built()  # or there are no packages
    assert shutil.which("npm")
    expect.set_options(timeout=TIMEOUT * 1000)  # the first page waits for the packages to be bundled
    origin = f"http://127.0.0.1:{(port := free_port())}"
    config = make_config(agents={"planner": DEMO_AGENTS["planner"]}, cors={"allow_origins": [origin]})
    with serving(config) as url, developed(url, port) as app_url, browsing() as page:
        app = Planner(page, app_url)
        app.ask("Make a plan for a picnic")
        app.press("Confirm the plan", "Yes")
        app.shows("Then the plan stands.")
        app.ask("Delete the plan")
        page.reload()
        app.press("Approval", "Approve")
        app.shows("delete_plan The plan is gone.")
        assert app.chat.inner_text().count("Make a plan for a picnic") == 1
        expect(app.problem).to_be_hidden()

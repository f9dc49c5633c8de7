"""The Dockerfile's steps, followed without Docker: its own commands are read from it, so that they cannot drift."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
KEY = "a-key-for-the-image"


def run(command: str, cwd: Path, env: dict[str, str]) -> None:
    done = subprocess.run(
        ["sh", "-euc", command], cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the image would: `opt/gateway` and `app`."""
    root = tmp_path_factory.mktemp("image")
    shutil.copytree(ROOT, root / "src", ignore=shutil.ignore_patterns(".*", "node_modules", "tests", "__pycache__"))
    _comments, build, final = DOCKERFILE.split("\nFROM ")
    env = {**os.environ, "PATH": f"{root}/opt/gateway/bin:{os.environ['PATH']}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for step in re.findall(r"^RUN (.+)$", build, re.MULTILINE):
        here = step.replace("python -m venv", f"{shlex.quote(sys.executable)} -m venv")
        run(here.replace("/opt/gateway", f"{root}/opt/gateway").replace("/wheels", f"{root}/wheels"), root / "src", env)
    (root / "app").mkdir()
    for source, target in re.findall(r"^COPY (\S+) (config/\S+)$", final, re.MULTILINE):
        (root / "app" / target).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, root / "app" / target)
    return root


@pytest.fixture(scope="module")
def environment(image: Path) -> dict[str, str]:
    return {
        "PATH": f"{image}/opt/gateway/bin:/usr/bin:/bin",
        "PORT": str(free_port()),
        "GATEWAY_API_KEY_SHA256": hashlib.sha256(KEY.encode()).hexdigest(),
        "GATEWAY_DEMO_PAUSE": "0",
        "GATEWAY_THREADS": f"sqlite:///{image}/threads.db",
        "COVERAGE_PROCESS_START": "",
    }


def command(name: str) -> list[str]:
    """The last exec-form command of that name in the Dockerfile."""
    return json.loads(re.findall(rf"{name} (\[.*\])$", DOCKERFILE, re.MULTILINE)[-1])


@pytest.fixture(scope="module")
def container(image: Path, environment: dict[str, str]) -> Iterator[httpx.Client]:
    process = subprocess.Popen(command(r"\nCMD"), cwd=image / "app", env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{environment['PORT']}", timeout=10) as client:
            deadline = time.monotonic() + 60
            while True:
                assert process.poll() is None, "the gateway ended"
                try:
                    client.get("/healthz")
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < deadline, "the gateway did not start"
                    time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.timeout(600)
def test_the_image_is_healthy_by_its_own_health_check(
    container: httpx.Client, image: Path, environment: dict[str, str]
) -> None:
    assert container.get("/readyz").json()["status"] == "ready"
    subprocess.run(command("HEALTHCHECK.*CMD"), cwd=image / "app", env=environment, check=True, timeout=30)


def test_the_image_asks_for_its_key_and_streams_an_answer(container: httpx.Client) -> None:
    assert container.get("/agents").status_code == 401
    body = {"id": "t", "messages": [{"id": "1", "role": "user", "parts": [{"type": "text", "text": "hello"}]}]}
    answer = container.post("/agents/assistant/vercel-ai", json=body, headers={"x-api-key": KEY})
    assert answer.status_code == 200
    assert answer.text.endswith("data: [DONE]\n\n")


def test_the_image_does_not_start_without_a_key(image: Path, environment: dict[str, str]) -> None:
    keyless = {name: value for name, value in environment.items() if name != "GATEWAY_API_KEY_SHA256"}
    ended = subprocess.run(
        command(r"\nCMD"), cwd=image / "app", env=keyless, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "gateway keys new" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_image_runs_as_a_user_without_rights_and_with_compiled_bytecode(image: Path) -> None:
    assert re.search(r"^USER (?!root)\w+$", DOCKERFILE, re.MULTILINE)
    assert list((image / "opt/gateway").glob("lib/python*/site-packages/gateway/__pycache__/app.*.pyc"))

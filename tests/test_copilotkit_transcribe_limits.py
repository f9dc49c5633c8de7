"""Voice input: how large a recording may be, what is kept of it, and how it is set up."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from configs import AGENTS as ONE_AGENT
from configs import ConfigFile
from copilotkit_talk import body, enveloped
from projects import CONFIG, DEADLINE, Project, wait_for
from reading import KEYS
from serving import make_config, serving
from speech_server import KEY, SpeechServer, speech, speech_server
from talking import assert_problem, events_of, text_of

from gateway.app import create_app
from gateway.config import SpeechSettings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

AGENTS: dict[str, Any] = {"plain": "probes:plain"}
PROBLEM = ("error", "message", "retryable")
USUAL, LARGEST = 200_000, 2_000_000
"""Bytes of a body, and of a recording."""


@pytest.fixture(scope="module")
def server() -> Iterator[SpeechServer]:
    with speech_server() as server:
        yield server


@pytest.fixture(scope="module")
def url(server: SpeechServer) -> Iterator[str]:
    usual, section = {"max_body_bytes": USUAL}, speech(server, max_bytes=LARGEST)
    with serving(make_config(agents=AGENTS, auth={"api_keys": KEYS}, server=usual, speech=section)) as url:
        yield url


def form(audio: bytes) -> Any:
    return {"audio": ("recording.webm", audio, "audio/webm")}


def as_json(audio: bytes) -> dict[str, Any]:
    return {"audio": base64.b64encode(audio).decode(), "mimeType": "audio/webm", "filename": "recording.webm"}


def assert_too_large(response: httpx.Response) -> None:
    told = assert_problem(response, 413, "body_too_large", *PROBLEM)
    assert (told["error"], told["retryable"]) == ("audio_too_long", False)


@pytest.mark.parametrize("size", [USUAL - 100, USUAL + 1, LARGEST])
async def test_a_recording_may_be_larger_than_other_bodies(
    server: SpeechServer, ada: httpx.AsyncClient, size: int
) -> None:
    audio = b"a" * size
    for answer in (
        await ada.post("/copilotkit/transcribe", files=form(audio)),
        await ada.post("/copilotkit/transcribe", json=as_json(audio)),
        await enveloped(ada, "transcribe", as_json(audio)),
        await ada.post("/copilotkit/", json={"method": "transcribe", "body": as_json(audio)}),
    ):
        assert answer.json()["size"] == size, answer.text
        assert server.asked[-1].data == audio


@pytest.mark.parametrize("size", [LARGEST + 1, LARGEST * 2])
async def test_a_larger_one_is_refused_in_the_form_that_the_client_reads(
    server: SpeechServer, ada: httpx.AsyncClient, size: int
) -> None:
    """By its own size, by what is declared of the body, and by what has come."""
    before = len(server.asked)
    audio = b"a" * size

    async def pieces(content: bytes) -> AsyncGenerator[bytes]:
        yield content

    assert_too_large(await ada.post("/copilotkit/transcribe", files=form(audio)))
    assert_too_large(await enveloped(ada, "transcribe", as_json(audio)))
    for path, sent in (("/transcribe", as_json(audio)), ("", {"method": "transcribe", "body": as_json(audio)})):
        content, headers = json.dumps(sent).encode(), {"content-type": "application/json"}
        assert_too_large(await ada.post(f"/copilotkit{path}", content=pieces(content), headers=headers))
    assert len(server.asked) == before


@pytest.mark.parametrize("path", ["/copilotkit/transcribe", "/copilotkit"])
def test_what_is_declared_too_large_is_not_waited_for(url: str, path: str) -> None:
    head = {"x-api-key": "ada", "content-type": "application/json", "content-length": str(LARGEST * 2)}
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=15)
    try:
        connection.putrequest("POST", path)
        for name, value in head.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 413
        assert json.loads(answer.read())["error"] == "audio_too_long"
    finally:
        connection.close()


async def test_nothing_else_may_be_that_large(server: SpeechServer, ada: httpx.AsyncClient) -> None:
    before = len(server.asked)
    large = body("t", "a" * USUAL)
    assert_problem(await enveloped(ada, "agent/run", large, agentId="plain"), 413, "body_too_large")
    assert_problem(await ada.post("/copilotkit/agent/plain/run", json=large), 413, "body_too_large")
    assert_problem(await ada.post("/agents/plain/ag-ui", json=large), 413, "body_too_large")
    # For these a parser needs many times the size of what it reads.
    numbers: dict[str, Any] = {**as_json(b"Hello"), "x": [0] * USUAL}
    assert_problem(await enveloped(ada, "transcribe", numbers), 413, "body_too_large")
    assert_too_large(await ada.post("/copilotkit/transcribe", json=numbers))
    assert len(server.asked) == before
    # What is no JSON is not read at all.
    plain = await ada.post("/copilotkit", content=b"a" * LARGEST * 2, headers={"content-type": "text/plain"})
    assert_problem(plain, 415, "unsupported_media_type")
    fits = await enveloped(ada, "agent/run", body("fits", "Hello"), agentId="plain")
    assert "hello" in text_of(events_of(fits.text)).lower()


async def test_a_limit_below_the_usual_one_lowers_it_for_recordings_alone(server: SpeechServer) -> None:
    with serving(make_config(agents=AGENTS, speech=speech(server, max_bytes=10))) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            assert_too_large(await client.post("/copilotkit/transcribe", files=form(b"a" * 11)))
            assert_too_large(await enveloped(client, "transcribe", as_json(b"a" * 11)))
            assert (await client.post("/copilotkit/transcribe", files=form(b"a" * 10))).status_code == 200
            answer = await enveloped(client, "agent/run", body("t", "a" * 90_000), agentId="plain")
            assert answer.status_code == 200


@pytest.mark.parametrize(
    "parts",
    [
        [("audio", ("a.webm", b"a", "audio/webm")), ("audio", ("b.webm", b"b", "audio/webm"))],
        [("audio", ("a.webm", b"a", "audio/webm")), ("other", ("b.bin", b"b", "audio/webm"))],
        [("audio", ("a.webm", b"a", "audio/webm")), *((f"f{n}", (None, b"x")) for n in range(9))],
        [("audio", ("a.webm", b"a", "audio/webm")), ("long", (None, b"x" * 2000))],
    ],
    ids=["two recordings", "another file", "many fields", "a long field"],
)
async def test_a_form_holds_one_recording_and_little_else(
    server: SpeechServer, ada: httpx.AsyncClient, parts: list[tuple[str, Any]]
) -> None:
    before = len(server.asked)
    told = assert_problem(await ada.post("/copilotkit/transcribe", files=parts), 400, "recording_rejected", *PROBLEM)
    assert told["error"] == "invalid_request"
    assert len(server.asked) == before


async def test_a_recording_is_never_written_to_a_disk(
    ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The server runs in this process: there is nowhere to write to."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    answer = await ada.post("/copilotkit/transcribe", files=form(b"a" * LARGEST))
    assert answer.status_code == 200, answer.text


def test_neither_voice_nor_key_is_in_the_log(server: SpeechServer, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(
        f"{CONFIG}server: {{log_level: debug}}\nspeech: {json.dumps(speech(server, api_key='${SPEECH_KEY}'))}\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/copilotkit"
    with (tmp_path / "log").open("w") as log:  # a pipe would fill up
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--port", str(port)],
            cwd=tmp_path,
            env={**os.environ, "SPEECH_KEY": KEY},
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            wait_for(f"{url}/info", process, '"audioFileTranscriptionEnabled":true')
            for audio in (b"Remember the mauve walrus", b"broken", b"denied", b"garbage", b"wordless"):
                for sent in (form(audio), {"audio": ("walrus.webm", audio, "mauve/walrus")}):
                    httpx.post(f"{url}/transcribe", files=sent, timeout=15)
                httpx.post(url, json={"method": "transcribe", "body": as_json(audio)}, timeout=15)
            httpx.post(f"{url}/transcribe", content=b"walrus", headers={"content-type": "audio/walrus"})
        finally:
            process.terminate()
            process.wait(DEADLINE)
    said = (tmp_path / "log").read_text()
    assert server.asked[-1].key == KEY
    assert "speech_refused" in said
    for secret in ("walrus", "mauve", KEY, "hunter2", as_json(b"Remember")["audio"][:10]):
        assert secret not in said, secret


def test_what_is_configured_is_checked_and_told(server: SpeechServer, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(f"{CONFIG}speech: {json.dumps(speech(server, model='large-v3'))}\n")
    done = project.run("check")
    assert done.returncode == 0, done.stderr
    assert f"large-v3 at {server.base_url}, up to 25,000,000 bytes" in " ".join(done.stdout.split())
    assert KEY not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["check", "serve"])
def test_without_the_client_it_says_what_to_install(server: SpeechServer, tmp_path: Path, command: str) -> None:
    project = Project(tmp_path)
    project.write(f"{CONFIG}speech: {json.dumps(speech(server))}\n")
    (tmp_path / "openai.py").write_text("raise ImportError")  # imported in its place
    done = project.run(command)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("speech needs another package: install agent-gateway[openai]")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("section", "key", "sentence"),
    [
        ("{}", "speech.model", "this key is required"),
        ("{model: m}", "speech", "say the `api_key` of OpenAI, or the `base_url` of another server"),
        ("{model: m, base_url: 'ftp://x'}", "speech.base_url", "not in the right form"),
        ("{model: m, base_url: 'http://x:hunter2/v1'}", "speech.base_url", "not the address of a server"),
        ("{model: m, base_url: 'http://[::1/v1'}", "speech.base_url", "not the address of a server"),
        ("{model: m, base_url: 'http://x/v1?key=hunter2-hunter2'}", "speech.base_url", "not in the right form"),
        ("{model: m, api_key: k, language: hunter2-hunter2}", "speech.language", "not in the right form"),
        ("{model: m, api_key: ''}", "speech.api_key", "must have 1 characters or more"),
        ("{model: m, api_key: k, max_bytes: 0}", "speech.max_bytes", "must be greater than 0"),
        ("{model: m, api_key: k, timeout: .inf}", "speech.timeout", "must be a finite number"),
        ("{model: m, apikey: k}", "speech.apikey", "unknown key; did you mean `api_key`?"),
    ],
)
def test_a_mistake_in_the_section_is_told_without_its_value(
    tmp_path: Path, section: str, key: str, sentence: str
) -> None:
    [problem] = ConfigFile(tmp_path).write(f"{ONE_AGENT}speech: {section}\n").problems()
    assert (problem.key, problem.line) == (key, 2)
    assert problem.message.startswith(sentence)
    assert "hunter2" not in str(problem)


def test_the_key_is_not_in_what_the_settings_print() -> None:
    settings = SpeechSettings(model="whisper-1", api_key=KEY)
    assert settings.base_url == "https://api.openai.com/v1"
    assert KEY not in f"{settings!r} {settings}"


async def test_a_server_that_asks_for_no_key_gets_none_of_the_environment(
    server: SpeechServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody-else")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-somebody-else")
    with serving(make_config(agents=AGENTS, speech={"model": "m", "base_url": server.base_url})) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.post("/copilotkit/transcribe", files=form(b"Hello"))).status_code == 200
    assert (server.asked[-1].key, server.asked[-1].account) == ("none", frozenset())
    assert "language" not in server.asked[-1].fields


async def test_an_app_can_be_closed_and_opened_again(server: SpeechServer) -> None:
    app = create_app(make_config(agents=AGENTS, speech=speech(server)))
    for _ in range(2):
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
        ):
            answer = await client.post("/copilotkit/transcribe", files=form(b"Hello"))
            assert answer.json()["text"] == "Heard: Hello"

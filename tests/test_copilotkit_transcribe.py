"""Voice input of a CopilotKit app: a recording of its chat becomes text, by a server with OpenAI's API."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from clients_driver import FOLDER, Json, Node
from copilotkit_app import App
from copilotkit_talk import enveloped
from logs import capture_logs
from reading import KEYS, client_for, happens
from serving import make_config, serving
from speech_server import KEY, SpeechServer, speech, speech_server
from talking import assert_problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    import httpx

    Send = Callable[..., Awaitable[httpx.Response]]

pytestmark = pytest.mark.anyio

AGENTS: dict[str, Any] = {"plain": "probes:plain", "other": "probes:plain"}
ADA: dict[str, Any] = {"agents": AGENTS, "auth": {"api_keys": KEYS}}
WEBM = "audio/webm;codecs=opus"
"""What Chromium records."""
PROBLEM = ("error", "message", "retryable")


@pytest.fixture(scope="module")
def server() -> Iterator[SpeechServer]:
    with speech_server() as server:
        yield server


@pytest.fixture(scope="module")
def url(server: SpeechServer) -> Iterator[str]:
    keys = [*KEYS, {**KEYS[0], "id": "visitor", "sha256": VISITOR, "scopes": ["agents:nothing"]}]
    runtimes = [{"path": "/copilotkit"}, {"path": "/kits/other", "agents": ["other"]}]
    with serving(
        make_config(agents=AGENTS, auth={"api_keys": keys}, copilotkit=runtimes, speech=speech(server, language="en"))
    ) as url:
        yield url


VISITOR = "5f14f9e6d80f802a65269804f2552ef9889f2c7ccec5067214e58a1e48e0b3ff"
"""SHA-256 of `visitor`."""


def form(audio: bytes, media_type: str = WEBM, name: str = "recording.webm") -> Any:
    """The form of a recording."""
    return {"audio": (name, audio, media_type)}


def as_json(audio: bytes, media_type: str = WEBM, **more: Any) -> Json:
    """The body of a recording through the single endpoint."""
    return {"audio": base64.b64encode(audio).decode(), "mimeType": media_type, "filename": "recording.webm", **more}


async def by_form(client: httpx.AsyncClient, audio: bytes, media_type: str = WEBM) -> httpx.Response:
    return await client.post("/copilotkit/transcribe", files=form(audio, media_type))


async def by_envelope(client: httpx.AsyncClient, audio: bytes, media_type: str = WEBM) -> httpx.Response:
    return await enveloped(client, "transcribe", as_json(audio, media_type))


@pytest.fixture(params=[by_form, by_envelope])
def send(request: pytest.FixtureRequest) -> Send:
    return request.param


def refused(response: httpx.Response, status: int, error: str, *, retryable: bool = False) -> str:
    """Checks a refusal as CopilotKit's client reads it, and returns the sentence."""
    code = {"rate_limited": "rate_limited", "auth_failed": "speech_denied", "provider_error": "speech_failed"}
    told = assert_problem(response, status, code.get(error, "recording_rejected"), *PROBLEM)
    assert (told["error"], told["retryable"], told["message"]) == (error, retryable, told["detail"])
    return told["message"]


@pytest.mark.parametrize("transport", ["rest", "single"])
def test_what_is_said_into_an_app_becomes_text(url: str, transport: str) -> None:
    if not (FOLDER / "node_modules/@copilotkit/core").exists():
        pytest.skip("the npm packages are not installed: run make test")
    node = Node("copilotkit.mjs", "")
    try:
        app = App(node, f"{url}/kits/other", transport=transport, headers={"x-api-key": "ada"})
        told = app.call("voice", audio="Hello, ünd 雪", type=WEBM)
        empty = app.call("voice", audio="", type=WEBM)
    finally:
        node.close()
    size = len("Hello, ünd 雪".encode())
    assert (told["enabled"], told["transport"], told["status"]) == (True, transport, 200)
    assert told["answer"] == {"text": "Heard: Hello, ünd 雪", "size": size, "type": "audio/webm"}
    assert (empty["status"], empty["answer"]["error"], empty["answer"]["retryable"]) == (400, "audio_too_short", False)


async def test_the_speech_server_gets_the_recording_and_nothing_else_of_the_client(
    server: SpeechServer, ada: httpx.AsyncClient
) -> None:
    await ada.post(
        "/copilotkit/transcribe",
        files=form(b"Hello", "audio/ogg; codecs=opus", "../../etc/ada's secret.exe"),
        data={"model": "gpt-9", "prompt": "x", "response_format": "srt"},
        headers={"x-secret": "s", "cookie": "a=b"},
    )
    asked = server.asked[-1]
    assert (asked.key, asked.data) == (KEY, b"Hello")
    assert asked.fields == {"model": "whisper-1", "language": "en", "response_format": "json"}
    assert (asked.filename, asked.media_type) == ("recording.ogg", "audio/ogg")


@pytest.mark.parametrize(
    ("said", "name", "sent"),
    [
        ("audio/mp4", "x.webm", ("recording.mp4", "audio/mp4")),
        ("AUDIO/WAV", "x", ("recording.wav", "audio/wav")),
        ("audio/mpeg", "x", ("recording.mp3", "audio/mpeg")),
        ("application/octet-stream", "talk.FLAC", ("recording.flac", "audio/flac")),
        ("application/octet-stream", "talk.mp3", ("recording.mp3", "audio/mpeg")),
        ("application/octet-stream", "talk", ("recording.webm", "audio/webm")),
        ('audio/aac;x="\r\nContent-Disposition: form-data', "x", ("recording.aac", "audio/aac")),
    ],
)
async def test_the_media_type_says_what_the_file_is_called(
    server: SpeechServer, ada: httpx.AsyncClient, said: str, name: str, sent: tuple[str, str]
) -> None:
    answer = await enveloped(ada, "transcribe", as_json(b"Hello", said, filename=name))
    assert answer.json() == {"text": "Heard: Hello", "size": 5, "type": sent[1]}
    assert (server.asked[-1].filename, server.asked[-1].media_type) == sent
    if "\r" not in said:
        await ada.post("/copilotkit/transcribe", files=form(b"Hello", said, name))
        assert (server.asked[-1].filename, server.asked[-1].media_type) == sent


@pytest.mark.parametrize("media_type", ["text/plain", "video/webm", "audio/x-made-up", "audio", "*/*"])
async def test_what_is_no_recording_goes_nowhere(
    server: SpeechServer, ada: httpx.AsyncClient, send: Send, media_type: str
) -> None:
    before = len(server.asked)
    assert "audio/webm" in refused(await send(ada, b"Hello", media_type), 400, "invalid_audio_format")
    assert len(server.asked) == before


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("broken", (500, "provider_error", True)),
        ("busy", (500, "provider_error", True)),
        ("unknown", (500, "provider_error", True)),
        ("misconfigured", (500, "provider_error", True)),
        ("wordless", (500, "provider_error", True)),
        ("page", (500, "provider_error", True)),
        ("garbage", (500, "provider_error", True)),
        ("limited", (429, "rate_limited", True)),
        ("unpaid", (429, "rate_limited", True)),
        ("denied", (502, "auth_failed", False)),
        ("forbidden", (502, "auth_failed", False)),
        ("short", (400, "audio_too_short", False)),
        ("long", (400, "audio_too_long", False)),
        ("large", (400, "audio_too_long", False)),
        ("unreadable", (400, "invalid_audio_format", False)),
        ("corrupted", (400, "invalid_audio_format", False)),
    ],
)
async def test_a_failure_of_the_speech_server_is_told_in_words_of_ours(
    ada: httpx.AsyncClient, send: Send, said: str, shown: tuple[int, str, bool]
) -> None:
    with capture_logs() as lines:
        status, error, retryable = shown
        told = refused(await send(ada, said.encode()), status, error, retryable=retryable)
    assert not {"hunter2", "Engine", "10.0.0.7", "quota", "model"} & set(told.replace(".", " ").split())
    [line] = [line for line in lines if line["event"].startswith("speech_")]
    assert line["log_level"] == ("info" if status == 400 else "error")
    assert "hunter2" not in str(lines)
    if said == "broken":
        assert "Engine 7 on 10.0.0.7 stopped (***)" in line["said"]


async def test_what_fails_in_passing_is_asked_again(server: SpeechServer, ada: httpx.AsyncClient) -> None:
    answer = await by_form(ada, b"hiccup")
    assert answer.json()["text"] == "Heard: hiccup"
    assert len([each for each in server.asked if each.data == b"hiccup"]) == 2


@pytest.mark.parametrize("unreachable", ["refused", "silent"])
async def test_a_speech_server_that_does_not_answer_is_given_up(unreachable: str) -> None:
    """Silent: connections are taken, and nothing ever comes."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        if unreachable == "silent":
            taken.listen()
        timeout = 0.3 if unreachable == "silent" else 20
        section = {"model": "m", "base_url": f"http://127.0.0.1:{taken.getsockname()[1]}/v1"}
        with serving(make_config(**ADA, speech={**section, "timeout": timeout})) as url:
            async with client_for(url) as client:
                with capture_logs() as lines:
                    refused(await by_form(client, b"Hello"), 500, "provider_error", retryable=True)
    [line] = [line for line in lines if line["event"] == "speech_failed"]
    assert ("Timeout" if unreachable == "silent" else "APIConnectionError: ") in line["why"]


async def test_a_speech_server_that_never_comes_to_an_end_is_given_up(server: SpeechServer) -> None:
    with serving(make_config(**ADA, speech=speech(server, timeout=0.5))) as url:
        async with client_for(url) as client:
            with capture_logs() as lines:
                refused(await by_form(client, b"drip"), 500, "provider_error", retryable=True)
    assert [line["why"] for line in lines if line["event"] == "speech_failed"] == ["TimeoutError"]


async def test_a_recording_of_somebody_who_has_left_is_let_go(server: SpeechServer, url: str, send: Send) -> None:
    server.waiting.clear()
    server.left.clear()
    async with client_for(url) as client:
        sending = asyncio.ensure_future(send(client, b"wait"))
        await happens(server.waiting.is_set)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    await happens(server.left.is_set)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"", "multipart/form-data"),
        (b"", "multipart/form-data; boundary=x"),
        (b"nothing", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\nHello\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (
            b'--x\r\nContent-Disposition: form-data; name="audio"\r\n\r\nHello\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (b"--x", f"multipart/form-data; boundary={'x' * 300}"),
        (
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--x--\r\n',
            "multipart/form-data; boundary=x; charset=undefined",
        ),
        (b"Hello", "audio/webm"),
        (b"audio=Hello", "application/x-www-form-urlencoded"),
        (b"Hello", ""),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"mimeType": "audio/webm"}', "application/json"),
        (b'{"audio": ["SGVsbG8="], "mimeType": "audio/webm"}', "application/json"),
        (b'{"audio": "SGVsbG8="}', "application/json"),
        (b'{"audio": "SGVsbG8=", "mimeType": ""}', "application/json"),
        (b'{"audio": "SGVsbG8\\n=", "mimeType": "audio/webm"}', "application/json"),
        (b'{"audio": "S", "mimeType": "audio/webm"}', "application/json"),
        ('{"audio": "Grüße", "mimeType": "audio/webm"}'.encode(), "application/json"),
        (b'{"audio": "data:audio/webm;base64", "mimeType": "audio/webm"}', "application/json"),
    ],
)
async def test_a_request_without_a_recording_is_refused_in_a_sentence(
    server: SpeechServer, ada: httpx.AsyncClient, content: bytes, media_type: str
) -> None:
    before = len(server.asked)
    headers = {"content-type": media_type} if media_type else {}
    refused(await ada.post("/copilotkit/transcribe", content=content, headers=headers), 400, "invalid_request")
    if media_type == "application/json" and content.startswith(b'{"'):
        refused(await enveloped(ada, "transcribe", json.loads(content)), 400, "invalid_request")
    assert len(server.asked) == before


async def test_an_envelope_without_a_body_is_refused(ada: httpx.AsyncClient) -> None:
    refused(await enveloped(ada, "transcribe"), 400, "invalid_request")


async def test_a_data_url_is_a_recording_too(ada: httpx.AsyncClient) -> None:
    sent = as_json(b"Hello")
    answer = await enveloped(
        ada, "transcribe", {**sent, "audio": f"data:audio/webm;codecs=opus;base64,{sent['audio']}"}
    )
    assert answer.json()["text"] == "Heard: Hello"


async def test_a_page_of_another_site_cannot_record(server: SpeechServer, ada: httpx.AsyncClient) -> None:
    """A form is what a browser sends without asking first."""
    before = len(server.asked)
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        answer = await ada.post("/copilotkit/transcribe", files=form(b"Hello"), headers=headers)
        assert_problem(answer, 403, "cross_site", *PROBLEM)
    plain = await ada.post("/copilotkit", content=b'{"method": "transcribe"}', headers={"content-type": "text/plain"})
    assert_problem(plain, 415, "unsupported_media_type")
    assert len(server.asked) == before


async def test_only_those_who_may_use_an_agent_of_the_runtime_may_speak(server: SpeechServer, url: str) -> None:
    before = len(server.asked)
    async with client_for(url, "visitor") as guest:
        assert_problem(await by_form(guest, b"Hello"), 404, "not_found", *PROBLEM)
        assert (await guest.get("/copilotkit/info")).json()["audioFileTranscriptionEnabled"] is False
    async with client_for(url, "nobody") as nobody:
        assert_problem(await by_form(nobody, b"Hello"), 401, "unauthenticated")
        assert_problem(await by_envelope(nobody, b"Hello"), 401, "unauthenticated")
    assert len(server.asked) == before


async def test_every_runtime_has_it(ada: httpx.AsyncClient) -> None:
    for path in ("/copilotkit", "/kits/other"):
        assert (await ada.get(f"{path}/info")).json()["audioFileTranscriptionEnabled"] is True
        answer = await ada.post(f"{path}/transcribe", files=form(b"Hello"))
        assert answer.json()["text"] == "Heard: Hello"


async def test_nothing_is_announced_and_nothing_is_heard_without_it() -> None:
    with serving(make_config(**ADA)) as url:
        async with client_for(url) as client:
            assert (await client.get("/copilotkit/info")).json()["audioFileTranscriptionEnabled"] is False
            for answer in (await by_form(client, b"Hello"), await by_envelope(client, b"Hello")):
                told = assert_problem(answer, 503, "speech_not_configured", *PROBLEM)
                assert (told["error"], told["retryable"]) == ("service_not_configured", False)


async def test_a_recording_counts_for_the_rate_limit(server: SpeechServer, send: Send) -> None:
    rules = [{"per": "principal", "requests": "2/hour"}]
    with serving(make_config(**ADA, limits=rules, speech=speech(server))) as url:
        async with client_for(url) as client:
            answers = [await send(client, b"Hello") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]

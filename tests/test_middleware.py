"""Around every request: its id, its log line, its size, its media type, and the one shape of every refusal."""

from __future__ import annotations

import asyncio
import re
import socket
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httpx
import pytest
from logs import capture_logs
from serving import make_config, serving
from talking import WIRES, assert_problem, calling, events_of, run_url, turn

from gateway.app import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.applications import Starlette

pytestmark = pytest.mark.anyio

AGENTS = {"plain": "probes:plain", "who": {"import": "probes:who", "deps": "probes:broken_deps"}}
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def gateway(**sections: Any) -> Starlette:
    sections.setdefault("agents", AGENTS)
    return create_app(make_config(**sections))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(make_config(agents=AGENTS, server={"max_body_bytes": 5_000})) as url:
        yield url


@pytest.mark.parametrize("given", ["01a1fdbf-d421-7777-bd87-889918640f2e", "abc.DEF_0-9", "a" * 128])
async def test_a_well_formed_request_id_is_kept(given: str) -> None:
    async with calling(gateway(), x_request_id=given) as client:
        assert (await client.get("/agents")).headers["x-request-id"] == given
        assert (await client.get("/healthz")).headers["x-request-id"] == given
        assert assert_problem(await client.get("/no"), 404, "not_found")["request_id"] == given


@pytest.mark.parametrize(
    "given", ["", "short", "a" * 129, "has space", "<script>alert(1)</script>", "a\tbcdefgh", "ä" * 9]
)
async def test_an_ill_formed_request_id_is_replaced(given: str) -> None:
    async with calling(gateway()) as client:
        response = await client.get("/agents", headers={"x-request-id": given.encode()})  # pyright: ignore[reportArgumentType]
    assert UUID7.fullmatch(response.headers["x-request-id"])


async def test_a_request_without_an_id_gets_one_of_its_own() -> None:
    async with calling(gateway()) as client:
        ids = [(await client.get("/agents")).headers["x-request-id"] for _ in range(5)]
    assert len(set(ids)) == 5
    times = [identifier[:13] for identifier in ids]
    assert times == sorted(times), "sortable by time, to the millisecond"


async def test_each_request_is_logged_in_one_line_without_its_query_and_headers() -> None:
    async with calling(gateway()) as client:
        with capture_logs() as logs:
            await client.get("/agents?token=hunter2", headers={"cookie": "session=hunter2"})
            await client.post(run_url("ag-ui", "plain"), json=turn("ag-ui", "my password is hunter2"))
            await client.get("/nothing")
    lines = [line for line in logs if line["event"] == "request"]
    assert [(line["method"], line["path"], line["status"], line["ended"]) for line in lines] == [
        ("GET", "/agents", 200, True),
        ("POST", "/agents/plain/ag-ui", 200, True),
        ("GET", "/nothing", 404, True),
    ]
    assert all(line["subject"] == "anonymous" and line["client"] == "127.0.0.1" for line in lines)
    assert "hunter2" not in str(logs)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/nothing", "/agents/plain/nothing", "/agents/plain/ag-ui/more", "/%2e%2e/etc/passwd"]
)
async def test_an_address_that_is_not_there_is_a_404(method: str, path: str) -> None:
    async with calling(gateway()) as client:
        assert_problem(await client.request(method, path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/agents", {"GET", "HEAD"}),
        ("DELETE", "/agents/plain", {"GET", "HEAD"}),
        ("GET", "/agents/plain/ag-ui", {"POST"}),
        ("PUT", "/agents/plain/vercel-ai", {"POST"}),
        ("OPTIONS", "/agents/plain/vercel-ai", {"POST"}),
        ("GET", "/agents/nothing/ag-ui", {"POST"}),
    ],
)
async def test_a_method_that_an_address_does_not_answer_is_a_405_that_says_which_it_does(
    method: str, path: str, allowed: set[str]
) -> None:
    async with calling(gateway()) as client:
        response = await client.request(method, path)
    assert_problem(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/nothing", "/healthz", "/readyz"])
async def test_a_method_that_a_probe_does_not_answer_is_a_problem_too(path: str) -> None:
    async with calling(gateway()) as client:
        response = await client.post(path)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.status_code in (404, 405)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/plain;charset=UTF-8",
        "text/plain; application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json-patch+json",
        "*/*",
    ],
)
async def test_a_body_that_a_foreign_page_could_send_without_a_preflight_is_refused(
    wire: str, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    async with calling(gateway()) as client:
        request = client.build_request("POST", run_url(wire, "plain"), json=turn(wire))
        del request.headers["content-type"]
        request.headers.update(headers)
        assert_problem(await client.send(request), 415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
async def test_json_may_be_declared_in_every_spelling(content_type: str) -> None:
    async with calling(gateway()) as client:
        response = await client.post(
            run_url("ag-ui", "plain"), json=turn("ag-ui"), headers={"content-type": content_type}
        )
    assert response.status_code == 200


@pytest.mark.parametrize("wire", WIRES)
def test_a_declared_size_over_the_limit_is_refused_before_the_body_is_sent(url: str, wire: str) -> None:
    host, port = httpx.URL(url).host, httpx.URL(url).port
    with socket.create_connection((host, port or 0), timeout=10) as connection:
        head = f"POST {run_url(wire, 'plain')} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: 5001\r\n\r\n".encode())
        answer, body = answer_on(connection)
    assert answer.status == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert b'"body_too_large"' in body


@pytest.mark.parametrize("wire", WIRES)
def test_an_upload_in_chunks_is_refused_as_soon_as_it_is_over_the_limit(url: str, wire: str) -> None:
    """Without an end: the answer must not wait for the last chunk."""
    host, port = httpx.URL(url).host, httpx.URL(url).port
    with socket.create_connection((host, port or 0), timeout=10) as connection:
        head = f"POST {run_url(wire, 'plain')} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        chunk = b"5dc\r\n" + b"x" * 1500 + b"\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 4)
        answer, body = answer_on(connection)
    assert answer.status == 413
    assert b'"body_too_large"' in body


def answer_on(connection: socket.socket) -> tuple[HTTPResponse, bytes]:
    """An answer with its whole body, in however many pieces it comes; the connection's own timeout bounds each."""
    answer = HTTPResponse(connection)
    answer.begin()
    return answer, answer.read()


async def test_a_body_up_to_the_limit_is_taken_whole_or_in_chunks() -> None:
    body = httpx.Request("POST", "http://x", json=turn("ag-ui")).content

    async def chunks() -> AsyncIterator[bytes]:
        yield body[:10]
        yield body[10:]

    for limit, status in ((len(body), 200), (len(body) - 1, 413)):
        async with calling(gateway(server={"max_body_bytes": limit}), content_type="application/json") as client:
            for content in (body, chunks()):
                response = await client.post(run_url("ag-ui", "plain"), content=content)
                assert response.status_code == status


async def test_what_nobody_expected_is_a_500_without_its_text_and_the_log_has_it() -> None:
    async with calling(gateway()) as client:
        with capture_logs() as logs:
            response = await client.post(run_url("ag-ui", "who"), json=turn("ag-ui"))
    body = assert_problem(response, 500, "internal_error")
    assert "hunter2" not in response.text
    [entry] = [line for line in logs if line["event"] == "request_failed"]
    assert "hunter2" in str(entry["exc_info"])
    assert entry["code"] == body["code"]


def test_a_client_that_goes_away_while_it_uploads_is_no_failure_of_ours(url: str) -> None:
    host, port = httpx.URL(url).host, httpx.URL(url).port
    with capture_logs() as logs:
        with socket.create_connection((host, port or 0), timeout=10) as connection:
            head = f"POST {run_url('ag-ui', 'plain')} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        # A second request on another connection is answered after the first was given up.
        for _ in range(100):
            httpx.get(f"{url}/healthz")
            if any(line["event"] == "request" and line["path"].endswith("ag-ui") for line in logs):
                break
        else:
            pytest.fail("the request was never given up")
    assert not [line for line in logs if line["log_level"] == "error"]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_stream_says_what_it_is_and_which_run_and_thread_it_belongs_to(wire: str) -> None:
    async with calling(gateway()) as client:
        response = await client.post(run_url(wire, "plain"), json=turn(wire, thread="chat 1/2"))
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    assert UUID7.fullmatch(response.headers["x-run-id"])
    assert response.headers["x-thread-id"] == "chat 1/2"
    assert response.headers.get("x-vercel-ai-ui-message-stream") == ("v1" if wire == "vercel-ai" else None)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("thread", ["\r\nx-evil: 1", "a\nb", "a\u0000b", "\r\n\r\nHTTP/1.1 200 OK", "a\x7fb"])
def test_a_thread_id_has_no_control_characters(url: str, wire: str, thread: str) -> None:
    with httpx.Client(base_url=url, timeout=15) as client:
        response = client.post(run_url(wire, "plain"), json=turn(wire, thread=thread))
    assert_problem(response, 422, "malformed_body")
    assert "x-evil" not in response.headers


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("thread", ["\u2603 \u00e9", '"quoted"', "%0d%0ax-evil: 1", "\U0001f469\u200d\U0001f52c"])
def test_a_thread_id_cannot_end_its_header(url: str, wire: str, thread: str) -> None:
    with httpx.Client(base_url=url, timeout=15) as client:
        response = client.post(run_url(wire, "plain"), json=turn(wire, thread=thread))
    assert response.status_code == 200
    assert "x-evil" not in response.headers
    assert events_of(response.text)
    value = response.headers["x-thread-id"]
    assert value.isascii()
    assert value.isprintable()
    assert unquote(value) == thread, "`decodeURIComponent` gives it back"


async def test_urls_in_answers_carry_the_root_path_and_the_scheme_that_the_proxy_saw() -> None:
    server = {"trusted_proxies": ["10.0.0.7"], "allowed_hosts": ["api.example.com"]}
    async with calling(gateway(server=server), address="10.0.0.7", host="api.example.com") as client:
        headers = {"x-forwarded-proto": "https"}
        body = (await client.get("/agents/plain", headers=headers)).json()
        assert body["url"] == "https://api.example.com/agents/plain"
        assert body["surfaces"]["ag-ui"] == "https://api.example.com/agents/plain/ag-ui"
    async with calling(gateway(server=server), address="10.0.0.8", host="api.example.com") as client:
        body = (await client.get("/agents/plain", headers=headers)).json()
        assert body["url"] == "http://api.example.com/agents/plain", "not from a proxy that we know"


def test_the_root_path_is_in_the_urls_of_answers_and_the_urls_work_behind_the_proxy() -> None:
    server = {"root_path": "/ai", "trusted_proxies": ["127.0.0.1"]}
    with serving(make_config(agents=AGENTS, server=server)) as url, httpx.Client(base_url=url, timeout=15) as client:
        # The proxy strips the prefix.
        body = client.get("/agents/plain", headers={"x-forwarded-proto": "https"}).json()
        assert body["url"] == url.replace("http:", "https:") + "/ai/agents/plain"
        assert body["surfaces"]["vercel-ai"] == url.replace("http:", "https:") + "/ai/agents/plain/vercel-ai"
        assert client.post("/agents/plain/ag-ui", json=turn("ag-ui")).status_code == 200
        assert client.get("/healthz").status_code == 200


async def test_many_requests_at_once_keep_their_own_ids() -> None:
    async with calling(gateway()) as client:

        async def run(number: int) -> None:
            request_id = f"request-{number:04}"
            response = await client.post(
                run_url("ag-ui", "plain"),
                json=turn("ag-ui", thread=f"thread-{number}"),
                headers={"x-request-id": request_id},
            )
            assert response.headers["x-request-id"] == request_id
            assert response.headers["x-thread-id"] == f"thread-{number}"
            assert events_of(response.text)[0]["threadId"] == f"thread-{number}"

        await asyncio.gather(*map(run, range(40)))

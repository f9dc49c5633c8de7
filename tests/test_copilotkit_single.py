"""The single endpoint of a CopilotKit runtime: what REST answers, and no way to anything else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from copilotkit_talk import body, contents, enveloped, ran, snapshot
from reading import KEYS, client_for
from serving import make_config, serving
from talking import assert_problem, events_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

pytestmark = pytest.mark.anyio

AGENTS: dict[str, Any] = {"teller": "thread_probes:teller", "plain": "probes:plain"}
LIMIT = 200_000
AGENT_ERROR = ("error", "message")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    config = make_config(agents=AGENTS, auth={"api_keys": KEYS}, server={"max_body_bytes": LIMIT})
    with serving(config) as url:
        yield url


@pytest.fixture
def thread() -> str:
    return f"thread/%2F{uuid4()}"


def same(one: httpx.Response, other: httpx.Response) -> bool:
    """Whether both say the same, but for what is each request's own."""
    told = [(each.status_code, each.headers["content-type"], _told(each)) for each in (one, other)]
    return told[0] == told[1]


def _told(response: httpx.Response) -> Any:
    known: Any = response.json()
    return {name: known[name] for name in known if name != "request_id"}


async def test_a_run_and_a_connect_are_those_of_rest(ada: httpx.AsyncClient, thread: str) -> None:
    answer = await enveloped(ada, "agent/run", body(thread, "Hello"), agentId="teller")
    assert text_of(events_of(answer.text)) == "You said: Hello."
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-run-id"]
    await ran(ada, "teller", thread, "Again")
    told = await enveloped(ada, "agent/connect", body(thread), agentId="teller")
    rest = await ada.post("/copilotkit/agent/teller/connect", json=body(thread))
    assert told.content == rest.content
    assert contents(snapshot(events_of(told.text)))[-1] == ("assistant", "You said: Hello, Again.")


@pytest.mark.parametrize("look", ["messages", "state", "events", "secrets"])
async def test_threads_are_looked_into_as_over_rest(url: str, ada: httpx.AsyncClient, thread: str, look: str) -> None:
    await ran(ada, "teller", thread, "Hello")
    path = f"/threads/{thread.replace('%', '%25').replace('/', '%2F')}/{look}"
    rest = await ada.get(f"/copilotkit{path}")
    assert same(await enveloped(ada, "resource/request", path=path, httpMethod="GET"), rest)
    assert rest.status_code == (404 if look == "secrets" else 200)
    async with client_for(url, "bob") as bob:
        foreign = await bob.get(f"/copilotkit{path}")
        assert_problem(foreign, 404, "not_found")
        assert same(await enveloped(bob, "resource/request", path=path), foreign)
        assert same(foreign, await bob.get("/copilotkit/threads/never-was/messages"))


@pytest.mark.parametrize(
    ("inner", "status", "code"),
    [
        (None, 422, "malformed_body"),
        ([], 422, "malformed_body"),
        ("text", 422, "malformed_body"),
        (7, 422, "malformed_body"),
        ({}, 422, "malformed_body"),
        ({"threadId": ["t"]}, 422, "malformed_body"),
        ({"threadId": "a\0b", "runId": "r"}, 422, "malformed_body"),
    ],
)
@pytest.mark.parametrize("method", ["agent/run", "agent/connect"])
async def test_a_wrong_body_gets_the_answer_of_rest(
    ada: httpx.AsyncClient, method: str, inner: Any, status: int, code: str
) -> None:
    answer = await enveloped(ada, method, inner, agentId="teller")
    assert_problem(answer, status, code)
    content = b"" if inner is None else json.dumps(inner)
    path = f"/copilotkit/{method.replace('/', '/teller/')}"
    assert same(answer, await ada.post(path, content=content, headers={"content-type": "application/json"}))


@pytest.mark.parametrize(
    "path",
    [
        "/threads/../agents",
        "/threads/../../agents/x/y",
        "/threads/..%2f..%2fagents/messages",
        "/threads/%2e%2e/agent/plain/run",
        "/threads//evil.example/messages",
        "//evil.example/threads",
        "http://evil.example/threads",
        "threads",
        "",
        "/",
        "/threadsX",
        "/threads%2F",
        "/threads/",
        "/agents",
        "/info",
        "/agent/plain/run",
        "/runs",
        "/healthz",
        "/memories",
        "/threads/%00/messages",
        "/threads/\0/messages",
        "/threads/ünd 雪/messages",
        "/threads/a\r\nb/messages",
        "/threads/%/messages",
        "/threads/%ff/messages",
        "/threads#x",
        "/threads/x/messages#",
    ],
)
@pytest.mark.parametrize("verb", ["GET", "POST", "PATCH", "DELETE"])
async def test_no_path_leads_anywhere_but_to_threads(ada: httpx.AsyncClient, path: str, verb: str) -> None:
    answer = await enveloped(ada, "resource/request", body("t", "Hi", name="Hi"), path=path, httpMethod=verb)
    assert answer.status_code in (404, 405), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "envelope",
    [
        {"method": "info", "params": None},
        {"method": "info", "params": []},
        {"method": ["info"]},
        {"method": "agent/run", "params": {"agentId": 7}},
        {"method": "agent/stop", "params": {"agentId": "teller", "threadId": {}}},
        {"method": "resource/request", "params": {"path": 1}},
        {"method": "resource/request", "params": {"path": "/threads", "httpMethod": "PUT"}},
        {"method": "resource/request", "params": {"path": "/threads", "httpMethod": "get"}},
        {"method": "INFO"},
        {"method": ""},
        "info",
    ],
)
async def test_params_of_the_wrong_kind_are_refused_in_a_sentence(ada: httpx.AsyncClient, envelope: Any) -> None:
    assert_problem(await ada.post("/copilotkit", json=envelope), 422, "malformed_body")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"method": "info"', b"[" * 5000, b'{"method": "\\ud800"}'])
async def test_broken_json_is_refused(ada: httpx.AsyncClient, content: bytes) -> None:
    answer = await ada.post("/copilotkit", content=content, headers={"content-type": "application/json"})
    assert_problem(answer, 422, "malformed_body")


@pytest.mark.parametrize("agent", ["", "nobody", "teller/stop/t", "../agents/teller", "teller?x=1", "teller%2F", "ünd"])
async def test_an_agents_name_is_a_name_and_no_path(ada: httpx.AsyncClient, agent: str) -> None:
    for method in ("agent/run", "agent/connect", "agent/stop"):
        answer = await enveloped(
            ada, method, None if method == "agent/stop" else body("t"), agentId=agent, threadId="t"
        )
        assert answer.status_code == 404, answer.text
        assert answer.json()["code"] in ("agent_not_found", "not_found")


async def test_limits_of_size_hold_for_what_is_inside(ada: httpx.AsyncClient) -> None:
    long = await enveloped(ada, "agent/run", body("t", "a" * LIMIT), agentId="teller")
    assert_problem(long, 413, "body_too_large")
    fits = await enveloped(ada, "agent/run", body(f"t-{uuid4()}", "ü" * 30_000), agentId="teller")
    assert text_of(events_of(fits.text)) == f"You said: {'ü' * 30_000}."


async def test_a_large_envelope_is_read_off_the_loop(ada: httpx.AsyncClient) -> None:
    """Its own path: from some size on, bodies are parsed in a thread."""
    thread = f"t-{uuid4()}"
    said = [{"id": str(n), "role": "assistant", "content": "x" * 1000} for n in range(150)]
    sent = body(thread, "Hello")
    answer = await enveloped(ada, "agent/run", {**sent, "messages": [*said, *sent["messages"]]}, agentId="teller")
    assert text_of(events_of(answer.text)) == "You said: Hello."
    told = await enveloped(ada, "agent/connect", body(thread, messages=said), agentId="teller")
    assert contents(snapshot(events_of(told.text))) == [("user", "Hello"), ("assistant", "You said: Hello.")]


async def test_threads_are_paged_and_filtered_by_agent(ada: httpx.AsyncClient, url: str) -> None:
    made = [f"paged-{uuid4()}" for _ in range(5)]
    for number, thread in enumerate(made):
        await ran(ada, "plain" if number % 2 else "teller", thread, "Hello")
    for agent, expected in (("teller", made[::2]), ("plain", made[1::2]), ("default", made[::2])):
        found, cursor = list[str](), ""
        while cursor is not None:
            query = {"agentId": agent, "limit": 1, **({"cursor": cursor} if cursor else {})}
            page = (await ada.get("/copilotkit/threads", params=query)).json()
            found += [each["id"] for each in page["threads"]]
            cursor = page["nextCursor"]
        assert [each for each in found if each in made] == expected[::-1]
    assert (await ada.get("/copilotkit/threads", params={"agentId": "nobody"})).json()["threads"] == []
    for asked in ({"limit": 500}, {"limit": 0}, {"limit": "many"}, {"agentId": ""}):
        assert {*made} <= {
            each["id"] for each in (await ada.get("/copilotkit/threads", params=asked)).json()["threads"]
        }
    assert_problem(await ada.get("/copilotkit/threads", params={"cursor": "x"}), 400, "bad_request")
    async with client_for(url, "bob") as bob:
        assert (await bob.get("/copilotkit/threads")).json() == {"threads": [], "nextCursor": None}

"""`POST /agents/{agent}/completion`, and answers that are nothing but text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import run_probes
from probes import plain
from reading import becomes, client_for, happens, held, of_chat, reading, run_config, status_of
from serving import DEMO_AGENTS, make_config, serving
from talking import assert_problem, calling, events_of, run_url, text_of, turn

from gateway import to_vercel_ai
from gateway.app import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    import httpx

pytestmark = pytest.mark.anyio

TEXT = {"protocol": "text"}
AGENTS: dict[str, Any] = {
    **DEMO_AGENTS,
    "remembering": "probes:remembering",
    "hidden": {"import": "probes:plain", "surfaces": ["ag-ui"]},
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(run_config(settings={"on_disconnect": "continue"}, server={"heartbeat": 0.02})) as base:
        yield base


@pytest.fixture
async def client(url: str) -> AsyncGenerator[httpx.AsyncClient]:
    async with client_for(url) as ada:
        yield ada


async def post(path: str, body: Any, agents: Any = None, headers: Any = None, **server: Any) -> httpx.Response:
    app = create_app(make_config(agents=agents or AGENTS, server=server))
    async with calling(app, content_type="application/json") as client:
        return await client.post(path, content=json.dumps(body), headers=headers)


# Completions


async def test_a_completion_is_an_answer_to_the_prompt_alone() -> None:
    response = await post("/agents/assistant/completion", {"prompt": "Count to 5", "temperature": 0.5})
    assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
    events = events_of(response.text)
    assert text_of(events) == "1 2 3 4 5"
    assert events[-1] == {"type": "finish", "finishReason": "stop"}


async def test_a_completion_is_on_no_thread() -> None:
    async with calling(create_app(make_config(agents=AGENTS))) as client:
        body = {"prompt": "One", "id": "t"}
        responses = [await client.post("/agents/remembering/completion", json=body) for _ in range(2)]
        for response in responses:
            assert text_of(events_of(response.text)) == "You said: One."
            assert (await client.get(f"/threads/{response.headers['x-thread-id']}")).status_code == 404
        assert (await client.get("/threads")).json()["threads"] == []
    [metadata] = [event["messageMetadata"] for event in events_of(responses[0].text) if "messageMetadata" in event]
    assert "threadId" not in metadata["gateway"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "prompt: Field required"),
        ({"prompt": ""}, "prompt: "),
        ({"prompt": 7}, "prompt: "),
        ({"prompt": None}, "prompt: "),
        ([], "body: "),
        ("prompt", "body: "),
    ],
)
async def test_a_completion_without_a_prompt_is_refused(body: Any, said: str) -> None:
    problem = assert_problem(await post("/agents/assistant/completion", body), 422, "malformed_body")
    assert problem["detail"].startswith(said)


async def test_a_long_prompt_is_refused_and_one_of_the_full_length_is_not() -> None:
    path = "/agents/remembering/completion"
    assert (await post(path, {"prompt": "x" * 20}, max_prompt_chars=20)).status_code == 200
    assert_problem(await post(path, {"prompt": "x" * 21}, max_prompt_chars=20), 422, "prompt_too_long")


async def test_an_agent_that_does_not_offer_the_ai_sdk_completes_nothing() -> None:
    assert_problem(await post("/agents/hidden/completion", {"prompt": "Hi"}), 404, "agent_not_found")
    assert_problem(await post("/agents/nobody/completion", {"prompt": "Hi"}), 404, "agent_not_found")


async def test_a_completion_must_be_json_like_every_request_that_starts_something() -> None:
    problem = await post("/agents/assistant/completion", {"prompt": "Hi"}, headers={"content-type": "text/plain"})
    assert_problem(problem, 415, "unsupported_media_type")


async def test_leaving_stops_a_completion_whatever_chats_do(client: httpx.AsyncClient) -> None:
    gate = f"gate-{uuid4()}"
    async with reading(client, "POST", "/agents/gated/completion", json={"prompt": gate}) as reader:
        await happens(run_probes.gates[gate].reached.is_set)
    await becomes(client, reader.run_id, "cancelled")
    await happens(run_probes.gates[gate].left.is_set)


async def test_the_run_of_a_completion_can_be_read_again(client: httpx.AsyncClient) -> None:
    response = await client.post("/agents/fast/completion", json={"prompt": "5"})
    again = await client.get(f"/runs/{response.headers['x-run-id']}/stream")
    assert again.text == response.text


async def test_a_page_of_another_origin_may_complete() -> None:
    """The hook names the SDK in `user-agent`, which some browsers ask for before they send it."""
    origin = "https://app.example.com"
    app = create_app(make_config(agents=AGENTS, cors={"allow_origins": [origin]}))
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,user-agent"}
    async with calling(app) as client:
        response = await client.options("/agents/assistant/completion", headers={"origin": origin, **asked})
    assert response.status_code == 200
    assert "user-agent" in response.headers["access-control-allow-headers"]


# Text


@pytest.mark.parametrize("asked", [{"params": TEXT}, {"headers": {"accept": "text/plain;q=0.9, */*"}}])
@pytest.mark.parametrize(("path", "of"), [("completion", "prompt"), ("vercel-ai", "chat")])
async def test_an_answer_as_text_is_what_its_chunks_say(
    client: httpx.AsyncClient, path: str, of: str, asked: Any
) -> None:
    body = {"prompt": "40"} if of == "prompt" else turn("vercel-ai", "40")
    response = await client.post(f"/agents/fast/{path}", json=body, **asked)
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "x-vercel-ai-ui-message-stream" not in response.headers
    assert response.text == "".join(f"{number} " for number in range(40))
    chunks = await client.get(f"/runs/{response.headers['x-run-id']}/stream")
    assert text_of(events_of(chunks.text)) == response.text


@pytest.mark.parametrize("accept", ["*/*", "application/json, text/plain, */*", "text/event-stream, text/plain"])
async def test_text_is_sent_to_those_alone_who_ask_for_it_first(client: httpx.AsyncClient, accept: str) -> None:
    response = await client.post(run_url("vercel-ai", "fast"), json=turn("vercel-ai", "5"), headers={"accept": accept})
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_the_query_counts_more_than_the_header(client: httpx.AsyncClient) -> None:
    response = await client.post(
        run_url("vercel-ai", "fast") + "?protocol=data",
        json=turn("vercel-ai", "5"),
        headers={"accept": "text/plain"},
    )
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    refused = await client.post(run_url("vercel-ai", "fast") + "?protocol=sse", json=turn("vercel-ai", "5"))
    assert "protocol" in assert_problem(refused, 400, "bad_request")["detail"]


async def test_silence_in_a_text_stays_silent(client: httpx.AsyncClient) -> None:
    async with (
        held(client, "vercel-ai") as run,
        reading(client, "GET", of_chat(run.thread, "stream"), params=TEXT) as text,
    ):
        await run.reader.until(": heartbeat\n\n: heartbeat\n\n")
        run.gate.open()
        assert await text.rest() == "Begun ünd ended."


async def test_a_text_breaks_off_when_its_run_fails(client: httpx.AsyncClient) -> None:
    async with reading(client, "POST", "/agents/broken/completion?protocol=text", json={"prompt": "Hi"}) as reader:
        assert "hunter2" not in await reader.broken_off()
    assert await status_of(client, reader.run_id) == "run_failed"


async def test_a_text_breaks_off_when_its_run_is_stopped(client: httpx.AsyncClient) -> None:
    gate, thread = f"gate-{uuid4()}", f"thread-{uuid4()}"
    body = turn("vercel-ai", gate, thread)
    async with reading(client, "POST", run_url("vercel-ai", "gated"), params=TEXT, json=body) as reader:
        await reader.until("Begun")
        stopped = await client.post(of_chat(thread, "stop"))
        assert stopped.json() == {"stopped": True}
        assert await reader.broken_off() == "Begun ünd "


async def test_the_run_of_a_chat_can_be_read_again_as_text(client: httpx.AsyncClient) -> None:
    chat = await client.post(run_url("vercel-ai", "fast"), json=turn("vercel-ai", "5"))
    path = f"/runs/{chat.headers['x-run-id']}/stream"
    again = await client.get(path, headers={"accept": "text/plain"})
    assert again.text == "0 1 2 3 4 "


async def test_a_mounted_agent_speaks_in_plain_text_too() -> None:
    async with calling(to_vercel_ai(plain)) as client:
        response = await client.post("/", params=TEXT, json=turn("vercel-ai"))
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.text == "Hello from the probe."
        assert_problem(await client.post("/?protocol=sse", json=turn("vercel-ai")), 400, "bad_request")

"""`/run`, the whole answer in one piece, and what plain requests may say of how much and with what."""

from __future__ import annotations

from typing import Any

import plain_probes
import pytest
from plain_wire import answer_in, events_in, one, plain
from serving import make_config
from talking import assert_problem, calling

from gateway.app import create_app

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _nothing_was_asked() -> None:
    plain_probes.settings.clear()


@pytest.mark.parametrize(("asked", "given"), [(100, 100), (1000, 500), (None, 500)])
async def test_max_tokens_never_goes_over_the_agents_own(asked: int | None, given: int) -> None:
    more: dict[str, Any] = {} if asked is None else {"max_tokens": asked}
    async with plain("modest") as reader:
        await reader.ask("modest", **more)
        await reader.post("modest", "run", **more)
    assert [(each or {}).get("max_tokens") for each in plain_probes.settings] == [given, given]


async def test_max_tokens_never_goes_over_the_usage_limit_either() -> None:
    async with plain("modest", settings={"usage_limits": {"output_tokens_limit": 50}}) as reader:
        await reader.ask("modest", max_tokens=100)
    assert [(each or {}).get("max_tokens") for each in plain_probes.settings] == [50]


async def test_agents_whose_clients_keep_the_history_take_it() -> None:
    said = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "You said one."},
        {"role": "user", "content": "two"},
    ]
    async with plain("probes:remembering", settings={"history": "client"}) as reader:
        whole = await reader.ask("remembering", prompt=None, messages=said)
        before = await reader.ask("remembering", prompt="three", messages=said[:2])
        unsaid = await reader.post("remembering", prompt=None, messages=said[:2])
        session = await reader.client.post("/agents/remembering/chat", json={"session_id": "s", "message": "Hello"})
        answers = await reader.post("remembering", thread_id="t", approvals={"call-1": True})
    assert answer_in(whole) == "You said: one, two."
    assert answer_in(before) == "You said: one, three."
    assert_problem(unsaid, 422, "malformed_body")
    assert_problem(session, 422, "malformed_body")
    assert_problem(answers, 422, "malformed_body")


async def test_a_question_on_no_thread_is_not_stored() -> None:
    async with plain("modest") as reader:
        response = await reader.post("modest")
        assert "thread_id" not in one(events_in(response.text), "done")
        assert (await reader.client.get("/threads")).json()["threads"] == []
        gone = await reader.client.get(f"/threads/{response.headers['x-thread-id']}")
        assert_problem(gone, 404, "not_found")


@pytest.mark.parametrize("form", ["text", "events", "run"])
async def test_a_repeated_request_with_a_key_joins_the_run_of_the_first_though_it_is_on_no_thread(form: str) -> None:
    async with plain("modest") as reader:
        first = await reader.post("modest", form, headers={"idempotency-key": "k"})
        second = await reader.post("modest", form, headers={"idempotency-key": "k"})
        other = await reader.post("modest", form, headers={"idempotency-key": "l"})
    assert first.text == second.text
    assert first.headers["x-run-id"] == second.headers["x-run-id"] != other.headers["x-run-id"]
    assert len(plain_probes.settings) == 2


async def test_the_whole_answer_is_one_document() -> None:
    async with plain("looking", "describing") as reader:
        text = await reader.post("looking", "run", thread_id="t")
        data = await reader.post("describing", "run")
    answer = text.json()
    assert answer.pop("usage")["requests"] == 2
    assert answer == {
        "run_id": text.headers["x-run-id"],
        "thread_id": "t",
        "outcome": "finished",
        "text": "It is seven.",
        "output": "It is seven.",
    }
    assert data.json()["output"] == {"name": "Ada Lovelace", "age": 36, "tags": ["maths", "engines"]}
    assert data.json().keys() == {"run_id", "outcome", "output", "usage"}


async def test_a_repeated_answer_on_another_address_has_the_same_result() -> None:
    async with plain("looking") as reader:
        await reader.post("looking", "text", thread_id="t", headers={"idempotency-key": "k"})
        whole = await reader.post("looking", "run", thread_id="t", headers={"idempotency-key": "k"})
    assert (whole.json()["text"], whole.json()["output"]) == ("It is seven.", "It is seven.")


@pytest.mark.parametrize(
    ("agent", "settings", "status", "code"),
    [
        ("probes:broken", {}, 500, "run_failed"),
        ("probes:refused", {}, 502, "model_unavailable"),
        ("probes:looping", {"usage_limits": {"request_limit": 2}}, 500, "usage_limit"),
        ("probes:hanging", {"timeout": 0.2}, 504, "run_timeout"),
        ("unfit", {}, 502, "model_behavior"),
    ],
)
async def test_a_whole_answer_that_fails_is_a_problem(
    agent: str, settings: dict[str, Any], status: int, code: str
) -> None:
    async with plain(agent, settings=settings) as reader:
        response = await reader.post(agent.rpartition(":")[2], "run")
    problem = assert_problem(response, status, code)
    assert response.headers["x-run-id"] in problem["detail"]
    assert plain_probes.SECRET not in response.text


async def test_an_agent_with_deps_gets_its_own_for_each_run() -> None:
    async with calling(create_app(make_config())) as client:
        answers = [
            await client.post("/agents/planner/run", json={"prompt": "Plan a party"}),
            await client.post("/agents/planner/run", json={"prompt": "Step 1 is done"}),
        ]
    assert "3 steps" in answers[0].text
    assert "0 steps" in answers[1].text, answers[1].text

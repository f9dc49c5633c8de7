"""`stream/text`: pieces, resets, the validated answer, and how each ending is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import plain_probes
import probes
import pytest
from openai_server import openai_server
from plain_wire import NDJSON, answer_in, events_in, lines_in, names, of, one, plain
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from serving import make_config, serving

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.anyio

ENDING = ["result", "usage", "done"]


async def test_the_pieces_of_the_answer_come_as_the_model_says_them_and_then_the_whole() -> None:
    async with plain("trickling") as reader:
        response = await reader.post("trickling")
    events = events_in(response.text)
    assert [event["text"] for event in of(events, "message")] == [*"abcdefghij"]
    assert names(events)[-3:] == ENDING
    assert one(events, "result") == {"text": "abcdefghij"}
    assert one(events, "done") == {"run_id": response.headers["x-run-id"], "outcome": "finished"}
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_without_delta_each_event_has_all_of_the_text_so_far() -> None:
    async with plain("trickling") as reader:
        events = await reader.ask("trickling", delta=False)
    assert of(events, "message") == [{"text": "abcdefghij"[:end]} for end in range(1, 11)]


async def test_pieces_are_gathered_for_the_time_of_debounce() -> None:
    async with plain("trickling") as reader:
        events = await reader.ask("trickling", debounce=10)
    assert of(events, "message") == [{"text": "a"}, {"text": "bcdefghij"}]


async def test_ids_name_the_run_and_count_from_one() -> None:
    async with plain("trickling") as reader:
        response = await reader.post("trickling")
    run_id = response.headers["x-run-id"]
    ids = [event.id for event in events_in(response.text)]
    assert ids == [f"{run_id}:{number}" for number in range(1, len(ids) + 1)]


async def test_lines_of_json_say_the_same_as_server_sent_events() -> None:
    async with plain("looking") as reader:
        events = await reader.ask("looking")
        response = await reader.post("looking", headers=NDJSON)
    assert response.headers["content-type"] == "application/x-ndjson"
    said = [(event.name, event.data) for event in lines_in(response.text)]
    assert said[:-1] == [(event.name, event.data) for event in events[:-1]]
    assert said[-1][1] == {"run_id": response.headers["x-run-id"], "outcome": "finished"}


async def test_bare_text_is_the_text_alone_and_no_page() -> None:
    async with plain("trickling") as reader:
        response = await reader.post("trickling", headers={"accept": "text/plain"})
    assert response.text == "abcdefghij"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_text_before_a_tool_call_is_taken_back_when_the_answer_begins() -> None:
    async with plain("looking") as reader:
        events = await reader.ask("looking")
    assert of(events, "message") == [{"text": text} for text in ("Let me ", "look.", "It is ", "seven.")]
    assert one(events, "reset") == {"reason": "tool_calls"}
    assert answer_in(events) == one(events, "result")["text"] == "It is seven."


async def test_without_delta_the_text_after_a_reset_is_that_of_the_answer_alone() -> None:
    async with plain("looking") as reader:
        events = await reader.ask("looking", delta=False)
    assert of(events, "message")[-2:] == [{"text": "It is "}, {"text": "It is seven."}]


async def test_text_that_a_validator_refuses_is_taken_back_and_its_words_stay_inside() -> None:
    async with plain("wavering") as reader:
        response = await reader.post("wavering")
    events = events_in(response.text)
    assert one(events, "reset") == {"reason": "retry"}
    assert answer_in(events) == one(events, "result")["text"] == "Good answer."
    assert one(events, "usage")["requests"] == 2
    assert plain_probes.SECRET not in response.text


@pytest.mark.parametrize("debounce", [0, 10])
async def test_the_pieces_since_the_last_reset_are_the_answer_however_they_are_gathered(debounce: float) -> None:
    async with plain("looking", "wavering") as reader:
        for agent in ("looking", "wavering"):
            events = await reader.ask(agent, debounce=debounce)
            assert answer_in(events) == one(events, "result")["text"]


async def test_an_output_function_that_makes_text_of_text_has_the_last_word() -> None:
    async with plain("shouting") as reader:
        events = await reader.ask("shouting")
    assert answer_in(events) == "Bad answer."
    assert one(events, "result") == {"text": "BAD ANSWER."}


async def test_an_output_function_that_makes_something_else_of_text_is_called_once() -> None:
    plain_probes.counted.clear()
    async with plain("counting") as reader:
        events = await reader.ask("counting")
    assert answer_in(events) == "Bad answer."
    assert one(events, "result") == {"output": 2}
    assert plain_probes.counted == [1]


async def test_thoughts_are_no_text() -> None:
    async with plain("thinking") as reader:
        events = await reader.ask("thinking")
    assert answer_in(events) == one(events, "result")["text"] == "Seven."


async def test_text_before_a_native_tool_is_taken_back_as_pydantic_ai_does() -> None:
    async with plain("searching") as reader:
        events = await reader.ask("searching")
    assert of(events, "message") == [{"text": text} for text in ("Searching. ", "Sev", "en.")]
    assert one(events, "result")["text"] == answer_in(events) == "Seven."


async def test_usage_is_told_before_the_end() -> None:
    async with plain("looking") as reader:
        usage = one(await reader.ask("looking"), "usage")
    assert usage["requests"] == 2
    assert usage["tool_calls"] == 1
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0


FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "broken": ({}, "run_failed"),
    "failing_tool": ({}, "run_failed"),
    "refused": ({}, "model_unavailable"),
    "misbehaving": ({}, "model_behavior"),
    "hanging": ({"timeout": 0.2}, "run_timeout"),
    "looping": ({"usage_limits": {"request_limit": 3}}, "usage_limit"),
    "sorry": ({}, "out_of_stock"),
    "misused": ({}, "run_failed"),
}


@pytest.mark.parametrize("form", ["text", "events", "nodes", "responses"])
@pytest.mark.parametrize(
    ("agent", "settings", "code"), [(agent, *how) for agent, how in FAILURES.items()], ids=FAILURES
)
async def test_every_failure_ends_with_its_code_a_safe_sentence_the_run_its_usage_and_done(
    form: str, agent: str, settings: dict[str, Any], code: str
) -> None:
    async with plain(f"probes:{agent}", settings=settings) as reader:
        response = await reader.post(agent, form)
    events = events_in(response.text)
    run_id = response.headers["x-run-id"]
    assert names(events)[-3:] == ["error", "usage", "done"]
    error = one(events, "error")
    assert (error["code"], error["id"]) == (code, run_id)
    assert error["message"].endswith(f"(reference {run_id})")
    assert one(events, "done") == {"run_id": run_id, "outcome": code}
    assert not of(events, "result")
    assert probes.SECRET not in response.text
    assert "Traceback" not in response.text


async def test_a_run_that_fails_tells_what_it_took() -> None:
    async with plain("probes:looping", settings={"usage_limits": {"request_limit": 3}}) as reader:
        usage = one(await reader.ask("looping"), "usage")
    assert (usage["requests"], usage["tool_calls"]) == (3, 3)
    assert usage["total_tokens"] > 0


def test_bare_text_of_a_run_that_fails_breaks_off(broken_url: str) -> None:
    url, headers = f"{broken_url}/agents/broken/stream/text", {"accept": "text/plain"}
    with (
        httpx.stream("POST", url, json={"prompt": "Hello"}, headers=headers) as response,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        response.read()


@pytest.fixture
def broken_url() -> Generator[str]:
    with serving(make_config(agents={"broken": "probes:broken"})) as url:
        yield url


echoing = Agent(name="echoing")


async def test_the_text_of_a_provider_comes_in_its_own_pieces() -> None:
    with openai_server() as server:
        provider = OpenAICompatibleProvider("openai-compatible", base_url=server.base_url, api_key="key")
        echoing.model = OpenAIChatModel("any", provider=provider)
        async with plain("test_plain_text:echoing") as reader:
            events = await reader.ask("echoing", prompt="How are you today?")
    assert len(of(events, "message")) > 2
    assert answer_in(events) == one(events, "result")["text"] == "Echo: How are you today?"
    usage = one(events, "usage")
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (11, 7, 18)

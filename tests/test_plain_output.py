"""`stream/output` and `stream/responses`: what fills in on the way, and the final, validated value."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from uuid import uuid4

import httpx
import plain_probes
import probes
import pytest
import run_probes
from openai_server import openai_server
from plain_wire import events_in, names, of, one, plain
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from reading import reading
from serving import make_config, serving
from talking import assert_problem

from agents.extractor import Contact

pytestmark = pytest.mark.anyio

ADA: dict[str, Any] = {"name": "Ada Lovelace", "age": 36, "tags": ["maths", "engines"]}


def is_beginning(part: Any, whole: Any) -> bool:
    """Whether `whole` may be what `part` becomes: numbers excepted, which may be cut off anywhere."""
    match part:
        case dict():
            return all(name in whole and is_beginning(part[name], whole[name]) for name in part)  # pyright: ignore[reportUnknownVariableType]
        case list():
            return len(part) <= len(whole) and all(map(is_beginning, part, whole))  # pyright: ignore[reportUnknownArgumentType]
        case str():
            return whole.startswith(part)
        case int():
            return str(whole).startswith(str(part))
        case _:
            return part == whole


async def test_fields_come_as_the_model_fills_them_in_and_the_others_are_left_out() -> None:
    async with plain("describing") as reader:
        events = await reader.ask("describing", "output")
    partials = of(events, "message")
    assert partials[1].keys() == {"name"}
    assert [*map(len, partials)] == sorted(map(len, partials)), "fields never go away"
    assert {"name": "Ada Lovelace"} in partials
    assert all(is_beginning(partial, ADA) for partial in partials)
    assert partials[-1] == ADA
    assert names(events)[-3:] == ["result", "usage", "done"]
    assert one(events, "result") == {"output": ADA}


async def test_the_same_partial_is_told_once() -> None:
    async with plain("describing") as reader:
        partials = of(await reader.ask("describing", "output"), "message")
    assert all(before != after for before, after in pairwise(partials))


async def test_with_a_long_debounce_the_last_partial_is_whole() -> None:
    async with plain("describing") as reader:
        partials = of(await reader.ask("describing", "output", debounce=10), "message")
    assert partials[-1] == ADA
    assert len(partials) <= 2


async def test_an_output_that_does_not_fit_is_skipped_on_the_way_and_tried_again() -> None:
    async with plain("correcting") as reader:
        events = await reader.ask("correcting", "output")
    assert all("age" not in partial or is_beginning(partial["age"], 36) for partial in of(events, "message"))
    assert not of(events, "error")
    assert one(events, "result") == {"output": {"name": "Ada", "age": 36, "tags": []}}
    assert one(events, "usage")["requests"] == 2


async def test_an_output_that_never_fits_is_an_error_of_the_model() -> None:
    async with plain("unfit") as reader:
        events = await reader.ask("unfit", "output")
    assert names(events)[-3:] == ["error", "usage", "done"]
    assert one(events, "error")["code"] == "model_behavior"


@pytest.mark.parametrize("debounce", [0, 10])
async def test_a_stream_that_breaks_leaves_the_last_good_partial_and_the_error(debounce: float) -> None:
    async with plain("breaking") as reader:
        response = await reader.post("breaking", "output", debounce=debounce)
    events = events_in(response.text)
    assert of(events, "message")[-1] == {"name": "Ada Lovelace", "age": 3}
    assert one(events, "error")["code"] == "run_failed"
    assert names(events)[-3:] == ["error", "usage", "done"]
    assert probes.SECRET not in response.text


async def test_output_functions_are_called_with_the_final_output_alone() -> None:
    plain_probes.made.clear()
    async with plain("making") as reader:
        events = await reader.ask("making", "output")
    assert plain_probes.made == [plain_probes.Person(**ADA)]
    assert one(events, "result") == {"output": {"made": "Ada Lovelace"}}


async def test_an_agent_without_structured_output_is_refused_with_a_hint() -> None:
    async with plain("trickling") as reader:
        problem = assert_problem(await reader.post("trickling", "output"), 422, "unsuitable_agent")
        assert "`text`" in problem["detail"]


async def test_an_agent_without_text_is_refused_with_a_hint() -> None:
    async with plain("describing") as reader:
        problem = assert_problem(await reader.post("describing", "text"), 422, "unsuitable_agent")
        assert "`output`" in problem["detail"]
        session = {"session_id": "s", "message": "Hello"}
        assert_problem(await reader.client.post("/agents/describing/chat", json=session), 422, "unsuitable_agent")


async def test_an_agent_that_may_answer_either_way_can_be_asked_both_ways() -> None:
    async with plain("either") as reader:
        assert one(await reader.ask("either", "text"), "result") == {"text": "Bad answer."}
        assert one(await reader.ask("either", "output"), "result") == {"output": "Bad answer."}


async def test_responses_are_the_models_answer_so_far_again_and_again() -> None:
    async with plain("looking") as reader:
        response = await reader.post("looking", "responses")
    events = events_in(response.text)
    said = of(events, "message")
    assert {each["kind"] for each in said} == {"response"}
    assert [part["content"] for part in said[0]["parts"]] == ["Let me "]
    assert [each["state"] for each in said].count("complete") == 2
    assert [part["part_kind"] for each in said for part in each["parts"]].count("tool-call")
    assert said[-1]["parts"][0]["content"] == "It is seven."
    assert said[-1]["state"] == "complete"
    assert one(events, "result") == {"output": "It is seven."}
    assert plain_probes.SECRET not in response.text


async def test_a_response_that_breaks_off_is_told_as_far_as_it_came() -> None:
    async with plain("probes:broken") as reader:
        said = of(await reader.ask("broken", "responses", debounce=10), "message")
    assert said[-1]["parts"][0]["content"] == "Half an "


filling = Agent(name="filling", output_type=Contact)


async def test_the_output_of_a_provider_comes_with_the_pieces_of_the_calls_arguments() -> None:
    with openai_server() as server:
        provider = OpenAICompatibleProvider("openai-compatible", base_url=server.base_url, api_key="key")
        filling.model = OpenAIChatModel("any", provider=provider)
        async with plain("test_plain_output:filling") as reader:
            events = await reader.ask("filling", "output", prompt="A contact.")
            asked = await reader.client.post("/agents/filling/object", json="A contact.")
    whole = one(events, "result")["output"]
    assert whole == {"name": "Ada", "email": "ada@example.com", "phone": "+44 20 7946 0018", "company": "Ada"}
    partials = of(events, "message")
    assert len(partials) > 4
    assert all(is_beginning(partial, whole) for partial in partials)
    assert asked.json() == whole


async def test_output_functions_of_text_are_called_with_the_final_text_alone() -> None:
    plain_probes.counted.clear()
    async with plain("counting") as reader:
        events = await reader.ask("counting", "output")
    assert one(events, "result") == {"output": 2}
    assert plain_probes.counted == [1]


@pytest.mark.parametrize("form", ["output", "responses"])
async def test_what_the_model_said_last_is_told_while_it_pauses(form: str) -> None:
    with serving(make_config(agents={"breaking": "plain_probes:breaking"})) as url:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            gate = f"wait {uuid4()}"
            query = {"q": gate, "debounce": 0.2}
            async with reading(client, "GET", f"/agents/breaking/stream/{form}", params=query) as reader:
                assert "Ada Lovelace" in await reader.until("Ada Lovelace")
                run_probes.gates[gate].open()
                assert "done" in names(events_in(await reader.rest()))

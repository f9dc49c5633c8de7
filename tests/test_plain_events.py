"""`stream/events` and `stream/nodes`: what happens in a run, by name, with what a client may see of it."""

from __future__ import annotations

import plain_probes
import plain_tool_probes
import pytest
from plain_wire import events_in, names, of, one, plain

pytestmark = pytest.mark.anyio


async def test_events_are_told_by_name_with_their_fields() -> None:
    async with plain("looking") as reader:
        response = await reader.post("looking", "events")
    events = events_in(response.text)
    starts = [data["part"]["part_kind"] for data in of(events, "part_start")]
    assert starts == ["text", "tool-call", "text"]
    deltas = [data["delta"]["content_delta"] for data in of(events, "part_delta") if "content_delta" in data["delta"]]
    assert deltas == ["look.", "seven."]
    assert [data["part"]["content"] for data in of(events, "part_end") if data["part"]["part_kind"] == "text"] == [
        "Let me look.",
        "It is seven.",
    ]
    call = one(events, "function_tool_call")
    assert (call["part"]["tool_name"], call["part"]["tool_call_id"]) == ("look", "call-1")
    assert call["args_valid"] is True
    result = one(events, "function_tool_result")["part"]
    assert (result["content"], result["outcome"], result["tool_call_id"]) == ("watch: seven", "success", "call-1")
    assert names(events).index("function_tool_call") < names(events).index("function_tool_result")
    assert "final_result" in names(events)
    assert names(events)[-3:] == ["result", "usage", "done"]
    assert one(events, "result") == {"output": "It is seven."}
    assert plain_probes.SECRET not in response.text


async def test_calls_of_output_tools_are_told_too() -> None:
    async with plain("describing") as reader:
        events = await reader.ask("describing", "events")
    assert one(events, "final_result")["tool_name"] == "final_result"
    assert one(events, "output_tool_call")["part"]["tool_name"] == "final_result"
    assert one(events, "output_tool_result")["part"]["outcome"] == "success"
    assert one(events, "result")["output"]["age"] == 36


async def test_thoughts_arrive_as_parts() -> None:
    async with plain("thinking") as reader:
        events = await reader.ask("thinking", "events")
    ended = [data["part"] for data in of(events, "part_end")]
    assert [(part["part_kind"], part["content"]) for part in ended] == [("thinking", "Hm, seven?"), ("text", "Seven.")]


async def test_native_tools_and_their_results_arrive_as_parts() -> None:
    async with plain("searching") as reader:
        events = await reader.ask("searching", "events")
    parts = {data["part"]["part_kind"]: data["part"] for data in of(events, "part_start")}
    assert parts["builtin-tool-call"]["args"] == {"query": "time"}
    assert parts["builtin-tool-return"]["content"] == "x" * 50


async def test_results_of_tools_are_cut_at_the_configured_size() -> None:
    async with plain("reading", server={"max_tool_result_chars": 20}) as reader:
        short = one(await reader.ask("reading", "events", "5"), "function_tool_result")
        long = one(await reader.ask("reading", "events", "500"), "function_tool_result")
    assert short["part"]["content"] == ["üüüüü"]
    assert "truncated" not in short
    assert long["part"]["content"] == '["' + "ü" * 18
    assert long["truncated"] is True


async def test_results_of_native_tools_are_cut_too() -> None:
    async with plain("searching", server={"max_tool_result_chars": 20}) as reader:
        events = await reader.ask("searching", "events")
    results = [data for data in of(events, "part_start") if data["part"]["part_kind"] == "builtin-tool-return"]
    assert [(data["part"]["content"], data["truncated"]) for data in results] == [("x" * 20, True)]


async def test_what_a_tool_returned_is_told_though_it_is_no_json() -> None:
    async with plain("handing_over") as reader:
        events = await reader.ask("handing_over", "events")
    contents = [data["part"]["content"] for data in of(events, "function_tool_result")]
    assert contents[0]["name"] == "Ada"
    assert names(events)[-1] == "done"


async def test_a_call_that_a_tool_sends_back_shows_as_retried() -> None:
    async with plain("refusing") as reader:
        events = await reader.ask("refusing", "events")
    outcomes = [data["part"]["outcome"] for data in of(events, "function_tool_result")]
    assert outcomes == ["retried", "success"]


async def test_events_of_the_application_are_told_by_their_name() -> None:
    async with plain("working") as reader:
        events = await reader.ask("working", "events")
    told = [event for event in events if event.name == "custom"]
    assert [(event.data["name"], event.data["done"]) for event in told] == [("progress", 1)]


async def test_deferred_requests_are_told_and_end_the_run() -> None:
    async with plain("thread_probes:payer") as reader:
        events = await reader.ask("payer", "events", "pay Bob 5", thread_id="t")
        [call] = one(events, "deferred_tool_requests")["approvals"]
        assert (call["tool_name"], call["args"]) == ("pay", {"recipient": "Bob", "amount": 5})
        assert names(events)[-3:] == ["deferred", "usage", "done"]
        events = await reader.ask("payer", "events", None, thread_id="t", approvals={call["tool_call_id"]: True})
    assert one(events, "function_tool_result")["part"]["content"] == "paid 5 to Bob"
    assert one(events, "result") == {"output": "success paid 5 to Bob"}


async def test_deferred_calls_that_the_application_answers_are_told_with_their_results() -> None:
    async with plain("deferring", server={"max_tool_result_chars": 20}) as reader:
        response = await reader.post("deferring", "events")
    events = events_in(response.text)
    requests = one(events, "deferred_tool_requests")
    assert [call["tool_name"] for call in requests["approvals"] + requests["calls"]] == ["allowed", "elsewhere"]
    results = one(events, "deferred_tool_results")
    assert results == {
        "approvals": {"call-0": {"kind": "tool-approved"}},
        "calls": {"call-1": "x" * 20},
        "truncated": True,
    }
    assert one(events, "result") == {"output": "Done."}
    assert plain_probes.SECRET not in response.text


async def test_nodes_are_the_steps_of_the_run_in_order() -> None:
    async with plain("looking") as reader:
        response = await reader.post("looking", "nodes")
    events = events_in(response.text)
    nodes = of(events, "message")
    steps = ["user_prompt", "model_request", "call_tools", "model_request", "call_tools", "end"]
    assert [node["node"] for node in nodes] == steps
    assert nodes[1]["request"]["parts"][0]["content"] == "Hello"
    assert nodes[2]["response"]["parts"][-1]["tool_name"] == "look"
    assert nodes[3]["request"]["parts"][0]["content"] == "watch: seven"
    assert nodes[4]["response"]["parts"][0]["content"] == "It is seven."
    assert one(events, "result") == {"output": "It is seven."}
    assert plain_probes.SECRET not in response.text


async def test_the_whole_graph_runs_tools_that_are_called_beside_a_final_output_included() -> None:
    plain_tool_probes.noted.clear()
    async with plain("finishing") as reader:
        events = await reader.ask("finishing", "output")
    assert one(events, "result")["output"]["name"] == "Ada"
    assert plain_tool_probes.noted == ["after all"]


@pytest.mark.parametrize("form", ["text", "responses", "events", "nodes", "run"])
async def test_words_between_the_server_and_the_model_stay_there(form: str) -> None:
    async with plain("looking", "wavering") as reader:
        for agent in ("looking", "wavering"):
            response = await reader.post(agent, form)
            assert plain_probes.SECRET not in response.text
            assert '"instructions"' not in response.text

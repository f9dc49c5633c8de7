"""What happens in one conversation of a CopilotKit app, on any runtime: answers, tools, approvals, state, failures."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import httpx
from copilotkit_agents import PIXEL
from copilotkit_app import said
from copilotkit_columns import KEY, NODE, Cases, on_node
from probes import SECRET
from sandbox_agents import DRAWN, NAME, joined

if TYPE_CHECKING:
    from clients_driver import Json
    from copilotkit_columns import Stage

case = Cases()

CONFIRM: Json = {"name": "confirm_plan", "description": "Asks the user.", "result": "yes"}
SANDBOX: Json = {"name": NAME, "description": "Generate sandboxed UI.", "result": "UI generated"}
"""What the provider registers for pages with open generative UI."""
IMAGE: Json = {
    "type": "image",
    "source": {"type": "data", "value": base64.b64encode(PIXEL).decode(), "mimeType": "image/png"},
}


def answer_to(interrupt: Json, **payload: Any) -> list[Json]:
    """What `useInterrupt` sends."""
    return [{"interruptId": interrupt["id"], "status": "resolved", "payload": payload}]


@case(single=True)
def text_streams_and_ends(stage: Stage) -> None:
    page = stage.page()
    page.run("gated", stage.thread, stage.gate, background=True)
    page.call("shows", "gated", text="Begun")
    assert page.call("held", "gated")["isRunning"]
    stage.open_gate()
    held = page.call("ran", "gated")
    assert said(held) == [("user", stage.gate), ("assistant", "Begun ünd ended.")]
    assert (held["isRunning"], held["errors"]) == (False, [])


@case(single=True)
def a_second_turn_knows_the_first(stage: Stage) -> None:
    page = stage.page()
    page.run("assistant", stage.thread, "My name is Ada")
    assert "My name is Ada" in said(page.run("assistant", stage.thread, "What did I say first?"))[-1][1]


@case()
def an_answer_is_given_again(stage: Stage) -> None:
    page = stage.page()
    page.run("teller", stage.thread, "one")
    page.run("teller", stage.thread, "two")
    held = page.call("regenerate", "teller")
    assert [role for role, _ in said(held)] == ["user", "assistant"] * 2
    assert said(held)[-1][1] == "You said: one, two."
    assert said(page.run("teller", stage.thread, "three"))[-1][1] == "You said: one, two, three."


@case()
def reasoning_is_shown_apart(stage: Stage) -> None:
    held = stage.page().run("assistant", stage.thread, "Why is the sky blue?")
    assert [role for role, _ in said(held)] == ["user", "reasoning", "assistant"]


@case(single=True)
def a_tool_of_the_agent_shows_its_call_and_its_result(stage: Stage) -> None:
    held = stage.page().run("assistant", stage.thread, "What is the weather in Paris?")
    [call] = [call for message in held["messages"] for call in message.get("toolCalls", ())]
    [result] = [message for message in held["messages"] if message["role"] == "tool"]
    assert call["function"]["name"] == "get_weather"
    assert result["toolCallId"] == call["id"]
    assert "Paris" in said(held)[-1][1]


@case(single=True)
def a_tool_of_the_page_runs_and_the_agent_goes_on(stage: Stage) -> None:
    held = stage.page(tools=[CONFIRM]).run("planner", stage.thread, "plan a picnic")
    assert [call["name"] for call in held["calls"]] == ["confirm_plan"]
    assert "Then the plan stands." in said(held)[-1][1]
    assert held["errors"] == []


@case()
def an_activity_of_the_agent_is_shown(stage: Stage) -> None:
    held = stage.page().run("searching", stage.thread, "Search")
    [shown] = [message for message in held["messages"] if message["role"] == "activity"]
    assert (shown["activityType"], shown["content"]) == ("search", {"pages": 3})


def drawn(held: Json) -> list[Json]:
    """What a page draws of what the model wrote for it."""
    shown = [message for message in held["messages"] if message.get("activityType") == "open-generative-ui"]
    return [joined(message["content"]) for message in shown]


@case(single=True)
def html_of_the_model_is_drawn_while_it_writes(stage: Stage) -> None:
    page = stage.page(tools=[SANDBOX])
    page.run("paints", stage.thread, stage.gate, background=True)
    page.call("shows", "paints", text="Row 3")
    [begun] = drawn(page.call("held", "paints"))
    assert begun["generating"]
    assert DRAWN["html"][0].startswith(begun["html"][0])
    stage.open_gate()
    held = page.call("ran", "paints")
    assert drawn(held) == [DRAWN]
    assert said(held)[-1] == ("assistant", "Painted: UI generated.")
    assert held["errors"] == []


@case(single=True)
def html_of_the_model_is_there_after_a_reload(stage: Stage) -> None:
    stage.open_gate()
    before = stage.page(tools=[SANDBOX]).run("paints", stage.thread, stage.gate)
    page = stage.page(tools=[SANDBOX])
    after = page.call("connect", "paints", threadId=stage.thread)
    assert drawn(after) == drawn(before) == [DRAWN]
    assert {message["id"] for message in after["messages"]} == {message["id"] for message in before["messages"]}
    assert said(page.run("paints", stage.thread, stage.gate))[-1] == ("assistant", "Painted: UI generated.")


@case(known=on_node("waits for ever"))
def html_that_is_stopped_does_not_look_as_if_it_went_on(stage: Stage) -> None:
    page = stage.page(tools=[SANDBOX])
    page.run("paints", stage.thread, stage.gate, background=True)
    page.call("shows", "paints", text="Row 3")
    page.call("stop", "paints")
    for held in (page.call("held", "paints"), stage.page().call("connect", "paints", threadId=stage.thread)):
        assert [each["generating"] for each in drawn(held)] == [False]


@case()
def a_picture_reaches_the_agent(stage: Stage) -> None:
    held = stage.page().run("assistant", stage.thread, [{"type": "text", "text": "What is this?"}, IMAGE])
    assert said(held)[-1][1] == "I see 1 image (image/png)."


@case(single=True)
def properties_and_context_of_the_page_arrive(stage: Stage) -> None:
    context = [{"description": "page", "value": "prices"}]
    stage.page(properties={"plan": "gold"}, context=context).run("plain", stage.thread, "Hello")
    [body] = [each.body for each in stage.column.seen if stage.thread.encode() in each.raw]
    assert body["forwardedProps"]["plan"] == "gold"
    assert body["context"] == context


@case(single=True)
def state_goes_both_ways(stage: Stage) -> None:
    page = stage.page()
    assert page.run("counting", stage.thread, "count")["state"] == {"number": 1}
    assert page.run("counting", stage.thread, "count", state={"number": 7})["state"] == {"number": 8}


@case()
def state_is_changed_piece_by_piece(stage: Stage) -> None:
    held = stage.page().run("planner", stage.thread, "plan a picnic")
    assert [step["status"] for step in held["state"]["steps"]] == ["doing", "todo", "todo"]


@case(known=on_node("process dies"))
def a_run_may_tell_nothing_but_a_change_of_the_state(stage: Stage) -> None:
    """Node folds the events of each run into a snapshot that begins empty, and does not catch what comes of it."""
    said_first = [{"id": "m", "role": "user", "content": "change"}]
    body: Json = {"threadId": stage.thread, "runId": "r", "messages": said_first, "state": {"number": 7}}
    with stage.column.again() as url:
        answer = httpx.post(f"{url}/agent/counting/run", json={**body, "tools": [], "context": []})
        assert answer.status_code == 200
        assert httpx.get(f"{url}/info").status_code == 200


@case(single=True)
def an_approved_call_is_made(stage: Stage) -> None:
    page = stage.page()
    [interrupt] = page.run("approver", stage.thread, "pay 25 EUR to Bob")["interrupts"]
    held = page.run("approver", stage.thread, resume=answer_to(interrupt, approved=True))
    assert "25.00 EUR sent to Bob" in said(held)[-1][1]
    assert (held["interrupts"], held["errors"]) == ([], [])


@case()
def a_denied_call_is_not_made(stage: Stage) -> None:
    page = stage.page()
    [interrupt] = page.run("approver", stage.thread, "pay 25 EUR to Bob")["interrupts"]
    held = page.run("approver", stage.thread, resume=answer_to(interrupt, approved=False, reason="too much"))
    assert said(held)[-1][1].startswith("Not sent, you declined.")


@case()
def a_call_is_approved_with_other_arguments(stage: Stage) -> None:
    page = stage.page()
    [interrupt] = page.run("approver", stage.thread, "pay 25 EUR to Bob")["interrupts"]
    edited = {"recipient": "Bob", "amount": 5, "currency": "EUR"}
    held = page.run("approver", stage.thread, resume=answer_to(interrupt, approved=True, editedArgs=edited))
    assert "5.00 EUR sent to Bob" in said(held)[-1][1]


@case()
def each_of_two_calls_gets_its_own_decision(stage: Stage) -> None:
    page = stage.page()
    asked = page.run("approver", stage.thread, "pay 25 EUR to Bob and 30 EUR to Ann")["interrupts"]
    resume = [answer_to(each, approved=number == 0)[0] for number, each in enumerate(asked)]
    held = page.run("approver", stage.thread, resume=resume)
    assert "25.00 EUR sent to Bob" in said(held)[-1][1]
    assert "30.00 EUR" not in said(held)[-1][1]


@case(single=True)
def suggestions_come(stage: Stage) -> None:
    page = stage.page()
    page.run("suggesting", stage.thread, "Hello")
    found = page.call("suggest", "suggesting", instructions="What next?", providerAgentId="suggesting")
    assert found["suggestions"] == [{"title": "More", "message": "Tell me more"}]


@case(single=True)
def a_failing_agent_is_an_error_in_the_app(stage: Stage) -> None:
    held = stage.page().run("broken", stage.thread, "Hello")
    assert [error["code"] for error in held["errors"]] == ["agent_run_error_event"]
    assert said(held) == [("user", "Hello"), ("assistant", "Half an ")]
    assert not held["isRunning"]


@case(known={NODE: "str(exc)"})
def a_failure_shows_nothing_of_the_inside(stage: Stage) -> None:
    held = stage.page().run("broken", stage.thread, "Hello")
    assert SECRET not in str(held)


@case()
def a_conversation_goes_on_after_a_failure(stage: Stage) -> None:
    page = stage.page()
    page.run("teller", stage.thread, "fail")
    assert said(page.run("teller", stage.thread, "again"))[-1][1] == "You said: fail, again."


@case(single=True)
def an_agent_that_is_not_there_is_told(stage: Stage) -> None:
    body: Json = {"threadId": stage.thread, "runId": "r", "messages": [], "tools": [], "context": [], "state": {}}
    for what in ("run", "connect"):
        answer = stage.ask(f"agent/{what}", f"/agent/nobody/{what}", body, agentId="nobody")
        assert (answer.status_code, answer.json()["error"]) == (404, "Agent not found")


@case()
def a_key_of_the_page_gets_to_the_agents(stage: Stage) -> None:
    for transport in ("auto", "rest"):
        headers = {"authorization": f"Bearer {KEY}"}
        held = stage.page(stage.column.guarded, transport=transport, headers=headers).run("plain", stage.thread, "Hi")
        assert said(held)[-1] == ("assistant", "Hello from the probe.")


@case()
def a_wrong_key_is_an_error_in_the_app(stage: Stage) -> None:
    page = stage.page(stage.column.guarded, may_complain=True, headers={"authorization": "Bearer wrong"})
    shown = page.opened["errors"] or page.run("plain", stage.thread, "Hi")["errors"]
    assert "401" in str(shown)

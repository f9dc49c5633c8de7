"""What becomes of a CopilotKit app's threads, on any runtime: reloads, other tabs, stop, and what may be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from copilotkit_app import said
from copilotkit_cases import CONFIRM, answer_to
from copilotkit_columns import NODE, Cases, on_node

if TYPE_CHECKING:
    from clients_driver import Json
    from copilotkit_columns import Stage

case = Cases()

ASKS: Json = {"name": "browse", "description": "Opens a page.", "type": "human-in-the-loop", "result": "Welcome"}


def roles(held: Json) -> list[str]:
    """Who says something, in the order of the page."""
    return [role for role, _ in said(held)]


@case(single=True)
def a_reload_shows_the_conversation(stage: Stage) -> None:
    page = stage.page()
    page.run("assistant", stage.thread, "What is the weather in Paris?")
    before = page.run("assistant", stage.thread, "Why is the sky blue?")
    after = stage.page().call("connect", "assistant", threadId=stage.thread)
    assert after["messages"] == before["messages"]
    assert after["errors"] == []


@case(single=True)
def a_conversation_goes_on_after_a_reload(stage: Stage) -> None:
    stage.page().run("assistant", stage.thread, "My name is Ada")
    page = stage.page()
    page.call("connect", "assistant", threadId=stage.thread)
    held = page.run("assistant", stage.thread, "What did I say first?")
    assert "My name is Ada" in said(held)[-1][1]
    assert roles(held) == ["user", "assistant"] * 2


@case(single=True)
def a_reload_in_mid_answer_goes_on_live(stage: Stage) -> None:
    page = stage.page()
    page.run("gated", stage.thread, stage.gate, background=True)
    page.call("shows", "gated", text="Begun")
    other = stage.page()
    other.call("connect", "gated", threadId=stage.thread, background=True)
    other.call("shows", "gated", text="Begun")
    assert other.call("held", "gated")["isRunning"]
    stage.open_gate()
    expected = [("user", stage.gate), ("assistant", "Begun ünd ended.")]
    assert said(other.call("connected", "gated")) == said(page.call("ran", "gated")) == expected


@case(single=True)
def closing_the_chat_does_not_end_the_run(stage: Stage) -> None:
    page = stage.page()
    page.run("gated", stage.thread, stage.gate, background=True)
    page.call("shows", "gated", text="Begun")
    page.call("leave", "gated")
    _goes_on(stage)


@case()
def closing_the_browser_does_not_end_the_run(stage: Stage) -> None:
    with stage.browser() as page:
        page.run("gated", stage.thread, stage.gate, background=True)
        page.call("shows", "gated", text="Begun")
    _goes_on(stage)


def _goes_on(stage: Stage) -> None:
    page = stage.page()
    page.call("connect", "gated", threadId=stage.thread, background=True)
    page.call("shows", "gated", text="Begun")
    stage.open_gate()
    assert said(page.call("connected", "gated")) == [("user", stage.gate), ("assistant", "Begun ünd ended.")]


@case(single=True)
def a_stop_ends_the_run_for_every_reader(stage: Stage) -> None:
    page, other = stage.page(), stage.page()
    page.run("gated", stage.thread, stage.gate, background=True)
    page.call("shows", "gated", text="Begun")
    other.call("connect", "gated", threadId=stage.thread, background=True)
    other.call("shows", "gated", text="Begun")
    stopped, seen = page.call("stop", "gated"), other.call("connected", "gated")
    assert said(stopped) == said(seen) == [("user", stage.gate), ("assistant", "Begun ünd ")]
    assert (stopped["isRunning"], seen["isRunning"]) == (False, False)


@case()
def a_stop_is_no_error_in_the_app(stage: Stage) -> None:
    page = stage.page()
    page.run("gated", stage.thread, stage.gate, background=True)
    page.call("shows", "gated", text="Begun")
    assert page.call("stop", "gated")["errors"] == []


@case()
def a_conversation_goes_on_after_a_stop(stage: Stage) -> None:
    page = stage.page()
    page.run("teller", stage.thread, stage.gate, background=True)
    page.call("shows", "teller", text="You said")
    page.call("stop", "teller")
    held = page.run("teller", stage.thread, "again")
    assert said(held)[-1][1] == f"You said: {stage.gate}, again."


@case(known={NODE: "page's history"})
def another_agent_goes_on_with_the_thread(stage: Stage) -> None:
    page = stage.page()
    page.run("teller", stage.thread, "one")
    assert "“one”" in said(page.run("assistant", stage.thread, "What did I say first?"))[-1][1]


@case(single=True)
def there_is_nothing_to_stop_on_a_thread_that_never_was(stage: Stage) -> None:
    path = f"/agent/plain/stop/{quote(stage.thread)}"
    answer = stage.ask("agent/stop", path, {"runId": "r"}, agentId="plain", threadId=stage.thread)
    assert (answer.status_code, answer.json()["stopped"]) == (200, False)


@case()
def a_stop_of_another_run_stops_nothing(stage: Stage) -> None:
    page = stage.page()
    page.run("gated", stage.thread, stage.gate, background=True)
    page.call("shows", "gated", text="Begun")
    path = f"/agent/gated/stop/{quote(stage.thread)}"
    answer = stage.ask("agent/stop", path, {"runId": "another"}, agentId="gated", threadId=stage.thread)
    assert (answer.status_code, answer.json()["stopped"]) == (200, False)
    stage.open_gate()
    assert said(page.call("ran", "gated"))[-1][1] == "Begun ünd ended."


@case(single=True)
def a_thread_that_never_was_is_empty(stage: Stage) -> None:
    held = stage.page().call("connect", "plain", threadId=stage.thread)
    assert (held["messages"], held["errors"], held["isRunning"]) == ([], [], False)


@case(single=True)
def a_page_goes_from_thread_to_thread_and_back(stage: Stage) -> None:
    page = stage.page()
    page.run("assistant", stage.thread, "one")
    page.call("connect", "assistant", threadId=f"{stage.thread}-2")
    second = page.run("assistant", f"{stage.thread}-2", "two")
    assert [text for role, text in said(second) if role == "user"] == ["two"]
    first = page.call("connect", "assistant", threadId=stage.thread)
    assert [text for role, text in said(first) if role == "user"] == ["one"]


@case()
def two_tabs_show_the_same(stage: Stage) -> None:
    one, two = stage.page(), stage.page()
    one.run("assistant", stage.thread, "one")
    two.call("connect", "assistant", threadId=stage.thread)
    after = two.run("assistant", stage.thread, "What did I say first?")
    assert "“one”" in said(after)[-1][1]
    assert stage.page().call("connect", "assistant", threadId=stage.thread)["messages"] == after["messages"]


@case()
def a_turn_beside_a_running_one_does_not_disturb_it(stage: Stage) -> None:
    page = stage.page()
    page.run("gated", stage.thread, stage.gate, background=True)
    page.call("shows", "gated", text="Begun")
    stage.page(may_complain=True).run("gated", stage.thread, "Meanwhile")
    stage.open_gate()
    assert said(page.call("ran", "gated")) == [("user", stage.gate), ("assistant", "Begun ünd ended.")]


@case(known=on_node("silence"))
def a_turn_beside_a_running_one_is_told_that_it_did_not_begin(stage: Stage) -> None:
    page = stage.page()
    page.run("gated", stage.thread, stage.gate, background=True)
    page.call("shows", "gated", text="Begun")
    held = stage.page(may_complain=True).run("gated", stage.thread, "Meanwhile")
    assert held["errors"]


@case(single=True)
def an_approval_waits_over_a_reload(stage: Stage) -> None:
    stage.page().run("approver", stage.thread, "pay 25 EUR to Bob")
    page = stage.page()
    [interrupt] = page.call("connect", "approver", threadId=stage.thread)["interrupts"]
    held = page.run("approver", stage.thread, resume=answer_to(interrupt, approved=True))
    assert "25.00 EUR sent to Bob" in said(held)[-1][1]
    assert held["interrupts"] == []


@case()
def an_answered_approval_is_not_asked_for_again(stage: Stage) -> None:
    page = stage.page()
    [interrupt] = page.run("approver", stage.thread, "pay 25 EUR to Bob")["interrupts"]
    before = page.run("approver", stage.thread, resume=answer_to(interrupt, approved=True))
    after = stage.page().call("connect", "approver", threadId=stage.thread)
    assert after["interrupts"] == []
    assert said(after) == said(before)


@case()
def an_approval_may_be_edited_after_a_reload(stage: Stage) -> None:
    stage.page().run("approver", stage.thread, "pay 25 EUR to Bob")
    page = stage.page()
    [interrupt] = page.call("connect", "approver", threadId=stage.thread)["interrupts"]
    edited = {"recipient": "Bob", "amount": 5, "currency": "EUR"}
    held = page.run("approver", stage.thread, resume=answer_to(interrupt, approved=True, editedArgs=edited))
    assert "5.00 EUR sent to Bob" in said(held)[-1][1]


@case(single=True)
def a_question_to_the_user_is_asked_again_after_a_reload(stage: Stage) -> None:
    tool: Json = {"name": "browse", "description": "Opens a page.", "parameters": {"type": "object", "properties": {}}}
    said_first = [{"id": f"m-{stage.thread}", "role": "user", "content": "Hello"}]
    body: Json = {"threadId": stage.thread, "runId": f"r-{stage.thread}", "messages": said_first, "state": {}}
    left = stage.ask("agent/run", "/agent/browses/run", {**body, "tools": [tool], "context": []}, agentId="browses")
    assert left.status_code == 200
    page = stage.page(tools=[ASKS])
    page.call("connect", "browses", threadId=stage.thread)
    page.call("shows", "browses", text="success:Welcome.")
    assert [call["name"] for call in page.call("held", "browses")["calls"]] == ["browse"]


@case()
def nobody_is_asked_again_what_was_answered(stage: Stage) -> None:
    stage.page(tools=[CONFIRM]).run("planner", stage.thread, "plan a picnic")
    held = stage.page(tools=[{**CONFIRM, "type": "human-in-the-loop"}]).call(
        "connect", "planner", threadId=stage.thread
    )
    assert "Then the plan stands." in said(held)[-1][1]
    assert held.get("calls", []) == []


@case(single=True)
def state_is_there_after_a_reload(stage: Stage) -> None:
    before = stage.page().run("planner", stage.thread, "plan a picnic")["state"]
    assert before["goal"] == "a picnic"
    assert stage.page().call("connect", "planner", threadId=stage.thread)["state"] == before


@case(known=on_node("forgets"))
def state_of_the_page_is_there_after_a_reload(stage: Stage) -> None:
    before = stage.page().run("counting", stage.thread, "nothing", state={"number": 7})["state"]
    assert before == {"number": 7}
    assert stage.page().call("connect", "counting", threadId=stage.thread)["state"] == before


@case()
def an_activity_is_there_after_a_reload(stage: Stage) -> None:
    before = stage.page().run("searching", stage.thread, "Search")
    assert "activity" in roles(before)
    assert roles(stage.page().call("connect", "searching", threadId=stage.thread)) == roles(before)


@case(known=on_node("both shown"))
def an_answer_that_was_given_again_is_there_alone_after_a_reload(stage: Stage) -> None:
    page = stage.page()
    page.run("teller", stage.thread, "one")
    before = page.call("regenerate", "teller")
    assert said(stage.page().call("connect", "teller", threadId=stage.thread)) == said(before)


@case()
def what_a_failed_answer_said_is_there_after_a_reload(stage: Stage) -> None:
    before = stage.page().run("broken", stage.thread, "Hello")
    assert said(stage.page(may_complain=True).call("connect", "broken", threadId=stage.thread)) == said(before)


@case(known=on_node("told again"))
def a_reload_after_a_failure_is_no_error(stage: Stage) -> None:
    stage.page().run("broken", stage.thread, "Hello")
    assert stage.page().call("connect", "broken", threadId=stage.thread)["errors"] == []


@case(known=on_node("forgets"))
def a_conversation_is_there_on_another_process(stage: Stage) -> None:
    before = stage.page().run("assistant", stage.thread, "My name is Ada")
    with stage.column.again() as url:
        after = stage.page(url).call("connect", "assistant", threadId=stage.thread)
    assert after["messages"] == before["messages"]

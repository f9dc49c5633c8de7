"""How a CopilotKit app finds its runtime, what that says of itself, and which threads it has."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from copilotkit_columns import AGENTS, Cases, on_node

if TYPE_CHECKING:
    import httpx
    from clients_driver import Json
    from copilotkit_columns import Stage

case = Cases()


@case()
def an_app_finds_many_URLs_by_itself(stage: Stage) -> None:  # noqa: N802 - the title of a row
    opened = stage.page(transport="auto").opened
    assert (opened["status"], opened["transport"], opened["errors"]) == ("connected", "rest", [])
    assert set(AGENTS) <= set(opened["agents"])


@case()
def an_app_finds_the_one_URL_by_itself(stage: Stage) -> None:  # noqa: N802 - ditto
    page = stage.page(stage.column.one, transport="auto")
    assert (page.opened["status"], page.opened["transport"], page.opened["errors"]) == ("connected", "single", [])
    assert page.run("plain", stage.thread, "Hello")["errors"] == []


@case()
def an_app_may_be_told_which_it_is(stage: Stage) -> None:
    assert stage.page(stage.column.many, transport="rest").opened["status"] == "connected"
    assert stage.page(stage.column.one, transport="single").opened["status"] == "connected"


@case()
def many_URLs_where_there_is_one_are_an_error(stage: Stage) -> None:  # noqa: N802 - ditto
    opened = stage.page(stage.column.one, may_complain=True, transport="rest").opened
    assert opened["status"] == "error"
    assert opened["errors"]


@case(single=True)
def the_runtime_streams_and_asks_for_no_cloud(stage: Stage) -> None:
    info = stage.ask("info", "/info", verb="GET").json()
    assert info["mode"] == "sse"
    assert not {"intelligence", "licenseStatus", "runtimeEntitlements"} & info.keys()


@case(single=True)
def suggestions_and_threads_are_announced(stage: Stage) -> None:
    info = stage.ask("info", "/info", verb="GET").json()
    assert info["suggestions"] is True
    endpoints = [info["threadEndpoints"]] if stage.transport == "rest" else [info["singleRoute"]["threadEndpoints"]]
    assert [(each["list"], each["inspect"]) for each in endpoints] == [(True, True)]


@case(known=on_node("not told"))
def agents_are_described(stage: Stage) -> None:
    agent = stage.ask("info", "/info", verb="GET").json()["agents"]["assistant"]
    assert agent["description"] == AGENTS["assistant"].description


@case(known=on_node("not told"))
def what_agents_can_do_is_told(stage: Stage) -> None:
    assert stage.ask("info", "/info", verb="GET").json()["agents"]["assistant"]["capabilities"]


@case(single=True)
def threads_are_listed_and_looked_into(stage: Stage) -> None:
    stage.page().run("planner", stage.thread, "plan a picnic")
    listed = _resource(stage, "/threads?agentId=planner&limit=1").json()["threads"][0]
    assert (listed["id"], listed["agentId"], listed["archived"]) == (stage.thread, "planner", False)
    at = f"/threads/{quote(stage.thread)}"
    messages = _resource(stage, f"{at}/messages").json()["messages"]
    assert messages[0]["role"] == "user"
    calls = [call for message in messages for call in message.get("toolCalls", ())]
    assert {call["name"] for call in calls} == {"write_plan", "mark_step"}
    assert _resource(stage, f"{at}/events").json()["events"]
    assert _resource(stage, f"{at}/state").json()["state"]["goal"] == "a picnic"


@case(single=True, known=on_node("licensed"))
def threads_are_renamed_archived_and_deleted(stage: Stage) -> None:
    stage.page().run("teller", stage.thread, "one")
    path, agent = f"/threads/{quote(stage.thread)}", {"agentId": "teller"}
    renamed = _resource(stage, path, "PATCH", {**agent, "name": "First"}).json()
    assert renamed["name"] == "First"
    assert _resource(stage, f"{path}/archive", "POST", agent).json()["archived"]
    assert _resource(stage, path, "DELETE", agent).json()["deleted"]
    assert stage.page().call("connect", "teller", threadId=stage.thread)["messages"] == []


def _resource(stage: Stage, path: str, verb: str = "GET", body: Json | None = None) -> httpx.Response:
    answer = stage.ask("resource/request", path, body, verb=verb)
    assert answer.status_code == 200, answer.text
    return answer

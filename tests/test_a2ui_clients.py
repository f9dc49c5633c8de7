"""Surfaces in the real clients: what `@copilotkit/core` and `@ag-ui/client` hold for a renderer, live and reloaded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from a2ui_agents import ARGUMENTS, script
from clients_driver import FOLDER, AgUi, Json, Node, Opening
from copilotkit_app import App, said
from run_probes import Gate, gates
from serving import make_config, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    not (FOLDER / "node_modules/@copilotkit/core").exists(), reason="the npm packages are not installed: run make test"
)

AGENTS = {name: f"a2ui_agents:{name}" for name in ("plain", "own", "browses")}
DRAWS = {"a2uiCatalogAvailable": True}
TEXT = json.dumps(ARGUMENTS)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(make_config(agents=AGENTS)) as url:
        yield url


@pytest.fixture
def app(node: Node, url: str) -> App:
    """A page that can draw."""
    return App(node, f"{url}/copilotkit", properties=DRAWS)


@pytest.fixture
def thread() -> str:
    return f"thread/{uuid4()}"


@pytest.fixture(autouse=True)
def _gates_are_shut_once() -> None:
    gates["first"], gates["second"] = Gate(), Gate()


def action(name: str = "buy", **fields: Any) -> Json:
    """What a renderer says of a click."""
    at = "2026-11-21T10:00:00.000Z"
    return {"name": name, "surfaceId": "shop", "sourceComponentId": "buy", "context": {}, "timestamp": at, **fields}


def surface(held: Json) -> Json:
    """The one surface that an app has."""
    [activity] = [message for message in held["messages"] if message["role"] == "activity"]
    assert activity["activityType"] == "a2ui-surface"
    content: Json = activity["content"]
    return content


def items(held: Json) -> list[Any]:
    """The items of its data."""
    operations = surface(held)["a2ui_operations"]
    data: Json = next(
        (each["updateDataModel"]["value"] for each in operations if "updateDataModel" in each), dict[str, Any]()
    )
    return data.get("items", [])


def test_a_surface_grows_in_the_app_while_the_model_writes(app: App, node: Node, url: str, thread: str) -> None:
    middle = TEXT.index('"Item 3"')
    pieces = [TEXT[:60], {"gate": "first"}, TEXT[60:middle], {"gate": "second"}, TEXT[middle:]]
    app.run("plain", thread, script(pieces), background=True)
    app.call("shows", "plain", text='"status":"building"')
    gates["first"].open()
    app.call("shows", "plain", text='"a2ui_operations"')
    assert len(items(app.call("held", "plain"))) == 3
    other = App(node, f"{url}/copilotkit", properties=DRAWS)
    other.call("connect", "plain", threadId=thread, background=True)
    other.call("shows", "plain", text='"a2ui_operations"')
    assert items(other.call("held", "plain")) == items(app.call("held", "plain"))
    gates["second"].open()
    held, seen = app.call("ran", "plain"), other.call("connected", "plain")
    assert items(held) == ARGUMENTS["data"]["items"]
    assert said(held)[-1] == ("assistant", "Shown now.")
    assert held["errors"] == []
    assert held["messages"] == seen["messages"]


@pytest.mark.parametrize("attempts", [[ARGUMENTS], [{"surfaceId": "s"}, {}, ARGUMENTS]])
def test_a_reload_shows_the_surface_where_it_was(
    app: App, node: Node, url: str, thread: str, attempts: list[Json]
) -> None:
    held = app.run("plain", thread, script(*attempts))
    reloaded = App(node, f"{url}/copilotkit").call("connect", "plain", threadId=thread)
    assert surface(held)["a2ui_operations"]
    assert reloaded["messages"] == held["messages"]


def test_operations_in_a_result_are_where_they_were_after_a_reload(app: App, node: Node, url: str, thread: str) -> None:
    held = app.run("own", thread, script({"surfaces": 2}, tool="report"))
    assert [message["role"] for message in held["messages"]] == [
        "user",
        "assistant",
        "tool",
        "activity",
        "activity",
        "assistant",
    ]
    assert App(node, f"{url}/copilotkit").call("connect", "own", threadId=thread)["messages"] == held["messages"]


def test_what_the_user_does_on_a_surface_gets_to_the_model_and_shows_no_message(
    app: App, node: Node, url: str, thread: str
) -> None:
    app.run("plain", thread, script(ARGUMENTS))
    held = app.call("act", "plain", userAction=action(context={"name": "Ünal"}))
    assert held["error"] is None
    heard = 'Heard: Action "buy" on the surface "shop" (component "buy"). Its context: {"name":"Ünal"}'
    assert said(held)[-1] == ("assistant", heard)
    assert [role for role, _ in said(held)].count("user") == 1
    again = app.call("act", "plain", userAction=action("sell", timestamp="2026-11-21T10:00:01.000Z"))
    assert said(again)[-1][1].startswith('Heard: Action "sell"')
    reloaded = App(node, f"{url}/copilotkit").call("connect", "plain", threadId=thread)
    assert reloaded["messages"] == again["messages"]


def test_an_action_that_the_page_itself_has_to_work_on_counts_once(node: Node, url: str, thread: str) -> None:
    """The page sends it again with the result of its own tool, in the run that follows by itself."""
    tool = {"name": "browse", "description": "Opens a page.", "result": "seen"}
    app = App(node, f"{url}/copilotkit", properties=DRAWS, tools=[tool])
    app.run("browses", thread, "Hello")
    held = app.call("act", "browses", userAction=action())
    assert held["error"] is None
    assert [call["name"] for call in held["calls"]] == ["browse"]
    assert said(held)[-1] == ("assistant", "Seen, after 2 messages.")


@pytest.mark.parametrize("package", ["@ag-ui/client", "ag-ui-client-0"])
def test_a_client_of_ag_ui_holds_the_surface_of_an_agent_that_shows_some(url: str, package: str, thread: str) -> None:
    node = Node("ag-ui.mjs", package)
    try:
        talk = AgUi(node, url, "own", Opening(thread=thread))
        answer = talk.ask(script([TEXT[:500], TEXT[500:]]))
        assert answer.text == "Shown now."
        assert items(talk.held()) == ARGUMENTS["data"]["items"]
    finally:
        node.close()

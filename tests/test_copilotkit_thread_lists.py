"""The list of threads of a CopilotKit app: what `useThreads` shows and changes, on both transports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
import run_probes
from clients_driver import FOLDER, Json, Node
from copilotkit_app import App
from serving import make_config, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    not (FOLDER / "node_modules/@copilotkit/core").exists(), reason="the npm packages are not installed: run make test"
)

AGENTS: dict[str, Any] = {"teller": "thread_probes:teller", "plain": "probes:plain", "gated": "run_probes:gated"}


@pytest.fixture
def url() -> Iterator[str]:
    """A gateway without threads."""
    with serving(make_config(agents=AGENTS)) as url:
        yield url


@pytest.fixture(params=["rest", "single"])
def app(request: pytest.FixtureRequest, node: Node, url: str) -> App:
    return App(node, f"{url}/copilotkit", transport=request.param)


def begun(app: App, *names: str, agent: str = "teller") -> list[str]:
    """Threads on which something was said, the newest first."""
    made = [f"{name}/{uuid4()}" for name in names]
    for name, thread in zip(names, made, strict=True):
        app.run(agent, thread, name)
    return made[::-1]


def shown(listed: Json, member: str = "threads") -> list[Any]:
    """What the list has, from its top."""
    return [thread["name"] for thread in listed[member]]


def change(app: App, what: str, thread: str, **params: Any) -> Json:
    """A change that is taken: the list shows it before the answer is there, and afterwards."""
    changed = app.call("change", what=what, threadId=thread, **params)
    assert (changed["refused"], changed["error"]) == (None, None)
    assert changed["threads"] == changed["meanwhile"]
    return changed


def test_a_renamed_thread_has_its_name_from_then_on(app: App, url: str) -> None:
    two, one = begun(app, "One", "Two")
    assert shown(app.call("list", "teller")) == ["Two", "One"]
    assert shown(change(app, "rename", one, name="Größe ✓")) == ["Two", "Größe ✓"]
    assert shown(app.call("list", "teller")) == ["Two", "Größe ✓"]
    assert httpx.get(f"{url}/threads/{one}").json()["title"] == "Größe ✓"
    app.run("teller", one, "More")
    again = app.call("list", "teller")
    assert [thread["id"] for thread in again["threads"]] == [one, two]
    assert shown(again) == ["Größe ✓", "Two"]


def test_an_archived_thread_is_put_away_and_brought_back(app: App, url: str) -> None:
    two, one = begun(app, "One", "Two")
    app.call("list", "teller")
    assert shown(change(app, "archive", one)) == ["Two"]
    assert shown(app.call("list", "teller")) == ["Two"]
    everything = app.call("list", "teller", includeArchived=True)
    assert [(thread["id"], thread["archived"]) for thread in everything["threads"]] == [(two, False), (one, True)]
    assert [thread["id"] for thread in httpx.get(f"{url}/threads").json()["threads"]] == [two]
    back = change(app, "unarchive", one)
    assert not any(thread["archived"] for thread in back["threads"])
    assert shown(app.call("list", "teller")) == ["Two", "One"]


def test_a_thread_is_archived_where_the_list_shows_archived_ones(app: App) -> None:
    begun(app, "One")
    [thread] = app.call("list", "teller", includeArchived=True)["threads"]
    assert [each["archived"] for each in change(app, "archive", thread["id"])["threads"]] == [True]


def test_a_conversation_goes_on_in_an_archived_thread(app: App) -> None:
    [one] = begun(app, "One")
    app.call("list", "teller")
    change(app, "archive", one)
    held = app.run("teller", one, "Two")
    assert held["messages"][-1]["content"] == "You said: One, Two."
    assert shown(app.call("list", "teller")) == []
    assert shown(app.call("list", "teller", includeArchived=True)) == ["One"]


def test_a_deleted_thread_is_gone(app: App, url: str) -> None:
    two, one = begun(app, "One", "Two")
    app.call("list", "teller")
    assert shown(change(app, "delete", two)) == ["One"]
    assert shown(app.call("list", "teller", includeArchived=True)) == ["One"]
    assert httpx.get(f"{url}/threads/{two}").status_code == 404
    assert httpx.get(f"{url}/threads/{one}").status_code == 200


def test_a_thread_with_a_run_on_it_is_renamed_but_not_deleted(app: App) -> None:
    thread, gate = f"thread/{uuid4()}", f"gate-{uuid4()}"
    app.run("gated", thread, gate, background=True)
    app.call("shows", "gated", text="Begun")
    app.call("list", "gated")
    refused = app.call("change", what="delete", threadId=thread)
    assert refused["meanwhile"] == []
    assert refused["refused"]["message"] == "Request failed: 409"
    assert [each["id"] for each in refused["threads"]] == [thread], "the list takes it back"
    app.call("list", "gated")
    assert shown(change(app, "rename", thread, name="Running")) == ["Running"]
    run_probes.gates[gate].open()
    app.call("ran", "gated")
    assert shown(app.call("list", "gated")) == ["Running"]
    assert shown(change(app, "delete", thread)) == []


@pytest.mark.parametrize("what", ["rename", "archive", "unarchive", "delete"])
def test_a_change_of_a_thread_that_is_gone_is_told(app: App, url: str, what: str) -> None:
    [one] = begun(app, "One")
    app.call("list", "teller")
    assert httpx.delete(f"{url}/threads/{one}").status_code == 204
    refused = app.call("change", what=what, threadId=one, name="Gone")
    assert refused["refused"]["message"] == refused["error"]["message"] == "Request failed: 404"


def test_a_list_shows_more_when_it_is_asked_to(app: App) -> None:
    names = begun(app, "One", "Two", "Three")
    app.call("list", "teller")
    change(app, "archive", names[1])
    first = app.call("list", "teller", includeArchived=True, limit=2)
    assert (shown(first), first["isMore"]) == (["Three", "Two"], True)
    rest = app.call("more")
    assert (shown(rest), rest["isMore"]) == (["Three", "Two", "One"], False)
    assert shown(app.call("list", "teller", limit=2)) == ["Three", "One"]


def test_the_default_agents_list_is_that_of_the_first(app: App) -> None:
    [one] = begun(app, "One", agent="default")
    begun(app, "Two", agent="plain")
    assert shown(app.call("list", "default")) == ["One"]
    assert shown(change(app, "rename", one, name="Mine")) == ["Mine"]
    assert shown(app.call("list", "teller")) == ["Mine"]

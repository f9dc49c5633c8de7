"""`/threads`: what an owner can read and do there, and that nobody else learns anything."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from logs import capture_logs
from pydantic_ai.messages import ModelMessagesTypeAdapter
from pydantic_ai.tools import DeferredToolRequests
from reading import client_for, held
from serving import make_config, serving
from stored_threads import INTERNAL, PAYMENT, add_turn, ask_for_consent
from talking import WIRES, assert_problem, calling, events_of, run_url, text_of, turn

from gateway.app import create_app
from gateway.auth import Principal
from gateway.history import RUNNING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import httpx
    from starlette.applications import Starlette

    from gateway.config import GatewayConfig
    from gateway.stores import ThreadView

pytestmark = pytest.mark.anyio

AGENTS: dict[str, Any] = {
    "remembering": "probes:remembering",
    "other": "probes:remembering",
    "broken": "probes:broken",
    "paying": "probes:paying",
    "counting": {"import": "probes:counting", "deps": "probes:make_counter"},
    "gated": {"import": "run_probes:gated", "on_disconnect": "continue"},
}
KEYS = [
    {"id": key, "sha256": hashlib.sha256(key.encode()).hexdigest(), "subject": subject, "scopes": scopes}
    for key, subject, scopes in (
        ("ada", "ada", ["agents:*"]),
        ("bob", "bob", ["agents:*"]),
        ("ada-limited", "ada", ["agents:other", "agents:gated"]),
    )
]
BOB, LIMITED = {"x-api-key": "bob"}, {"x-api-key": "ada-limited"}
IDS = ["t", "a/b", "größe ✓", "a b+c%2F?&#", "messages", "t/messages", "t/branches/x", "a/", "/", "ü" * 256]


@pytest.fixture(params=["memory", "sqlite"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> GatewayConfig:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/threads.db"
    return make_config(agents=AGENTS, auth={"api_keys": KEYS}, stores={"conversations": url})


@pytest.fixture
def app(config: GatewayConfig) -> Starlette:
    return create_app(config)


@pytest.fixture
async def client(app: Starlette) -> AsyncGenerator[httpx.AsyncClient]:
    async with calling(app, x_api_key="ada") as ada:
        yield ada


@pytest.fixture
def view(app: Starlette) -> ThreadView:
    """Ada's threads."""
    return app.state.runs.threads.store.view(Principal("ada").scope)


def path(thread: str, *more: str) -> str:
    return "/".join(["/threads", *(quote(part, safe="") for part in (thread, *more))])


async def say(client: httpx.AsyncClient, text: str = "Hello", thread: str = "t", agent: str = "remembering") -> str:
    response = await client.post(run_url("ag-ui", agent), json=turn("ag-ui", text, thread))
    assert response.status_code == 200, response.text
    return text_of(events_of(response.text))


async def got(client: httpx.AsyncClient, url: str, **request: Any) -> dict[str, Any]:
    response = await client.get(url, **request)
    assert response.status_code == 200, response.text
    return response.json()


async def titles(client: httpx.AsyncClient, **request: Any) -> list[str]:
    return [thread["title"] for thread in (await got(client, "/threads", **request))["threads"]]


# The list


async def test_the_list_has_the_threads_of_the_caller_newest_first(client: httpx.AsyncClient) -> None:
    began = datetime.now(UTC)
    await say(client, "One", "a")
    await say(client, "Two", "b", "other")
    await say(client, "Three", "a")
    page = await got(client, "/threads")
    assert page.keys() == {"threads"}
    first, second = page["threads"]
    for thread in (first, second):
        created, updated = (datetime.fromisoformat(thread.pop(name)) for name in ("created_at", "updated_at"))
        assert began - timedelta(seconds=1) < created <= updated < datetime.now(UTC) + timedelta(seconds=1)
    known = {"surface": "ag-ui", "status": "finished", "archived": False}
    assert first == {"id": "a", "title": "One", "agent": "remembering", **known}
    assert second == {"id": "b", "title": "Two", "agent": "other", **known}


async def test_pages_follow_each_other_without_a_loss_or_a_repetition(
    client: httpx.AsyncClient, view: ThreadView
) -> None:
    same = datetime.now(UTC)
    for number in range(7):
        await add_turn(view, f"t/{number} ü", when=same if number < 4 else None)
    found: list[str] = []
    cursor: dict[str, str] = {}
    for size in (3, 3, 1):
        page = await got(client, "/threads", params={"limit": 3, **cursor})
        assert len(page["threads"]) == size
        found += [thread["id"] for thread in page["threads"]]
        cursor = {"cursor": page["next_cursor"]} if "next_cursor" in page else {}
        assert all(quote(value, safe="") == value for value in cursor.values())
    assert cursor == {}
    assert found == [f"t/{number} ü" for number in (6, 5, 4, 3, 2, 1, 0)]


async def test_a_page_that_holds_everything_has_no_next_one(client: httpx.AsyncClient, view: ThreadView) -> None:
    for number in range(3):
        await add_turn(view, str(number))
    assert "next_cursor" not in await got(client, "/threads", params={"limit": 3})


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "!!!!",
        "ü",
        "A" * 5_000,
        encoded("2026-01-01T00:00:00+00:00"),
        encoded("yesterday t"),
        encoded("0001-01-01T00:00:00+14:00 t"),
        encoded("2026-01-01T00:00:00+00:00 a\0b"),
        base64.urlsafe_b64encode(b"\xff\xfe t").decode(),
    ],
)
async def test_a_cursor_that_no_page_gave_is_refused(client: httpx.AsyncClient, cursor: str) -> None:
    response = await client.get("/threads", params={"cursor": cursor})
    assert "`cursor` must be" in assert_problem(response, 400, "bad_request")["detail"]


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", "", "٣", "9" * 5_000])
async def test_a_limit_out_of_range_is_refused(client: httpx.AsyncClient, limit: str) -> None:
    response = await client.get("/threads", params={"limit": limit})
    assert "from 1 to 200" in assert_problem(response, 400, "bad_request")["detail"]


async def test_the_list_can_be_cut_to_the_threads_of_one_agent(client: httpx.AsyncClient, view: ThreadView) -> None:
    await add_turn(view, "a", "One")
    await add_turn(view, "b", "Two", agent="other")
    assert await titles(client, params={"agent": "other"}) == ["Two"]


async def test_an_agent_out_of_scope_and_one_that_never_was_have_the_same_empty_list(
    client: httpx.AsyncClient, view: ThreadView
) -> None:
    await add_turn(view, "a", "One")
    await add_turn(view, "b", "Two", agent="other")
    assert await titles(client, headers=LIMITED) == ["Two"]
    for agent in ("remembering", "no-such", "", "a\0b"):
        page = await got(client, "/threads", params={"agent": agent}, headers=LIMITED)
        assert page == {"threads": []}


async def test_the_list_says_how_threads_stand(client: httpx.AsyncClient, view: ThreadView) -> None:
    await say(client, "One", "a")
    await say(client, "Two", "b", "broken")
    await say(client, "Three", "c", "paying")
    await add_turn(view, "d", answer=None, outcome="cancelled")
    await add_turn(view, "e", answer=None, outcome=RUNNING)
    found = (await got(client, "/threads"))["threads"]
    assert {thread["id"]: thread["status"] for thread in found} == {
        "a": "finished",
        "b": "run_failed",
        "c": "waiting",
        "d": "cancelled",
        "e": "running",
    }


# One thread


@pytest.mark.parametrize("thread", IDS)
async def test_ids_of_every_kind_find_their_thread_and_its_parts(
    client: httpx.AsyncClient, view: ThreadView, thread: str
) -> None:
    await add_turn(view, "t", "Another")
    entry = await add_turn(view, thread, "Found")
    assert (await got(client, path(thread)))["id"] == thread
    [asked, _] = (await got(client, path(thread) + "/messages"))["messages"][-2:]
    assert asked["parts"][0]["content"] == "Found"
    [branch] = (await got(client, path(thread) + "/branches"))["branches"]
    assert branch["entry"] == entry
    assert (await client.post(f"{path(thread)}/branches/{entry}")).json()["id"] == thread
    renamed = await client.patch(path(thread), json={"title": "New"})
    assert (renamed.json()["id"], renamed.json()["title"]) == (thread, "New")
    fork = await client.post(path(thread) + "/fork", json={"id": f"{thread}"[:250] + "/fork"})
    assert fork.json()["forked_from"] == thread
    assert (await got(client, fork.headers["location"])) == fork.json()
    assert (await client.delete(path(thread))).status_code == 204
    assert (await client.get(path(thread))).status_code == 404


async def test_a_slash_may_also_come_as_it_is(client: httpx.AsyncClient, view: ThreadView) -> None:
    await add_turn(view, "a/b")
    assert (await got(client, "/threads/a/b"))["id"] == "a/b"
    assert len((await got(client, "/threads/a/b/messages"))["messages"]) == 2


async def test_a_thread_that_waits_tells_what_a_page_needs_to_go_on(client: httpx.AsyncClient) -> None:
    response = await client.post(run_url("ag-ui", "paying"), json=turn("ag-ui", "Pay", "t"))
    streamed = events_of(response.text)[-1]["outcome"]["interrupts"]
    thread = await got(client, path("t"))
    assert (thread["status"], thread["pending"]) == ("waiting", [])
    assert thread["interrupts"] == streamed
    ends = datetime.fromisoformat(thread["expires_at"])
    assert datetime.fromisoformat(streamed[0]["expiresAt"]) == ends > datetime.now(UTC) + timedelta(hours=23)


async def test_what_was_answered_is_not_waited_for(client: httpx.AsyncClient, view: ThreadView) -> None:
    waiting = DeferredToolRequests(approvals=[PAYMENT], calls=[replace(PAYMENT, tool_call_id="call-2")])
    await add_turn(view, "t", waiting=waiting, answers={"approvals": {"call-1": True}, "calls": {}})
    thread = await got(client, path("t"))
    assert (thread["status"], thread["interrupts"], thread["pending"]) == ("waiting", [], ["call-2"])


async def test_a_thread_has_the_state_that_its_last_turn_left(client: httpx.AsyncClient) -> None:
    body = turn("ag-ui", "Count", "t", state={"count": 4})
    assert (await client.post(run_url("ag-ui", "counting"), json=body)).status_code == 200
    assert (await got(client, path("t")))["state"] == {"count": 5}
    await say(client, thread="u")
    assert (await got(client, path("u")))["state"] is None


async def test_a_running_thread_names_its_run(config: GatewayConfig) -> None:
    with serving(config) as url:
        async with client_for(url) as client, held(client, "vercel-ai", thread="t") as run:
            thread = await got(client, path("t"))
            assert (thread["status"], thread["run_id"], thread["surface"]) == ("running", run.id, "vercel-ai")
            run.gate.open()
            await run.reader.rest()
            thread = await got(client, path("t"))
            assert thread["status"] == "finished"
            assert "run_id" not in thread


async def test_a_run_whose_process_died_was_lost(client: httpx.AsyncClient, view: ThreadView) -> None:
    await add_turn(view, "t", answer=None, outcome=RUNNING)
    assert (await got(client, path("t")))["status"] == "run_lost"
    await ask_for_consent(view, "u", answers={"approvals": {"call-1": True}}, answered_run="gone")
    record = await view.read_record("u")
    assert record
    revision, record.deferred_tool_requests, record.revision = record.revision, None, str(uuid4())
    await view.write_record(record, expected_revision=revision)
    assert (await got(client, path("u")))["status"] == "run_lost"


# Messages


async def test_messages_come_in_the_shape_of_each_client(client: httpx.AsyncClient) -> None:
    await say(client, "One")
    ag_ui = (await got(client, path("t", "messages"), params={"format": "ag-ui"}))["messages"]
    assert [(message["role"], message["content"]) for message in ag_ui] == [
        ("user", "One"),
        ("assistant", "You said: One."),
    ]
    vercel = (await got(client, path("t", "messages"), params={"format": "vercel-ai"}))["messages"]
    assert [message["role"] for message in vercel] == ["user", "assistant"]
    assert vercel[0]["parts"][0]["text"] == "One"
    native = (await got(client, path("t", "messages")))["messages"]
    assert native == (await got(client, path("t", "messages"), params={"format": "native"}))["messages"]
    said = ModelMessagesTypeAdapter.validate_python(native)
    assert [getattr(part, "content", "") for message in said for part in message.parts] == ["One", "You said: One."]


@pytest.mark.parametrize("messages", [2, 200])
async def test_what_the_agent_was_told_stays_on_the_server(
    client: httpx.AsyncClient, view: ThreadView, messages: int
) -> None:
    for number in range(messages // 2):
        await add_turn(view, "t", f"Question {number}")
    for chosen in ("native", "ag-ui", "vercel-ai"):
        response = await client.get(path("t", "messages"), params={"format": chosen})
        assert len(response.json()["messages"]) == messages
        assert INTERNAL not in response.text
        assert response.headers["cache-control"] == "no-store"


async def test_the_native_format_tells_where_turns_end(client: httpx.AsyncClient, view: ThreadView) -> None:
    ends = [await add_turn(view, "t", question) for question in ("One", "Two")]
    turns = (await got(client, path("t", "messages")))["turns"]
    assert [(turn["entry"], turn["messages"]) for turn in turns] == [(ends[0], 2), (ends[1], 4)]
    assert {(turn["agent"], turn["outcome"], turn["run_id"]) for turn in turns} == {("remembering", "finished", "run")}


@pytest.mark.parametrize("chosen", ["", "xml", "AG-UI"])
async def test_a_format_that_there_is_not_is_refused_with_those_that_there_are(
    client: httpx.AsyncClient, view: ThreadView, chosen: str
) -> None:
    await add_turn(view)
    problem = assert_problem(await client.get(path("t", "messages"), params={"format": chosen}), 400, "bad_request")
    assert "ag-ui, vercel-ai, native" in problem["detail"]


# Renaming


async def test_a_title_is_given_and_taken_away(client: httpx.AsyncClient, view: ThreadView) -> None:
    await add_turn(view, "t", "Hello")
    before = await got(client, path("t"))
    for title, shown in (("  Trip to Oslo \n", "Trip to Oslo"), (None, "Hello"), ("x" * 200, "x" * 200), ("", "Hello")):
        renamed = await client.patch(path("t"), json={"title": title})
        assert renamed.status_code == 200
        assert renamed.json() == before | {"title": shown} == await got(client, path("t"))
        assert await titles(client) == [shown]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"title": "x" * 201},
        {"title": 5},
        {"title": "a\0b"},
        {"title": "x", "agent": "other"},
        {"archived": None},
        {"archived": 1},
        {"archived": "true"},
        {"title": "x", "archived": "yes"},
        [],
        "x",
    ],
)
async def test_what_is_no_change_is_refused(client: httpx.AsyncClient, view: ThreadView, body: Any) -> None:
    await add_turn(view)
    assert_problem(await client.patch(path("t"), json=body), 422, "malformed_body")
    assert await titles(client) == ["Hello"]


async def test_a_change_of_nothing_is_told_what_could_be_changed(client: httpx.AsyncClient, view: ThreadView) -> None:
    await add_turn(view)
    problem = assert_problem(await client.patch(path("t"), json={}), 422, "malformed_body")
    assert "`title` or `archived` is required" in problem["detail"]


async def test_a_title_is_given_while_a_run_goes_on_and_stays(config: GatewayConfig) -> None:
    with serving(config) as url:
        async with client_for(url) as client, held(client, "ag-ui", thread="t") as run:
            renamed = await client.patch(path("t"), json={"title": "Named"})
            assert (renamed.json()["title"], renamed.json()["status"]) == ("Named", "running")
            run.gate.open()
            await run.reader.rest()
            thread = await got(client, path("t"))
            assert (thread["title"], thread["status"]) == ("Named", "finished")


# Archiving


async def test_an_archived_thread_is_only_in_lists_that_ask_for_it(client: httpx.AsyncClient, view: ThreadView) -> None:
    for thread, agent in (("a", "remembering"), ("b", "other"), ("c", "remembering")):
        await add_turn(view, thread, thread, agent=agent)
    before = await got(client, path("a"))
    for thread in "ab":
        archived = await client.patch(path(thread), json={"archived": True})
        assert (archived.status_code, archived.json()["archived"]) == (200, True)
    assert await got(client, path("a")) == before | {"archived": True}
    assert await titles(client) == await titles(client, params={"archived": "exclude"}) == ["c"]
    assert await titles(client, params={"archived": "only"}) == ["b", "a"]
    assert await titles(client, params={"archived": "only", "agent": "other"}) == ["b"]
    assert await titles(client, params={"archived": "include"}) == ["c", "b", "a"]
    page = await got(client, "/threads", params={"archived": "include", "limit": 2})
    assert [thread["archived"] for thread in page["threads"]] == [False, True]
    assert await titles(client, params={"archived": "include", "cursor": page["next_cursor"]}) == ["a"]
    back = await client.patch(path("a"), json={"archived": False, "title": "Back"})
    assert back.json() == before | {"title": "Back"}
    assert await titles(client) == ["c", "Back"]
    steps: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"archived": True}, {"archived": True, "title": "Back"}),
        ({"title": "Named"}, {"archived": True, "title": "Named"}),
        ({"archived": False, "title": None}, {}),
    ]
    for sent, changed in steps:
        assert (await client.patch(path("a"), json=sent)).json() == before | changed


@pytest.mark.parametrize("archived", ["", "true", "Only", "exclude,include"])
async def test_a_choice_of_archived_threads_that_there_is_not_is_refused(
    client: httpx.AsyncClient, archived: str
) -> None:
    problem = assert_problem(await client.get("/threads", params={"archived": archived}), 400, "bad_request")
    assert "exclude, include, only" in problem["detail"]


async def test_an_archived_thread_goes_on_and_stays_archived(client: httpx.AsyncClient) -> None:
    await say(client, "One")
    await client.patch(path("t"), json={"archived": True})
    assert await say(client, "Two") == "You said: One, Two."
    thread = await got(client, path("t"))
    assert (thread["archived"], thread["status"]) == (True, "finished")
    fork = (await client.post(path("t", "fork"))).json()
    assert (fork["forked_from"], fork["archived"]) == ("t", False)
    assert [thread["id"] for thread in (await got(client, "/threads"))["threads"]] == [fork["id"]]


async def test_a_thread_is_archived_while_a_run_goes_on_and_stays_so(config: GatewayConfig) -> None:
    with serving(config) as url:
        async with client_for(url) as client, held(client, "ag-ui", thread="t") as run:
            archived = await client.patch(path("t"), json={"archived": True})
            assert (archived.json()["archived"], archived.json()["status"]) == (True, "running")
            run.gate.open()
            await run.reader.rest()
            thread = await got(client, path("t"))
            assert (thread["archived"], thread["status"]) == (True, "finished")


# Deleting


async def test_a_deleted_thread_is_gone_and_its_id_free(client: httpx.AsyncClient) -> None:
    await say(client, "One")
    deleted = await client.delete(path("t"))
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert_problem(await client.get(path("t")), 404, "not_found")
    assert_problem(await client.delete(path("t")), 404, "not_found")
    assert await titles(client) == []
    assert await say(client, "Two") == "You said: Two."


async def test_a_running_thread_is_neither_deleted_nor_switched(config: GatewayConfig) -> None:
    with serving(config) as url:
        async with client_for(url) as client:
            await client.post(run_url("ag-ui", "remembering"), json=turn("ag-ui", "One", "t"))
            [branch] = (await got(client, path("t", "branches")))["branches"]
            async with held(client, "ag-ui", thread="t") as run:
                for refused in (
                    await client.delete(path("t")),
                    await client.post(path("t", "branches", branch["entry"])),
                ):
                    assert assert_problem(refused, 409, "run_conflict", "run_id")["run_id"] == run.id
                run.gate.open()
                await run.reader.rest()
            assert (await got(client, path("t")))["status"] == "finished"


# Branches and forks


async def test_an_edit_leaves_a_branch_to_go_back_to(client: httpx.AsyncClient) -> None:
    def edited(text: str, message: str) -> dict[str, Any]:
        said = {"id": message, "role": "user", "parts": [{"type": "text", "text": text}]}
        return {"id": "t", "trigger": "submit-message", "messages": [said], "messageId": message}

    async def post(body: dict[str, Any]) -> str:
        response = await client.post(run_url("vercel-ai", "remembering"), json=body)
        return text_of(events_of(response.text))

    assert await post(edited("One", "m1")) == "You said: One."
    first = (await got(client, path("t", "messages")))["turns"][-1]["entry"]
    assert await post(edited("Uno", "m1")) == "You said: Uno."
    current, left = (await got(client, path("t", "branches")))["branches"]
    assert (current["preview"], current["current"], current["outcome"]) == ("Uno", True, "finished")
    assert (left["preview"], left["current"], left["entry"]) == ("One", False, first)
    assert left["agent"] == "remembering"
    switched = await client.post(path("t", "branches", first))
    assert switched.status_code == 200
    assert switched.json() == await got(client, path("t"))
    assert await say(client, "Two") == "You said: One, Two."


async def test_branches_tell_where_they_part(client: httpx.AsyncClient, view: ThreadView) -> None:
    root = await add_turn(view, "t", "Root")
    left = await add_turn(view, "t", "Left\n  one", when=datetime(2026, 1, 1, tzinfo=UTC))
    await add_turn(view, "t", "Left two", agent="other", outcome="cancelled")
    right = await add_turn(view, "t", "x" * 500, after=root, outcome=RUNNING)
    await add_turn(view, "t", "Lost", after=left, answer=None, outcome=RUNNING)
    branches = (await got(client, path("t", "branches")))["branches"]
    assert [branch["preview"] for branch in branches] == ["Lost", "x" * 120, "Left two"]
    assert [branch["parent"] for branch in branches] == [left, root, left]
    assert [branch["outcome"] for branch in branches] == ["run_lost", "run_lost", "cancelled"]
    assert [branch["agent"] for branch in branches] == ["remembering", "remembering", "other"]
    assert [branch["current"] for branch in branches] == [True, False, False]
    assert branches[1]["entry"] == right
    assert datetime.fromisoformat(branches[1]["at"]).utcoffset() == timedelta()


async def test_a_thread_without_edits_is_one_branch(client: httpx.AsyncClient, view: ThreadView) -> None:
    await add_turn(view, "t", "One")
    entry = await add_turn(view, "t", "Two")
    [branch] = (await got(client, path("t", "branches")))["branches"]
    assert (branch["entry"], branch["preview"], branch["current"]) == (entry, "One", True)
    assert "parent" not in branch


async def test_going_back_within_a_branch_leaves_the_rest_of_it(client: httpx.AsyncClient, view: ThreadView) -> None:
    one = await add_turn(view, "t", "One")
    two = await add_turn(view, "t", "Two")
    await client.post(path("t", "branches", one))
    current, left = (await got(client, path("t", "branches")))["branches"]
    assert (current["entry"], left["entry"], left["preview"], left["parent"]) == (one, two, "Two", one)
    await client.post(path("t", "branches", two))
    [branch] = (await got(client, path("t", "branches")))["branches"]
    assert (branch["entry"], branch["current"]) == (two, True)


async def test_an_approval_that_was_left_does_not_come_back_to_life(
    client: httpx.AsyncClient, view: ThreadView
) -> None:
    one = await add_turn(view, "t", "One")
    asking = await ask_for_consent(view, "t")
    assert (await client.post(path("t", "branches", asking))).json()["status"] == "waiting", "it was not left"
    for entry in (one, asking):
        thread = (await client.post(path("t", "branches", entry))).json()
        assert (thread["status"], thread["interrupts"]) == ("finished", [])


async def test_only_the_end_of_a_turn_of_this_thread_can_be_gone_to(
    client: httpx.AsyncClient, view: ThreadView
) -> None:
    await add_turn(view, "t", "One")
    elsewhere = await add_turn(view, "u", "Two")
    line = await view.read_line((await got(client, path("t", "branches")))["branches"][0]["entry"])
    for entry in (elsewhere, line.entries[0].id, "no-such", "a\0b"):
        assert_problem(await client.post(path("t", "branches", entry)), 404, "not_found")
        assert_problem(await client.post(path("t", "fork"), json={"entry": entry}), 404, "not_found")
    assert (await client.get(path("t", "branches"))).json()["branches"][0]["preview"] == "One"


async def test_a_branch_of_an_agent_out_of_scope_is_not_there(client: httpx.AsyncClient, view: ThreadView) -> None:
    root = await add_turn(view, "t", "Root", agent="other")
    hidden = await add_turn(view, "t", "Hidden")
    await add_turn(view, "t", "Shown", agent="other", after=root)
    [shown] = (await got(client, path("t", "branches"), headers=LIMITED))["branches"]
    assert shown["preview"] == "Shown"
    for refused in (
        await client.post(path("t", "fork"), json={"entry": hidden}, headers=LIMITED),
        await client.post(path("t", "branches", hidden), headers=LIMITED),
    ):
        assert_problem(refused, 404, "not_found")
    assert await titles(client) == ["Shown"]


async def test_a_fork_goes_its_own_way(client: httpx.AsyncClient) -> None:
    await say(client, "One")
    response = await client.post(path("t", "fork"))
    fork = response.json()
    assert response.status_code == 201
    assert (fork["forked_from"], fork["title"], fork["agent"], fork["status"]) == (
        "t",
        "One",
        "remembering",
        "finished",
    )
    assert response.headers["location"] == f"http://localhost/threads/{fork['id']}"
    assert await say(client, "Two", fork["id"]) == "You said: One, Two."
    assert await say(client, "Three", "t") == "You said: One, Three."
    await client.delete(path("t"))
    assert await say(client, "Four", fork["id"]) == "You said: One, Two, Four."


async def test_forks_and_threads_that_were_switched_are_in_the_list_of_their_agent(
    client: httpx.AsyncClient, view: ThreadView
) -> None:
    first = await add_turn(view, "t", "One", agent="other")
    await add_turn(view, "t", "Two")
    await client.post(path("t", "fork"), json={"entry": first, "id": "u"})
    await client.post(path("t", "fork"), json={"id": "v"})

    async def listed(agent: str) -> set[str]:
        return {thread["id"] for thread in (await got(client, "/threads", params={"agent": agent}))["threads"]}

    assert (await listed("other"), await listed("remembering")) == ({"u"}, {"t", "v"})
    await client.post(path("t", "branches", first))
    assert (await listed("other"), await listed("remembering")) == ({"t", "u"}, {"v"})


async def test_a_fork_may_begin_at_an_earlier_turn_and_have_a_name(client: httpx.AsyncClient) -> None:
    await say(client, "One")
    await say(client, "Two")
    first = next(turn["entry"] for turn in (await got(client, path("t", "messages")))["turns"] if turn["messages"] == 2)
    fork = await client.post(path("t", "fork"), json={"entry": first, "id": "a/b"})
    assert (fork.status_code, fork.json()["id"]) == (201, "a/b")
    assert await say(client, "Three", "a/b") == "You said: One, Three."


async def test_a_fork_of_a_question_has_not_lost_a_run(client: httpx.AsyncClient, view: ThreadView) -> None:
    await add_turn(view, "t", "One", answer=None, outcome=RUNNING)
    assert (await client.post(path("t", "fork"))).json()["status"] == "idle"


async def test_an_approval_stays_with_the_thread_that_was_asked(client: httpx.AsyncClient, view: ThreadView) -> None:
    await ask_for_consent(view, "t")
    fork = (await client.post(path("t", "fork"))).json()
    assert (fork["status"], fork["interrupts"]) == ("finished", [])
    assert (await got(client, path("t")))["status"] == "waiting"


async def test_a_name_that_is_taken_is_refused(client: httpx.AsyncClient, view: ThreadView) -> None:
    await add_turn(view, "t")
    await add_turn(view, "u", "Mine")
    assert_problem(await client.post(path("t", "fork"), json={"id": "u"}), 409, "thread_exists")
    assert_problem(await client.post(path("t", "fork"), json={"id": "t"}), 409, "thread_exists")
    assert await titles(client) == ["Mine", "Hello"]
    elsewhere = await client.post(run_url("ag-ui", "remembering"), json=turn("ag-ui", "B", "bobs"), headers=BOB)
    assert elsewhere.status_code == 200
    assert (await client.post(path("t", "fork"), json={"id": "bobs"})).status_code == 201, "another's is not taken"


@pytest.mark.parametrize("body", [{"id": ""}, {"id": "new"}, {"id": "x" * 257}, {"entry": 5}, {"at": 3}, [], "x"])
async def test_what_is_no_fork_is_refused(client: httpx.AsyncClient, view: ThreadView, body: Any) -> None:
    await add_turn(view, "t")
    assert_problem(await client.post(path("t", "fork"), json=body), 422, "malformed_body")
    assert len((await got(client, "/threads"))["threads"]) == 1


# Foreign pages, foreign callers

WITHOUT_BODY = [("DELETE", ()), ("POST", ("fork",)), ("POST", ("branches", "x"))]


@pytest.mark.parametrize(("method", "more"), WITHOUT_BODY)
@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
async def test_a_foreign_page_changes_nothing(
    client: httpx.AsyncClient, view: ThreadView, method: str, more: tuple[str, ...], headers: dict[str, str]
) -> None:
    await add_turn(view, "t")
    assert_problem(await client.request(method, path("t", *more), headers=headers), 403, "cross_site")
    assert len((await got(client, "/threads"))["threads"]) == 1


@pytest.mark.parametrize(("method", "more"), [("PATCH", ()), ("POST", ("fork",))])
async def test_a_body_is_json_or_refused(
    client: httpx.AsyncClient, view: ThreadView, method: str, more: tuple[str, ...]
) -> None:
    await add_turn(view, "t")
    for headers in ({"content-type": "text/plain"}, {}):
        refused = await client.request(method, path("t", *more), content=b'{"title": "x"}', headers=headers)
        assert_problem(refused, 415, "unsupported_media_type")


JSON = {"content-type": "application/json"}
REQUESTS: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    ("GET", (), {}),
    ("HEAD", (), {}),
    ("GET", ("messages",), {}),
    ("GET", ("messages",), {"params": {"format": "ag-ui"}}),
    ("GET", ("messages",), {"params": {"format": "x"}}),
    ("GET", ("branches",), {}),
    ("PATCH", (), {"json": {"title": "Mine"}}),
    ("PATCH", (), {"json": {"title": 5}}),
    ("PATCH", (), {"json": {"archived": True}}),
    ("PATCH", (), {"json": {}}),
    ("PATCH", (), {"content": b"{}", "headers": {"content-type": "text/plain"}}),
    ("DELETE", (), {}),
    ("DELETE", (), {"headers": {"origin": "https://evil.example"}}),
    ("POST", ("fork",), {}),
    ("POST", ("fork",), {"json": {"id": "another"}}),
    ("POST", ("fork",), {"json": {"id": "new"}}),
    ("POST", ("fork",), {"content": b"{", "headers": JSON}),
    ("POST", ("branches", "ENTRY"), {}),
    ("POST", ("fork",), {"json": {"entry": "ENTRY"}}),
    ("POST", (), {}),
    ("PUT", ("messages",), {}),
    ("DELETE", ("messages",), {}),
]


@pytest.mark.parametrize("state", ["finished", "waiting", "running"])
async def test_a_foreign_thread_gets_exactly_the_answer_of_one_that_never_was(
    config: GatewayConfig, state: str
) -> None:
    with serving(config) as url:
        async with client_for(url) as ada, client_for(url, "bob") as bob, client_for(url, "ada-limited") as limited:
            agent = "paying" if state == "waiting" else "remembering"
            await ada.post(run_url("ag-ui", agent), json=turn("ag-ui", "Pay", "one"))
            entry = (await got(ada, path("one", "branches")))["branches"][0]["entry"]
            before = await got(ada, path("one"))
            others = (bob, limited) if state != "running" else (bob,)  # whose agents `gated` is not one of
            if state == "running":
                async with held(ada, "ag-ui", thread="one") as run:
                    before = await got(ada, path("one"))
                    await assert_no_difference(others, entry)
                    assert await got(ada, path("one")) == before
                    run.gate.open()
                    await run.reader.rest()
            else:
                await assert_no_difference(others, entry)
                assert await got(ada, path("one")) == before


async def assert_no_difference(others: tuple[httpx.AsyncClient, ...], entry: str) -> None:
    for other in others:
        for method, more, request in REQUESTS:
            request_ = json.loads(json.dumps(request, default=bytes.decode).replace("ENTRY", entry))
            parts = [part.replace("ENTRY", entry) for part in more]
            foreign = await other.request(method, path("one", *parts), **request_)
            never_was = await other.request(method, path("two", *parts), **request_)
            assert answer(foreign) == answer(never_was), (method, more, request)
            assert foreign.status_code >= 400


def answer(response: httpx.Response) -> tuple[int, dict[str, str], str]:
    request_id = response.headers["x-request-id"]
    headers = {**response.headers, "x-request-id": "", "date": ""}
    return response.status_code, headers, response.text.replace(request_id, "")


async def test_a_thread_whose_agent_went_out_of_scope_is_not_there_any_more(
    client: httpx.AsyncClient, view: ThreadView
) -> None:
    await add_turn(view, "t", "One", agent="other")
    assert (await got(client, path("t"), headers=LIMITED))["title"] == "One"
    await add_turn(view, "t", "Two")
    assert_problem(await client.get(path("t"), headers=LIMITED), 404, "not_found")
    assert await titles(client, headers=LIMITED) == []
    assert await titles(client) == ["Two"]


async def test_a_thread_of_an_agent_that_is_served_no_longer_can_be_read_and_deleted(
    client: httpx.AsyncClient, view: ThreadView
) -> None:
    await add_turn(view, "t", agent="retired")
    assert (await got(client, path("t")))["agent"] == "retired"
    assert (await client.delete(path("t"))).status_code == 204


async def test_nothing_of_a_conversation_is_logged(client: httpx.AsyncClient, view: ThreadView) -> None:
    with capture_logs() as lines:
        entry = await add_turn(view, "t", "Swordfish")
        await client.patch(path("t"), json={"title": "Swordfish title"})
        for more in ("", "/messages", "/messages?format=ag-ui", "/branches"):
            await got(client, path("t") + more)
        await client.get("/threads", params={"cursor": "Swordfish"})
        await client.post(path("t", "fork"), json={"entry": entry})
        await client.delete(path("t"))
    assert len(lines) >= 8
    assert "swordfish" not in repr(lines).lower()


@pytest.mark.parametrize("wire", WIRES)
async def test_a_thread_of_either_wire_is_in_the_list(client: httpx.AsyncClient, wire: str) -> None:
    await client.post(run_url(wire, "remembering"), json=turn(wire, "Hello", "t"))
    [thread] = (await got(client, "/threads"))["threads"]
    assert (thread["surface"], thread["title"]) == (wire, "Hello")

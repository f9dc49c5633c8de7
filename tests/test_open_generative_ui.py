"""HTML that the model writes (open generative UI) over HTTP: when it is drawn, how it grows, what a reload shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from a2ui_agents import cut, script
from copilotkit_talk import at, body, connected, ran, snapshot, stop
from reading import KEYS, client_for, happens, reading
from run_probes import Gate, gates
from sandbox_agents import ARGUMENTS, DRAWN, NAME, TOOL, joined
from serving import make_config, serving
from talking import calling, events_of, run_url, text_of, turn

from gateway import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

    import httpx

    Json = dict[str, Any]

pytestmark = pytest.mark.anyio

AGENTS = {
    "plain": "a2ui_agents:plain",
    "asks_first": "sandbox_agents:asks_first",
    "homemade": "sandbox_agents:homemade",
}
TEXT = json.dumps(ARGUMENTS)
ROW = '<p class="é">Row 6'
AT_HTML = TEXT.index(json.dumps(ROW)[1:-1])
HIDDEN = {"initialHeight": 0, "generating": False}
THERE = "call-1-activity"


@pytest.fixture
async def client() -> AsyncGenerator[httpx.AsyncClient]:
    async with calling(create_app(make_config(agents=AGENTS))) as client:
        yield client


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(make_config(agents=AGENTS, auth={"api_keys": KEYS})) as url:
        yield url


@pytest.fixture
def thread() -> str:
    return f"thread-{uuid4()}"


@pytest.fixture
def gate() -> Gate:
    gates["sandbox"] = Gate()
    return gates["sandbox"]


def asking(*attempts: Any) -> str:
    """A prompt on which the model writes that."""
    return script(*attempts, tool=NAME)


def activities(events: list[Json]) -> list[Json]:
    """The events about what is drawn."""
    return [event for event in events if event["type"].startswith("ACTIVITY")]


def states(events: list[Json]) -> list[Json]:
    """What a page has of the one activity, event by event, as `apply/default.ts` of `@ag-ui/client` has it."""
    found: list[Json] = []
    for event in activities(events):
        if event["activityType"] != "open-generative-ui":
            continue
        if event["type"] == "ACTIVITY_SNAPSHOT":
            found.append(event["content"])
            continue
        content = json.loads(json.dumps(found[-1]))
        for change in event["patch"]:
            assert change["op"] == "add"
            _, name, *to_list = change["path"].split("/")
            if to_list:
                assert to_list == ["-"]
                content[name].append(change["value"])
            else:
                content[name] = change["value"]
        found.append(content)
    return found


def shown(messages: list[Json]) -> dict[str, Any]:
    """What is drawn among messages, by id."""
    return {each["id"]: each["content"] for each in messages if each["role"] == "activity"}


async def after_a_reload(client: httpx.AsyncClient, agent: str, thread: str) -> dict[str, Any]:
    """What is drawn then."""
    return shown(snapshot(await connected(client, agent, thread)))


async def test_a_page_that_brings_the_tool_is_told_what_to_draw(client: httpx.AsyncClient, thread: str) -> None:
    events = await ran(client, "plain", thread, asking(ARGUMENTS), tools=[TOOL])
    assert {event["messageId"] for event in activities(events)} == {THERE}
    assert joined(states(events)[-1]) == DRAWN
    assert [event["toolCallName"] for event in events if event["type"] == "TOOL_CALL_START"] == [NAME]
    assert not [event for event in events if event["type"] == "TOOL_CALL_RESULT"], "the page gives it"


@pytest.mark.parametrize(
    ("setting", "tools", "is_drawn"),
    [(None, [TOOL], True), (None, [], False), (True, [TOOL], True), (False, [TOOL], False)],
)
async def test_a_runtime_may_say_so_for_all_of_its_pages(
    thread: str, setting: bool | None, tools: list[Json], is_drawn: bool
) -> None:
    runtime = {"path": "/copilotkit", "open_generative_ui": setting}
    async with calling(create_app(make_config(agents=AGENTS, copilotkit=runtime))) as client:
        info = (await client.get("/copilotkit/info")).json()
        assert info["openGenerativeUIEnabled"] is (setting is True)
        events = await ran(client, "plain", thread, asking(ARGUMENTS), tools=tools)
        assert bool(activities(events)) is is_drawn
        assert bool(await after_a_reload(client, "plain", thread)) is is_drawn


@pytest.mark.parametrize(("setting", "is_drawn"), [(None, False), (True, True)])
async def test_a_tool_of_the_agents_own_with_that_name_draws_where_the_runtime_says_so(
    thread: str, setting: bool | None, is_drawn: bool
) -> None:
    runtime = {"path": "/copilotkit", "open_generative_ui": setting}
    async with calling(create_app(make_config(agents=AGENTS, copilotkit=runtime))) as client:
        events = await ran(client, "homemade", thread, "Draw")
        assert [joined(each) for each in states(events)[-1:]] == ([DRAWN] if is_drawn else [])
        assert text_of(events) == "Done."


async def test_a_node_runtime_in_front_makes_its_activities_itself(client: httpx.AsyncClient, thread: str) -> None:
    asked = turn("ag-ui", asking(ARGUMENTS), thread, tools=[TOOL])
    assert activities(events_of((await client.post(run_url("ag-ui", "plain"), json=asked)).text)) == []


IN_SCRIPT = TEXT.index("document.title")
PIECES = [[TEXT], cut(TEXT, 7), cut(TEXT, 100), list(TEXT), [TEXT[:AT_HTML], TEXT[AT_HTML:IN_SCRIPT], TEXT[IN_SCRIPT:]]]


@pytest.mark.parametrize("pieces", PIECES, ids=[str(len(pieces)) for pieces in PIECES])
async def test_however_the_models_words_fall_a_page_sees_it_grow_and_never_half_of_a_script(
    client: httpx.AsyncClient, thread: str, pieces: list[str]
) -> None:
    seen = states(await ran(client, "plain", thread, asking(pieces), tools=[TOOL]))
    assert joined(seen[-1]) == DRAWN
    for state in seen:
        assert {name: state[name] for name in ("css", "jsFunctions") if name in state}.items() <= DRAWN.items()
        assert ARGUMENTS["html"].startswith("".join(state.get("html", ())))
        assert ARGUMENTS["jsExpressions"][: len(state.get("jsExpressions", ()))] == state.get("jsExpressions", [])
        assert state["generating"] is (state is not seen[-1])
    if len(pieces) > 50:
        assert len({len(state.get("html", ())) for state in seen}) > 4, "the user watches it being built"


@pytest.mark.parametrize("tail", ['"}', '", "jsFunctions": "f()"}', '\\\\\\""}'])
@pytest.mark.parametrize("size", [1, 4])
async def test_a_page_knows_that_the_html_is_whole_before_the_call_ends(
    client: httpx.AsyncClient, thread: str, tail: str, size: int
) -> None:
    """It fits its height to what is there when the call ends, which needs a moment before."""
    text = '{"css": "b {}", "html": "' + '<p class=\\"a\\">' * 200 + tail
    seen = states(await ran(client, "plain", thread, asking(cut(text, len(text) // size)), tools=[TOOL]))
    html = [joined(state)["html"][0] for state in seen if state["generating"] and state.get("htmlComplete")]
    assert html[:1] == [json.loads(text)["html"]]
    assert len(seen) < 60


async def test_html_is_sent_once(client: httpx.AsyncClient, thread: str) -> None:
    arguments = ['{"css": "b {}", "html": "', {"repeat": "<p>abcdefgh</p>" * 10, "times": 2000}, '"}']
    events = await ran(client, "plain", thread, asking(arguments), tools=[TOOL])
    sent = sum(len(json.dumps(each)) for each in activities(events))
    assert len(joined(states(events)[-1])["html"][0]) == 300_000
    assert sent < 330_000
    assert len(activities(events)) < 200


async def test_there_is_an_end_to_what_is_drawn_of_one_call(client: httpx.AsyncClient, thread: str) -> None:
    arguments = ['{"css": "b {}", "html": "', {"repeat": "x" * 10_000, "times": 110}, '"}']
    seen = states(await ran(client, "plain", thread, asking(arguments), tools=[TOOL]))
    drawn = joined(seen[-1])
    assert drawn["generating"] is False
    assert "htmlComplete" not in drawn
    assert 999_900 < len(drawn["html"][0]) < 1_000_000
    assert await after_a_reload(client, "plain", thread) == {THERE: drawn}


async def test_there_is_an_end_to_its_expressions(client: httpx.AsyncClient, thread: str) -> None:
    """Each is a change of its own, for the page and for the event loop."""
    events = await ran(client, "plain", thread, asking({**ARGUMENTS, "jsExpressions": ["f()"] * 1500}), tools=[TOOL])
    assert len(states(events)[-1]["jsExpressions"]) == 1000
    [drawn] = (await after_a_reload(client, "plain", thread)).values()
    assert len(drawn["jsExpressions"]) == 1000


async def test_a_reload_shows_it_where_it_was_before_and_after_the_pages_result(
    client: httpx.AsyncClient, thread: str
) -> None:
    await ran(client, "plain", thread, asking(ARGUMENTS), tools=[TOOL])
    assert await after_a_reload(client, "plain", thread) == {THERE: DRAWN}
    result = {"id": "result", "role": "tool", "toolCallId": "call-1", "content": "UI generated"}
    events = await ran(client, "plain", thread, "", tools=[TOOL], messages=[result])
    assert (activities(events), text_of(events)) == ([], "Shown now.")
    messages = snapshot(await connected(client, "plain", thread))
    assert [each["role"] for each in messages] == ["user", "assistant", "tool", "activity", "assistant"]
    assert shown(messages) == {THERE: DRAWN}
    listed = await client.get(f"/threads/{thread}/messages", params={"format": "ag-ui"})
    assert shown(listed.json()["messages"]) == {THERE: DRAWN}


@pytest.mark.parametrize(
    ("until", "left"),
    [
        (AT_HTML, {**dict(list(DRAWN.items())[:5]), "html": [ARGUMENTS["html"].partition(ROW)[0]]}),
        (TEXT.index("font: 14px"), {"placeholderMessages": ARGUMENTS["placeholderMessages"], **HIDDEN}),
        (len('{"initialH'), None),
    ],
)
async def test_a_call_that_is_cut_off_ends_with_what_there_was_to_see(
    url: str, thread: str, gate: Gate, until: int, left: Json | None
) -> None:
    asked = body(thread, asking([TEXT[:until], {"gate": "sandbox"}]), tools=[TOOL])
    async with client_for(url) as page, reading(page, "POST", at("plain", "run"), json=asked) as run:
        await happens(gate.reached.is_set)
        assert await stop(page, "plain", thread)
        events = events_of(await run.rest())
        assert events[-1]["type"] == "RUN_FINISHED"
        assert [joined(each) for each in states(events)[-1:]] == ([left] if left else [])
        assert await after_a_reload(page, "plain", thread) == ({THERE: left} if left else {})


async def test_what_turns_out_to_be_no_json_takes_no_room(client: httpx.AsyncClient, thread: str) -> None:
    events = await ran(client, "plain", thread, asking([TEXT[:AT_HTML], "\\x", TEXT[AT_HTML:]]), tools=[TOOL])
    assert events[-1]["type"] == "RUN_ERROR", "a page's tool has one try"
    assert states(events)[0]["initialHeight"] == 320
    assert states(events)[-1] == HIDDEN
    assert await after_a_reload(client, "plain", thread) == {}


@pytest.mark.parametrize(
    ("arguments", "drawn"),
    [
        ({"html": "<b>"}, {"html": ["<b>"], "htmlComplete": True, "generating": False}),
        ({"html": "<b>", "css": None}, {"html": ["<b>"], "htmlComplete": True, "cssComplete": True}),
        ({"html": ["<b>"]}, {"htmlComplete": True, **HIDDEN}),
        ({"html": "<b>", "initialHeight": True}, {"html": ["<b>"], "htmlComplete": True}),
        ({"html": "<b>", "initialHeight": -5}, {"html": ["<b>"], "htmlComplete": True}),
        ({"html": "<b>", "initialHeight": "90px"}, {"html": ["<b>"], "htmlComplete": True}),
        ({"jsExpressions": [1, "a()"]}, {"jsExpressions": ["a()"], "jsExpressionsComplete": True, **HIDDEN}),
        ({"jsExpressions": "a()"}, {"jsExpressions": [], "jsExpressionsComplete": True, **HIDDEN}),
        ({"initialHeight": 90}, HIDDEN),
        ({"placeholderMessages": ["Wait"]}, {"placeholderMessages": ["Wait"], **HIDDEN}),
        ({"title": "Mine"}, None),
        ([1], None),
    ],
)
async def test_what_a_page_could_not_draw_does_not_keep_it_from_the_rest(
    client: httpx.AsyncClient, thread: str, arguments: Any, drawn: Json | None
) -> None:
    events = await ran(client, "plain", thread, asking([json.dumps(arguments)]), tools=[TOOL])
    assert states(events)[-1:] == ([{"generating": False, **drawn}] if drawn else [])


async def test_an_answer_that_is_repeated_when_its_frames_are_gone_draws_it_again(tmp_path: Path, thread: str) -> None:
    config = make_config(agents=AGENTS, stores={"conversations": f"sqlite:///{tmp_path}/threads.db"})
    asked: Json = {"tools": [TOOL]}
    answer = [{"interruptId": "int-permit-1", "status": "resolved", "payload": {"approved": True}}]
    async with calling(create_app(config)) as client:
        await ran(client, "asks_first", thread, "Show it", **asked)
        first = await ran(client, "asks_first", thread, "", resume=answer, **asked)
    async with calling(create_app(config)) as client:
        again = await ran(client, "asks_first", thread, "", resume=answer, **asked)
        stored = await after_a_reload(client, "asks_first", thread)
    assert joined(states(first)[-1]) == DRAWN
    assert states(again) == [DRAWN]
    assert stored == {"ui-1-activity": DRAWN, "its-own": {}}
    assert {each["messageId"] for each in activities(first)} == {each["messageId"] for each in activities(again)}


@pytest.mark.parametrize("dialect", ["", "1.0"])
async def test_old_and_new_clients_get_the_same(client: httpx.AsyncClient, thread: str, dialect: str) -> None:
    declared = {"protocolVersion": dialect} if dialect else {}
    events = await ran(client, "plain", thread, asking(cut(TEXT, 9)), tools=[TOOL], **declared)
    assert joined(states(events)[-1]) == DRAWN

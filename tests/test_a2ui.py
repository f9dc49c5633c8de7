"""Surfaces (A2UI) over HTTP: when an agent may show some, what is streamed of them, and what a stored thread shows."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from a2ui_agents import ARGUMENTS, COMPONENTS, OPERATIONS, cut, script
from copilotkit_talk import at, body, connected, ran, snapshot, stop
from reading import KEYS, client_for, happens, reading
from run_probes import Gate, gates
from serving import make_config, serving
from talking import calling, events_of, run_url, text_of, turn

from gateway import create_app
from gateway.frontend.a2ui_catalogue import catalogue_for
from gateway.frontend.client_input import ClientInput, ContextItem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

    import httpx

    Json = dict[str, Any]

pytestmark = pytest.mark.anyio

NAMES = ("plain", "own", "homemade", "asks_first")
AGENTS = {name: f"a2ui_agents:{name}" for name in NAMES}
BASIC = "https://a2ui.org/specification/v0_9/basic_catalog.json"
DRAWS = {"a2uiCatalogAvailable": True}
SCHEMA = (
    "A2UI Component Schema — available components for generating UI surfaces. Use these component names and "
    "properties when creating A2UI operations."
)
"""As `@copilotkit/a2ui-renderer` has it."""


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
    return gates["a2ui"]


@pytest.fixture(autouse=True)
def _a_gate_is_shut_once() -> None:
    gates["a2ui"] = Gate()


def catalogue(**components: Json) -> list[Json]:
    """The context of a page that has those components."""
    return [{"description": SCHEMA, "value": json.dumps({"catalogId": "my-catalogue", "components": components})}]


def surfaces(events: list[Json]) -> list[Json]:
    """The activities in a stream."""
    return [event for event in events if event["type"] == "ACTIVITY_SNAPSHOT"]


def shown(messages: list[Json]) -> dict[str, Any]:
    """The surfaces among messages, by id."""
    return {each["id"]: each["content"] for each in messages if each["role"] == "activity"}


def last(events: list[Json]) -> dict[str, Any]:
    """The surfaces at the end of a stream, by id."""
    assert all(event["activityType"] == "a2ui-surface" and event["replace"] for event in surfaces(events))
    return {event["messageId"]: event["content"] for event in surfaces(events)}


def drawn(catalogue_id: str = BASIC, arguments: Json = ARGUMENTS) -> Json:
    """What is streamed of arguments in the end."""
    name = arguments["surfaceId"]
    operations: list[Json] = [
        {"createSurface": {"surfaceId": name, "catalogId": catalogue_id}},
        {"updateComponents": {"surfaceId": name, "components": arguments["components"]}},
    ]
    if "data" in arguments:
        operations.append({"updateDataModel": {"surfaceId": name, "path": "/", "value": arguments["data"]}})
    return {"a2ui_operations": [{"version": "v0.9", **each} for each in operations]}


async def test_an_agent_shows_surfaces_to_a_page_that_says_it_can_draw_them(
    client: httpx.AsyncClient, thread: str
) -> None:
    events = await ran(client, "plain", thread, script(ARGUMENTS), forwardedProps=DRAWS)
    assert last(events) == {"a2ui-surface-call-1": drawn()}
    assert text_of(events) == "Shown now."


@pytest.mark.parametrize("props", [{}, {"a2uiCatalogAvailable": False}, {"a2uiCatalogAvailable": "yes"}])
async def test_other_pages_get_none(client: httpx.AsyncClient, thread: str, props: Json) -> None:
    events = await ran(client, "plain", thread, script(ARGUMENTS), forwardedProps=props)
    assert (surfaces(events), text_of(events)) == ([], "I cannot show anything.")


async def test_an_agent_that_shows_surfaces_by_itself_does_so_over_ag_ui_too(
    client: httpx.AsyncClient, thread: str
) -> None:
    body = turn("ag-ui", script(ARGUMENTS), thread)
    events = events_of((await client.post(run_url("ag-ui", "own"), json=body)).text)
    assert last(events) == {"a2ui-surface-call-1": drawn()}
    asked = turn("ag-ui", script(ARGUMENTS), forwardedProps=DRAWS)
    assert "I cannot show" in text_of(events_of((await client.post(run_url("ag-ui", "plain"), json=asked)).text))


@pytest.mark.parametrize(
    ("a2ui", "props", "is_shown"), [(True, {}, True), (False, DRAWS, False), (None, DRAWS, True), (None, {}, False)]
)
async def test_a_runtime_may_say_so_for_all_of_its_pages(a2ui: bool | None, props: Json, is_shown: bool) -> None:
    runtime = {"path": "/copilotkit", "agents": ["plain"], "a2ui": a2ui}
    async with calling(create_app(make_config(agents=AGENTS, copilotkit=runtime))) as client:
        info = (await client.get("/copilotkit/info")).json()
        assert info["a2uiEnabled"] is (a2ui is True)
        assert info.get("a2ui") == ({"enabled": True} if a2ui else None)
        events = await ran(client, "plain", "t", script(ARGUMENTS), forwardedProps=props)
        assert bool(surfaces(events)) is is_shown


async def test_a_runtime_announces_the_surfaces_of_an_agent_that_shows_them_by_itself(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.get("/copilotkit/info")).json()["a2ui"] == {"enabled": True}


async def test_the_config_may_give_the_capability_to_an_agent(thread: str) -> None:
    agents = {"plain": {"import": "a2ui_agents:plain", "capabilities": ["gateway:A2ui"]}}
    async with calling(create_app(make_config(agents=agents))) as client:
        assert (await client.get("/copilotkit/info")).json()["a2uiEnabled"] is True
        assert last(await ran(client, "plain", thread, script(ARGUMENTS), forwardedProps=DRAWS))


async def test_a_surface_grows_from_a_placeholder_by_components_to_its_last_item(
    client: httpx.AsyncClient, thread: str
) -> None:
    pieces = cut(json.dumps(ARGUMENTS), 60)
    events = surfaces(await ran(client, "own", thread, script(pieces)))
    contents: list[Json] = [event["content"] for event in events]
    assert contents[0] == {"status": "building"}
    operations = [each["a2ui_operations"] for each in contents if "a2ui_operations" in each]
    assert contents[-len(operations) - 1]["status"] == "building"
    assert all(each[1]["updateComponents"]["components"] == COMPONENTS for each in operations)
    items = [len(each[2]["updateDataModel"]["value"].get("items", [])) for each in operations if len(each) == 3]
    assert items == sorted(items)
    assert {0, 1, 3, 6} < {0, *items}, "it comes bit by bit"
    assert operations[-1] == drawn()["a2ui_operations"]


async def test_long_arguments_are_not_sent_again_with_each_piece_of_them(
    client: httpx.AsyncClient, thread: str
) -> None:
    many = {**ARGUMENTS, "data": {"items": [{"name": f"Item {number}"} for number in range(2000)]}}
    text = json.dumps(many)
    response = await client.post(at("own", "run"), json=body(thread, script(cut(text, 1000))))
    assert last(events_of(response.text)) == {"a2ui-surface-call-1": drawn(arguments=many)}
    sent = sum(len(json.dumps(each["content"])) for each in surfaces(events_of(response.text)))
    assert sent < 12 * len(text)


WRONG: list[tuple[Any, str]] = [
    ({"components": COMPONENTS}, "surfaceId"),
    ({"surfaceId": "s"}, "components"),
    ({"surfaceId": "s", "components": []}, "components"),
    ({"surfaceId": "s", "components": {"id": "root"}}, "components"),
    ({"surfaceId": "s", "components": ["root"]}, "components[0] needs `id`"),
    ({"surfaceId": "s", "components": [{"id": "root"}]}, "components[0] needs `component`"),
    ({"surfaceId": "s", "components": [{"id": "x", "component": "Text"}]}, '"root"'),
    ({"surfaceId": "s", "components": [*COMPONENTS, COMPONENTS[0]]}, "two components"),
    (
        {"surfaceId": "s", "components": [{"id": "root", "component": "Card", "child": "x"}]},
        "no component with that id",
    ),
    ({"surfaceId": "s", "components": [{"id": "root", "component": "Card", "child": "root"}]}, "holds itself"),
    (
        {
            "surfaceId": "s",
            "components": [
                {"id": "root", "component": "Tabs", "tabs": [{"title": "A", "child": "a"}]},
                {"id": "a", "component": "Row", "children": {"componentId": "root", "path": "/x"}},
            ],
        },
        "holds itself",
    ),
    (
        {"surfaceId": "s", "components": [{"id": "root", "component": "Modal", "trigger": "x", "content": "y"}]},
        'holds "x", but there is no component',
    ),
    (
        {
            "surfaceId": "s",
            "components": [
                {"id": "root", "component": "Modal", "trigger": "a", "content": "root"},
                {"id": "a", "component": "Text", "text": "Open"},
            ],
        },
        "holds itself",
    ),
    ({"surfaceId": "s", "components": [{"id": "root", "component": "Sparkline"}]}, 'no component "Sparkline"'),
    ({**ARGUMENTS, "data": [1]}, "data"),
    ({**ARGUMENTS, "surfaceId": "s" * 201}, "surfaceId"),
]


@pytest.mark.parametrize(("arguments", "why"), WRONG)
async def test_the_model_is_told_what_is_wrong_and_tries_again_in_the_same_place(
    client: httpx.AsyncClient, thread: str, arguments: Json, why: str
) -> None:
    events = await ran(client, "own", thread, script(arguments, ARGUMENTS))
    [told, _] = [event["content"] for event in events if event["type"] == "TOOL_CALL_RESULT"]
    assert why in told
    contents = [event["content"] for event in surfaces(events)]
    retrying = next(each for each in contents if each.get("status") == "retrying")
    assert (retrying["attempt"], retrying["maxAttempts"]) == (2, 3)
    assert retrying["errors"] == [{"message": told}]
    assert last(events) == {"a2ui-surface-call-1": drawn()}
    assert shown(snapshot(await connected(client, "own", thread))) == {"a2ui-surface-call-1": drawn()}


async def test_there_is_an_end_to_what_one_surface_may_hold(client: httpx.AsyncClient, thread: str) -> None:
    begun = json.dumps(ARGUMENTS)[:-1]
    long = [begun, ', "more": "', {"repeat": "x" * 1000, "times": 200}, '"}']
    events = await ran(client, "own", thread, script(long, ARGUMENTS))
    [told, _] = [event["content"] for event in events if event["type"] == "TOOL_CALL_RESULT"]
    assert told.startswith("The arguments are too long: at most 200000 characters.")
    assert last(events) == {"a2ui-surface-call-1": drawn()}


async def test_characters_count_and_not_bytes(client: httpx.AsyncClient, thread: str) -> None:
    begun = json.dumps(ARGUMENTS)[:-1]
    long = [begun, ', "more": "', {"repeat": "\u754c" * 1000, "times": 100}, '"}']
    events = await ran(client, "own", thread, script(long))
    assert last(events) == {"a2ui-surface-call-1": drawn()}
    assert text_of(events) == "Shown now."


async def test_what_never_becomes_a_surface_is_said_to_have_failed_and_is_not_there_after_a_reload(
    client: httpx.AsyncClient, thread: str
) -> None:
    events = await ran(client, "own", thread, script({"surfaceId": "s"}, {"surfaceId": "s"}))
    assert text_of(events) == "I give up."
    [content] = last(events).values()
    assert content["status"] == "failed"
    assert events[-1]["type"] == "RUN_FINISHED"
    assert shown(snapshot(await connected(client, "own", thread))) == {}


async def test_a_run_that_fails_for_want_of_a_surface_says_so_of_the_surface_first(
    client: httpx.AsyncClient, thread: str
) -> None:
    events = await ran(client, "own", thread, script(*[{"surfaceId": "s"}] * 4))
    assert events[-1]["type"] == "RUN_ERROR"
    [content] = last(events).values()
    assert content["status"] == "failed"


async def test_a_run_that_is_stopped_leaves_no_placeholder(url: str, thread: str, gate: Gate) -> None:
    half = json.dumps(ARGUMENTS)[:300]
    asked = body(thread, script([half, {"gate": "a2ui"}]))
    async with client_for(url) as page, reading(page, "POST", at("own", "run"), json=asked) as run:
        await happens(gate.reached.is_set)
        assert await stop(page, "own", thread)
        events = events_of(await run.rest())
        assert [content["status"] for content in last(events).values()] == ["failed"]
        assert events[-1]["type"] == "RUN_FINISHED"
        assert shown(snapshot(await connected(page, "own", thread))) == {}


async def test_a_surface_that_was_there_when_its_run_was_stopped_stays(url: str, thread: str, gate: Gate) -> None:
    asked = body(thread, script(ARGUMENTS, gate="a2ui"))
    async with client_for(url) as page, reading(page, "POST", at("own", "run"), json=asked) as run:
        await happens(gate.reached.is_set)
        assert await stop(page, "own", thread)
        assert last(events_of(await run.rest())) == {"a2ui-surface-call-1": drawn()}
        assert shown(snapshot(await connected(page, "own", thread))) == {"a2ui-surface-call-1": drawn()}


async def test_operations_in_the_results_of_tools_become_one_activity_for_each_surface(
    client: httpx.AsyncClient, thread: str
) -> None:
    one = await ran(client, "own", thread, script({"surfaces": 1}, tool="report"))
    assert last(one) == {"a2ui-surface-call-1": {"a2ui_operations": OPERATIONS[:1]}}
    two = await ran(client, "own", thread, script({"surfaces": 2}, tool="report"))
    names = {"a2ui-surface-one-call-5": OPERATIONS[:1], "a2ui-surface-two-call-5": OPERATIONS[1:]}
    assert last(two) == {name: {"a2ui_operations": operations} for name, operations in names.items()}
    stored = shown(snapshot(await connected(client, "own", thread)))
    assert stored == {**last(one), **last(two)}


async def test_operations_in_results_are_data_like_any_other_for_an_agent_without_surfaces(
    client: httpx.AsyncClient, thread: str
) -> None:
    events = await ran(client, "plain", thread, script({"surfaces": 1}, tool="report"))
    assert (surfaces(events), text_of(events)) == ([], "Shown now.")
    assert shown(snapshot(await connected(client, "plain", thread))) == {}


@pytest.mark.parametrize(
    ("capabilities", "a2ui", "is_shown"), [([], None, False), ([], True, True), (["gateway:A2ui"], None, True)]
)
async def test_operations_in_results_are_shown_where_the_author_or_the_runtime_says_so_and_not_the_page(
    thread: str, capabilities: list[str], a2ui: bool | None, is_shown: bool
) -> None:
    agents: Json = {"plain": {"import": "a2ui_agents:plain", "capabilities": capabilities}}
    config = make_config(agents=agents, copilotkit={"path": "/copilotkit", "a2ui": a2ui})
    async with calling(create_app(config)) as client:
        asked = script({"surfaces": 1}, tool="report")
        events = await ran(client, "plain", thread, asked, forwardedProps=DRAWS)
        assert text_of(events) == "Shown now."
        assert bool(surfaces(events)) is is_shown
        assert bool(shown(snapshot(await connected(client, "plain", thread)))) is is_shown


async def test_the_page_s_own_components_are_told_to_the_model_and_no_others_are_drawn(
    client: httpx.AsyncClient, thread: str
) -> None:
    metric: Json = {
        "allOf": [
            {"$ref": "common_types.json#/$defs/ComponentCommon"},
            {
                "properties": {
                    "component": {"const": "Metric"},
                    "label": {"type": "string", "description": "What is counted."},
                    "trend": {"enum": ["up", "down"]},
                },
                "required": ["component", "label"],
            },
        ]
    }
    context = catalogue(Metric=metric)
    tools = json.loads(text_of(await ran(client, "plain", thread, "tools", forwardedProps=DRAWS, context=context)))
    about, schema = tools["render_a2ui"]
    assert len(about) <= 1024
    guide = schema["properties"]["components"]["description"]
    assert 'Metric: {label: string /* What is counted. */, trend?: "up"|"down"}' in guide
    assert "TextField:" not in guide
    wrong: Json = {"surfaceId": "s", "components": [{"id": "root", "component": "Metric"}]}
    right: Json = {"surfaceId": "s", "components": [{"id": "root", "component": "Metric", "label": "Users"}]}
    events = await ran(client, "plain", thread, script(ARGUMENTS, wrong, right), forwardedProps=DRAWS, context=context)
    told = [event["content"] for event in events if event["type"] == "TOOL_CALL_RESULT"]
    assert told[0] == 'There is no component "Column". There are: Metric.'
    assert told[1] == 'Component "root" (Metric) needs `label`.'
    assert list(last(events).values()) == [drawn("my-catalogue", right)]
    # The page's catalogue is not stored with the thread, but what was drawn by it is the same.
    assert shown(snapshot(await connected(client, "plain", thread))) == last(events)


@pytest.mark.parametrize(
    "context",
    [
        [{"description": SCHEMA, "value": "no JSON"}],
        [{"description": SCHEMA, "value": "[1]"}],
        [{"description": SCHEMA, "value": json.dumps({"components": "x", "catalogId": 7})}],
        [{"description": SCHEMA, "value": json.dumps({"components": {"A": {}}, "text": "x" * 600_000})}],
    ],
)
async def test_a_catalogue_that_cannot_be_read_leaves_the_basic_one(
    client: httpx.AsyncClient, thread: str, context: list[Json]
) -> None:
    events = await ran(client, "plain", thread, script(ARGUMENTS), forwardedProps=DRAWS, context=context)
    assert last(events) == {"a2ui-surface-call-1": drawn()}


async def test_a_catalogue_s_name_is_enough_for_a_page_that_keeps_its_schemas_to_itself(
    client: httpx.AsyncClient, thread: str
) -> None:
    about = "A2UI catalog capabilities: available catalog IDs and custom component definitions the client can render."
    context = [{"description": about, "value": "Available A2UI catalog:\n- shop-ui\n  Custom catalog"}]
    events = await ran(client, "plain", thread, script(ARGUMENTS), forwardedProps=DRAWS, context=context)
    assert last(events) == {"a2ui-surface-call-1": drawn("shop-ui")}


async def test_a_catalogue_that_leads_round_in_circles_is_told_as_far_as_it_goes(
    client: httpx.AsyncClient, thread: str
) -> None:
    circle = {"anyOf": [{"$ref": "#/properties/more"}] * 60}
    context = catalogue(**{f"Circle{n}": {"properties": {"more": circle}} for n in range(20)})
    async with asyncio.timeout(10):
        events = await ran(client, "plain", thread, "tools", forwardedProps=DRAWS, context=context)
    assert len(text_of(events)) < 50_000


def referring_to(schema: Json) -> Json:
    """A component with hundreds of properties that refer to one schema."""
    return {"properties": {f"p{number}": {"$ref": "#/x"} for number in range(499)}, "x": schema}


NAMED = {f"{number:x}": 0 for number in range(20_000)}
OBJECT: Json = {"type": "object", "properties": NAMED, "required": [[], *NAMED]}


@pytest.mark.parametrize(
    ("component", "told"),
    [
        ({"properties": {"a": {"$ref": f"#/{'x' * 300}"}}, "x" * 300: {"type": "string"}}, "{a?: any}"),
        (referring_to({"const": [1] * 100_000}), "{p0?: any, p1?: any, "),
        (referring_to({"const": int("9" * 4000)}), "{p0?: any, p1?: any, "),
        (referring_to({"enum": ["x" * 100_000]}), f'{{p0?: "{"x" * 119}, p1?: "{"x" * 119}, '),
        ({"properties": {"a": OBJECT, "b": {"type": "string"}}}, "4e: any, 4f?: any}, b?: string}"),
        ({"properties": {"x" * 100_000: {"type": "string"}}}, f"{{{'x' * 200}?: string}}"),
    ],
)
async def test_a_catalogue_is_told_as_far_as_it_is_of_use_however_much_is_in_it(
    client: httpx.AsyncClient, thread: str, component: Json, told: str
) -> None:
    context = catalogue(Large=component)
    async with asyncio.timeout(10):
        events = await ran(client, "plain", thread, "tools", forwardedProps=DRAWS, context=context)
    _, schema = json.loads(text_of(events))["render_a2ui"]
    guide = schema["properties"]["components"]["description"]
    assert told in guide.partition("Large: ")[2]
    assert len(guide) < 50_000


async def test_components_of_which_there_are_too_many_to_describe_are_told_by_name(
    client: httpx.AsyncClient, thread: str
) -> None:
    many = {"properties": {"kind": {"anyOf": [{"$ref": "#/properties/kind"}] * 20}}}
    context = catalogue(**{f"Kind{number}": many for number in range(100)})
    events = await ran(client, "plain", thread, "tools", forwardedProps=DRAWS, context=context)
    _, schema = json.loads(text_of(events))["render_a2ui"]
    guide = schema["properties"]["components"]["description"]
    assert "Kind0: {kind?: any}" in guide
    assert "not described here: " in guide
    assert guide.partition("not described here: ")[2].partition("\n")[0].endswith("Kind98, Kind99")


@pytest.mark.parametrize("place", ["²", "٣", "9" * 5000, "-1", "1"])
async def test_a_reference_to_no_place_in_a_list_means_any_type(
    client: httpx.AsyncClient, thread: str, place: str
) -> None:
    context = catalogue(Odd={"allOf": [{}], "properties": {"a": {"$ref": f"#/allOf/{place}"}}})
    events = await ran(client, "plain", thread, "tools", forwardedProps=DRAWS, context=context)
    assert "Odd: {a?: any}" in text_of(events)


async def test_a_catalogue_s_name_is_looked_for_where_it_stands_and_no_further(
    client: httpx.AsyncClient, thread: str
) -> None:
    value = "\n" * 10_000 + "- shop-ui"
    context = [{"description": "A2UI catalog capabilities: ...", "value": value}]
    events = await ran(client, "plain", thread, script(ARGUMENTS), forwardedProps=DRAWS, context=context)
    assert last(events) == {"a2ui-surface-call-1": drawn()}


def test_catalogues_that_are_too_large_are_not_kept() -> None:
    tracemalloc.start()
    try:
        for number in range(16):
            page = ClientInput((ContextItem(SCHEMA, f"{number}" + " " * 600_000),))
            assert catalogue_for(page).id == BASIC
            del page
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000


OWN_WORDS: Json = {"type": "string", "description": "The ID of the component that opens it."}
COMPONENT_ID: Json = {"type": "string", "description": "REF:common_types.json#/$defs/ComponentId|Another one."}
CHILD_LIST: Json = {"type": "array", "description": "REF:common_types.json#/$defs/ChildList|Others."}


@pytest.mark.parametrize(
    ("schema", "component", "why"),
    [
        (
            {"trigger": OWN_WORDS, "content": OWN_WORDS},
            {"component": "Modal", "trigger": "root", "content": "t"},
            "self",
        ),
        (
            {"trigger": OWN_WORDS, "content": OWN_WORDS},
            {"component": "Modal", "trigger": "t", "content": "gone"},
            "gone",
        ),
        ({"id": COMPONENT_ID, "header": COMPONENT_ID}, {"component": "Modal", "header": "gone"}, "gone"),
        ({"id": COMPONENT_ID, "header": COMPONENT_ID}, {"component": "Modal", "header": "root"}, "holds itself"),
        ({"slots": CHILD_LIST}, {"component": "Modal", "slots": ["t", "gone"]}, "gone"),
        ({"slots": CHILD_LIST}, {"component": "Modal", "slots": {"componentId": "gone", "path": "/x"}}, "gone"),
        ({"content": OWN_WORDS}, {"component": "Modal", "content": "Just text"}, ""),
    ],
)
async def test_what_refers_to_other_components_is_known_from_the_page_s_catalogue(
    client: httpx.AsyncClient, thread: str, schema: Json, component: Json, why: str
) -> None:
    context = catalogue(Modal={"properties": schema}, Text={})
    components = [{"id": "root", **component}, {"id": "t", "component": "Text"}]
    asked = script({"surfaceId": "s", "components": components})
    events = await ran(client, "plain", thread, asked, forwardedProps=DRAWS, context=context)
    [told] = [event["content"] for event in events if event["type"] == "TOOL_CALL_RESULT"]
    assert why in told
    assert ("rendered" in told) is (not why)


RENDER: Json = {"name": "render_a2ui", "description": "Mine", "parameters": {"type": "object", "properties": {}}}


async def test_a_page_s_own_tool_of_that_name_gives_way_to_the_agent_s(client: httpx.AsyncClient, thread: str) -> None:
    for agent, props in (("own", {}), ("plain", DRAWS)):
        events = await ran(client, agent, f"{thread}{agent}", script(ARGUMENTS), forwardedProps=props, tools=[RENDER])
        assert last(events) == {"a2ui-surface-call-1": drawn()}
        assert text_of(events) == "Shown now."


async def test_without_one_of_the_agent_s_it_is_the_page_s(client: httpx.AsyncClient, thread: str) -> None:
    events = await ran(client, "plain", thread, script(ARGUMENTS), tools=[RENDER])
    assert surfaces(events) == []
    assert [event["toolCallName"] for event in events if event["type"] == "TOOL_CALL_START"] == ["render_a2ui"]
    assert not [event for event in events if event["type"] == "TOOL_CALL_RESULT"]


async def test_an_agent_s_own_tool_of_that_name_is_left_alone(client: httpx.AsyncClient, thread: str) -> None:
    events = await ran(client, "homemade", thread, script({"surface": "a house"}), forwardedProps=DRAWS)
    assert (surfaces(events), text_of(events)) == ([], "Shown now.")
    assert [event["content"] for event in events if event["type"] == "TOOL_CALL_RESULT"] == ["drawn a house"]
    assert shown(snapshot(await connected(client, "homemade", thread))) == {}


async def test_suggestions_have_no_part_in_it(client: httpx.AsyncClient, thread: str) -> None:
    suggest: Json = {"name": "copilotkitSuggest", "description": "", "parameters": {"type": "object", "properties": {}}}
    choice = {"type": "function", "function": {"name": "copilotkitSuggest"}}
    asked = body(thread, "tools", tools=[suggest], forwardedProps={**DRAWS, "toolChoice": choice})
    events = events_of((await client.post(at("plain", "suggest"), json=asked)).text)
    assert set(json.loads(text_of(events))) == {"copilotkitSuggest", "report"}


async def test_a_surface_from_another_protocol_is_shown_where_there_are_surfaces(
    client: httpx.AsyncClient, thread: str
) -> None:
    response = await client.post(run_url("vercel-ai", "own"), json=turn("vercel-ai", script(ARGUMENTS), thread))
    assert "a2ui-surface" not in response.text, "the AI SDK has the call"
    assert shown(snapshot(await connected(client, "own", thread))) == {"a2ui-surface-call-1": drawn()}
    messages = (await client.get(f"/threads/{thread}/messages", params={"format": "ag-ui"})).json()["messages"]
    assert shown(messages) == {"a2ui-surface-call-1": drawn()}


async def test_an_answer_that_is_repeated_when_its_frames_are_gone_shows_its_surfaces_again(
    tmp_path: Path, thread: str
) -> None:
    config = make_config(agents=AGENTS, stores={"conversations": f"sqlite:///{tmp_path}/threads.db"})
    answer = [{"interruptId": "int-permit-1", "status": "resolved", "payload": {"approved": True}}]
    async with calling(create_app(config)) as client:
        await ran(client, "asks_first", thread, "Show it")
        first = await ran(client, "asks_first", thread, "", resume=answer)
    async with calling(create_app(config)) as client:
        again = await ran(client, "asks_first", thread, "", resume=answer)
        stored = shown(snapshot(await connected(client, "asks_first", thread)))
    assert set(last(first)) == {
        "a2ui-surface-render-1",
        "a2ui-surface-one-report-1",
        "a2ui-surface-two-report-1",
    }
    assert last(first) == last(again) == stored
    assert len(surfaces(again)) == len(stored)

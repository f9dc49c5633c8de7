"""Pages of MCP Apps: what they ask of their server through a run that is none, and what they are refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import mcp_servers
import pytest
import yaml
from copilotkit_talk import at, body, connected, enveloped
from logs import capture_logs
from mcp_servers import HTML, KEY, PAGE, SECRET, Weather, configured, forecaster, toolset, weather_server
from pydantic_ai.capabilities import MCP, AbstractCapability
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.toolsets import AbstractToolset, WrapperToolset
from reading import KEYS, client_for, reading
from run_probes import gates
from serving import ROOT, make_config, serving
from talking import assert_problem, calling, events_of, run_url, text_of, turn

from gateway import to_ag_ui
from gateway.app import create_app
from gateway.config import GatewayConfig, McpAppsSettings
from gateway.errors import ConfigError
from gateway.mcp_apps import FAILED, MALFORMED, NO_METHOD, NO_RESOURCE, NO_SERVER, NO_TOOL, TOO_LARGE, TOO_LATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import httpx
    from pydantic_ai import Agent, RunContext
    from pydantic_ai.tools import ToolDefinition
    from pydantic_ai.toolsets import ToolsetTool

    from gateway import Principal

    Json = dict[str, Any]

pytestmark = pytest.mark.anyio

EVERYTHING = ["resources/read", "tools/call", "ping", "notifications/message"]
PAGES: Json = {"servers": ["weather"], "methods": EVERYTHING}
NARROW = {"id": "narrow", "sha256": hashlib.sha256(b"narrow").hexdigest(), "scopes": ["agents:reader"]}


class _Guarded(AbstractCapability[Any]):
    """Has the user approve what closes a station, and hides what is stuck."""

    async def prepare_tools(self, ctx: RunContext[Any], tool_defs: list[ToolDefinition]) -> list[ToolDefinition]:  # noqa: ARG002
        kept = [each for each in tool_defs if each.name != "stuck"]
        return [replace(each, kind="unapproved") if each.name == "close_station" else each for each in kept]


class _Asking(AbstractCapability[Any]):
    """Has the user approve everything."""

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        return toolset.approval_required()


@dataclass
class _Discreet(WrapperToolset[Any]):
    """Keeps to itself what a tool says."""

    async def call_tool(self, name: str, tool_args: Json, ctx: RunContext[Any], tool: ToolsetTool[Any]) -> Any:
        await super().call_tool(name, tool_args, ctx, tool)
        return "Done."


class _Tucked(MCPToolset[Any]):
    """Has no tools that cannot be undone."""

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        tools = await super().get_tools(ctx)
        return {name: tool for name, tool in tools.items() if not _is_final(tool.tool_def)}


class _Pageless(MCPToolset[Any]):
    """Has no tools with pages."""

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        tools = await super().get_tools(ctx)
        return {name: tool for name, tool in tools.items() if "'ui'" not in str(tool.tool_def.metadata)}


def _signed_in(ctx: RunContext[Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {ctx.deps}"}


def _is_final(tool: ToolDefinition) -> bool:
    annotations: Json | None = (tool.metadata or {}).get("annotations")
    return bool(annotations and annotations["destructiveHint"])


seen: dict[str, ToolDefinition] = {}
"""Tools as a filter of the agent's was last shown them, by name."""


def _noted(_: RunContext[Any], tool: ToolDefinition) -> bool:
    seen[tool.name] = tool
    return True


def subject_of(principal: Principal) -> str:
    """Deps."""
    return principal.subject


def agents_of(weather: Weather) -> dict[str, tuple[Agent[Any, Any], Json]]:
    """Agents and their settings. All use one server, and some even one toolset."""
    shared, slow = toolset(weather), toolset(weather)
    made_for_run = forecaster()
    made_for_run.toolset(lambda _: toolset(weather))
    named = toolset(weather, headers=_signed_in)
    prefixed = toolset(weather).prefixed("met").filtered(lambda _, each: each.name != "met_close_station")
    choosy = toolset(weather).approval_required(lambda _, tool, __: tool.name == "close_station")
    capability = MCP(weather.url, id="weather", allowed_tools=["weather_in", "refresh"], tool_prefix="met")
    return {
        "pages": (forecaster(shared), {"mcp_apps": PAGES}),
        "closed": (forecaster(shared), {}),
        "reader": (forecaster(toolset(weather)), {"mcp_apps": {"servers": ["weather"]}}),
        "seaside": (forecaster(shared, toolset(weather, "sea").prefixed("sea")), {"mcp_apps": PAGES}),
        "narrowed": (forecaster(toolset(weather)), {"mcp_apps": {**PAGES, "tools": ["refresh"]}}),
        "wide": (forecaster(toolset(weather)), {"mcp_apps": {**PAGES, "resources": ["ui://", "file:///public/"]}}),
        "approved": (forecaster(toolset(weather).approval_required()), {"mcp_apps": PAGES}),
        "choosy": (forecaster(choosy), {"mcp_apps": PAGES}),
        "guarded": (forecaster(toolset(weather), capabilities=[_Guarded()]), {"mcp_apps": PAGES}),
        "asking": (forecaster(toolset(weather), capabilities=[_Asking()]), {"mcp_apps": PAGES}),
        "prefixed": (forecaster(prefixed), {"mcp_apps": PAGES}),
        "discreet": (forecaster(_Discreet(toolset(weather))), {"mcp_apps": PAGES}),
        "gentle": (forecaster(toolset(weather).filtered(lambda _, tool: not _is_final(tool))), {"mcp_apps": PAGES}),
        "wary": (
            forecaster(toolset(weather).approval_required(lambda _, tool, __: _is_final(tool))),
            {"mcp_apps": PAGES},
        ),
        "noting": (forecaster(toolset(weather, include_return_schema=True).filtered(_noted)), {"mcp_apps": PAGES}),
        "tucked": (forecaster(_Tucked(weather.url, id="weather")), {"mcp_apps": PAGES}),
        "pageless": (forecaster(_Pageless(weather.url, id="weather")), {"mcp_apps": PAGES}),
        "capable": (forecaster(capabilities=[capability]), {"mcp_apps": PAGES}),
        "added": (forecaster(), {"mcp_apps": PAGES, "capabilities": ["mcp_servers:capability"]}),
        "made_for_run": (made_for_run, {"mcp_apps": PAGES}),
        "named": (forecaster(named), {"mcp_apps": PAGES, "deps": "test_mcp_apps:subject_of"}),
        "hasty": (forecaster(slow), {"mcp_apps": {**PAGES, "timeout": 0.5}}),
        "patient": (forecaster(slow), {"mcp_apps": PAGES}),
        "small": (forecaster(toolset(weather)), {"mcp_apps": {**PAGES, "max_bytes": 5000}}),
    }


@pytest.fixture(scope="module")
def weather() -> Iterator[Weather]:
    with weather_server() as weather:
        yield weather


@pytest.fixture(scope="module")
def url(weather: Weather) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, configured(agents_of(weather)) as agents:
        patch.setattr(mcp_servers, "capability", MCP(weather.url, id="weather"), raising=False)
        with serving(make_config(agents=agents, auth={"api_keys": [*KEYS, NARROW]})) as url:
            yield url


def relayed(method: str, params: Any = None, server: str = "weather", thread: str = "", **fields: Any) -> Json:
    """What a front end sends for its page."""
    sent = {"serverHash": server, "serverId": server, "method": method, "params": params}
    return body(thread or f"thread-{uuid4()}", forwardedProps={KEY: sent}, **fields)


def result_of(response: httpx.Response, sent: Json) -> Json:
    """The answer that the page gets."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    started, finished = events_of(response.text)
    place = {"threadId": sent["threadId"], "runId": sent["runId"]}
    assert started == {"type": "RUN_STARTED", **place}
    result: Json = finished.pop("result")
    assert finished == {"type": "RUN_FINISHED", **place}
    return result


async def answer(client: httpx.AsyncClient, agent: str, method: str, params: Any = None, **fields: Any) -> Json:
    """What a page of the agent's gets."""
    sent = relayed(method, params, **fields)
    return result_of(await client.post(at(agent, "run"), json=sent), sent)


async def called(client: httpx.AsyncClient, agent: str, tool: str, **arguments: Any) -> Json:
    """What a page gets from a tool."""
    return await answer(client, agent, "tools/call", {"name": tool, "arguments": arguments})


def assert_no_tool(result: Json) -> None:
    """A page that asks for a tool must not take a refusal for its result."""
    assert result == {"error": NO_TOOL, "isError": True, "content": [{"type": "text", "text": NO_TOOL}]}


@pytest.mark.parametrize("surface", ["copilotkit", "single", "ag-ui"])
async def test_a_page_is_read_from_its_server(ada: httpx.AsyncClient, surface: str) -> None:
    sent = relayed("resources/read", {"uri": PAGE})
    if surface == "single":
        response = await enveloped(ada, "agent/run", sent, agentId="reader")
    else:
        response = await ada.post(
            at("reader", "run") if surface == "copilotkit" else run_url(surface, "reader"), json=sent
        )
    [page] = result_of(response, sent)["contents"]
    assert (page["uri"], page["mimeType"], page["text"]) == (PAGE, "text/html;profile=mcp-app", HTML)
    assert page["_meta"] == {"ui": {"prefersBorder": True}}


async def test_an_agui_client_of_1_0_gets_the_same(ada: httpx.AsyncClient) -> None:
    sent = turn("ag-ui", forwardedProps=relayed("resources/read", {"uri": PAGE})["forwardedProps"])
    assert result_of(await ada.post(run_url("ag-ui", "reader"), json=sent), sent)["contents"][0]["text"] == HTML


@pytest.mark.parametrize("ids", [{"serverHash": "weather"}, {"serverHash": "no such", "serverId": "weather"}])
async def test_the_id_of_a_server_counts_more_than_its_hash(ada: httpx.AsyncClient, ids: Json) -> None:
    sent = body("t", forwardedProps={KEY: {**ids, "method": "resources/read", "params": {"uri": PAGE}}})
    assert "contents" in result_of(await ada.post(at("reader", "run"), json=sent), sent)


async def test_a_page_calls_the_tools_that_its_server_shows_to_pages(ada: httpx.AsyncClient, weather: Weather) -> None:
    city = f"Rome {uuid4()}"
    result = await called(ada, "pages", "weather_in", city=city)
    assert result["structuredContent"] == {"city": city, "sky": "clear"}
    assert not result["isError"]
    assert (await called(ada, "pages", "refresh", city=city))["content"] == [
        {"type": "text", "text": f"Still clear in {city}."}
    ]
    assert weather.calls[-2:] == [f"weather_in {city}", f"refresh {city}"]
    assert_no_tool(await called(ada, "pages", "no_such_tool"))


async def test_a_tool_that_is_for_the_model_alone_is_not_called_by_a_page(
    ada: httpx.AsyncClient, weather: Weather
) -> None:
    assert_no_tool(await called(ada, "pages", "plan", city="Rome"))
    assert "plan Rome" not in weather.calls


async def test_a_page_asks_whether_its_server_is_there_and_its_log_is_taken(ada: httpx.AsyncClient) -> None:
    assert await answer(ada, "reader", "ping") == {}
    assert await answer(ada, "reader", "notifications/message", {"level": "info", "data": "x"}) == {"success": True}


@pytest.mark.parametrize(
    ("agent", "method", "params", "sentence"),
    [
        ("closed", "resources/read", {"uri": PAGE}, NO_SERVER),
        ("closed", "ping", None, NO_SERVER),
        ("reader", "tools/list", None, NO_METHOD),
        ("reader", "resources/read", {"uri": "file:///stations.csv"}, NO_RESOURCE),
        ("reader", "resources/read", {"uri": "https://elsewhere/ui://"}, NO_RESOURCE),
        ("wide", "resources/read", {"uri": "file:///public/../stations.csv"}, NO_RESOURCE),
        ("wide", "resources/read", {"uri": "file:///public/%2E%2e/stations.csv"}, NO_RESOURCE),
        ("wide", "resources/read", {"uri": "file:///public/..?/stations.csv"}, NO_RESOURCE),
        ("wide", "resources/read", {"uri": "file:///public/..#/stations.csv"}, NO_RESOURCE),
        ("wide", "resources/read", {"uri": "file:///public/..\\stations.csv"}, NO_RESOURCE),
        ("wide", "resources/read", {"uri": "file:///public/..%2Fstations.csv"}, NO_RESOURCE),
        ("wide", "resources/read", {"uri": "file:///public/%2e%2e%5Cstations.csv"}, NO_RESOURCE),
        ("wide", "resources/read", {"uri": "file:///public/..%3F/stations.csv"}, NO_RESOURCE),
        ("wide", "resources/read", {"uri": "ui://weather/..\\page.html"}, NO_RESOURCE),
        ("wide", "resources/read", {"uri": "file:///public/%2e%09%2e/stations.csv"}, NO_RESOURCE),
        ("wide", "resources/read", {"uri": "file:///public/.\t./stations.csv"}, MALFORMED),
        ("wide", "resources/read", {"uri": "file:///public/%2e\n%2e/stations.csv"}, MALFORMED),
        ("wide", "resources/read", {"uri": "file:///public/.\r./stations.csv"}, MALFORMED),
        ("reader", "resources/read", {"uri": f"{PAGE}\0"}, MALFORMED),
        ("reader", "resources/read", {"uri": "page.html"}, MALFORMED),
        ("reader", "resources/read", {"uri": f"ui://weather/{'x' * 9000}"}, MALFORMED),
        ("reader", "resources/read", {"url": PAGE}, MALFORMED),
        ("reader", "resources/read", None, MALFORMED),
        ("reader", "resources/read", {"uri": "ui://weather/no-such.html"}, FAILED),
    ],
)
async def test_what_is_refused_is_told_in_a_sentence_of_the_gateways(
    ada: httpx.AsyncClient, agent: str, method: str, params: Any, sentence: str
) -> None:
    assert await answer(ada, agent, method, params) == {"error": sentence}


@pytest.mark.parametrize("uri", ["UI://weather/page.html", "ui://weather/./page.html", f" {PAGE}"])
async def test_another_spelling_of_a_page_is_that_page(ada: httpx.AsyncClient, uri: str) -> None:
    [page] = (await answer(ada, "reader", "resources/read", {"uri": uri}))["contents"]
    assert page["uri"] == PAGE


@pytest.mark.parametrize("server", ["sea", "no such server", "127.0.0.1", ""])
async def test_a_server_that_is_not_named_in_the_config_is_refused(ada: httpx.AsyncClient, server: str) -> None:
    assert await answer(ada, "seaside", "ping", server=server) == {"error": NO_SERVER}
    assert await answer(ada, "seaside", "ping") == {}


@pytest.mark.parametrize("params", [{"arguments": {}}, {"name": "refresh", "arguments": "x"}, {"name": 1}, None])
async def test_a_call_that_is_none_is_refused(ada: httpx.AsyncClient, params: Any) -> None:
    assert (await answer(ada, "pages", "tools/call", params))["error"] == MALFORMED


async def test_tools_are_called_only_where_the_config_says_so(ada: httpx.AsyncClient, weather: Weather) -> None:
    city = f"Oslo {uuid4()}"
    refused = await called(ada, "reader", "refresh", city=city)
    assert (refused["error"], refused["isError"]) == (NO_METHOD, True)
    assert_no_tool(await called(ada, "narrowed", "weather_in", city=city))
    assert not [call for call in weather.calls if city in call]
    assert "error" not in await called(ada, "narrowed", "refresh", city=city)


@pytest.mark.parametrize("agent", ["approved", "choosy", "guarded", "asking", "prefixed", "capable", "discreet"])
async def test_a_tool_that_the_agent_hides_or_has_approved_is_not_called_by_a_page(
    ada: httpx.AsyncClient, weather: Weather, agent: str
) -> None:
    name = f"{agent} {uuid4()}"
    assert_no_tool(await called(ada, agent, "close_station", name=name))
    # It is called where all that is wrong with it is what the agent makes of its answer.
    assert (f"close_station {name}" in weather.calls) == (agent == "discreet")


@pytest.mark.parametrize("agent", ["gentle", "wary", "tucked"])
@pytest.mark.parametrize("tool", ["close_station", "move_station"])
async def test_what_a_server_says_of_its_tools_counts_for_pages_too(
    ada: httpx.AsyncClient, weather: Weather, agent: str, tool: str
) -> None:
    name = f"{agent} {uuid4()}"
    assert_no_tool(await called(ada, agent, tool, name=name))
    assert f"{tool} {name}" not in weather.calls
    assert "error" not in await called(ada, agent, "refresh", city=name)


async def test_a_toolset_of_ones_own_may_go_by_what_belongs_to_pages(ada: httpx.AsyncClient) -> None:
    for tool in ("weather_in", "refresh"):
        assert_no_tool(await called(ada, "pageless", tool, city="Rome"))
    assert "error" not in await called(ada, "pageless", "close_station", name="Zermatt")


async def test_a_tool_for_pages_alone_looks_to_the_agent_as_others_do(ada: httpx.AsyncClient) -> None:
    for tool in ("close_station", "move_station"):
        assert "error" not in await called(ada, "noting", tool, name="Zermatt")
    both, alone = seen["close_station"], seen["move_station"]
    assert both.metadata
    assert alone.metadata
    # What the page's own has of its own is where its page is and who sees it.
    assert alone.metadata["meta"]["ui"] == {"resourceUri": PAGE, "visibility": ["app"]}
    assert {**alone.metadata, "meta": None} == {**both.metadata, "meta": None}
    assert alone.parameters_json_schema["properties"] == both.parameters_json_schema["properties"]
    assert both.return_schema
    assert alone.return_schema
    assert alone.return_schema["properties"] == both.return_schema["properties"]
    assert alone.include_return_schema is both.include_return_schema is True


@pytest.mark.parametrize("agent", ["choosy", "guarded", "prefixed", "capable", "added", "made_for_run", "named"])
@pytest.mark.parametrize("tool", ["weather_in", "refresh"])
async def test_other_tools_are_called_through_whatever_is_around_them(
    ada: httpx.AsyncClient, weather: Weather, agent: str, tool: str
) -> None:
    city = f"{agent} {uuid4()}"
    assert "error" not in await called(ada, agent, tool, city=city)
    assert weather.calls[-1] == f"{tool} {city}"
    assert (await answer(ada, agent, "resources/read", {"uri": PAGE}))["contents"][0]["text"] == HTML


async def test_a_server_that_knows_users_gets_the_page_of_the_one_who_asks(url: str, weather: Weather) -> None:
    async with client_for(url) as ada, client_for(url, "bob") as bob:
        weather.keys.clear()
        assert "contents" in await answer(ada, "named", "resources/read", {"uri": PAGE})
        assert weather.keys == {"ada"}
        weather.keys.clear()
        assert "contents" in await answer(bob, "named", "resources/read", {"uri": PAGE})
        assert weather.keys == {"bob"}


async def test_nothing_of_it_is_stored(ada: httpx.AsyncClient) -> None:
    thread = f"thread-{uuid4()}"
    assert "contents" in await answer(ada, "pages", "resources/read", {"uri": PAGE}, thread=thread)
    assert_problem(await ada.get(f"/threads/{thread}"), 404, "not_found")
    assert await connected(ada, "pages", thread) == []


async def test_a_run_on_the_thread_goes_on_meanwhile(ada: httpx.AsyncClient) -> None:
    thread, gate = f"thread-{uuid4()}", f"gate-{uuid4()}"
    gates[gate].reached.clear()
    sent = body(thread, gate)
    async with reading(ada, "POST", at("pages", "run"), json=sent) as run:
        await run.until("Looked")
        # Even one of the run's own id does not join it.
        for run_id in (sent["runId"], str(uuid4())):
            asked = {**relayed("resources/read", {"uri": PAGE}, thread=thread), "runId": run_id}
            assert "contents" in result_of(await ada.post(at("pages", "run"), json=asked), asked)
        gates[gate].open()
        events = events_of(await run.rest())
    assert text_of(events) == "Looked it up."
    assert events[-1]["type"] == "RUN_FINISHED"


async def test_the_error_of_a_tool_is_its_answer_and_that_of_a_server_stays_there(ada: httpx.AsyncClient) -> None:
    with capture_logs() as lines:
        failed = await called(ada, "pages", "failing")
        assert failed["isError"]
        unread = await answer(ada, "pages", "resources/read", {"uri": "ui://weather/private-5"})
    assert unread == {"error": FAILED}
    assert SECRET not in json.dumps(failed)
    [warning] = [line for line in lines if line["event"] == "mcp_app_failed"]
    assert (warning["agent"], warning["server"], warning["method"]) == ("pages", "weather", "resources/read")
    assert warning["error"] == "pydantic_ai.mcp.MCPError"
    endings = [line["ending"] for line in lines if line["event"] == "mcp_app_answered"]
    assert endings == ["answered", "failed"]
    assert "private-5" not in str(lines)


async def test_words_of_a_page_are_not_logged(ada: httpx.AsyncClient) -> None:
    with capture_logs() as lines:
        await answer(ada, "pages", "secret/method", {"uri": "secret"}, server="secret")
        await called(ada, "pages", "secret", secret="secret")
    assert len([line for line in lines if line["event"] == "mcp_app_answered"]) == 2
    assert "secret" not in str(lines)


async def test_a_server_that_does_not_answer_is_given_up_and_goes_on_for_others(ada: httpx.AsyncClient) -> None:
    for _ in range(2):
        assert (await called(ada, "hasty", "stuck"))["error"] == TOO_LATE
        assert "error" not in await called(ada, "patient", "refresh", city="Rome")


async def test_an_answer_may_be_so_large_and_no_larger(ada: httpx.AsyncClient) -> None:
    assert "error" not in await called(ada, "small", "refresh", city="Rome")
    assert (await called(ada, "small", "long", characters=6000))["error"] == TOO_LARGE
    assert "error" not in await called(ada, "pages", "long", characters=6000)


async def test_it_is_a_request_like_any_other(ada: httpx.AsyncClient, url: str) -> None:
    sent = relayed("ping")
    for path in (at("pages", "run"), run_url("ag-ui", "pages")):
        simple = await ada.post(path, content=json.dumps(sent), headers={"content-type": "text/plain"})
        assert_problem(simple, 415, "unsupported_media_type")
    async with client_for(url, "nobody") as nobody:
        assert_problem(await nobody.post(at("pages", "run"), json=sent), 401, "unauthenticated")
    async with client_for(url, "narrow") as narrow:
        assert_problem(await narrow.post(run_url("ag-ui", "pages"), json=sent), 404, "agent_not_found")
        assert result_of(await narrow.post(run_url("ag-ui", "reader"), json=sent), sent) == {}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"forwardedProps": {KEY: {"serverHash": "weather"}}}, f"forwardedProps.{KEY}.method"),
        ({"forwardedProps": {KEY: "resources/read"}}, f"forwardedProps.{KEY}"),
        ({"forwardedProps": {KEY: {"method": "x" * 300}}}, f"forwardedProps.{KEY}.method"),
        ({"runId": 1}, "runId"),
        ({"threadId": None}, "threadId"),
        ({"threadId": "new"}, "thread id"),
    ],
)
async def test_one_of_another_shape_is_a_malformed_body(ada: httpx.AsyncClient, changes: Json, place: str) -> None:
    response = await ada.post(at("pages", "run"), json={**relayed("ping"), **changes})
    assert place in assert_problem(response, 422, "malformed_body")["detail"]


@pytest.mark.parametrize("props", [{}, {KEY: None}, {"other": KEY}, None])
async def test_a_run_that_only_mentions_it_is_a_run(ada: httpx.AsyncClient, props: Any) -> None:
    sent = {**body(f"thread-{uuid4()}", KEY), "forwardedProps": props}
    response = await ada.post(at("pages", "run"), json=sent)
    assert text_of(events_of(response.text)) == "Looked it up."
    broken = await ada.post(at("pages", "run"), content=f'{{"{KEY}', headers={"content-type": "application/json"})
    assert_problem(broken, 422, "malformed_body")


async def test_a_page_behind_a_long_conversation_is_answered(ada: httpx.AsyncClient) -> None:
    past = [{"id": str(number), "role": "user", "content": "x" * 1000} for number in range(200)]
    assert await answer(ada, "pages", "ping", messages=past) == {}


async def test_requests_of_pages_count_for_the_limits_of_their_agent(weather: Weather) -> None:
    limits = [{"per": "agent", "requests": "2/minute"}]
    with configured({"pages": agents_of(weather)["pages"]}) as agents:
        async with calling(create_app(make_config(agents=agents, limits=limits))) as client:
            sent = relayed("ping")
            first = await client.post(run_url("ag-ui", "pages"), json=sent)
            assert first.headers["ratelimit"].startswith('"agent";r=1;')
            assert result_of(await client.post(run_url("ag-ui", "pages"), json=sent), sent) == {}
            assert_problem(await client.post(run_url("ag-ui", "pages"), json=sent), 429, "rate_limited")


async def test_a_server_that_is_gone_is_told_to_its_page() -> None:
    with weather_server() as short_lived:
        app = to_ag_ui(forecaster(toolset(short_lived)), mcp_apps=McpAppsSettings(servers=["weather"]))
        async with calling(app) as client:
            sent = relayed("resources/read", {"uri": PAGE})
            assert "contents" in result_of(await client.post("/", json=sent), sent)
            await asyncio.to_thread(short_lived.stop)
            with capture_logs() as lines:
                for asked in (relayed("ping"), sent, relayed("ping")):
                    assert result_of(await client.post("/", json=asked), asked) == {"error": FAILED}
            # It is not tried with every request to connect again.
            assert [line["event"] for line in lines].count("mcp_server_away") == 1


@pytest.mark.parametrize("first", ["page", "run"])
async def test_a_server_that_comes_back_is_used_again(first: str) -> None:
    with weather_server() as weather:
        shared = toolset(weather)
        apps = [to_ag_ui(forecaster(shared), mcp_apps=McpAppsSettings(servers=["weather"])) for _ in range(2)]
        async with calling(apps[0]) as client, calling(apps[1]) as other:
            sent = relayed("resources/read", {"uri": PAGE})
            for each in (client, other):
                assert "contents" in result_of(await each.post("/", json=sent), sent)
            await asyncio.to_thread(weather.stop)
            assert result_of(await client.post("/", json=sent), sent) == {"error": FAILED}
            await asyncio.to_thread(weather.start)
            for each in (client, other):
                if first == "run":
                    assert (
                        text_of(events_of((await each.post("/", json=turn("ag-ui", "Rome"))).text)) == "Looked it up."
                    )
                assert "contents" in result_of(await each.post("/", json=sent), sent)
        assert not shared.client.is_connected(), "nothing of it is left open"


async def test_an_agent_whose_server_was_never_there_is_not_available() -> None:
    away = Weather("http://127.0.0.1:9/mcp")
    with configured({"away": (forecaster(toolset(away)), {"mcp_apps": PAGES})}) as agents:
        async with calling(create_app(make_config(agents={**agents, "plain": "probes:plain"}))) as client:
            for sent in (relayed("ping"), body("thread", "Rome")):
                assert_problem(await client.post(at("away", "run"), json=sent), 503, "agent_unready")


async def test_a_mounted_app_relays_what_it_was_told_to(weather: Weather) -> None:
    agent = forecaster(toolset(weather))
    sent = relayed("resources/read", {"uri": PAGE})
    async with calling(to_ag_ui(agent)) as client:
        assert result_of(await client.post("/", json=sent), sent) == {"error": NO_SERVER}
    async with calling(to_ag_ui(agent, mcp_apps=McpAppsSettings(servers=["weather"]))) as client:
        assert result_of(await client.post("/", json=sent), sent)["contents"][0]["text"] == HTML
    with pytest.raises(ConfigError, match="no MCP server wether: it has weather"):
        to_ag_ui(agent, mcp_apps=McpAppsSettings(servers=["wether"]))


def refusal(agents: dict[str, tuple[Agent[Any, Any], Json]]) -> Sequence[str]:
    with configured(agents) as given, pytest.raises(ConfigError) as raised:
        create_app(make_config(agents=given))
    return [f"{problem.key}: {problem.message}" for problem in raised.value.problems]


def test_a_server_that_the_agent_has_not_is_found_at_the_start(weather: Weather) -> None:
    pages: Json = {"mcp_apps": {"servers": ["weather", "maps"]}}
    agents = {
        "other": (forecaster(toolset(weather), toolset(weather, "sea")), pages),
        "unnamed": (forecaster(toolset(weather, None)), {"mcp_apps": {"servers": ["127.0.0.1"]}}),
        "bare": (forecaster(), pages),
    }
    how = "(`MCPToolset(..., id='...')`)"
    assert refusal(agents) == [
        f"agents.other.mcp_apps: the agent has no MCP server maps: it has sea, weather {how}",
        f"agents.unnamed.mcp_apps: the agent has no MCP server 127.0.0.1: it has none with an id of its own {how}",
        f"agents.bare.mcp_apps: the agent has no MCP server weather, maps: it has none with an id of its own {how}",
    ]


@pytest.mark.parametrize(
    "wrong", [{"servers": []}, {"servers": ["weather"], "tools": ["refresh"]}, {**PAGES, "methods": ["sampling"]}, {}]
)
def test_settings_that_cannot_be_meant_are_refused(wrong: Json) -> None:
    with pytest.raises(ValueError, match="mcp_apps"):
        make_config(agents={"pages": {"import": "probes:plain", "mcp_apps": wrong}})


def test_the_settings_in_the_docs_are_valid_with_and_without_what_is_commented_out() -> None:
    section = (ROOT / "docs/copilotkit.md").read_text().partition("## MCP Apps")[2].partition("\n## ")[0]
    [snippet] = re.findall(r"^```yaml\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    for text in (snippet, re.sub(r"# (methods|tools):", r"\1:", snippet)):
        settings = GatewayConfig.model_validate(yaml.safe_load(text)).agents["assistant"].mcp_apps
        assert settings
        assert settings.servers == ["weather"]
    assert settings.tools == ["refresh"]


def test_without_the_package_it_is_said_which_one_is_missing(tmp_path: Path) -> None:
    from projects import Project  # noqa: PLC0415 - a process of its own, in which the package is not there

    project = Project(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import sys\nsys.modules['fastmcp'] = None\nfrom pydantic_ai import Agent\nagent = Agent('test')\n"
    )
    project.write("agents: {one: {import: 'mine:agent', mcp_apps: {servers: [weather]}}}\n")
    done = project.run("check")
    assert done.returncode == 1
    assert "agents.one.mcp_apps: pages of MCP Apps need another package: install agent-gateway[mcp]" in done.stderr

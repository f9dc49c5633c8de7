"""Pages of MCP Apps in their front ends: in `@copilotkit/core`, in AI SDK chats, and still there after a reload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from clients_driver import FOLDER, Node
from copilotkit_app import App, said
from copilotkit_talk import at, body, connected, ran, snapshot
from mcp_servers import HTML, PAGE, configured, forecaster, toolset, weather_server
from reading import KEYS, reading
from run_probes import gates
from serving import make_config, serving
from talking import events_of, run_url, turn

from gateway.mcp_apps import NO_RESOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import httpx

    Json = dict[str, Any]

pytestmark = pytest.mark.anyio

PACKAGE = FOLDER / "node_modules/@copilotkit/core"
TRANSPORTS = ("rest", "single")


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    if not PACKAGE.exists():
        pytest.skip("the npm packages are not installed: run make test")
    node = Node("copilotkit.mjs", "")
    yield node
    node.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with weather_server() as weather:
        pages = {"servers": ["weather"], "methods": ["resources/read", "tools/call"]}
        given = {"pages": (forecaster(toolset(weather)), {"mcp_apps": pages})}
        with configured(given) as agents, serving(make_config(agents=agents, auth={"api_keys": KEYS})) as url:
            yield url


@pytest.fixture
def thread() -> str:
    return f"thread-{uuid4()}"


def app_of(node: Node, url: str, transport: str = "rest") -> App:
    return App(node, f"{url}/copilotkit", transport=transport, headers={"x-api-key": "ada"})


def pages_in(messages: Sequence[Json]) -> list[Json]:
    """The pages that a client shows."""
    return [message for message in messages if message.get("activityType") == "mcp-apps"]


def cities(shown: Sequence[Json]) -> list[str]:
    """What they were opened with."""
    return [each["content"]["toolInput"]["city"] for each in shown]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_app_gets_the_page_that_a_tool_names_and_reads_it(node: Node, url: str, transport: str, thread: str) -> None:
    app = app_of(node, url, transport)
    held = app.run("pages", thread, "Rome")
    [shown] = pages_in(held["messages"])
    content = shown["content"]
    assert (content["resourceUri"], content["toolInput"]) == (PAGE, {"city": "Rome"})
    assert content["result"]["structuredContent"] == {"city": "Rome", "sky": "clear"}
    named = {"serverHash": content["serverHash"], "serverId": content["serverId"]}
    read = app.call("relay", "pages", request={**named, "method": "resources/read", "params": {"uri": PAGE}})
    assert read["result"]["contents"][0]["text"] == HTML
    again = {"name": "refresh", "arguments": {"city": "Rome"}}
    called = app.call("relay", "pages", request={**named, "method": "tools/call", "params": again})
    assert called["result"]["content"] == [{"type": "text", "text": "Still clear in Rome."}]
    # To the conversation it was nothing.
    assert called["newMessages"] == []
    assert (called["threadId"], called["messages"], called["errors"]) == (thread, held["messages"], [])
    assert said(app.run("pages", thread, "Oslo"))[-1] == ("assistant", "Looked it up.")


def test_an_app_is_told_what_its_page_may_not(node: Node, url: str, thread: str) -> None:
    asked = {"serverHash": "weather", "method": "resources/read", "params": {"uri": "file:///stations.csv"}}
    refused = app_of(node, url).call("relay", "pages", threadId=thread, request=asked)
    assert (refused["result"], refused["messages"], refused["errors"]) == ({"error": NO_RESOURCE}, [], [])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_pages_are_there_again_after_a_reload(node: Node, url: str, transport: str, thread: str) -> None:
    held = app_of(node, url, transport).run("pages", thread, "Rome and Oslo")
    assert sorted(cities(pages_in(held["messages"]))) == ["Oslo", "Rome"]
    reloaded = app_of(node, url, transport).call("connect", "pages", threadId=thread)
    assert reloaded["messages"] == held["messages"]


async def test_pages_are_loaded_with_the_ids_that_were_streamed(ada: httpx.AsyncClient, thread: str) -> None:
    late = f"late-{uuid4()}"
    async with reading(ada, "POST", at("pages", "run"), json=body(thread, f"{late} and Oslo")) as run:
        await run.until("ACTIVITY_SNAPSHOT")
        gates[late].open()
        streamed = [event for event in events_of(await run.rest()) if event["type"] == "ACTIVITY_SNAPSHOT"]
    ids = [(event["messageId"], event["content"]) for event in streamed]
    assert [content["toolInput"]["city"] for _, content in ids] == ["Oslo", late]
    assert len({message_id for message_id, _ in ids}) == 2
    loaded = (await ada.get(f"/threads/{thread}/messages?format=ag-ui")).json()["messages"]
    for messages in (loaded, snapshot(await connected(ada, "pages", thread))):
        assert [(each["id"], each["content"]) for each in pages_in(messages)] == ids


async def test_a_chat_of_the_ai_sdk_has_its_page_after_a_reload(ada: httpx.AsyncClient, thread: str) -> None:
    response = await ada.post(run_url("vercel-ai", "pages"), json=turn("vercel-ai", "Rome", thread))
    [streamed] = [event for event in events_of(response.text) if event["type"] == "data-mcp-apps"]
    assert streamed["data"]["resourceUri"] == PAGE
    [_, message] = (await ada.get(f"/threads/{thread}/messages?format=vercel-ai")).json()["messages"]
    assert [part for part in message["parts"] if part["type"] == "data-mcp-apps"] == [streamed]


async def test_a_page_of_one_wire_is_there_on_the_other(ada: httpx.AsyncClient, thread: str) -> None:
    await ran(ada, "pages", thread, "Rome")
    [_, message] = (await ada.get(f"/threads/{thread}/messages?format=vercel-ai")).json()["messages"]
    [part] = [part for part in message["parts"] if part["type"] == "data-mcp-apps"]
    assert part["data"]["toolInput"] == {"city": "Rome"}
    await ada.post(run_url("vercel-ai", "pages"), json=turn("vercel-ai", "Oslo", thread))
    assert cities(pages_in(snapshot(await connected(ada, "pages", thread)))) == ["Rome", "Oslo"]


async def test_the_next_turn_of_a_thread_with_pages_is_taken(ada: httpx.AsyncClient, thread: str) -> None:
    await ran(ada, "pages", thread, "Rome")
    past = snapshot(await connected(ada, "pages", thread))
    sent = body(thread, "Oslo")
    response = await ada.post(at("pages", "run"), json={**sent, "messages": [*past, *sent["messages"]]})
    assert cities(pages_in(snapshot(await connected(ada, "pages", thread)))) == ["Rome", "Oslo"]
    assert response.status_code == 200

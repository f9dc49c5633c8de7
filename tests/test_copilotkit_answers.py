"""Approvals as `useInterrupt` of CopilotKit gives them: under the id of the run that asked, at times in two places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import thread_probes
from copilotkit_talk import at, body
from serving import make_config
from talking import calling, events_of

from gateway.app import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

pytestmark = pytest.mark.anyio

AGENTS: dict[str, Any] = {
    "server": "thread_probes:payer",
    "again": "copilotkit_agents:wires_twice",
    "client": {"import": "thread_probes:payer", "history": "client"},
}
ROUTES = {"copilotkit": "/copilotkit/agent/{}/run", "ag-ui": "/agents/{}/ag-ui"}
Json = dict[str, Any]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with calling(create_app(make_config(agents=AGENTS))) as client:
        yield client


@pytest.fixture(params=list(ROUTES))
def surface(request: pytest.FixtureRequest) -> str:
    return request.param


async def ran(client: httpx.AsyncClient, surface: str, agent: str, asked: Json) -> list[Json]:
    response = await client.post(ROUTES[surface].format(agent), json=asked)
    assert response.status_code == 200, response.text
    return events_of(response.text)


def interrupts(events: list[Json]) -> list[Json]:
    return events[-1].get("outcome", {}).get("interrupts", [])


def results(events: list[Json]) -> list[str]:
    return [event["content"] for event in events if event["type"] == "TOOL_CALL_RESULT"]


def answering(asked: Json, interrupt: Json, events: list[Json], *, echo: bool = False) -> Json:
    """The same request with the answer: all that was said, and the same `runId`."""
    args = "".join(event["delta"] for event in events if event["type"] == "TOOL_CALL_ARGS")
    call = {"id": interrupt["toolCallId"], "type": "function", "function": {"name": "pay", "arguments": args}}
    said: list[Json] = [{"id": "asked", "role": "assistant", "content": "", "toolCalls": [call]}]
    if echo:
        said.append({"id": "echo", "role": "tool", "toolCallId": call["id"], "content": '{"approved":true}'})
    answer = {"interruptId": interrupt["id"], "status": "resolved", "payload": {"approved": True}}
    return {**asked, "messages": [*asked["messages"], *said], "resume": [answer]}


@pytest.mark.parametrize("history", ["server", "client"])
async def test_an_answer_under_the_id_of_the_run_that_asked_runs_the_call_once(
    client: httpx.AsyncClient, surface: str, history: str
) -> None:
    asked = body(f"thread-{uuid4()}", f"pay {uuid4().hex} 3")
    events = await ran(client, surface, history, asked)
    answer = answering(asked, interrupts(events)[0], events)
    before = len(thread_probes.paid)
    answered = await ran(client, surface, history, answer)
    assert results(answered)[0].startswith("paid 3 to ")
    assert not interrupts(answered)
    assert await ran(client, surface, history, answer) == answered, "sent again"
    assert len(thread_probes.paid) == before + 1


async def test_a_decision_that_is_a_tool_message_too_does_not_hide_the_result(
    client: httpx.AsyncClient, surface: str
) -> None:
    asked = body(f"thread-{uuid4()}", "pay ann 4")
    events = await ran(client, surface, "server", asked)
    answered = await ran(client, surface, "server", answering(asked, interrupts(events)[0], events, echo=True))
    assert results(answered) == ["paid 4 to ann"]


async def test_copilotkit_is_not_told_that_the_decision_is_the_result(client: httpx.AsyncClient) -> None:
    thread = f"thread-{uuid4()}"
    live = await ran(client, "copilotkit", "server", body(thread, "pay ann 5"))
    loaded = events_of((await client.post(at("server", "connect"), json=body(thread))).text)
    other = await ran(client, "ag-ui", "server", body(f"thread-{uuid4()}", "pay ann 5"))
    reasons = [interrupts(events)[0]["reason"] for events in (live, loaded, other)]
    assert reasons == ["pydantic_ai:approval", "pydantic_ai:approval", "tool_call"]


async def test_a_call_that_asks_again_is_answered_again_under_the_same_id(
    client: httpx.AsyncClient, surface: str
) -> None:
    asked = body(f"thread-{uuid4()}", "wire it")
    events = await ran(client, surface, "again", asked)
    for _ in ("one yes", "another"):
        [interrupt] = interrupts(events)
        events = await ran(client, surface, "again", answering(asked, interrupt, events))
    assert (interrupts(events), results(events)) == ([], ["sent"])

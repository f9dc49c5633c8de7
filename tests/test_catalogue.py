"""`GET /agents` and `GET /agents/{agent}`: what there is, for whom, and what it can do."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest
from ag_ui.core import AgentCapabilities
from serving import DEMO_AGENTS, make_config, serving
from talking import calling, events_of, turn

from gateway.app import create_app

pytestmark = pytest.mark.anyio

AGENTS: dict[str, Any] = {
    **DEMO_AGENTS,
    "plain": {"import": "probes:plain", "description": "Says hello.", "surfaces": ["vercel-ai", "copilotkit"]},
    "chatting": {"import": "probes:plain", "surfaces": ["vercel-ai"]},
    "paying": {"import": "probes:paying", "timeout": 2.5, "usage_limits": {"request_limit": 7}},
}


OTHERS: dict[str, Any] = {"native": {"prompt": "Hello"}, "copilotkit": {"method": "info"}}
"""Bodies for ways in that answer with a document."""


async def read(path: str, **headers: str) -> dict[str, Any]:
    async with calling(create_app(make_config(agents=AGENTS)), **headers) as client:
        response = await client.get(path)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        return response.json()


async def test_all_agents_are_listed_in_the_order_of_the_config() -> None:
    body = await read("/agents")
    assert body.keys() == {"agents"}
    assert [agent["id"] for agent in body["agents"]] == list(AGENTS)
    for agent in body["agents"]:
        assert agent.keys() == {"id", "description", "ready", "url", "surfaces"}
        assert agent["url"] == f"http://localhost/agents/{agent['id']}"


async def test_an_agent_is_listed_with_the_surfaces_that_it_offers_and_that_are_served() -> None:
    listed = {agent["id"]: agent for agent in (await read("/agents"))["agents"]}
    assert listed["assistant"]["surfaces"] == {
        "ag-ui": "http://localhost/agents/assistant/ag-ui",
        "vercel-ai": "http://localhost/agents/assistant/vercel-ai",
        "copilotkit": "http://localhost/copilotkit",
        "native": "http://localhost/agents/assistant/run",
    }
    assert list(listed["plain"]["surfaces"]) == ["vercel-ai", "copilotkit"]
    assert listed["plain"]["description"] == "Says hello."


@pytest.mark.parametrize("agent", AGENTS)
async def test_the_capabilities_of_every_agent_have_the_shape_of_the_protocol(agent: str) -> None:
    capabilities = (await read(f"/agents/{agent}"))["capabilities"]
    parsed = AgentCapabilities.model_validate(capabilities)
    assert parsed.model_dump(mode="json", by_alias=True, exclude_none=True) == capabilities
    assert None not in capabilities.values()
    assert capabilities["identity"]["name"] == agent
    assert capabilities["transport"]["streaming"] is True
    # Announced only when there is an endpoint that does it.
    assert "resumable" not in capabilities["transport"]


async def test_the_tools_of_an_agent_are_told_with_their_schemas() -> None:
    [tool] = (await read("/agents/paying"))["capabilities"]["tools"]["items"]
    assert tool["name"] == "pay"
    assert tool["description"] == "Pays."
    assert tool["parameters"]["properties"]["amount"]["type"] == "integer"


async def test_what_an_agent_can_do_is_told_as_it_is() -> None:
    def told(agent: dict[str, Any]) -> tuple[bool, bool, bool, bool]:
        capabilities = agent["capabilities"]
        return (
            capabilities["humanInTheLoop"]["approvals"],
            capabilities["output"]["structuredOutput"],
            "state" in capabilities,
            capabilities["tools"]["clientProvided"],
        )

    assert told(await read("/agents/paying")) == (True, False, False, True)
    assert told(await read("/agents/approver")) == (True, False, False, True)
    assert told(await read("/agents/planner")) == (True, False, True, True)
    assert told(await read("/agents/extractor")) == (False, True, False, True)
    assert told(await read("/agents/plain")) == (False, False, False, True)
    assert told(await read("/agents/chatting")) == (False, False, False, False)
    execution = (await read("/agents/paying"))["capabilities"]["execution"]
    assert execution == {"maxIterations": 7, "maxExecutionTime": 2500}


async def test_what_a_model_takes_and_whether_it_thinks_is_told_when_it_is_known() -> None:
    agents = {"reading": "probes:reading", "unresolved": "probes:unresolved"}
    async with calling(create_app(make_config(agents=agents))) as client:
        known, unknown = [(await client.get(f"/agents/{name}")).json()["capabilities"] for name in agents]
    assert known["multimodal"] == {"input": {"image": True, "audio": False, "video": True, "pdf": False}}
    assert known["reasoning"] == {"supported": True, "streaming": True}
    assert not {"multimodal", "reasoning"} & unknown.keys()


async def test_an_agent_out_of_scope_is_not_listed() -> None:
    keys = [{"id": "k", "sha256": hashlib.sha256(b"k").hexdigest(), "scopes": ["agents:plain", "agents:paying"]}]
    app = create_app(make_config(agents=AGENTS, auth={"api_keys": keys}))
    async with calling(app, x_api_key="k") as client:
        assert [agent["id"] for agent in (await client.get("/agents")).json()["agents"]] == ["plain", "paying"]


async def test_head_answers_like_get_without_a_body() -> None:
    async with calling(create_app(make_config(agents=AGENTS))) as client:
        for path in ("/agents", "/agents/plain", "/healthz"):
            response = await client.head(path)
            assert response.status_code == 200
            assert response.content == b""


def test_the_urls_of_the_catalogue_are_the_ones_to_post_to() -> None:
    with serving(make_config(agents=AGENTS)) as url, httpx.Client(timeout=15) as client:
        for agent in client.get(f"{url}/agents").json()["agents"]:
            assert client.get(agent["url"]).json()["id"] == agent["id"]
            for surface, address in agent["surfaces"].items():
                body = OTHERS.get(surface) or turn(surface, "Hello")
                response = client.post(address, json=body)
                assert response.status_code == 200
                assert response.json() if surface in OTHERS else events_of(response.text)

"""Addresses and methods that nobody has a route for: answered as everything else is."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from probes import plain
from serving import make_config
from talking import assert_problem, calling

from gateway import to_ag_ui, to_vercel_ai
from gateway.app import create_app

if TYPE_CHECKING:
    from gateway.surfaces.mounted import AgentApp

pytestmark = pytest.mark.anyio

KEYS = {"api_keys": [{"id": "k", "sha256": hashlib.sha256(b"k").hexdigest()}]}


@pytest.mark.parametrize("path", ["/threads/a%0Ab", "/agents/a%0Ab", "/agents/plain/vercel-ai/a%0Ab/stream", "/a%0A"])
async def test_an_address_with_a_line_break_is_answered_like_any_other(path: str) -> None:
    config = make_config(agents={"plain": "probes:plain"}, cors={"allow_origins": ["https://app.example"]})
    async with calling(create_app(config)) as client:
        response = await client.get(path, headers={"origin": "https://app.example"})
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["access-control-allow-origin"] == "https://app.example"


@pytest.mark.parametrize("path", ["/threads/a%0Ab", "/a%0A"])
async def test_with_a_line_break_credentials_are_asked_for_too(path: str) -> None:
    async with calling(create_app(make_config(auth=KEYS))) as client:
        assert_problem(await client.get(path), 401, "unauthenticated")


@pytest.mark.parametrize("app", [to_ag_ui(plain), to_vercel_ai(plain)], ids=["ag-ui", "vercel-ai"])
async def test_a_mounted_app_answers_it_too(app: AgentApp) -> None:
    async with calling(app) as client:
        assert_problem(await client.post("/a%0Ab", json={}), 404, "not_found")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json"])
async def test_what_asks_for_no_credentials_answers_other_methods_itself(path: str) -> None:
    async with calling(create_app(make_config(auth=KEYS))) as client:
        response = await client.post(path)
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, HEAD"

"""`/openapi.json` and `/docs`: that they say what there is, and nothing else."""

from __future__ import annotations

import hashlib
import json
from html import unescape
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from browser import browsing
from described import assert_as_described, assert_fits, described
from openapi_spec_validator import OpenAPIV31SpecValidator
from serving import DEMO_AGENTS, make_config, serving
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from talking import assert_problem, calling, run_url, turn

from gateway.app import create_app
from gateway.errors import RunError, all_errors
from gateway.openapi.document import OPERATIONS, document, operations_of

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = {"api_keys": [{"id": "k", "sha256": hashlib.sha256(b"k").hexdigest()}]}
OPEN = {"healthz", "readyz", "openapi", "docs"}
"""The operations that ask for no credentials."""


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Method and path of each operation, and what is said of it."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def document_of(**sections: Any) -> dict[str, Any]:
    config = make_config(**sections)
    return document(create_app(config).routes, config.auth)


# The document


def test_every_route_is_in_the_document_and_nothing_else_is() -> None:
    assert set(operations_of(create_app(make_config()).routes)) == OPERATIONS.keys()
    assert {key for key, _ in operations(described())} == OPERATIONS.keys()


def test_a_route_that_nobody_described_is_noticed() -> None:
    app = create_app(make_config())
    app.router.routes.append(Route("/new/{id:path}", PlainTextResponse("New."), methods=["GET", "POST"]))
    assert set(operations_of(app.routes)) - OPERATIONS.keys() == {"GET /new/{id}", "POST /new/{id}"}


def test_the_document_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(described()).validate()
    OpenAPIV31SpecValidator(document_of(auth=KEYS)).validate()


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for _, operation in operations(described())]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("key", OPERATIONS)
def test_the_example_of_a_body_is_one_that_is_taken(key: str) -> None:
    body = dict(operations(described()))[key].get("requestBody")
    if body:
        content = body["content"]["application/json"]
        assert_fits(content["example"], content["schema"])


def test_every_error_that_a_request_may_be_answered_with_is_in_the_document() -> None:
    said = json.dumps([operation["responses"] for _, operation in operations(described())])
    missing = {
        error.code for error in all_errors() if error.__module__ == "gateway.errors" and f"`{error.code}`" not in said
    }
    # What is told inside a stream is the business of its protocol, but `/run` has it as a status.
    # The runtimes of CopilotKit, which alone take recordings, are not in it.
    voice = {"recording_rejected", "speech_denied", "speech_failed", "speech_not_configured"}
    assert missing == {"config_error", "method_not_allowed"} | voice


def test_a_problem_has_no_other_code_than_those_that_are_said() -> None:
    responses = dict(operations(described()))["GET /threads/{id}"]["responses"]
    schema = responses["404"]["content"]["application/problem+json"]["schema"]
    problem = {"title": "Not Found", "status": 404, "detail": "Gone.", "code": "not_found", "request_id": "r"}
    assert_fits(problem, schema)
    with pytest.raises(AssertionError, match="code"):
        assert_fits({**problem, "code": "stream_expired"}, schema)


def test_the_codes_of_a_whole_answer_are_open_since_agents_have_errors_of_their_own() -> None:
    responses = dict(operations(described()))["POST /agents/{agent}/run"]["responses"]
    assert {str(error.status) for error in all_errors(RunError)} <= responses.keys()
    content = responses["500"]["content"]["application/problem+json"]
    assert_fits({"title": "", "status": 500, "detail": "", "code": "out_of_stock"}, content["schema"])


# Who may read it


def test_credentials_are_asked_for_where_they_are_configured() -> None:
    assert "securitySchemes" not in described()["components"]
    assert not any("security" in operation for _, operation in operations(described()))
    secured = document_of(auth=KEYS)
    schemes = secured["components"]["securitySchemes"]
    assert (schemes["bearer"]["scheme"], schemes["api_key"]["name"]) == ("bearer", "x-api-key")
    for _, operation in operations(secured):
        assert ("security" in operation) == (operation["operationId"] not in OPEN)
        assert operation.get("security", [{"bearer": []}, {"api_key": []}]) == [{"bearer": []}, {"api_key": []}]


def test_that_anonymous_callers_are_let_in_besides_is_said() -> None:
    operation = dict(operations(document_of(auth={**KEYS, "anonymous": True})))["GET /agents"]
    assert operation["security"] == [{"bearer": []}, {"api_key": []}, {}]


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_the_document_is_read_without_credentials_and_names_no_agent(path: str) -> None:
    agents = {f"secret-{number}": "probes:plain" for number in range(3)}
    async with calling(create_app(make_config(agents=agents, auth=KEYS))) as client:
        response = await client.get(path)
        assert response.status_code == 200
        assert "secret-" not in response.text


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_hosts_origins_methods_and_addresses_are_looked_at_as_everywhere(path: str) -> None:
    sections: dict[str, Any] = {
        "cors": {"allow_origins": ["https://app.example"]},
        "limits": [{"per": "ip", "requests": "2/minute"}],
    }
    async with calling(create_app(make_config(auth=KEYS, **sections))) as client:
        assert_problem(await client.get(path, headers={"host": "evil.example"}), 400, "host_not_allowed")
        response = await client.get(path, headers={"origin": "https://app.example"})
        assert response.headers["access-control-allow-origin"] == "https://app.example"
        refused = await client.post(path)
        assert_problem(refused, 405, "method_not_allowed")
        assert refused.headers["allow"] == "GET, HEAD"
        assert_problem(await client.get(path), 429, "rate_limited")


def test_the_path_prefix_of_a_proxy_is_in_the_document() -> None:
    with serving(make_config(server={"root_path": "/ai"})) as url:
        assert httpx.get(f"{url}/openapi.json").json()["servers"] == [{"url": "/ai"}]
        page = httpx.get(f"{url}/docs").text
    assert 'curl "$GATEWAY/ai/agents"' in unescape(page)
    # Relative, so that it is right wherever the page is.
    assert 'href="openapi.json"' in page


# What is answered


@pytest.fixture
def answer(demo: httpx.Client) -> httpx.Response:
    demo.post(run_url("ag-ui", "assistant"), json=turn("ag-ui", thread="described"))
    return demo.get("/threads/described")


def test_an_answer_is_held_against_the_document(answer: httpx.Response) -> None:
    assert_as_described(answer)


@pytest.mark.parametrize("change", ["a member more", "a member less", "another media type", "another status"])
def test_an_answer_that_the_document_does_not_have_is_noticed(answer: httpx.Response, change: str) -> None:
    body, headers, status = answer.json(), {"content-type": "application/json"}, 200
    match change:
        case "a member more":
            body["colour"] = "blue"
        case "a member less":
            del body["status"]
        case "another media type":
            headers = {"content-type": "text/plain"}
        case _:
            status = 418
    changed = httpx.Response(status, headers=headers, content=json.dumps(body), request=answer.request)
    with pytest.raises(AssertionError):
        assert_as_described(changed)


# The page


@pytest.mark.anyio
async def test_the_page_tells_of_every_operation_and_schema() -> None:
    async with calling(create_app(make_config())) as client:
        page = (await client.get("/docs")).text
    for key, operation in operations(described()):
        assert f'id="{operation["operationId"]}"' in page
        assert key in page
    for name in described()["components"]["schemas"]:
        assert f'id="schema-{name}"' in page
        assert f'href="#schema-{name}"' in page or name in page
    assert "<script" not in page
    assert '"$GATEWAY/threads/$ID/branches/$ENTRY"' in unescape(page)
    assert 'curl "$GATEWAY/agents"' in unescape(page)


@pytest.mark.anyio
async def test_the_page_forbids_a_browser_whatever_it_does_not_need() -> None:
    async with calling(create_app(make_config())) as client:
        policy = (await client.get("/docs")).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_the_page_is_shown_by_a_browser_that_asks_nobody_else() -> None:
    asked: list[str] = []
    complaints: list[str] = []
    with serving(make_config(agents=DEMO_AGENTS, auth=KEYS)) as url, browsing() as page:
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{url}/docs")
        assert page.title() == "agent-gateway API"
        page.get_by_role("link", name="GET /threads/{id}/messages").click()
        assert page.get_by_role("heading", name="GET /threads/{id}/messages").is_visible()
        assert page.evaluate("getComputedStyle(document.body).display") == "grid", "the style sheet was let in"
        assert not complaints
        page.get_by_role("link", name="openapi.json", exact=True).click()
        page.wait_for_url(f"{url}/openapi.json")
        assert json.loads(page.inner_text("body"))["openapi"] == "3.1.0"
    assert {address.partition("#")[0] for address in asked} == {f"{url}/docs", f"{url}/openapi.json"}

"""What plain streams take and refuse: fields, sizes, media types, pages on other sites, keys, rates."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import plain_probes
import pytest
from plain_wire import FORMS, answer_in, events_in, of, plain
from talking import assert_problem

if TYPE_CHECKING:
    from plain_wire import Plain

pytestmark = pytest.mark.anyio

STREAM, RUN, CHAT = "/agents/modest/stream/text", "/agents/modest/run", "/agents/modest/chat"
ASKED: dict[str, Any] = {"prompt": "Hello"}


@pytest.fixture(autouse=True)
def _nothing_was_asked() -> None:
    plain_probes.settings.clear()


async def post(reader: Plain, path: str, body: Any, **headers: str) -> Any:
    """The response to a body."""
    return await reader.client.post(path, json=body, headers=headers)


WRONG: list[tuple[Any, str]] = [
    ({}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": " \n"}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"prompt": 7}, "prompt"),
    ({"prompt": ["a"]}, "prompt"),
    ({**ASKED, "q": "Hello again"}, "q"),
    ({**ASKED, "delta": "sometimes"}, "delta"),
    ({**ASKED, "debounce": -1}, "debounce"),
    ({**ASKED, "debounce": 11}, "debounce"),
    ({**ASKED, "debounce": "soon"}, "debounce"),
    ({**ASKED, "debounce": "NaN"}, "debounce"),
    ({**ASKED, "debounce": "0.5"}, "debounce"),
    ({**ASKED, "debounce": False}, "debounce"),
    ({**ASKED, "delta": "true"}, "delta"),
    ({**ASKED, "delta": 1}, "delta"),
    ({**ASKED, "max_tokens": "5"}, "max_tokens"),
    ({**ASKED, "max_tokens": 0}, "max_tokens"),
    ({**ASKED, "max_tokens": 1.5}, "max_tokens"),
    ({**ASKED, "thread_id": 7}, "thread_id"),
    ({**ASKED, "thread_id": ""}, "thread id"),
    ({**ASKED, "thread_id": "new"}, "thread id"),
    ({**ASKED, "thread_id": "x" * 257}, "thread id"),
    ({**ASKED, "thread_id": "a\nb"}, "thread id"),
    ({**ASKED, "no_such_field": 1}, "no_such_field: There is no such member"),
    ({**ASKED, "approvals": {"call-1": True}}, "thread_id"),
    ({**ASKED, "results": {"call-1": 1}}, "thread_id"),
    ({"thread_id": "t", "approvals": {"call-1": "maybe"}}, "approvals.call-1"),
    ({"thread_id": "t", "approvals": {"call-1": {"approved": True, "reasons": "x"}}}, "approvals.call-1"),
    ({"thread_id": "t", "approvals": [True]}, "approvals"),
    ({"messages": [{"role": "user", "content": "Hello"}]}, "messages"),
    ({"messages": [{"role": "system", "content": "Obey."}]}, "messages.0.role"),
    ({"messages": [{"role": "user", "content": ""}]}, "messages.0.content"),
    ({"messages": []}, "messages"),
    ([], "body"),
    ("Hello", "body"),
]


@pytest.mark.parametrize(("body", "named"), WRONG, ids=[f"{body}"[:40] for body, _ in WRONG])
async def test_what_does_not_fit_is_refused_with_its_name(body: Any, named: str) -> None:
    async with plain("modest") as reader:
        for path in (STREAM, RUN):
            problem = assert_problem(await post(reader, path, body), 422, "malformed_body")
            assert named in problem["detail"]
    assert not plain_probes.settings


WRONG_CHATS: list[tuple[Any, str]] = [
    ({"message": "Hello"}, "session_id"),
    ({"session_id": "s"}, "message"),
    ({"session_id": "s", "message": ""}, "message"),
    ({"session_id": "", "message": "Hello"}, "thread id"),
    ({"session_id": 7, "message": "Hello"}, "session_id"),
    ({"session_id": "s", "message": "Hello", "prompt": "Hello"}, "prompt"),
    ({"session_id": "s", "message": "Hello", "max_tokens": -1}, "max_tokens"),
]


@pytest.mark.parametrize(("body", "named"), WRONG_CHATS)
async def test_what_does_not_fit_a_chat_is_refused_with_its_name(body: Any, named: str) -> None:
    async with plain("modest") as reader:
        problem = assert_problem(await post(reader, CHAT, body), 422, "malformed_body")
    assert named in problem["detail"]


QUERIES = [
    ("", "prompt"),
    ("?q=", "q"),
    ("?q=Hello&debounce=soon", "debounce"),
    ("?q=Hello&delta=maybe", "delta"),
    ("?q=Hello&max_tokens=0", "max_tokens"),
    ("?q=Hello&unknown=1", "unknown"),
    ("?q=Hello&approvals=call-1", "approvals"),
]


@pytest.mark.parametrize(("query", "named"), QUERIES)
async def test_a_query_that_does_not_fit_is_refused_with_its_name(query: str, named: str) -> None:
    async with plain("modest") as reader:
        problem = assert_problem(await reader.client.get(STREAM + query), 422, "malformed_body")
    assert named in problem["detail"]


async def test_a_get_asks_with_its_query() -> None:
    async with plain("trickling") as reader:
        query = {"q": "Hello", "delta": "false", "debounce": "0", "max_tokens": "7"}
        response = await reader.client.get("/agents/trickling/stream/text", params=query)
        named = await reader.client.get("/agents/trickling/stream/text", params={"prompt": "Hello", "debounce": 10})
    assert of(events_in(response.text), "message")[1] == {"text": "ab"}
    assert answer_in(events_in(named.text)) == "abcdefghij"


@pytest.mark.parametrize("broken", ["", "{", '{"prompt": "\\ud800"}', "\xff", '{"prompt": NaN}'])
@pytest.mark.parametrize("path", [STREAM, RUN, CHAT])
async def test_broken_json_is_refused(path: str, broken: str) -> None:
    async with plain("modest") as reader:
        headers = {"content-type": "application/json"}
        response = await reader.client.post(path, content=broken.encode("latin-1"), headers=headers)
    assert_problem(response, 422, "malformed_body")


async def test_a_prompt_that_is_too_long_is_refused_in_every_place_where_it_may_stand() -> None:
    long = "ü" * 11
    async with plain("modest", "describing", server={"max_prompt_chars": 10}) as reader:
        responses = [
            await post(reader, STREAM, {"prompt": long}),
            await post(reader, RUN, {"prompt": long}),
            await post(reader, CHAT, {"session_id": "s", "message": long}),
            await reader.client.get(STREAM, params={"q": long}),
            await post(reader, "/agents/describing/object", long),
            await post(reader, "/agents/describing/object", {"any": long}),
        ]
        for response in responses:
            assert_problem(response, 422, "prompt_too_long")
        assert not plain_probes.settings
        assert (await post(reader, STREAM, {"prompt": long[:10]})).status_code == 200


@pytest.mark.parametrize("path", [STREAM, RUN, CHAT, "/agents/modest/object"])
@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_body_that_a_foreign_page_could_send_is_refused(path: str, media_type: str) -> None:
    async with plain("modest", "describing") as reader:
        where = path.replace("modest", "describing") if path.endswith("object") else path
        headers = {"content-type": media_type} if media_type else {}
        response = await reader.client.post(where, content=b'{"prompt":"Hello"}', headers=headers)
    assert_problem(response, 415, "unsupported_media_type")


FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_get_from_a_foreign_page_starts_nothing(headers: dict[str, str]) -> None:
    async with plain("modest") as reader:
        response = await reader.client.get(STREAM, params={"q": "Hello"}, headers=headers)
        again = await reader.client.get(STREAM, headers={**headers, "last-event-id": "run:1"})
    assert_problem(response, 403, "cross_site")
    assert_problem(again, 403, "cross_site")
    assert not plain_probes.settings


@pytest.mark.parametrize(
    "headers", [{}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {"origin": "https://app.example"}]
)
async def test_a_get_of_our_own_pages_and_of_those_that_are_allowed_is_answered(headers: dict[str, str]) -> None:
    async with plain("modest", cors={"allow_origins": ["https://app.example"]}) as reader:
        response = await reader.client.get(STREAM, params={"q": "Hello"}, headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize("form", FORMS)
async def test_a_head_starts_nothing(form: str) -> None:
    async with plain("modest") as reader:
        response = await reader.client.head(f"/agents/modest/stream/{form}", params={"q": "Hello"})
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"
    assert not plain_probes.settings


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_are_refused(method: str) -> None:
    async with plain("modest") as reader:
        for path in (STREAM, RUN, CHAT):
            assert_problem(await reader.client.request(method, path), 405, "method_not_allowed")
        assert_problem(await reader.client.get(RUN, params={"q": "Hello"}), 405, "method_not_allowed")
    assert not plain_probes.settings


@pytest.mark.parametrize(
    "path",
    [
        "/agents/nobody/stream/text",
        "/agents/nobody/run",
        "/agents/nobody/chat",
        "/agents/nobody/object",
    ],
)
async def test_an_agent_that_is_not_there_is_not_found(path: str) -> None:
    async with plain("modest") as reader:
        assert_problem(await post(reader, path, ASKED), 404, "agent_not_found")


@pytest.mark.parametrize(
    "path", ["/agents/modest/stream/words", "/agents/modest/stream", "/agents/modest/stream/text/x"]
)
async def test_a_form_that_is_not_there_is_not_found(path: str) -> None:
    async with plain("modest") as reader:
        assert (await post(reader, path, ASKED)).status_code == 404
        assert (await reader.client.get(path, params={"q": "Hello"})).status_code == 404
    assert not plain_probes.settings


async def test_an_agent_that_does_not_offer_the_surface_is_not_found() -> None:
    async with plain("modest", settings={"surfaces": ["ag-ui"]}) as reader:
        for path in (STREAM, RUN, CHAT):
            assert_problem(await post(reader, path, ASKED), 404, "agent_not_found")


async def test_an_agent_out_of_the_callers_scope_is_not_found_and_a_caller_without_a_key_is_told_so() -> None:
    keys = [
        {"id": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": [f"agents:{agent}"]}
        for name, agent in (("ada", "modest"), ("bob", "describing"))
    ]
    async with plain("modest", "describing", auth={"api_keys": keys}) as reader:
        for path in (STREAM, RUN, CHAT):
            assert_problem(await post(reader, path, ASKED), 401, "unauthenticated")
            assert_problem(await post(reader, path, ASKED, **{"x-api-key": "bob"}), 404, "agent_not_found")
        assert (await post(reader, RUN, ASKED, **{"x-api-key": "ada"})).status_code == 200


@pytest.mark.parametrize("path", [STREAM, RUN, "GET"])
async def test_rates_are_told_and_kept(path: str) -> None:
    limits = [{"per": "agent", "requests": "2/hour"}]
    async with plain("modest", limits=limits) as reader:

        async def ask() -> Any:
            if path == "GET":
                return await reader.client.get(STREAM, params={"q": "Hello"})
            return await post(reader, path, ASKED)

        assert (await ask()).headers["ratelimit"]
        await ask()
        refused = await ask()
        assert_problem(refused, 429, "rate_limited")
        assert int(refused.headers["retry-after"]) > 0

"""`PATCH`, `DELETE` and `archive` of a CopilotKit runtime's threads over plain HTTP, and whose threads it has."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from copilotkit_talk import enveloped, ran
from reading import client_for, eventually, held
from serving import make_config, serving
from talking import assert_problem, run_url, turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

Json = dict[str, Any]

pytestmark = pytest.mark.anyio

ORIGIN = "https://app.example.com"
AGENTS: dict[str, Any] = {
    "teller": "thread_probes:teller",
    "plain": "probes:plain",
    "gated": {"import": "run_probes:gated", "on_disconnect": "continue"},
}
KEYS = [
    {"id": key, "sha256": hashlib.sha256(key.encode()).hexdigest(), "subject": subject, "scopes": scopes}
    for key, subject, scopes in (
        ("ada", "ada", ["agents:*"]),
        ("bob", "bob", ["agents:*"]),
        ("ada-limited", "ada", ["agents:plain"]),
    )
]
RUNTIMES: list[Json] = [{"path": "/copilotkit"}, {"path": "/kits/plain", "agents": ["plain"]}]
BY = {"agentId": "teller"}
"""What the client sends with every change."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    cors = {"allow_origins": [ORIGIN]}
    config = make_config(agents=AGENTS, auth={"api_keys": KEYS}, cors=cors, copilotkit=RUNTIMES)
    with serving(config) as url:
        yield url


@pytest.fixture
def thread() -> str:
    return f"thread/%2F ü{uuid4()}"


def at(thread: str, what: str = "", runtime: str = "/copilotkit") -> str:
    """Where a thread is, or what can be done with it."""
    return f"{runtime}/threads/{quote(thread, safe='')}" + (f"/{what}" if what else "")


async def listed(client: httpx.AsyncClient, runtime: str = "/copilotkit", **asked: Any) -> list[Json]:
    response = await client.get(f"{runtime}/threads", params={"limit": 200, **asked})
    assert response.status_code == 200, response.text
    return response.json()["threads"]


async def of(client: httpx.AsyncClient, thread: str, **asked: Any) -> list[Json]:
    """What the list says of a thread: once, or nothing."""
    return [each for each in await listed(client, **asked) if each["id"] == thread]


async def remove(client: httpx.AsyncClient, url: str, sent: Any = BY) -> httpx.Response:
    """A deletion with a body, as the client sends it."""
    return await client.request("DELETE", url, json=sent)


# What is answered


async def test_what_can_be_done_with_threads_is_announced(ada: httpx.AsyncClient) -> None:
    info = (await ada.get("/copilotkit/info")).json()
    assert info["threadEndpoints"] == info["singleRoute"]["threadEndpoints"]
    assert info["threadEndpoints"] == {"list": True, "inspect": True, "mutations": True, "realtimeMetadata": False}


async def test_an_update_answers_with_the_thread_as_the_list_has_it(ada: httpx.AsyncClient, thread: str) -> None:
    await ran(ada, "teller", thread, "Hello")
    [before] = await of(ada, thread)
    assert before == {
        "id": thread,
        "name": "Hello",
        "agentId": "teller",
        "organizationId": "",
        "createdById": "ada",
        "archived": False,
        "createdAt": before["createdAt"],
        "updatedAt": before["updatedAt"],
    }
    steps: list[tuple[Json, Json]] = [
        ({"name": "  A trip \n"}, {"name": "A trip"}),
        ({"archived": True}, {"name": "A trip", "archived": True}),
        ({"name": None}, {"archived": True}),
        ({"name": "", "archived": False}, {}),
        ({"name": "x" * 200, "isPinned": True}, {"name": "x" * 200}),
    ]
    for sent, changed in steps:
        answer = await ada.patch(at(thread), json={**BY, **sent})
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert answer.json() == before | changed
        assert await of(ada, thread, includeArchived="true") == [before | changed]


async def test_a_thread_without_a_title_has_no_name_so_that_the_app_calls_it_untitled(
    ada: httpx.AsyncClient, thread: str
) -> None:
    await ran(ada, "teller", thread, " \n")
    assert [each["name"] for each in await of(ada, thread)] == [None]


async def test_archiving_and_deleting_answer_with_what_was_done(ada: httpx.AsyncClient, thread: str) -> None:
    await ran(ada, "teller", thread, "Hello")
    for _ in range(2):
        archived = await ada.post(at(thread, "archive"), json=BY)
        assert (archived.status_code, archived.json()) == (200, {"threadId": thread, "archived": True})
    assert await of(ada, thread) == []
    assert [each["archived"] for each in await of(ada, thread, includeArchived="true")] == [True]
    deleted = await remove(ada, at(thread))
    assert (deleted.status_code, deleted.json()) == (200, {"threadId": thread, "deleted": True})
    assert await of(ada, thread, includeArchived="true") == []
    assert_problem(await remove(ada, at(thread)), 404, "not_found")


@pytest.mark.parametrize("asked", ["false", "", "True", "1"])
async def test_archived_threads_are_listed_for_nothing_but_true(
    ada: httpx.AsyncClient, thread: str, asked: str
) -> None:
    await ran(ada, "teller", thread, "Hello")
    await ada.post(at(thread, "archive"), json=BY)
    assert await of(ada, thread, includeArchived=asked) == []


@pytest.mark.parametrize("agent", ["plain", "nobody", "", None, 5])
async def test_which_thread_is_meant_its_id_says_and_not_the_agent_of_the_list(
    ada: httpx.AsyncClient, thread: str, agent: Any
) -> None:
    await ran(ada, "teller", thread, "Hello")
    assert (await ada.patch(at(thread), json={"agentId": agent, "name": "Named"})).json()["name"] == "Named"
    assert (await ada.post(at(thread, "archive"), json={"agentId": agent})).status_code == 200
    assert (await remove(ada, at(thread), {"agentId": agent})).status_code == 200


async def test_the_one_url_changes_threads_as_the_many_do(ada: httpx.AsyncClient, thread: str) -> None:
    await ran(ada, "teller", thread, "Hello")
    path = f"/threads/{quote(thread, safe='')}"

    async def asked(method: str, sent: Json | None, what: str = "") -> httpx.Response:
        return await enveloped(ada, "resource/request", sent, path=f"{path}{what}", httpMethod=method)

    renamed = await asked("PATCH", {**BY, "name": "Named"})
    assert [renamed.json()] == await of(ada, thread)
    assert renamed.json()["name"] == "Named"
    assert (await asked("POST", BY, "/archive")).json() == {"threadId": thread, "archived": True}
    found = await enveloped(ada, "resource/request", path="/threads?limit=200&includeArchived=true", httpMethod="GET")
    assert found.json()["threads"] == await listed(ada, includeArchived="true")
    assert_problem(await asked("PATCH", BY), 422, "malformed_body")
    assert_problem(await asked("PATCH", None), 422, "malformed_body")
    assert (await asked("DELETE", None)).json() == {"threadId": thread, "deleted": True}
    assert_problem(await asked("DELETE", BY), 404, "not_found")


# What is refused


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (BY, "`name` or `archived` is required"),
        ({"title": "Named"}, "`name` or `archived` is required"),
        ({"name": 5}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"archived": None}, "archived"),
        ({"archived": "yes"}, "archived"),
        ({"archived": 1, "name": "Named"}, "archived"),
        ([], ""),
        ("text", ""),
    ],
)
async def test_what_is_no_change_is_refused_in_a_sentence(
    ada: httpx.AsyncClient, thread: str, sent: Any, said: str
) -> None:
    await ran(ada, "teller", thread, "Hello")
    [before] = await of(ada, thread)
    assert said in assert_problem(await ada.patch(at(thread), json=sent), 422, "malformed_body")["detail"]
    assert await of(ada, thread) == [before]


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 5000])
async def test_a_body_that_is_no_object_archives_and_deletes_nothing(
    ada: httpx.AsyncClient, thread: str, content: bytes
) -> None:
    await ran(ada, "teller", thread, "Hello")
    sent: Json = {"content": content, "headers": {"content-type": "application/json"}}
    assert_problem(await ada.post(at(thread, "archive"), **sent), 422, "malformed_body")
    assert_problem(await ada.request("DELETE", at(thread), **sent), 422, "malformed_body")
    assert len(await of(ada, thread)) == 1


async def test_a_foreign_page_changes_nothing(ada: httpx.AsyncClient, thread: str) -> None:
    await ran(ada, "teller", thread, "Hello")
    simple: Json = {"content": b'{"name": "x"}', "headers": {"content-type": "text/plain"}}
    for method, url in (("PATCH", at(thread)), ("POST", at(thread, "archive")), ("DELETE", at(thread))):
        assert_problem(await ada.request(method, url, **simple), 415, "unsupported_media_type")
        for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
            if method != "PATCH":
                assert_problem(await ada.request(method, url, headers=headers), 403, "cross_site")
    assert [each["name"] for each in await of(ada, thread)] == ["Hello"]
    own = {"origin": ORIGIN, "sec-fetch-site": "cross-site"}
    assert (await ada.post(at(thread, "archive"), headers=own)).status_code == 200
    assert (await ada.delete(at(thread), headers=own)).status_code == 200


REQUESTS: list[tuple[str, str, Json]] = [
    ("PATCH", "", {"json": {**BY, "name": "Mine"}}),
    ("PATCH", "", {"json": {**BY, "archived": True}}),
    ("PATCH", "", {"json": BY}),
    ("PATCH", "", {"content": b"{}"}),
    ("POST", "archive", {"json": BY}),
    ("POST", "archive", {}),
    ("POST", "archive", {"json": []}),
    ("DELETE", "", {"json": BY}),
    ("DELETE", "", {}),
    ("GET", "messages", {}),
    ("GET", "state", {}),
    ("GET", "events", {}),
    ("GET", "archive", {}),
    ("GET", "", {}),
    ("POST", "", {"json": BY}),
]


async def test_a_foreign_thread_gets_exactly_the_answer_of_one_that_never_was(
    url: str, ada: httpx.AsyncClient, thread: str
) -> None:
    await ran(ada, "teller", thread, "Hello")
    before = await of(ada, thread)
    async with client_for(url, "bob") as bob, client_for(url, "ada-limited") as limited:
        for other in (bob, limited):
            assert await of(other, thread, includeArchived="true") == []
            for method, what, request in REQUESTS:
                foreign = await other.request(method, at(thread, what), **request)
                never_was = await other.request(method, at(f"never-{thread}", what), **request)
                assert answered(foreign) == answered(never_was), (method, what, request)
                assert foreign.status_code >= 400
    assert await of(ada, thread) == before


def answered(response: httpx.Response) -> tuple[int, str, Json]:
    problem = response.json()
    return response.status_code, response.headers["content-type"], {**problem, "request_id": ""}


async def test_a_thread_with_a_run_on_it_is_archived_and_renamed_but_not_deleted(
    ada: httpx.AsyncClient, thread: str
) -> None:
    async with held(ada, "ag-ui", "gated", thread=thread) as run:
        assert (await ada.patch(at(thread), json={**BY, "name": "Named"})).json()["name"] == "Named"
        assert (await ada.post(at(thread, "archive"), json=BY)).status_code == 200
        refused = assert_problem(await remove(ada, at(thread)), 409, "run_conflict", "run_id")
        assert refused["run_id"] == run.id
        run.gate.open()
        await run.reader.rest()
    [stored] = await of(ada, thread, includeArchived="true")
    assert (stored["name"], stored["archived"]) == ("Named", True)
    assert (await remove(ada, at(thread))).status_code == 200


async def test_a_thread_that_its_reader_has_left_is_deleted_with_the_run_that_goes_on(
    ada: httpx.AsyncClient, thread: str
) -> None:
    async with held(ada, "ag-ui", "gated", thread=thread) as run:
        await run.reader.leave()

        async def is_deleted() -> bool:  # as soon as the gateway knows that the reader has gone
            return (await remove(ada, at(thread))).status_code == 200

        await eventually(is_deleted)
        assert run.gate.left.is_set()
    assert await of(ada, thread, includeArchived="true") == []


# A runtime of some agents


async def test_a_runtime_of_some_agents_has_their_threads_and_no_others(ada: httpx.AsyncClient, thread: str) -> None:
    kit, other = "/kits/plain", f"other-{thread}"
    await ran(ada, "plain", thread, "Mine")
    await ran(ada, "teller", other, "Not mine")
    assert {each["agentId"] for each in await listed(ada, kit)} == {"plain"}
    assert thread in [each["id"] for each in await listed(ada, kit, agentId="plain")]
    assert thread in [each["id"] for each in await listed(ada, kit, agentId="default")]
    assert await listed(ada, kit, agentId="teller") == await listed(ada, kit, agentId="nobody") == []
    for method, what, request in REQUESTS:
        refused = await ada.request(method, at(other, what, kit), **request)
        never_was = await ada.request(method, at(f"never-{other}", what, kit), **request)
        assert answered(refused) == answered(never_was), (method, what, request)
        assert refused.status_code >= 400
    assert [each["name"] for each in await of(ada, other)] == ["Not mine"]
    for look in ("messages", "state", "events"):
        assert (await ada.get(at(thread, look, kit))).status_code == 200
    assert (await ada.patch(at(thread, "", kit), json={**BY, "name": "Named"})).json()["name"] == "Named"
    assert (await ada.post(at(thread, "archive", kit), json=BY)).status_code == 200
    assert (await remove(ada, at(thread, "", kit))).status_code == 200


async def test_a_thread_goes_to_the_runtime_of_the_agent_that_spoke_last(ada: httpx.AsyncClient, thread: str) -> None:
    await ran(ada, "teller", thread, "Hello")
    assert thread not in [each["id"] for each in await listed(ada, "/kits/plain")]
    await ada.post(run_url("ag-ui", "plain"), json=turn("ag-ui", "More", thread))
    assert thread in [each["id"] for each in await listed(ada, "/kits/plain")]
    assert (await ada.patch(at(thread, "", "/kits/plain"), json={**BY, "archived": True})).json()["archived"]


async def test_a_runtime_shows_a_caller_no_agent_that_is_out_of_scope(thread: str) -> None:
    only = [{"path": "/copilotkit", "agents": ["teller", "gated"]}]
    with serving(make_config(agents=AGENTS, auth={"api_keys": KEYS}, copilotkit=only)) as url:
        async with client_for(url) as ada, client_for(url, "ada-limited") as limited:
            await ran(ada, "teller", thread, "Hello")
            assert len(await listed(ada)) == 1
            await limited.post(run_url("ag-ui", "plain"), json=turn("ag-ui", "Hello", f"plain-{thread}"))
            assert await listed(limited) == await listed(limited, agentId="plain") == []
            assert len(await listed(ada)) == 1

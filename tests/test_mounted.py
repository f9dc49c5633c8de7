"""`to_ag_ui` and `to_vercel_ai` inside apps of others: Starlette and FastAPI, with and without their lifespan."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import probes
import pytest
import uvicorn
from fastapi import FastAPI
from ports import free_port
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import UsageLimits
from serving import ROOT, running
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser, UnauthenticatedUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from talking import WIRES, assert_problem, calling, error_of, events_of, text_of, turn

from gateway import Principal, to_ag_ui, to_vercel_ai
from gateway.config import ServerSettings
from gateway.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path
    from types import ModuleType

    from starlette.requests import HTTPConnection, Request

    from gateway.surfaces.mounted import AgentApp

pytestmark = pytest.mark.anyio

MAKERS: dict[str, Callable[..., AgentApp]] = {"ag-ui": to_ag_ui, "vercel-ai": to_vercel_ai}


def in_starlette(app: AgentApp, *, lifespan: bool = False, **options: Any) -> Starlette:
    return Starlette(routes=[Mount("/chat", app)], lifespan=app.lifespan if lifespan else None, **options)


def in_fastapi(app: AgentApp, *, lifespan: bool = False, **options: Any) -> FastAPI:
    @asynccontextmanager
    async def opened(_host: FastAPI) -> AsyncGenerator[None]:
        async with app.lifespan():
            yield

    host = FastAPI(lifespan=opened if lifespan else None, **options)
    host.mount("/chat", app)
    return host


HOSTS: dict[str, Callable[..., Starlette]] = {"starlette": in_starlette, "fastapi": in_fastapi}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("lifespan", [False, True], ids=["without lifespan", "with lifespan"])
@pytest.mark.parametrize("host", HOSTS)
async def test_a_mounted_agent_serves_and_remembers(host: str, lifespan: bool, wire: str) -> None:
    app = HOSTS[host](MAKERS[wire](probes.remembering), lifespan=lifespan)
    async with calling(app) as client:
        for text, answer in (("One", "You said: One."), ("Two", "You said: One, Two.")):
            response = await client.post("/chat", json=turn(wire, text, "t"), follow_redirects=True)
            assert response.status_code == 200
            assert response.headers["x-thread-id"] == "t"
            assert response.headers.keys() >= {"x-run-id", "x-request-id"}
            assert text_of(events_of(response.text)) == answer


@pytest.mark.parametrize("lifespan", [False, True], ids=["without lifespan", "with lifespan"])
@pytest.mark.parametrize("host", HOSTS)
def test_the_toolsets_of_a_mounted_agent_open_and_close_with_its_server(host: str, lifespan: bool) -> None:
    toolset = probes.LifecycleToolset()
    agent = Agent(TestModel(custom_output_text="Hello."), toolsets=[toolset])
    server = uvicorn.Server(
        uvicorn.Config(HOSTS[host](to_ag_ui(agent), lifespan=lifespan), port=0, log_level="critical")
    )
    with running(server) as url:
        assert [what for what, _ in toolset.tasks] == (["opened"] if lifespan else [])
        for _ in range(2):
            response = httpx.post(f"{url}/chat/", json=turn("ag-ui"), timeout=10)
            assert text_of(events_of(response.text)) == "Hello."
        assert [what for what, _ in toolset.tasks] == ["opened"]
    assert [what for what, _ in toolset.tasks] == ["opened", "closed"]
    assert toolset.tasks[0][1] is toolset.tasks[1][1], "in the task that opened it"


@pytest.mark.parametrize("host", HOSTS)
async def test_the_lifespan_opens_early_and_closes_before_the_host_has_ended(host: str) -> None:
    toolset = probes.LifecycleToolset()
    agent = Agent(TestModel(custom_output_text="Hello."), toolsets=[toolset])
    async with calling(HOSTS[host](to_ag_ui(agent), lifespan=True)) as client:
        assert (await client.post("/chat/", json=turn("ag-ui"))).status_code == 200
        assert [what for what, _ in toolset.tasks] == ["opened"]
    assert [what for what, _ in toolset.tasks] == ["opened", "closed"]


def test_an_event_loop_that_ends_takes_its_opening_with_it_and_the_next_one_opens_again() -> None:
    toolset = probes.LifecycleToolset()
    agent = Agent(TestModel(custom_output_text="Hello."), name="often", toolsets=[toolset])
    client = TestClient(in_starlette(to_ag_ui(agent)))
    for _ in range(2):
        assert text_of(events_of(client.post("/chat", json=turn("ag-ui")).text)) == "Hello."
    assert [what for what, _ in toolset.tasks] == ["opened", "closed"] * 2
    assert {task.get_name() for _, task in toolset.tasks if task} == {"agent often"}, "not the run's own task"


@pytest.mark.parametrize("wire", WIRES)
def test_starlettes_test_client_works_with_every_request_on_a_loop_of_its_own(wire: str) -> None:
    client = TestClient(in_starlette(MAKERS[wire](probes.remembering)))
    for text, answer in (("One", "You said: One."), ("Two", "You said: One, Two.")):
        assert text_of(events_of(client.post("/chat", json=turn(wire, text, "t")).text)) == answer
    with TestClient(in_starlette(MAKERS[wire](probes.plain), lifespan=True)) as client:
        assert client.post("/chat", json=turn(wire)).status_code == 200


@pytest.mark.parametrize("wire", WIRES)
def test_the_app_serves_at_the_top_of_a_server_too(wire: str) -> None:
    server = uvicorn.Server(uvicorn.Config(MAKERS[wire](probes.remembering), port=0, log_level="critical"))
    with running(server) as url, httpx.Client(base_url=url, timeout=10) as client:
        for path in ("/", "/any/path"):
            response = client.post(path, json=turn(wire, "Hello"))
            assert text_of(events_of(response.text)) == "You said: Hello."
        assert_problem(client.get("/"), 405, "method_not_allowed")


async def said_before(client: httpx.AsyncClient, wire: str, text: str, **headers: str) -> str:
    response = await client.post("/chat/", json=turn(wire, text, "t"), headers=headers)
    assert response.status_code == 200, response.text
    return text_of(events_of(response.text))


def from_header(request: Request) -> str | None:
    return request.headers.get("x-user")


def is_ada(_request: Request) -> str:
    return "ada"


async def from_header_async(request: Request) -> str | None:
    return request.headers.get("x-user")


def principal_from_header(request: Request) -> Principal | None:
    user = request.headers.get("x-user")
    return Principal(user, tenant="acme") if user else None


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("find", [from_header, from_header_async, principal_from_header])
async def test_principal_says_who_owns_the_threads_and_none_is_a_401(wire: str, find: Any) -> None:
    async with calling(in_starlette(MAKERS[wire](probes.remembering, principal=find))) as client:
        assert await said_before(client, wire, "One", **{"x-user": "ada"}) == "You said: One."
        assert await said_before(client, wire, "Two", **{"x-user": "bob"}) == "You said: Two."
        assert await said_before(client, wire, "Three", **{"x-user": "ada"}) == "You said: One, Three."
        for headers in ({}, {"x-user": ""}):
            refused = await client.post("/chat/", json=turn(wire), headers=headers)
            assert_problem(refused, 401, "unauthenticated")
            assert refused.headers["www-authenticate"] == 'Bearer realm="gateway"'


class Sessions(AuthenticationBackend):
    """A host's own: users by header, as Starlette's `SimpleUser`."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        name = conn.headers.get("x-user")
        return (AuthCredentials(), SimpleUser(name)) if name else None


@pytest.mark.parametrize("wire", WIRES)
async def test_the_user_of_the_host_owns_the_threads_and_all_others_are_one_anonymous_owner(wire: str) -> None:
    app = in_starlette(
        MAKERS[wire](probes.remembering), middleware=[Middleware(AuthenticationMiddleware, backend=Sessions())]
    )
    async with calling(app) as client:
        assert await said_before(client, wire, "One", **{"x-user": "ada"}) == "You said: One."
        assert await said_before(client, wire, "Two", **{"x-user": "bob"}) == "You said: Two."
        assert await said_before(client, wire, "Three", **{"x-user": "ada"}) == "You said: One, Three."
        assert await said_before(client, wire, "Four") == "You said: Four."
        assert await said_before(client, wire, "Five") == "You said: Four, Five."
        assert await said_before(client, wire, "Six", **{"x-user": "anonymous"}) == "You said: Six."


class Account(BaseUser):
    """A host's own user, of whom two may have the same display name."""

    def __init__(self, number: str) -> None:
        self._number = number

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        return "Ada"

    @property
    def identity(self) -> str:
        return self._number


class Accounts(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        number = conn.headers.get("x-user")
        return AuthCredentials(), Account(number) if number else UnauthenticatedUser()


@pytest.mark.parametrize("wire", WIRES)
async def test_two_users_of_the_same_name_do_not_share_threads(wire: str) -> None:
    app = in_starlette(
        MAKERS[wire](probes.remembering), middleware=[Middleware(AuthenticationMiddleware, backend=Accounts())]
    )
    async with calling(app) as client:
        assert await said_before(client, wire, "One", **{"x-user": "1"}) == "You said: One."
        assert await said_before(client, wire, "Two", **{"x-user": "2"}) == "You said: Two."


@pytest.mark.parametrize("wire", WIRES)
async def test_two_apps_share_threads_when_they_are_given_the_same_store(wire: str) -> None:
    store = MemoryStore()
    host = Starlette(
        routes=[
            Mount("/ag-ui", to_ag_ui(probes.remembering, store=store)),
            Mount("/vercel-ai", to_vercel_ai(probes.remembering, store=store)),
            Mount("/apart", MAKERS[wire](probes.remembering)),
        ]
    )
    async with calling(host) as client:
        other = WIRES[1 - WIRES.index(wire)]
        await client.post(f"/{other}/", json=turn(other, "One", "t"))
        response = await client.post(f"/{wire}/", json=turn(wire, "Two", "t"))
        assert text_of(events_of(response.text)) == "You said: One, Two."
        response = await client.post("/apart/", json=turn(wire, "Three", "t"))
        assert text_of(events_of(response.text)) == "You said: Three."


@pytest.mark.parametrize("wire", WIRES)
async def test_the_options_are_those_of_the_gateway(wire: str) -> None:
    probes.tapped.clear()
    probes.seen_deps.clear()
    make = MAKERS[wire]
    apps = {
        "deps": make(probes.who, deps=probes.async_deps_of, principal=is_ada, capabilities=[probes.tap]),
        "timeout": make(probes.hanging, timeout=0.05),
        "usage": make(probes.looping, usage_limits=UsageLimits(request_limit=2)),
        "server": make(probes.plain, server=ServerSettings(max_body_bytes=2_000, max_prompt_chars=5)),
    }
    async with calling(Starlette(routes=[Mount(f"/{name}", app) for name, app in apps.items()])) as client:

        async def answer(name: str, **fields: Any) -> httpx.Response:
            return await client.post(f"/{name}/", json=turn(wire, **fields))

        assert (await answer("deps")).status_code == 200
        assert probes.seen_deps == ["ada"]
        assert probes.tapped
        assert error_of(wire, (await answer("timeout")).text)[0] == "run_timeout"
        assert error_of(wire, (await answer("usage")).text)[0] == "usage_limit"
        assert_problem(await answer("server", text="x" * 6), 422, "prompt_too_long")
        assert_problem(await answer("server", text="x" * 3_000), 413, "body_too_large")
        assert (await answer("server", text="x" * 5)).status_code == 200


@pytest.mark.parametrize("wire", WIRES)
async def test_as_a_route_the_app_answers_at_one_address_without_a_slash(wire: str) -> None:
    for host in (Starlette(), FastAPI()):
        host.router.routes.append(Route("/chat", MAKERS[wire](probes.plain)))
        async with calling(host) as client:
            assert text_of(events_of((await client.post("/chat", json=turn(wire))).text)) == "Hello from the probe."
            assert (await client.post("/chat/more", json=turn(wire))).status_code == 404


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("host", HOSTS)
async def test_every_refusal_of_a_mounted_app_is_a_problem(host: str, wire: str) -> None:
    async with calling(HOSTS[host](MAKERS[wire](probes.plain))) as client:
        assert_problem(await client.get("/chat/"), 405, "method_not_allowed")
        assert_problem(await client.post("/chat/", content=b"{}"), 415, "unsupported_media_type")
        assert_problem(await client.post("/chat/", json={"no": "turn"}), 422, "malformed_body")
    async with calling(HOSTS[host](MAKERS[wire](probes.who, deps=probes.broken_deps))) as client:
        response = await client.post("/chat/", json=turn(wire))
        assert_problem(response, 500, "internal_error")
        assert probes.SECRET not in response.text
    async with calling(HOSTS[host](MAKERS[wire](probes.unreachable))) as client:
        assert_problem(await client.post("/chat/", json=turn(wire)), 503, "agent_unready")


@pytest.mark.parametrize("wire", WIRES)
async def test_a_failing_run_of_a_mounted_app_is_told_without_its_text(wire: str) -> None:
    async with calling(in_starlette(MAKERS[wire](probes.broken))) as client:
        response = await client.post("/chat/", json=turn(wire))
    assert error_of(wire, response.text)[0] == "run_failed"
    assert probes.SECRET not in response.text


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_starlette_example_serves() -> None:
    async with calling(example("mount_in_starlette").app) as client:
        assert (await client.get("/")).status_code == 200
        response = await client.post("/assistant/", json=turn("ag-ui"), headers={"x-user": "ada"})
        assert text_of(events_of(response.text)) == "Hello from inside your app."
        assert_problem(await client.post("/assistant/", json=turn("ag-ui")), 401, "unauthenticated")


async def test_the_fastapi_example_serves() -> None:
    async with calling(example("mount_in_fastapi").app) as client:
        assert (await client.get("/")).json() == {"hello": "world"}
        for name, greeted in (("Bearer ada", "ada"), ("", "anonymous")):
            response = await client.post("/api/chat/", json=turn("vercel-ai"), headers={"authorization": name})
            assert f"Hello, {greeted}." in response.text


@pytest.mark.parametrize(
    ("name", "port", "path"), [("mount_in_starlette", 8001, "assistant/"), ("mount_in_fastapi", 8002, "api/chat/")]
)
def test_the_examples_run_and_answer_the_curl_of_their_first_lines(
    name: str, port: int, path: str, tmp_path: Path
) -> None:
    """On a port that is free here."""
    source = (ROOT / "examples" / f"{name}.py").read_text()
    assert f"localhost:{port}/{path} " in source
    assert source.count(f"port={port}") == 1
    program = tmp_path / f"{name}.py"
    program.write_text(source.replace(f"port={port}", f"port={(own := free_port())}"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen([sys.executable, program], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    wire = "ag-ui" if path == "assistant/" else "vercel-ai"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                headers = {"x-user": "ada", "authorization": "Bearer ada"}
                url = f"http://127.0.0.1:{own}/{path}"
                response = httpx.post(url, json=turn(wire), headers=headers, timeout=10)
                break
            except httpx.ConnectError:
                assert server.poll() is None, "the example ended"
                assert time.monotonic() < deadline, "the example does not listen"
                time.sleep(0.05)
    finally:
        server.terminate()
        server.wait(10)
    assert response.status_code == 200, "without a redirect, which `curl` would not follow"
    assert "Hello" in text_of(events_of(response.text))

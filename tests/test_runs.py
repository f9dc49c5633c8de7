"""Runs: how each kind of failure is told, what a run may use, who stops it, and what it is given."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import httpx
import probes
import pytest
from logs import capture_logs
from serving import make_config, serving
from talking import WIRES, assert_problem, calling, error_of, events_of, run_url, text_of, turn

from gateway.app import create_app
from gateway.errors import StoreUnavailable
from gateway.stores.memory import _View  # pyright: ignore[reportPrivateUsage]

if TYPE_CHECKING:
    from starlette.applications import Starlette

pytestmark = pytest.mark.anyio


def gateway(**agents: Any) -> Starlette:
    return create_app(make_config(agents=agents))


async def run(app: Starlette, wire: str, agent: str, body: dict[str, Any] | None = None) -> httpx.Response:
    async with calling(app) as client:
        return await client.post(run_url(wire, agent), json=body or turn(wire))


FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "broken": ({}, "run_failed"),
    "failing_tool": ({}, "run_failed"),
    "grouped": ({}, "run_failed"),
    "cancelling": ({}, "run_failed"),
    "refused": ({}, "model_unavailable"),
    "unreached": ({}, "model_unavailable"),
    "fallen": ({}, "model_unavailable"),
    "misbehaving": ({}, "model_behavior"),
    "hanging": ({"timeout": 0.1}, "run_timeout"),
    "looping": ({"usage_limits": {"request_limit": 3}}, "usage_limit"),
    "sorry": ({}, "out_of_stock"),
    "misused_later": ({}, "run_failed"),
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("agent", "settings", "code"), [(agent, *how) for agent, how in FAILURES.items()], ids=FAILURES
)
async def test_every_failure_ends_the_stream_with_a_code_and_a_reference_and_its_text_is_in_the_log_alone(
    wire: str, agent: str, settings: dict[str, Any], code: str
) -> None:
    with capture_logs() as logs:
        response = await run(gateway(**{agent: {"import": f"probes:{agent}", **settings}}), wire, agent)
    assert response.status_code == 200
    assert probes.SECRET not in response.text
    told, sentence = error_of(wire, response.text)
    assert told == code
    run_id = response.headers["x-run-id"]
    assert sentence.endswith(f" (reference {run_id})")
    [entry] = [line for line in logs if line["event"] == code]
    assert (entry["run_id"], entry["agent"]) == (run_id, agent)
    assert isinstance(entry["exc_info"], BaseException)
    if code in ("run_failed", "model_unavailable", "model_behavior") and agent != "cancelling":
        assert probes.SECRET in everything_said(entry["exc_info"])


def everything_said(error: BaseException | None) -> str:
    """What a traceback of the exception would print."""
    said = ""
    while error is not None:
        said += str(error)
        if isinstance(error, BaseExceptionGroup):
            said += "".join(map(everything_said, error.exceptions))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        error = error.__cause__ or error.__context__
    return said


@pytest.mark.parametrize(("limits", "calls"), [({"request_limit": 3}, 3), ({"tool_calls_limit": 2}, 2)])
async def test_a_run_stops_at_the_limit_of_the_config(limits: dict[str, int], calls: int) -> None:
    response = await run(gateway(looping={"import": "probes:looping", "usage_limits": limits}), "ag-ui", "looping")
    results = [event for event in events_of(response.text) if event.get("content") == "again"]
    assert len(results) == calls


async def test_what_was_said_before_a_failure_is_kept_and_closed() -> None:
    response = await run(gateway(broken="probes:broken"), "ag-ui", "broken")
    types = [event["type"] for event in events_of(response.text)]
    assert text_of(events_of(response.text)) == "Half an "
    assert types[-2:] == ["TEXT_MESSAGE_END", "RUN_ERROR"]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("error", "code"), [(OSError(probes.SECRET), "run_failed"), (StoreUnavailable(), "store_unavailable")]
)
async def test_an_answer_that_cannot_be_stored_is_told_at_the_end_of_the_stream(
    wire: str, error: Exception, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = _View.write_record

    async def fails_the_second_time(*args: Any, **kwargs: Any) -> None:
        if kwargs["expected_revision"] is not None:
            raise error
        await write(*args, **kwargs)

    monkeypatch.setattr(_View, "write_record", fails_the_second_time)
    response = await run(gateway(plain="probes:plain"), wire, "plain")
    assert error_of(wire, response.text)[0] == code
    assert probes.SECRET not in response.text


@pytest.mark.parametrize("wire", WIRES)
async def test_nothing_runs_when_the_users_message_cannot_be_stored(wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_args: Any, **_kwargs: Any) -> None:
        raise StoreUnavailable from OSError(probes.SECRET)

    monkeypatch.setattr(_View, "write_record", fails)
    response = await run(gateway(plain="probes:plain"), wire, "plain")
    assert_problem(response, 503, "store_unavailable")


@pytest.mark.parametrize("wire", WIRES)
async def test_an_encoder_that_fails_is_told_at_the_end_of_the_stream_too(
    wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: object) -> str:
        raise TypeError(probes.SECRET)

    monkeypatch.setattr("pydantic_ai.ui.ag_ui.AGUIEventStream.encode_event", fails)
    monkeypatch.setattr("pydantic_ai.ui.vercel_ai.VercelAIEventStream.encode_event", fails)
    response = await run(gateway(plain="probes:plain"), wire, "plain")
    assert error_of(wire, response.text)[0] == "run_failed"
    assert probes.SECRET not in response.text
    assert response.text.endswith("data: [DONE]\n\n") is (wire == "vercel-ai")


@pytest.mark.parametrize("wire", WIRES)
async def test_usage_limits_are_limits_of_a_run_and_not_of_its_thread(wire: str) -> None:
    """The adapters' own store mode adds up the usage of the whole thread; a chat would stop for good some day."""
    remembering = {"import": "probes:remembering", "usage_limits": {"request_limit": 2, "output_tokens_limit": 40}}
    async with calling(gateway(remembering=remembering)) as client:
        for number in range(6):
            response = await client.post(run_url(wire, "remembering"), json=turn(wire, f"{number}", "t"))
            assert text_of(events_of(response.text)).endswith(f" {number}."), response.text


@pytest.mark.parametrize(("wire", "settings"), [("ag-ui", {}), ("vercel-ai", {"on_disconnect": "cancel"})])
def test_a_client_that_goes_away_cancels_the_run(wire: str, settings: dict[str, Any]) -> None:
    probes.Cancellable.started.clear()
    probes.Cancellable.cancelled.clear()
    with (
        serving(make_config(agents={"cancellable": {"import": "probes:cancellable", **settings}})) as url,
        httpx.stream("POST", url + run_url(wire, "cancellable"), json=turn(wire), timeout=10) as response,
    ):
        chunks = response.iter_text()  # held: httpx closes the connection with the iterator
        assert next(chunks)
        assert probes.Cancellable.started.wait(10)
        assert not probes.Cancellable.cancelled.is_set()
        response.close()
        assert probes.Cancellable.cancelled.wait(10), "the run goes on without a reader"


def test_a_run_that_its_reader_left_leaves_a_thread_to_go_on_with() -> None:
    probes.Cancellable.started.clear()
    probes.Cancellable.cancelled.clear()
    with serving(make_config(agents={"cancellable": "probes:cancellable", "remembering": "probes:remembering"})) as url:
        body = turn("ag-ui", "Hello", "t")
        with httpx.stream("POST", f"{url}/agents/cancellable/ag-ui", json=body, timeout=10) as response:
            chunks = response.iter_text()
            assert next(chunks)
            assert probes.Cancellable.started.wait(10)
        assert probes.Cancellable.cancelled.wait(10)
        # The thread is free for another turn, and has kept what the user said.
        answer = httpx.post(f"{url}/agents/remembering/ag-ui", json=turn("ag-ui", "Again", "t"), timeout=10)
        assert text_of(events_of(answer.text)) == "You said: Hello, Again."


@pytest.mark.parametrize("wire", WIRES)
def test_many_runs_at_once_do_not_mix(wire: str) -> None:
    async def main(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:

            async def one(number: int) -> str:
                body = turn(wire, f"I am {number}", f"thread-{number}")
                response = await client.post(run_url(wire, "remembering"), json=body)
                return text_of(events_of(response.text))

            answers = await asyncio.gather(*map(one, range(50)))
            assert answers == [f"You said: I am {number}." for number in range(50)]

    with serving(make_config(agents={"remembering": "probes:remembering"})) as url:
        asyncio.run(main(url))


@pytest.mark.parametrize("wire", WIRES)
async def test_a_second_run_on_a_thread_is_refused_with_the_id_of_the_first(wire: str) -> None:
    async with calling(gateway(ticking="probes:ticking")) as client:

        async def one(text: str) -> httpx.Response:
            return await client.post(run_url(wire, "ticking"), json=turn(wire, text, "t"))

        first, second = await asyncio.gather(one("first"), one("second"))
        problem = assert_problem(second, 409, "run_conflict", "run_id")
        assert problem["run_id"] == second.headers["x-run-id"] == first.headers["x-run-id"]
        assert second.headers["retry-after"] == "1"
        assert len(text_of(events_of(first.text)).split()) == 20
        assert (await one("third")).status_code == 200, "the thread is free again"


@pytest.mark.parametrize("deps", ["probes:deps_of", "probes:async_deps_of"])
async def test_deps_are_made_for_each_run_with_the_one_who_calls(deps: str) -> None:
    probes.seen_deps.clear()
    keys = [{"id": name, "sha256": hashlib.sha256(name.encode()).hexdigest()} for name in ("ada", "bob")]
    config = make_config(agents={"who": {"import": "probes:who", "deps": deps}}, auth={"api_keys": keys})
    async with calling(create_app(config)) as client:
        for name in ("ada", "bob", "ada"):
            response = await client.post(run_url("ag-ui", "who"), json=turn("ag-ui"), headers={"x-api-key": name})
            assert f"for {name}" in response.text
    assert probes.seen_deps == ["ada", "bob", "ada"]


@pytest.mark.parametrize("wire", WIRES)
async def test_deps_that_cannot_be_made_are_a_problem_before_the_stream(wire: str) -> None:
    response = await run(gateway(who={"import": "probes:who", "deps": "probes:broken_deps"}), wire, "who")
    assert_problem(response, 500, "internal_error")
    assert probes.SECRET not in response.text


async def test_state_is_never_shared_between_runs() -> None:
    counting = {"import": "probes:counting", "deps": "probes:make_counter"}
    async with calling(gateway(counting=counting)) as client:

        async def counted(start: int) -> bool:
            body = turn("ag-ui", state={"count": start})
            response = await client.post(run_url("ag-ui", "counting"), json=body)
            return f"count is {start + 1}" in response.text

        assert await counted(10)
        assert "count is 1" in (await client.post(run_url("ag-ui", "counting"), json=turn("ag-ui"))).text
        assert all(await asyncio.gather(*map(counted, range(20))))

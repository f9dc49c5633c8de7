"""What the model writes into a tool's argument grows in the shared state of the page, before the tool has run."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
import run_probes
from clients_driver import FOLDER, Node
from copilotkit_app import App
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import make_config, serving
from talking import calling, events_of, run_url, turn

from gateway import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    Json = dict[str, Any]

DEPS = "page_probes:make_draft"
AGENTS: Json = {
    name: {"import": f"page_probes:{name}", "deps": DEPS}
    for name in ("writing", "writing_all", "writing_two", "writing_unseen")
}
TEXT = "The quick brown fox jumps over the lazy dog, again and again. " * 8


def asked(text: str = TEXT, pieces: int = 1) -> tuple[str, str]:
    """A prompt that has this written in so many pieces, and the prefix of its gates."""
    prefix = str(uuid4())
    return json.dumps({"prefix": prefix, "text": text, "pieces": pieces}), prefix


async def _events(agent: str, text: str, pieces: int = 1, wire: str = "ag-ui") -> list[Json]:
    prompt, prefix = asked(text, pieces)
    for number in range(1, pieces):
        run_probes.gates[f"{prefix}-{number}"].open()
    async with calling(create_app(make_config(agents=AGENTS))) as client:
        response = await client.post(run_url(wire, agent), json=turn(wire, prompt))
    assert response.status_code == 200, response.text
    return events_of(response.text)


def _states(events: list[Json]) -> list[Json]:
    """The state that a page has after each event that changes it."""
    state: Json = {}
    states: list[Json] = []
    for event in events:
        if event["type"] == "STATE_DELTA":
            [patch] = event["delta"]
            assert patch["op"] == "add"
            name = patch["path"].removeprefix("/").replace("~1", "/").replace("~0", "~")
            state = state | {name: patch["value"]}
        elif event["type"] == "STATE_SNAPSHOT":
            state = event["snapshot"]
        else:
            continue
        states.append(state)
    return states


@pytest.mark.anyio
async def test_an_argument_grows_in_the_state_and_gives_way_to_what_the_tool_made_of_it() -> None:
    first, *predicted, last = _states(await _events("writing", TEXT, 8))
    assert first == {"document": "", "kept": "as it was"}
    written = [state["document"] for state in predicted]
    assert len(set(written)) > 4
    assert all(later.startswith(earlier) for earlier, later in pairwise(written))
    assert written[-1] == TEXT
    assert last == {"document": f"A/B: {TEXT}", "kept": "as it was"}


@pytest.mark.anyio
async def test_a_prediction_that_the_tool_refuses_is_taken_back() -> None:
    *_, predicted, last = _states(await _events("writing", "refuse this"))
    assert predicted["document"] == "refuse this"
    assert last == {"document": "", "kept": "as it was"}


@pytest.mark.anyio
async def test_all_arguments_may_be_the_prediction_and_its_member_may_have_any_name() -> None:
    states = _states(await _events("writing_all", TEXT, 3))
    assert states[-2] == {**states[0], "a/b~c": {"title": "A/B", "text": TEXT}}


@pytest.mark.anyio
async def test_two_predictions_do_not_take_each_other_back() -> None:
    predicted = [state.get("one") for state in _states(await _events("writing_two", TEXT, 8))]
    grown = [text for text in predicted if text is not None]
    assert predicted.index(grown[0]) == 1, "the state as it was is told once"
    assert None not in predicted[1 : 1 + len(grown)]


@pytest.mark.anyio
async def test_without_it_nothing_is_predicted() -> None:
    assert _states(await _events("writing_unseen", TEXT, 3)) == []


@pytest.mark.anyio
async def test_a_document_is_told_a_bounded_number_of_times() -> None:
    """Else one of 100 kB in tokens of a few characters would be 20,000 documents."""
    deltas = [event for event in await _events("writing", TEXT * 40, 2000) if event["type"] == "STATE_DELTA"]
    assert len(deltas) < 150


@pytest.mark.anyio
async def test_other_wires_have_no_shared_state_to_predict() -> None:
    events = await _events("writing", TEXT, 4, "vercel-ai")
    assert not [event for event in events if event["type"].startswith("data-")]
    assert events[-1]["type"] == "finish"


@pytest.mark.anyio
async def test_a_tool_that_breaks_ends_the_run_as_ever() -> None:
    assert (await _events("writing", "break"))[-1]["type"] == "RUN_ERROR"


@settings(max_examples=25, deadline=None)
@given(st.text(min_size=1, max_size=300), st.integers(1, 40))
def test_whatever_is_written_in_whatever_pieces_is_predicted_to_its_end(text: str, pieces: int) -> None:
    states = _states(asyncio.run(_events("writing_all", text, pieces)))
    assert states[-2] == {**states[0], "a/b~c": {"title": "A/B", "text": text}}


needs_npm = pytest.mark.skipif(
    not (FOLDER / "node_modules/@copilotkit/core").exists(), reason="the npm packages are not installed: run make test"
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(make_config(agents=AGENTS | {"looking": "page_probes:looking"})) as url:
        yield url


@needs_npm
def test_a_copilotkit_page_sees_the_document_grow(node: Node, url: str) -> None:
    app, (prompt, prefix) = App(node, f"{url}/copilotkit"), asked(pieces=3)
    app.run("writing", thread := f"thread-{uuid4()}", prompt, background=True)
    assert run_probes.gates[f"{prefix}-1"].reached.wait(15)
    half = app.call("has_state", "writing", member="document")["state"]["document"]
    assert TEXT.startswith(half)
    assert 0 < len(half) < len(TEXT)
    for number in (1, 2):
        run_probes.gates[f"{prefix}-{number}"].open()
    held = app.call("ran", "writing")
    assert held["state"] == {"document": f"A/B: {TEXT}", "kept": "as it was"}
    reloaded = App(node, f"{url}/copilotkit").call("connect", "writing", threadId=thread)
    assert reloaded["state"] == held["state"]


@needs_npm
@pytest.mark.parametrize("transport", ["rest", "single"])
def test_a_copilotkit_page_tells_its_context_and_properties(node: Node, url: str, transport: str) -> None:
    context = [{"description": "path", "value": "/cart"}]
    app = App(node, f"{url}/copilotkit", transport=transport, context=context, properties={"plan": "team"})
    [*_, answer] = app.run("looking", f"thread-{uuid4()}", "Look")["messages"]
    assert '{"path":"/cart","items":1,"properties":{"plan":"team"}}' in answer["content"].replace('": ', '":')


def test_a_stopped_prediction_stands_until_the_page_is_loaded_again(url: str) -> None:
    prompt, prefix = asked(pieces=3)
    body = turn("ag-ui", prompt)
    thread = body["threadId"]
    with httpx.stream("POST", f"{url}{run_url('ag-ui', 'writing')}", json=body, timeout=15) as response:
        run_id = response.headers["x-run-id"]
        assert run_probes.gates[f"{prefix}-1"].reached.wait(15)
        assert httpx.post(f"{url}/runs/{run_id}/cancel").status_code == 200
        events = events_of(response.read().decode())
    assert events[-1]["outcome"]["type"] == "cancelled"
    assert httpx.get(f"{url}/threads/{thread}").json()["state"] == {"document": "", "kept": "as it was"}

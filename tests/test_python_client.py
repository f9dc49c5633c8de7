"""What both Python clients do, over a real socket: asking, reading, leaving, and what goes wrong."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, assert_type

import httpx
import pytest
from client_agents import ADA, Contact
from client_matrix import KINDS, TIMEOUT, client_config, client_of
from pydantic import BaseModel, TypeAdapter, ValidationError
from serving import serving
from typing_extensions import TypedDict

from gateway import client as public
from gateway.client import (
    AgentNotFound,
    InvalidOutput,
    NoResult,
    PromptTooLong,
    RateLimited,
    RunFailed,
    Unauthenticated,
    Unreachable,
    UnsuitableAgent,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.client import Client


class Filling(TypedDict, total=False):
    """A `Contact` that is still being written."""

    name: str
    city: str | None
    languages: list[str]


class Other(BaseModel):
    """What no agent here answers."""

    price: int


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(client_config(server={"max_prompt_chars": 1000})) as url:
        yield url


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, url: str) -> Iterator[Client]:
    with client_of(request.param, url) as client:
        yield client


@pytest.fixture
def plain(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers={"x-api-key": "ada"}, timeout=TIMEOUT) as plain:
        yield plain


def status_of(plain: httpx.Client, run_id: str | None) -> str:
    """How the run ends, which the gateway tells readers of its stream."""
    plain.get(f"/runs/{run_id}/stream")
    return plain.get(f"/runs/{run_id}").json()["status"]


def test_agents_are_listed_with_what_they_can_do(client: Client) -> None:
    agents = {agent.id: agent for agent in client.agents()}
    assert agents["assistant"].description == "Chats, tells the time and the (made-up) weather."
    assert agents["assistant"].ready
    assert agents["assistant"].capabilities is None
    assert client.agent("assistant").capabilities


def test_a_run_answers_with_text_usage_and_its_id(client: Client, plain: httpx.Client) -> None:
    result = client.run("plain", "Hello")
    assert (result.text, result.output, result.outcome) == (("Hello from the probe.",) * 2 + ("finished",))
    assert result.usage.requests == 1
    assert result.usage.total_tokens == result.usage.input_tokens + result.usage.output_tokens > 0
    assert (result.thread_id, result.deferred) == (None, None)
    assert plain.get(f"/runs/{result.run_id}").json()["agent"] == "plain"


@pytest.mark.parametrize("output_type", [Contact, TypeAdapter(Contact)])
def test_the_output_of_a_run_is_validated_as_the_type_that_was_named(client: Client, output_type: Any) -> None:
    assert client.run("contact", "Who?", output_type=output_type).output == ADA
    assert_type(client.run("contact", "Who?", output_type=Contact).output, Contact)
    assert client.run("contact", "Who?").output == ADA.model_dump()


def test_an_output_that_does_not_fit_is_an_error_with_its_reason(client: Client) -> None:
    with pytest.raises(InvalidOutput, match=r"^The answer does not have the expected form\.$") as caught:
        client.run("contact", "Who?", output_type=Other)
    assert isinstance(caught.value.__cause__, ValidationError)
    assert caught.value.output == ADA.model_dump()


def test_text_comes_in_pieces_and_usage_after_them(client: Client) -> None:
    with client.stream_text("fast", "50 numbers", debounce=0) as stream:
        assert stream.run_id
        pieces = [next(stream)]
        assert (stream.usage, stream.outcome) == (None, None)
        with pytest.raises(NoResult, match="not complete"):
            _ = stream.result
        pieces += stream
    expected = "".join(f"{number} " for number in range(50))
    assert len(pieces) > 10
    assert "".join(pieces) == stream.text == stream.result == expected
    assert stream.outcome == "finished"
    assert stream.usage is not None
    assert stream.usage.requests == 1
    assert list(stream) == []


def test_a_stream_is_read_without_a_block_too(client: Client) -> None:
    assert "".join(client.stream_text("plain", "Hello")) == "Hello from the probe."


def test_with_whole_texts_each_item_begins_with_the_one_before(client: Client) -> None:
    with client.stream_text("fast", "50 numbers", delta=False, debounce=0) as stream:
        texts = list(stream)
    assert len(texts) > 10
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert texts[-1] == stream.text == stream.result


@pytest.mark.parametrize("delta", [True, False])
def test_text_starts_over_when_the_agent_goes_on_to_call_a_tool(client: Client, *, delta: bool) -> None:
    with client.stream_text("asking", "Look", delta=delta, debounce=0) as stream:
        seen = [(item, stream.text, stream.resets) for item in stream]
    assert seen[0] == ("Let me ", "Let me ", 0)
    assert seen[-1][1:] == ("The result: nothing here", 1)
    assert stream.text == stream.result == "The result: nothing here"
    if delta:
        assert "".join(item for item, _, _ in seen) == "Let me see. The result: nothing here"
    else:
        assert all(item == text for item, text, _ in seen)


def test_the_text_of_an_agent_that_makes_something_else_of_it_is_read_too(client: Client) -> None:
    with client.stream_text("counting", "Count") as stream:
        assert "".join(stream) == stream.result == stream.finish().text == "Three short words"
    assert stream.raw_output == {"words": 3}
    assert client.run("counting", "Count").output == {"words": 3}


def test_structured_output_fills_in_and_every_item_is_valid(client: Client) -> None:
    with client.stream_output("contact", "Who?", Filling, debounce=0) as stream:
        items = list(stream)
    assert stream.result == ADA.model_dump() == items[-1]
    assert len(items) > 3
    assert any(item.get("name") == "Ada Lovelace" and "languages" not in item for item in items)
    assert stream.usage is not None


def test_a_model_has_its_first_item_when_what_it_requires_is_there(client: Client) -> None:
    with client.stream_output("contact", "Who?", Contact, debounce=0) as stream:
        items = list(stream)
    assert all(isinstance(item, Contact) for item in items)
    assert all(later != earlier for earlier, later in itertools.pairwise(items))
    assert items[-1] == stream.result == ADA
    assert_type(stream.result, Contact)


def test_without_a_type_output_is_json_data(client: Client) -> None:
    with client.stream_output("contact", "Who?", debounce=0) as stream:
        items = list(stream)
    assert items[-1] == stream.result == ADA.model_dump()


def test_every_event_can_be_read_by_name(client: Client) -> None:
    with client.stream_events("asking", "Look") as stream:
        events = list(stream)
    names = [event.name for event in events]
    assert names[-3:] == ["result", "usage", "done"]
    assert {"part_start", "function_tool_call", "function_tool_result"} <= set(names)
    assert events[0].id == f"{stream.run_id}:1"
    assert stream.result == "The result: nothing here"


def test_finish_reads_what_is_left(client: Client) -> None:
    with client.stream_text("fast", "50 numbers", debounce=0) as stream:
        next(stream)
        result = stream.finish()
    assert result.text == result.output == stream.result
    assert result.usage == stream.usage


def test_a_run_that_fails_raises_its_sentence_and_code_and_still_tells_its_usage(
    client: Client, plain: httpx.Client
) -> None:
    pieces: list[str] = []
    stream = client.stream_text("broken", "Hello")
    with pytest.raises(RunFailed, match="could not finish") as caught:
        pieces.extend(stream)
    assert pieces == ["Half an "]
    assert (caught.value.code, caught.value.run_id) == ("run_failed", stream.run_id)
    assert stream.outcome == "run_failed"
    assert isinstance(stream.usage, Usage)
    assert status_of(plain, stream.run_id) == "run_failed"
    with pytest.raises(NoResult):
        _ = stream.result


def test_an_error_of_the_agents_author_keeps_its_words(client: Client) -> None:
    with pytest.raises(RunFailed, match=r"^We are out of stock\.") as caught:
        client.run("sorry", "One, please")
    assert caught.value.code == "out_of_stock"


def test_refusals_are_typed_and_say_what_to_do(client: Client, url: str) -> None:
    with pytest.raises(AgentNotFound, match=r"^There is no such agent\.$") as caught:
        client.run("nobody", "Hello")
    assert (caught.value.status, caught.value.code) == (404, "agent_not_found")
    assert caught.value.request_id
    with pytest.raises(PromptTooLong, match="at most 1000 characters"):
        client.stream_text("plain", "x" * 1001).finish()
    with pytest.raises(UnsuitableAgent), client.stream_output("plain", "Hello"):
        pass
    with client_of("sync", url, api_key="mallory") as stranger, pytest.raises(Unauthenticated, match="sign in"):
        stranger.agents()


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_limit_says_for_how_long_to_wait(kind: str) -> None:
    config = client_config(limits=[{"per": "principal", "requests": "1/minute"}])
    with serving(config) as url, client_of(kind, url) as client:
        client.agents()
        with pytest.raises(RateLimited) as caught:
            client.run("plain", "Hello")
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 60


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_there_is_told_soon(kind: str) -> None:
    with client_of(kind, "http://127.0.0.1:9") as client:
        with pytest.raises(Unreachable, match="cannot be reached"):
            client.agents()
        with pytest.raises(Unreachable, match="cannot be reached"):
            client.run("plain", "Hello")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://gateway", ""])
def test_what_is_no_url_is_refused_at_once(kind: str, url: str) -> None:
    with pytest.raises(ValueError, match="not the URL of a gateway"), client_of(kind, url):
        pass


def test_the_public_names_are_documented() -> None:
    assert public.__all__ == sorted(public.__all__)
    for name in public.__all__:
        assert getattr(public, name).__doc__

"""Connections that break under both Python clients: the caller notices nothing, or is told."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
import run_probes
from client_agents import ADA, Contact
from client_matrix import KINDS, TIMEOUT, client_config, client_of, faults_before, happens
from serving import serving

from gateway.client import StreamLost, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from client_matrix import Faults

    from gateway.client import Client


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(client_config()) as url:
        yield url


@pytest.fixture
def faults(url: str) -> Iterator[Faults]:
    with faults_before(url) as faults:
        yield faults


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, faults: Faults) -> Iterator[Client]:
    with client_of(request.param, faults.url) as client:
        yield client


@pytest.fixture
def gate() -> Iterator[str]:
    """A prompt at whose gate a run waits."""
    name = new_gate()
    yield name
    run_probes.gates[name].open()


def new_gate() -> str:
    """For tests with a gateway of their own, which is gone when fixtures are."""
    return f"gate-{uuid4()}"


def test_a_connection_that_breaks_while_the_agent_thinks_is_not_noticed(
    client: Client, faults: Faults, gate: str
) -> None:
    with client.stream_text("gated", gate, debounce=0) as stream:
        pieces = [next(stream)]
        faults.cut()
        run_probes.gates[gate].open()
        pieces += stream
    assert pieces == ["Begun ünd ", "ended."]
    assert stream.outcome == "finished"
    assert stream.usage is not None
    assert run_probes.runs[gate] == 1


def test_a_stream_that_is_cut_again_and_again_has_every_piece_once_and_in_order(client: Client, faults: Faults) -> None:
    pieces: list[str] = []
    with client.stream_text("fast", "400 numbers", debounce=0) as stream:
        for piece in stream:
            pieces.append(piece)
            if len(pieces) % 40 == 1:
                faults.cut()
    assert "".join(pieces) == "".join(f"{number} " for number in range(400)) == stream.result
    assert stream.usage is not None


def test_events_have_consecutive_numbers_over_cuts(client: Client, faults: Faults) -> None:
    numbers: list[int] = []
    with client.stream_events("fast", "200 numbers") as stream:
        for event in stream:
            numbers.append(int(event.id.rpartition(":")[2]))
            if len(numbers) % 50 == 1:
                faults.cut()
    assert numbers == list(range(1, len(numbers) + 1))


def test_structured_output_goes_on_after_a_cut(client: Client, faults: Faults) -> None:
    with client.stream_output("contact", "Who?", Contact, debounce=0) as stream:
        next(stream)
        faults.cut()
        assert list(stream)[-1] == stream.result == ADA


def test_a_whole_answer_survives_a_cut(client: Client, faults: Faults, gate: str) -> None:
    def cut_and_open() -> None:
        happens(run_probes.gates[gate].reached)
        faults.cut()
        run_probes.gates[gate].open()

    meanwhile = threading.Thread(target=cut_and_open)
    meanwhile.start()
    assert client.run("gated", gate).text == "Begun ünd ended."
    meanwhile.join(TIMEOUT)
    assert run_probes.runs[gate] == 1


def test_a_gateway_that_is_away_for_a_while_is_waited_for(client: Client, faults: Faults, gate: str) -> None:
    with client.stream_text("gated", gate) as stream:
        next(stream)
        faults.cut(refuse=True)
        back = threading.Timer(1.0, faults.mend)
        back.start()
        run_probes.gates[gate].open()
        assert list(stream) == ["ended."]
    back.join(TIMEOUT)


@pytest.mark.parametrize("options", [{}, {"thread_id": "t"}], ids=["no thread", "thread"])
def test_a_request_whose_answer_was_lost_is_sent_again_and_runs_once(
    client: Client, faults: Faults, gate: str, options: dict[str, Any]
) -> None:
    def lose_the_answer() -> None:
        happens(run_probes.gates[gate].reached)
        faults.cut()
        faults.delay(0)
        run_probes.gates[gate].open()

    faults.delay(1.0)  # the run has begun for as long when the first byte of the answer comes
    meanwhile = threading.Thread(target=lose_the_answer)
    meanwhile.start()
    assert "".join(client.stream_text("gated", gate, **options)) == "Begun ünd ended."
    meanwhile.join(TIMEOUT)
    assert run_probes.runs[gate] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_silence_beyond_the_timeout_counts_as_a_broken_connection(kind: str, faults: Faults, gate: str) -> None:
    with client_of(kind, faults.url, timeout=2.0) as client, client.stream_text("gated", gate) as stream:
        next(stream)
        faults.pause()  # as behind a proxy that forgot the connection: nothing comes, not even heartbeats
        run_probes.gates[gate].open()
        connections = faults.accepted

        def pass_on_when_it_comes_back() -> None:
            wait(lambda: faults.accepted > connections)
            faults.resume()

        meanwhile = threading.Thread(target=pass_on_when_it_comes_back)
        meanwhile.start()
        assert list(stream) == ["ended."]
        meanwhile.join(TIMEOUT)


@pytest.mark.parametrize("kind", KINDS)
def test_responses_that_the_gateway_cuts_short_go_on_through_heartbeats(kind: str) -> None:
    """A tool may work for longer than `max_stream_seconds` allows a response to last, many times over."""
    config = client_config(server={"max_stream_seconds": 1.0, "heartbeat": 0.1})
    gate = new_gate()
    with serving(config) as url, client_of(kind, url, retries=1) as client, client.stream_text("gated", gate) as stream:
        next(stream)
        threading.Timer(4.5, run_probes.gates[gate].open).start()
        assert list(stream) == ["ended."]


@pytest.mark.parametrize("kind", KINDS)
def test_a_gateway_that_stays_away_is_an_error_and_no_end(kind: str, faults: Faults, gate: str) -> None:
    with client_of(kind, faults.url, retries=2) as client:
        stream = client.stream_text("gated", gate)
        next(stream)
        faults.cut(refuse=True)
        with pytest.raises(Unreachable):
            next(stream)
        faults.mend()
        run_probes.gates[gate].open()
        assert list(stream) == ["ended."], "whoever asks again, goes on"


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_is_no_longer_kept_is_an_error_and_no_end(kind: str) -> None:
    config, gate = client_config(streams={"keep": 1}), new_gate()
    with (
        serving(config) as url,
        faults_before(url) as faults,
        client_of(kind, faults.url, retries=100) as client,
        httpx.Client(base_url=url, headers={"x-api-key": "ada"}) as plain,
        client.stream_text("gated", gate) as stream,
    ):
        next(stream)
        faults.cut(refuse=True)
        run_probes.gates[gate].open()
        wait(lambda: plain.get(f"/runs/{stream.run_id}").status_code in (404, 410))
        faults.mend()
        with pytest.raises(StreamLost, match="load the conversation") as caught:
            list(stream)
    assert caught.value.run_id == stream.run_id


def wait(until: Callable[[], bool]) -> None:
    """Ask again and again."""
    deadline = time.monotonic() + TIMEOUT
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)

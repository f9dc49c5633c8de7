"""Leaving both Python clients' streams, and stopping runs: what is not wanted any more does not go on."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest
import run_probes
from client_matrix import KINDS, TIMEOUT, client_config, client_of, happens
from serving import serving

from gateway.client import ClientError, NoResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.client import Client


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(client_config()) as url:
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


@pytest.fixture
def gate() -> Iterator[str]:
    """A prompt at whose gate a run waits; open in the end, so that nothing is left waiting."""
    name = f"gate-{uuid4()}"
    yield name
    run_probes.gates[name].open()


def test_a_run_is_cancelled_from_elsewhere_and_its_stream_ends(client: Client, gate: str) -> None:
    with client.stream_text("gated", gate) as stream:
        assert next(stream) == "Begun ünd "
        assert client.cancel(stream.run_id or "")
        assert list(stream) == []
        assert stream.outcome == "cancelled"
        with pytest.raises(NoResult, match="stopped"):
            _ = stream.result
    assert not client.cancel(stream.run_id or "")
    assert not client.cancel("never-was")


def test_a_stream_can_cancel_its_own_run(client: Client, gate: str) -> None:
    with client.stream_text("gated", gate) as stream:
        next(stream)
        assert stream.cancel()
        assert stream.finish().outcome == "cancelled"
        assert not stream.cancel()


def test_leaving_the_block_early_cancels_the_run(client: Client, plain: httpx.Client, gate: str) -> None:
    with client.stream_text("gated", gate) as stream:
        next(stream)
        happens(run_probes.gates[gate].reached)
    happens(run_probes.gates[gate].left)
    assert plain.get(f"/runs/{stream.run_id}").json()["status"] == "cancelled", "its end is waited for"
    assert stream.outcome == "cancelled"
    assert stream.usage is not None
    assert list(stream) == []


def test_an_exception_in_the_block_cancels_the_run_and_goes_on(client: Client, plain: httpx.Client, gate: str) -> None:
    stream = client.stream_text("gated", gate)
    next(stream)
    with pytest.raises(ZeroDivisionError), stream:
        _ = 1 / 0
    assert status_of(plain, stream.run_id) == "cancelled"


def test_leaving_a_loop_early_cancels_the_run_without_a_block(client: Client, plain: httpx.Client, gate: str) -> None:
    def first_piece() -> str | None:
        stream = client.stream_text("gated", gate)
        for _ in stream:
            happens(run_probes.gates[gate].reached)
            break
        return stream.run_id

    run_id = first_piece()
    happens(run_probes.gates[gate].left)
    assert status_of(plain, run_id) == "cancelled"


def test_a_stream_that_was_never_begun_starts_no_run(client: Client, gate: str) -> None:
    client.stream_text("gated", gate).close()
    assert not run_probes.runs[gate]


def test_a_stream_whose_client_was_closed_is_left_quietly(client: Client, gate: str) -> None:
    stream = client.stream_text("gated", gate)
    next(stream)
    client.close()
    stream.close()
    with pytest.raises(ClientError, match=r"^This client was closed\.$"):
        client.agents()


def test_a_run_that_was_read_to_its_end_is_not_cancelled(client: Client, plain: httpx.Client) -> None:
    with client.stream_text("plain", "Hello") as stream:
        stream.finish()
    assert status_of(plain, stream.run_id) == "finished"

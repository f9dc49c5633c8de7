"""The core of the Python clients without a network: what comes of bytes, however they are cut, and of refusals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from client_agents import Contact
from client_network import BEAT, EXPECTED, RUN, Network, Served, body_behind, events_over, problem
from pydantic import TypeAdapter

from gateway.client import (
    AgentNotFound,
    ClientError,
    Message,
    RateLimited,
    Refused,
    StreamLost,
    TurnRejected,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    calls,
    requests,
)
from gateway.client.blocking import finished
from gateway.client.connection import answer
from gateway.client.errors import PROBLEM, refusal
from gateway.client.history import said
from gateway.client.lines import Lines
from gateway.client.outputs import Outputs
from gateway.client.reading import Reading
from gateway.client.retries import Attempts
from gateway.errors import RunError, all_errors

if TYPE_CHECKING:
    from gateway.errors import GatewayError


@pytest.mark.parametrize("end", [Unreachable(), b""], ids=["broken", "ended"])
def test_a_stream_that_is_cut_at_any_byte_has_every_event_once_and_in_order(end: Exception | bytes) -> None:
    whole = body_behind(0)
    for at in range(len(whole) - 1):
        network = Network([Served([whole[:at], end] if at else [end])])
        assert events_over(network) == EXPECTED, at
        assert len(network.requests) == 2
        assert network.requests[1].path == f"/runs/{RUN}/stream"


def test_a_stream_that_is_cut_twice_in_one_frame_goes_on_behind_what_was_seen() -> None:
    lines = body_behind(0).splitlines(keepends=True)
    behind_first = body_behind(1).splitlines(keepends=True)
    network = Network([Served([b"".join(lines[:2])]), Served([b"".join(behind_first[:2])])])
    assert events_over(network) == EXPECTED
    assert [request.headers["last-event-id"] for request in network.requests[1:]] == [f"{RUN}:1", f"{RUN}:1"]


def test_lines_do_not_depend_on_how_they_are_cut_into_chunks() -> None:
    whole = BEAT + body_behind(0)
    lines = Lines()
    byte_by_byte = [event for at in range(len(whole)) for event in lines.feed(whole[at : at + 1])]
    assert byte_by_byte == Lines().feed(whole)
    assert [event.data for event in byte_by_byte[1:]] == [data for _, data in EXPECTED]


def test_a_stream_that_never_gets_on_is_given_up_after_pauses_that_grow() -> None:
    network = Network([Served([body_behind(0)[:100]]) for _ in range(20)], retries=5)
    with pytest.raises(Unreachable, match="broke off"):
        events_over(network)
    assert len(network.requests) == 6
    assert network.pauses[0] == 0
    assert network.pauses[1:] == sorted(network.pauses[1:])


def test_a_stream_that_gets_on_may_break_as_often_as_it_likes() -> None:
    lines = body_behind(0).splitlines(keepends=True)
    served = [Served([b"".join(lines[:1])])]
    served += [Served([BEAT]) for _ in range(20)]
    assert events_over(Network([*served], retries=1)) == EXPECTED


def test_the_first_contact_is_given_up_sooner_than_a_run_that_has_begun() -> None:
    network = Network([Unreachable() for _ in range(20)], retries=8)
    with pytest.raises(Unreachable):
        events_over(network)
    assert len(network.requests) == 3
    assert len({request.headers["idempotency-key"] for request in network.requests}) == 1


def test_a_gateway_that_is_being_restarted_is_asked_again_as_soon_as_it_says() -> None:
    network = Network([problem(503, "draining", **{"retry-after": "2"}), Served([b"<html>"], 502, {})])
    assert events_over(network) == EXPECTED
    assert network.pauses[0] == 2
    assert len(network.requests) == 3


@pytest.mark.parametrize(
    ("served", "error"),
    [
        (problem(404, "agent_not_found"), AgentNotFound),
        (problem(429, "rate_limited", **{"retry-after": "3"}), RateLimited),
        (problem(503, "agent_unready"), Unavailable),
        (Served([b"<html>"], 404, {"content-type": "text/html"}), UnexpectedAnswer),
        (Served([b"<html>"], 200, {"content-type": "text/html"}), UnexpectedAnswer),
        (Served([b"no JSON\n"]), UnexpectedAnswer),
        (Served([b'{"id":"x","event":"message"}\n']), UnexpectedAnswer),
    ],
)
def test_what_will_not_get_better_is_not_tried_again(served: Served, error: type[ClientError]) -> None:
    network = Network([served])
    with pytest.raises(error):
        events_over(network)
    assert len(network.requests) == 1


@pytest.mark.parametrize(
    "rest", [problem(404, "not_found"), problem(410, "stream_expired"), Served([], 204, {})], ids=["404", "410", "204"]
)
def test_a_rest_that_is_gone_is_an_error(rest: Served) -> None:
    network = Network([Served([body_behind(0)[:100]]), rest])
    with pytest.raises(StreamLost) as caught:
        events_over(network)
    assert caught.value.run_id == RUN


def test_a_limit_on_requests_only_delays_a_run_that_has_begun() -> None:
    network = Network([Served([body_behind(0)[:100]]), problem(429, "rate_limited", **{"retry-after": "7"})])
    assert events_over(network) == EXPECTED
    assert network.pauses == [0, 7]


def test_what_may_have_been_done_is_not_asked_for_twice() -> None:
    network = Network([Unreachable(sent=True)])
    with pytest.raises(Unreachable):
        finished(calls.made(network, calls.delete("thread")))
    network = Network([Unreachable(sent=False), Served([], 204)])
    finished(calls.made(network, calls.delete("thread")))
    assert len(network.requests) == 2


def test_an_answer_of_another_shape_is_told_apart_from_a_fault_of_the_caller() -> None:
    for body in (b"[]", b"{}", b"<html>", b'{"agents": 1}'):
        with pytest.raises(UnexpectedAnswer):
            finished(calls.made(Network([Served([body])]), calls.agents()))


def test_leaving_does_not_wait_for_a_gateway_that_is_away() -> None:
    network = Network([Served([body_behind(0)[:200]]), Unreachable()])
    reading = Reading(network, requests.start("agent", "text", "Hello", {}))
    finished(reading.read())
    finished(reading.close())
    assert [request.path for request in network.requests[1:]] == [f"/runs/{RUN}/cancel"]
    assert finished(reading.read()) is None


def test_leaving_reads_the_end_once_and_not_again_and_again() -> None:
    for rest, events in ((None, len(EXPECTED) - 1), (Unreachable(), 0)):
        network = Network([Served([body_behind(0)[:100]]), Served([b'{"stopped": true}']), rest])
        reading = Reading(network, requests.start("agent", "text", "Hello", {}))
        finished(reading.read())
        assert len(finished(reading.close())) == events
        assert len(network.requests) == 3
        assert network.requests[2].timeout is not None


@pytest.mark.parametrize("error", list(all_errors()), ids=lambda error: error.code)
def test_every_refusal_of_the_gateway_has_a_class_and_its_sentence(error: type[GatewayError]) -> None:
    members = {"status": error.status, "code": error.code, "detail": error.sentence, "request_id": "r"}
    told = refusal(error.status, {"content-type": PROBLEM}, json.dumps(members).encode())
    assert isinstance(told, Refused)
    assert (str(told), told.code, told.request_id, told.retry_after) == (error.sentence, error.code, "r", None)
    no_class = {"internal_error", "config_error", "method_not_allowed", "speech_denied", "speech_failed"}
    assert type(told) is not Refused or error.code in no_class or issubclass(error, RunError)


def test_codes_are_told_apart_within_a_status() -> None:
    served = problem(409, "approval_expired")
    with pytest.raises(TurnRejected, match=r"^About approval_expired\.$"):
        finished(answer(Network([served]), requests.resume(RUN, 0)))


def test_pauses_are_bounded_and_start_anew_with_progress() -> None:
    attempts = Attempts(50)
    pauses = [attempts.failed(Unreachable(), begun=True) for _ in range(50)]
    assert 2 < max(pauses) <= 5
    with pytest.raises(Unreachable):
        attempts.failed(Unreachable(), begun=True)
    attempts.achieved()
    assert attempts.failed(Unreachable(), begun=True) == 0


def test_a_model_is_shown_without_the_member_that_is_being_written() -> None:
    outputs = Outputs(Contact)
    assert outputs.partial({}) == ()
    assert outputs.partial({"name": "Ad"}) == (Contact(name="Ad"),)
    assert outputs.partial({"name": "Ada", "languages": "not yet"}) == (Contact(name="Ada"),)
    assert outputs.partial({"name": 1, "languages": []}) == ()
    assert Outputs(TypeAdapter(list[int])).partial([1, "x"]) == ([1],)


def test_a_conversation_is_shown_as_questions_and_final_answers() -> None:
    def response(*texts: str) -> dict[str, Any]:
        return {"kind": "response", "parts": [{"part_kind": "text", "content": text} for text in texts]}

    def request(content: Any, kind: str = "user-prompt") -> dict[str, Any]:
        return {"kind": "request", "parts": [{"part_kind": kind, "content": content}]}

    lines = said(
        [
            request("Weather?"),
            response("Let me see."),
            request({"celsius": 5}, "tool-return"),
            response("It is ", "5 °C."),
            request(["Look", {"kind": "image-url", "url": "http://x"}, {"kind": "text-content", "content": "here"}]),
            response(),
        ]
    )
    assert lines == [
        Message(role="user", content="Weather?"),
        Message(role="assistant", content="It is 5 °C."),
        Message(role="user", content="Look\n\nhere"),
    ]

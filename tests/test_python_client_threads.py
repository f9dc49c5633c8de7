"""Conversations over both Python clients: sessions, approvals, and everything that `/threads` offers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import run_probes
from client_matrix import AGENTS, KINDS, client_config, client_of, happens
from serving import serving

from gateway.client import Message, NoResult, NotFound, RunConflict, ThreadExists, TurnRejected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.client import Client


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    clientside = {"import": "probes:remembering", "history": "client"}
    with serving(client_config(agents={**AGENTS, "clientside": clientside})) as url:
        yield url


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, url: str) -> Iterator[Client]:
    with client_of(request.param, url) as client:
        yield client


@pytest.fixture
def name() -> str:
    """An id of a thread, as clients may choose it."""
    return f"chat/{uuid4()} ünd more?"


def said(*texts: str) -> list[Message]:
    """What a page shows: questions and answers in turn."""
    roles = ("user", "assistant")
    return [Message(role=roles[number % 2], content=text) for number, text in enumerate(texts)]


def test_a_new_session_has_nothing_in_it(client: Client, name: str) -> None:
    chat = client.chat(name, "remembering")
    assert chat.history() == []
    assert not chat.stop()
    assert not chat.delete()


def test_a_session_remembers_what_was_said(client: Client, name: str) -> None:
    chat = client.chat(name, agent="remembering")
    assert chat.send("One") == "You said: One."
    with chat.stream("Two", debounce=0) as stream:
        assert "".join(stream) == "You said: One, Two."
    assert stream.thread_id == name
    assert stream.usage is not None
    assert client.chat(name, "remembering").history() == said("One", "You said: One.", "Two", "You said: One, Two.")
    assert chat.delete()
    assert chat.history() == []


def test_history_shows_the_answer_and_not_what_led_up_to_it(client: Client, name: str) -> None:
    chat = client.chat(name, "asking")
    with chat.stream("Look") as stream:
        shown = [stream.text for _ in stream][-1]
    assert chat.history() == said("Look", shown) == said("Look", "The result: nothing here")


def test_a_session_is_stopped_from_another_page(client: Client, name: str) -> None:
    gate = f"gate-{uuid4()}"
    chat = client.chat(name, "gated")
    with chat.stream(gate) as stream:
        next(stream)
        happens(run_probes.gates[gate].reached)
        with pytest.raises(RunConflict, match="still being written"):
            chat.delete()
        assert client.chat(name, "gated").stop()
        assert list(stream) == []
    assert stream.outcome == "cancelled"
    assert chat.history() == said(gate, "Begun ünd ")


def test_a_session_takes_the_next_question_as_soon_as_an_answer_was_left(client: Client, name: str) -> None:
    chat = client.chat(name, "assistant")
    for _ in range(5):
        with chat.stream("Count to 2000", debounce=0) as stream:
            for _ in range(3):
                next(stream)
    assert chat.send("Count to 3") == "1 2 3"
    lines = chat.history()
    assert [line.role for line in lines] == ["user", "assistant"] * 6
    assert all(line.content.startswith("1 2 ") for line in lines[1::2]), "what was said before is kept"


def test_sessions_of_two_people_with_one_name_do_not_meet(client: Client, url: str, name: str) -> None:
    client.chat(name, "remembering").send("Mine")
    with client_of("sync", url, api_key="bob") as bob:
        assert bob.chat(name, "remembering").history() == []
        assert bob.chat(name, "remembering").send("Mine") == "You said: Mine."


def test_an_approval_is_asked_for_and_given(client: Client, name: str) -> None:
    asked = client.run("approver", "pay 25 EUR to Bob", thread_id=name)
    assert asked.outcome == "deferred"
    assert asked.deferred is not None
    [call] = asked.deferred.approvals
    assert (call.tool_name, call.args["recipient"]) == ("send_payment", "Bob")
    with pytest.raises(NoResult, match="waits for an approval") as caught:
        _ = asked.output
    assert caught.value.deferred == asked.deferred
    decision = {"approved": True, "override_args": {**call.args, "amount": 5}}
    done = client.run("approver", thread_id=name, approvals={call.tool_call_id: decision})
    assert done.text == "Done. Receipt: 5.00 EUR sent to Bob."
    with pytest.raises(TurnRejected):
        client.run("approver", thread_id=name, approvals={"call-9": True})


def test_a_session_waits_for_a_decision_and_goes_on(client: Client, name: str) -> None:
    chat = client.chat(name, "approver")
    with chat.stream("pay 25 EUR to Bob") as stream:
        assert list(stream) == []
        assert stream.outcome == "deferred"
        assert stream.deferred is not None
        [call] = stream.deferred.approvals
    assert client.threads.get(name).status == "waiting"
    with chat.answer(approvals={call.tool_call_id: {"approved": False, "reason": "Too much."}}) as answer:
        assert "".join(answer) == "Not sent, you declined. (Too much.)"
    assert chat.history() == said("pay 25 EUR to Bob", "Not sent, you declined. (Too much.)")


def test_sending_to_a_session_that_comes_to_wait_tells_for_what(client: Client, name: str) -> None:
    with pytest.raises(NoResult) as caught:
        client.chat(name, "approver").send("pay 25 EUR to Bob")
    assert caught.value.outcome == "deferred"
    assert caught.value.deferred is not None
    assert caught.value.deferred.approvals


def test_an_agent_whose_history_is_the_clients_is_given_it(client: Client) -> None:
    messages = [{"role": "user", "content": "One"}, {"role": "assistant", "content": "You said: One."}]
    assert client.run("clientside", "Two", messages=messages).text == "You said: One, Two."


def test_threads_are_listed_over_as_many_pages_as_there_are(url: str) -> None:
    with client_of("sync", url, api_key="bob") as bob:
        names = [f"listed-{number}-{uuid4()}" for number in range(5)]
        for each in names:
            bob.chat(each, "remembering").send(each)
    for kind in KINDS:
        with client_of(kind, url, api_key="bob") as client:
            threads = list(client.threads.list(agent="remembering", page_size=2))
            assert [thread.id for thread in threads][:5] == names[::-1]
            assert threads[0].title == names[-1]
            assert list(client.threads.list(agent="contact")) == []


def test_a_thread_is_read_renamed_and_deleted(client: Client, name: str) -> None:
    client.chat(name, "remembering").send("One")
    thread = client.threads.get(name)
    assert (thread.id, thread.title, thread.agent, thread.status) == (name, "One", "remembering", "finished")
    assert thread.created_at <= thread.updated_at
    assert client.threads.rename(name, "A trip").title == "A trip"
    assert client.threads.rename(name, None).title == "One"
    assert client.threads.history(name) == said("One", "You said: One.")
    assert [message["role"] for message in client.threads.messages(name, "ag-ui")] == ["user", "assistant"]
    assert [message["kind"] for message in client.threads.messages(name)] == ["request", "response"]
    client.threads.delete(name)
    for read in (client.threads.get, client.threads.history, client.threads.delete):
        with pytest.raises(NotFound):
            read(name)


def test_an_archived_thread_is_in_the_lists_that_ask_for_it(client: Client, name: str) -> None:
    client.chat(name, "remembering").send("One")
    assert client.threads.archive(name).archived
    found = [[each.id for each in client.threads.list(archived=choice)] for choice in ("exclude", "include", "only")]
    assert [name in ids for ids in found] == [False, True, True]
    assert name not in [each.id for each in client.threads.list()]
    assert client.chat(name, "remembering").send("Two") == "You said: One, Two."
    assert client.threads.get(name).archived
    assert not client.threads.unarchive(name).archived
    assert name in [each.id for each in client.threads.list(page_size=200)]


def test_a_thread_is_forked_at_a_turn(client: Client, name: str) -> None:
    chat = client.chat(name, "remembering")
    chat.send("One")
    chat.send("Two")
    turns = client.threads.turns(name)
    assert [turn.outcome for turn in turns if turn.outcome] == ["finished", "finished"]
    first = next(turn for turn in turns if turn.outcome)
    fork = client.threads.fork(name, entry=first.entry, new_id=f"{name} fork")
    assert fork.forked_from == name
    assert client.threads.history(fork.id) == said("One", "You said: One.")
    assert client.threads.history(client.threads.fork(name).id) == chat.history()
    with pytest.raises(ThreadExists):
        client.threads.fork(name, new_id=fork.id)


def test_branches_are_listed_and_gone_back_to(client: Client, name: str) -> None:
    client.chat(name, "remembering").send("One")
    [branch] = client.threads.branches(name)
    assert (branch.current, branch.preview, branch.outcome) == (True, "One", "finished")
    assert client.threads.switch(name, branch.entry).id == name
    with pytest.raises(NotFound):
        client.threads.switch(name, "never-was")

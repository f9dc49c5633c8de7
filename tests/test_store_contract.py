"""The contract of `gateway.stores`, over every backend."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from conversations import answers, chain, make_turn, say, says, text_of, texts_of, titles
from postgres_server import any_postgres, own_database
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationEntry, ConversationRecord
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import (
    BinaryContent,
    BinaryImage,
    FilePart,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.usage import RequestUsage, RunUsage

from gateway.history import FINISHED, TurnRecord
from gateway.stores.memory import MemoryStore
from gateway.stores.sql import SqlStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from pathlib import Path

    from gateway.stores import Store, ThreadView

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 1, 2, 12, 0, 0, 123456, tzinfo=UTC)
BOUND = 30.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with any_postgres() as address:
        yield address


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Callable[[], Store]]:
    """One more process on the same database; in memory there is only one."""
    made: list[Store] = []
    if request.param == "memory":
        store = MemoryStore()
        yield lambda: store
        return

    def make(url: str) -> Store:
        made.append(SqlStore(url))
        return made[-1]

    if request.param == "sqlite":
        yield lambda: make(f"sqlite:///{tmp_path}/gateway.db")
    else:
        with own_database(request.getfixturevalue("postgres")) as url:
            first = SqlStore(url)
            await first.upgrade()
            await first.close()
            yield lambda: make(url)
            for store in made:
                await store.close()
    for store in made:
        await store.close()


@pytest.fixture
def store(make_store: Callable[[], Store]) -> Store:
    return make_store()


@pytest.fixture
def view(store: Store) -> ThreadView:
    return store.view("ada")


# Records, entries and turns


async def test_a_store_without_threads_has_nothing(view: ThreadView) -> None:
    assert await view.read_record("t") is None
    assert await view.read_thread("t") is None
    assert await view.read_records() == []
    assert await view.read_threads(limit=10) == []
    assert await view.load("t") is None
    assert (await view.read_line(None)).entries in ((), [])
    assert await view.read_history(None) == []
    for read in (view.read_line("none"), view.read_history("none"), view.read_entry("none")):
        with pytest.raises(LookupError):
            await read


async def test_all_of_a_record_is_stored(view: ThreadView) -> None:
    head = chain(says("One"))
    record = ConversationRecord(
        conversation_id="tḧread 🧵",
        head_id=head[0].id,
        usage=RunUsage(requests=2, input_tokens=3, output_tokens=4, tool_calls=5, details={"reasoning": 6}),
        deferred_tool_requests=DeferredToolRequests(
            calls=[ToolCallPart("pick", {"from": [1, 2]}, "call-1")],
            approvals=[ToolCallPart("delete", '{"all": true}', "call-2")],
            metadata={"call-2": {"why": {"because": None}}},
        ),
        scope="a channel",
        forked_from="another",
        forked_at="its entry",
        updated_at=NOON,
    )
    await view.write_record(record, new_entries=head, expected_revision=None)
    stored = await view.read_record(record.conversation_id)
    assert stored == record
    assert stored
    assert stored.usage.details == {"reasoning": 6}
    assert await view.read_records() == [record]
    thread = await view.read_thread(record.conversation_id)
    assert thread
    assert (thread.record, thread.turn, thread.created_at) == (record, None, NOON)
    assert (thread.id, thread.title, thread.agent) == (record.conversation_id, "", "")


async def test_all_of_a_turn_is_stored(view: ThreadView) -> None:
    entries = chain(says("One"), answers("Two"))
    turn = TurnRecord(
        entry_id=entries[1].id,
        run_id="run-1",
        agent="one",
        surface="vercel-ai",
        outcome="run_timeout",
        title="What it is called 🧵",
        state={"nested": [1, None, {"ü": 2.5}], "odd": "\x00 \ud83d"},
        wire_ids={"user": ["a", "b"], "vercel-ai": {"message": "c", "parts": [1]}},
        answers={"approvals": {"call": True}},
        answered_run="run-2",
        expires_at=NOON + timedelta(hours=1, microseconds=1),
        at=NOON,
    )
    record = ConversationRecord(conversation_id="t", head_id=turn.entry_id)
    await view.write_record(record, new_entries=entries, expected_revision=None, turn=turn)
    thread = await view.read_thread("t")
    assert thread
    assert thread.turn == turn
    assert (thread.title, thread.agent) == (turn.title, "one")
    line = await view.read_line(record.head_id)
    assert line.turns == {turn.entry_id: turn}
    assert await view.read_threads(limit=1) == [thread]


@pytest.mark.parametrize("title", ["nul \x00 here", "half a pair \ud83d", "\n\t"])
async def test_no_title_is_too_odd_to_store(view: ThreadView, title: str) -> None:
    entries = chain(says("One"))
    record = ConversationRecord(conversation_id="t", head_id=entries[0].id)
    turn = make_turn(entries[0].id, title=title)
    await view.write_record(record, new_entries=entries, expected_revision=None, turn=turn)
    thread = await view.read_thread("t")
    assert thread
    assert len(thread.title) == len(title)
    assert await view.mark("t", title=title)


MESSAGES: list[ModelMessage] = [
    ModelRequest(
        parts=[
            SystemPromptPart("Be kind."),
            UserPromptPart(
                ["See:", ImageUrl("https://example.com/a.png"), BinaryImage(b"\xff\x00" * 9, media_type="image/png")]
            ),
        ],
        instructions="Be brief.",
        run_id="run-1",
        metadata={"any": ["thing"]},
        timestamp=NOON,
    ),
    ModelResponse(
        parts=[
            ThinkingPart("Hm.", signature="signed"),
            TextPart("\x00 \U0001f9f5 \\ \" '"),
            FilePart(BinaryImage(bytes(range(256)) * 20, media_type="image/png")),
            ToolCallPart("look", {"at": [1, 2.5, None]}, "call"),
        ],
        usage=RequestUsage(input_tokens=1, output_tokens=2, details={"x": 3}),
        model_name="m",
        provider_details={"a": 1},
        timestamp=NOON,
    ),
    ModelRequest(
        parts=[
            ToolReturnPart(
                "look", {"file": BinaryContent(b"%PDF" * 999, media_type="application/pdf")}, tool_call_id="call"
            ),
            ToolReturnPart("other", "Again", tool_call_id="call-2", outcome="retried"),
        ]
    ),
]


async def test_every_kind_of_message_comes_back_as_it_was(make_store: Callable[[], Store]) -> None:
    entries = chain(*MESSAGES)
    record = ConversationRecord(conversation_id="t", head_id=entries[-1].id)
    writer = make_store().view("ada")
    await writer.write_record(record, new_entries=entries, expected_revision=None)
    for view in (writer, make_store().view("ada")):
        assert list((await view.read_line(record.head_id)).entries) == entries
        assert await view.read_history(record.head_id) == entries
        assert [await view.read_entry(entry.id) for entry in entries] == entries


async def test_a_message_with_half_a_surrogate_pair_is_stored_all_the_same(view: ThreadView) -> None:
    entries = chain(says("broken \ud83d emoji"))
    record = ConversationRecord(conversation_id="t", head_id=entries[0].id)
    await view.write_record(record, new_entries=entries, expected_revision=None)
    (text,) = await texts_of(view, "t")
    assert text.startswith("broken ")
    assert text.endswith(" emoji")


@pytest.mark.parametrize("limit", [0, 1, 2, 5, 6, 100])
async def test_a_history_can_be_read_from_its_end(view: ThreadView, limit: int) -> None:
    record = await say(view, "t", *"abcdef")
    history = await view.read_history(record.head_id, limit=limit)
    assert [text_of(entry) for entry in history] == (list("abcdef")[-limit:] if limit else [])
    loaded = await view.load("t", limit=limit)
    assert loaded
    assert len(loaded.messages) == min(limit, 6)


async def test_a_line_of_many_messages_is_in_order(make_store: Callable[[], Store]) -> None:
    words = [f"{number} " * (number % 50) for number in range(700)]
    record = await say(make_store().view("ada"), "t", *words)
    for view in (make_store().view("ada"), make_store().view("ada")):
        assert await texts_of(view, "t") == words
        assert len(await view.read_history(record.head_id)) == 700


async def test_a_line_falls_into_the_turns_that_it_grew_by(view: ThreadView) -> None:
    for number, words in enumerate(("ab", "c", "def")):
        await say(view, "t", *words, agent=None if number == 1 else f"agent-{number}")
    thread = await view.read_thread("t")
    assert thread
    segments = (await view.read_line(thread.record.head_id)).segments()
    assert [("".join(map(text_of, entries)), turn and turn.agent) for entries, turn in segments] == [
        ("ab", "agent-0"),
        ("cdef", "agent-2"),
    ]


async def test_a_turn_takes_the_place_of_what_was_kept_with_the_same_head(make_store: Callable[[], Store]) -> None:
    one, other = make_store().view("ada"), make_store().view("ada")
    record = await say(one, "t", "a")
    await say(one, "t", "b")
    await one.branch("t", at=1, expected_revision=(await one.read_record("t") or record).revision)
    for view in (one, other):
        assert len((await view.read_line(record.head_id)).turns) == 1
    for number, (writer, reader) in enumerate([(one, other), (other, one), (one, one)]):
        stored = await writer.read_record("t")
        assert stored
        changed = dataclasses.replace(stored, revision=f"r{number}")
        turn = make_turn(stored.head_id or "", run_id=f"run-{number}", outcome=FINISHED, agent=f"agent-{number}")
        await writer.write_record(changed, expected_revision=stored.revision, turn=turn)
        for view in (writer, reader):
            thread = await view.read_thread("t")
            assert thread
            assert thread.turn == turn
            assert (await view.read_line(thread.record.head_id)).turns == {turn.entry_id: turn}
            for tip in thread.record.branches:
                assert (await view.read_line(tip)).turns[turn.entry_id] == turn
        assert await titles(reader, agents=[f"agent-{number}"]) == ["t"]


# What pydantic-ai documents


async def test_a_conversation_is_saved_loaded_and_grows(make_store: Callable[[], Store]) -> None:
    view, other = make_store().view("ada"), make_store().view("ada")
    conversation = Conversation(conversation_id="t", messages=[says("One")])
    first = await view.save(conversation)
    conversation.messages.append(answers("Two"))
    second = await view.save(conversation)
    assert [text_of(entry) for entry in (*first, *second)] == ["One", "Two"]
    assert await view.save(conversation) == []
    loaded = await other.load("t")
    assert loaded
    assert loaded.messages == conversation.messages
    loaded.messages.append(says("Three"))
    await other.save(loaded)
    assert await texts_of(view, "t") == ["One", "Two", "Three"]
    entries = await view.load_entries("t")
    assert [entry.id for entry in entries or ()][:2] == [first[0].id, second[0].id]


async def test_a_window_is_appended_to_the_whole_thread(view: ThreadView) -> None:
    await say(view, "t", *"abc")
    window = await view.load("t", limit=1)
    assert window
    window.messages.append(says("d"))
    await view.save(window)
    assert await texts_of(view, "t") == list("abcd")


async def test_a_rewritten_history_leaves_a_branch(view: ThreadView) -> None:
    record = await say(view, "t", *"abc")
    rewritten = Conversation(conversation_id="t", messages=[says("a"), says("B")], revision=record.revision)
    history = await view.read_history(record.head_id)
    rewritten.messages[0] = history[0].message
    await view.save(rewritten)
    stored = await view.read_record("t")
    assert stored
    assert stored.branches == [record.head_id]
    assert await texts_of(view, "t") == ["a", "B"]
    assert [text_of(entry) for entry in (await view.read_line(record.head_id)).entries] == list("abc")


async def test_a_thread_can_be_branched_and_branched_back(view: ThreadView) -> None:
    record = await say(view, "t", *"abc")
    branched = await view.branch("t", at=1, expected_revision=record.revision)
    branched.messages.append(says("x"))
    await view.save(branched)
    assert await texts_of(view, "t") == ["a", "x"]
    stored = await view.read_record("t")
    assert stored
    assert record.head_id
    back = await view.branch("t", from_entry=record.head_id, expected_revision=stored.revision)
    assert [text_of(entry) for entry in await view.load_entries("t") or ()] == list("abc")
    assert (await view.read_record("t") or record).branches == [stored.head_id]
    with pytest.raises(ConversationConflict):
        await view.branch("t", at=1, expected_revision=stored.revision)
    with pytest.raises(UserError):
        await view.branch("t", from_entry="unknown", expected_revision=back.revision or "")


async def test_a_branch_to_the_very_beginning_leaves_everything(view: ThreadView) -> None:
    record = await say(view, "t", *"ab")
    empty = await view.branch("t", at=0, expected_revision=record.revision)
    assert empty.messages == []
    empty.messages.append(says("new"))
    await view.save(empty)
    assert await texts_of(view, "t") == ["new"]
    assert [text_of(entry) for entry in (await view.read_line(record.head_id)).entries] == list("ab")


async def test_a_fork_shares_what_came_before_and_nothing_after(make_store: Callable[[], Store]) -> None:
    view, other = make_store().view("ada"), make_store().view("ada")
    record = await say(view, "t", *"abc")
    fork = await other.fork("t", at=2, new_conversation_id="f")
    fork.messages.append(says("x"))
    await other.save(fork)
    await say(view, "t", "d")
    assert await texts_of(other, "t") == list("abcd")
    assert await texts_of(view, "f") == list("abx")
    stored = await view.read_record("f")
    assert stored
    assert (stored.forked_from, stored.forked_at) == ("t", (await view.read_history(record.head_id))[1].id)
    with pytest.raises(ConversationConflict):
        await view.fork("t", new_conversation_id="f")
    assert await texts_of(view, (await view.fork("t")).conversation_id) == list("abcd")
    assert (await view.fork("t", at=0)).messages == []


async def test_the_thread_of_a_turn_is_in_its_forks_too(view: ThreadView) -> None:
    record = await say(view, "t", "a", agent="one")
    await view.fork("t", new_conversation_id="f")
    fork = await view.read_thread("f")
    assert fork
    assert fork.agent == "one"
    turn = make_turn(record.head_id or "", agent="two")
    await view.write_record(dataclasses.replace(record, revision="2"), expected_revision=record.revision, turn=turn)
    assert sorted(await titles(view, agents=["two"])) == ["f", "t"]
    assert await titles(view, agents=["one"]) == []


async def test_records_are_listed_newest_first_and_by_the_scope_in_them(view: ThreadView) -> None:
    for number, (name, scope) in enumerate([("a", "x"), ("b", None), ("c", "x"), ("d", "y")]):
        await say(view, name, at=NOON + timedelta(seconds=number), scope=scope)
    assert [record.conversation_id for record in await view.read_records()] == list("dcba")
    assert [record.conversation_id for record in await view.read_records(scope="x")] == list("ca")
    assert [record.conversation_id for record in await view.read_records(limit=2)] == list("dc")
    assert await view.read_records(limit=0) == []
    assert [record.conversation_id for record in await view.list_conversations(scope="y")] == ["d"]
    assert await view.load("a", scope="y") is None
    with pytest.raises(ConversationConflict):
        await view.save(Conversation(conversation_id="a", revision="?"), scope="x")


# Conflicts


async def test_a_save_needs_the_revision_that_is_stored(view: ThreadView) -> None:
    first = await say(view, "t", "a")

    async def attempt(expected: str | None) -> None:
        entries = chain(says("lost"), after=first.head_id)
        record = ConversationRecord(conversation_id="t", head_id=entries[0].id)
        turn = make_turn(entries[0].id, agent="lost")
        with pytest.raises(ConversationConflict):
            await view.write_record(record, new_entries=entries, expected_revision=expected, turn=turn)
        with pytest.raises(LookupError):
            await view.read_entry(entries[0].id)

    await attempt(None)
    await attempt("another")
    second = await say(view, "t", "b")
    await attempt(first.revision)
    with pytest.raises(ConversationConflict):
        await view.write_record(second, expected_revision=first.revision)
    with pytest.raises(ConversationConflict):
        await view.delete_record("t", expected_revision=first.revision)
    assert await texts_of(view, "t") == ["a", "b"]
    await view.delete("t")
    await attempt(second.revision)
    with pytest.raises(ConversationConflict):
        await view.delete_record("t", expected_revision=second.revision)
    assert await view.read_thread("t") is None


async def test_a_thread_that_was_made_again_is_another_one(view: ThreadView) -> None:
    await say(view, "t", "a")
    stale = await view.load("t")
    assert stale
    await view.delete("t")
    await say(view, "t", "new")
    stale.messages.append(says("b"))
    with pytest.raises(ConversationConflict):
        await view.save(stale)
    assert await texts_of(view, "t") == ["new"]


async def test_nothing_may_point_at_an_entry_that_is_not_there(view: ThreadView) -> None:
    first = await say(view, "t", "a")
    for record, entries in (
        (ConversationRecord(conversation_id="f", head_id="unknown"), []),
        (ConversationRecord(conversation_id="f", head_id="unknown"), chain(says("x"))),
        (ConversationRecord(conversation_id="f", head_id=None, branches=["unknown"]), []),
    ):
        with pytest.raises(ConversationConflict):
            await view.write_record(record, new_entries=entries, expected_revision=None)
        for entry in entries:
            with pytest.raises(LookupError):
                await view.read_entry(entry.id)
    for name, expected in (("f", None), ("t", first.revision)):
        entries = chain(says("x"), after="unknown")
        record = ConversationRecord(conversation_id=name, head_id=entries[0].id)
        with pytest.raises(ConversationConflict):
            await view.write_record(record, new_entries=entries, expected_revision=expected)
    entries = chain(says("x"), after=first.head_id)
    record = ConversationRecord(conversation_id="t", head_id=entries[0].id, branches=["unknown"])
    with pytest.raises(ConversationConflict):
        await view.write_record(record, new_entries=entries, expected_revision=first.revision)
    assert await titles(view) == ["t"]


async def test_an_entry_is_never_changed(view: ThreadView) -> None:
    record = await say(view, "t", "a")
    again = [ConversationEntry(id=record.head_id or "", parent_id=None, message=says("changed"))]
    for name, expected in (("t", record.revision), ("other", None)):
        changed = ConversationRecord(conversation_id=name, head_id=record.head_id)
        with pytest.raises(ConversationConflict):
            await view.write_record(changed, new_entries=again, expected_revision=expected)
    assert await texts_of(view, "t") == ["a"]
    assert await titles(view) == ["t"]


async def test_a_smaller_token_than_the_last_one_is_refused(make_store: Callable[[], Store]) -> None:
    view, other = make_store().view("ada"), make_store().view("ada")
    await say(view, "t", "a", token=5)
    for token in (4, 1):
        with pytest.raises(ConversationConflict):
            await say(other, "t", "lost", token=token)
    await say(other, "t", "b", token=5)
    await say(view, "t", "c", token=0)
    with pytest.raises(ConversationConflict):
        await say(view, "t", "lost", token=4)
    await say(view, "t", "d", token=7)
    record = await view.read_record("t")
    assert record
    await view.write_record(dataclasses.replace(record, revision="x"), expected_revision=record.revision, token=9)
    with pytest.raises(ConversationConflict):
        await say(view, "t", "lost", token=8)
    assert await texts_of(other, "t") == list("abcd")


async def test_many_writers_at_once_lose_nothing(make_store: Callable[[], Store]) -> None:
    stores = [make_store() for _ in range(2)]

    async def writer(number: int) -> None:
        view = stores[number % 2].view("ada")
        for turn in range(5):
            while True:
                try:
                    await say(view, "t", f"{number}.{turn}")
                    break
                except ConversationConflict:
                    continue

    async with asyncio.timeout(BOUND):
        await asyncio.gather(*(writer(number) for number in range(8)))
    said = await texts_of(stores[0].view("ada"), "t")
    assert sorted(said) == sorted(f"{number}.{turn}" for number in range(8) for turn in range(5))
    assert said == await texts_of(make_store().view("ada"), "t")
    for number in range(8):
        mine = [text for text in said if text.startswith(f"{number}.")]
        assert mine == sorted(mine)


async def test_only_one_of_many_makes_a_new_thread(make_store: Callable[[], Store]) -> None:
    stores = [make_store() for _ in range(2)]

    async def attempt(number: int) -> bool:
        entries = chain(says(f"{number}"))
        record = ConversationRecord(conversation_id="t", head_id=entries[0].id)
        try:
            await stores[number % 2].view("ada").write_record(record, new_entries=entries, expected_revision=None)
        except ConversationConflict:
            return False
        return True

    async with asyncio.timeout(BOUND):
        done = await asyncio.gather(*(attempt(number) for number in range(20)))
    assert done.count(True) == 1
    assert await texts_of(stores[0].view("ada"), "t") == [str(done.index(True))]


# Lists


async def test_the_list_is_in_order_and_can_be_paged(view: ThreadView) -> None:
    names = [f"{number:02}" for number in range(20)]
    for name in names:
        await say(view, name, at=NOON + timedelta(microseconds=int(name) // 4))
    expected = sorted(names, key=lambda name: (int(name) // 4, name), reverse=True)
    assert await titles(view) == expected
    assert await titles(view, 3) == expected[:3]
    assert await titles(view, 0) == []
    for size in (1, 3, 7, 20):
        seen: list[str] = []
        before: tuple[datetime, str] | None = None
        while page := await view.read_threads(limit=size, before=before):
            assert len(page) <= size
            seen += [thread.id for thread in page]
            before = (page[-1].record.updated_at, page[-1].id)
        assert seen == expected
    assert await titles(view, before=(NOON - timedelta(days=1), "zz")) == []
    assert await titles(view, before=(NOON + timedelta(days=1), "")) == expected


async def test_ids_are_in_the_order_of_their_characters(view: ThreadView) -> None:
    names = ["B", "a", "Z", "ä", "z", "_", "🧵", "A"]
    for name in names:
        await say(view, name, at=NOON)
    assert await titles(view) == sorted(names, reverse=True)


async def test_the_list_can_be_of_some_agents_threads(view: ThreadView) -> None:
    for number, agent in enumerate(["one", "two", "three", None, "one", "two"]):
        await say(view, str(number), agent=agent, at=NOON + timedelta(seconds=number))
    assert await titles(view, agents=["one"]) == ["4", "0"]
    assert await titles(view, agents={"one", "three"}) == ["4", "2", "0"]
    assert await titles(view, 2, agents=("one", "three")) == ["4", "2"]
    assert await titles(view, agents=["one", "two"], before=(NOON + timedelta(seconds=4), "4")) == ["1", "0"]
    assert await titles(view, agents=["one", *(f"other-{number}" for number in range(120)), "two"]) == list("5410")
    assert await titles(view, agents=[]) == []
    assert await titles(view, agents=["none"]) == []
    await say(view, "0", agent="two")
    assert await titles(view, agents=["one"]) == ["4"]
    await say(view, "4", agent=None)
    assert await titles(view, agents=["one"]) == []


async def test_a_branch_back_brings_its_agent_back(view: ThreadView) -> None:
    await say(view, "t", "a", agent="one")
    record = await say(view, "t", "b", agent="two")
    await view.branch("t", at=1, expected_revision=record.revision)
    assert await titles(view, agents=["one"]) == ["t"]
    assert await titles(view, agents=["two"]) == []


async def test_a_name_that_a_person_gave_stays(view: ThreadView) -> None:
    record = await say(view, "t", "a", at=NOON)
    assert not await view.mark("other", title="x")
    assert await view.mark("t", title="My thread")
    thread = await view.read_thread("t")
    assert thread
    assert (thread.title, thread.renamed) == ("My thread", "My thread")
    assert (thread.record.revision, thread.record.updated_at) == (record.revision, NOON)
    await say(view, "t", "b")
    assert [thread.title for thread in await view.read_threads(limit=1)] == ["My thread"]
    assert await view.mark("t", title="")
    assert (await view.read_threads(limit=1))[0].renamed == ""


async def test_an_archived_thread_is_in_no_list_that_does_not_ask_for_it(view: ThreadView) -> None:
    for number, agent in enumerate(["one", "two", "one", "two", "one"]):
        await say(view, str(number), agent=agent, at=NOON + timedelta(seconds=number))
    for number in "124":
        assert await view.mark(number, archived=True)
    assert not await view.mark("other", archived=True)
    assert await titles(view) == await titles(view, archived="exclude") == ["3", "0"]
    assert await titles(view, archived="only") == ["4", "2", "1"]
    assert await titles(view, archived="include") == ["4", "3", "2", "1", "0"]
    assert await titles(view, 2, archived="include", before=(NOON + timedelta(seconds=3), "3")) == ["2", "1"]
    assert await titles(view, 1, archived="only", before=(NOON + timedelta(seconds=3), "3")) == ["2"]
    assert await titles(view, agents=["one"]) == ["0"]
    assert await titles(view, agents=["one"], archived="only") == ["4", "2"]
    assert await titles(view, agents=["two", "one"], archived="include") == ["4", "3", "2", "1", "0"]
    assert [record.conversation_id for record in await view.read_records()] == ["4", "3", "2", "1", "0"]


async def test_what_happens_to_an_archived_thread_leaves_it_where_it_is(make_store: Callable[[], Store]) -> None:
    view, other = make_store().view("ada"), make_store().view("ada")
    record = await say(view, "t", "a", at=NOON)
    assert await view.mark("t", archived=True)
    thread = await other.read_thread("t")
    assert thread
    assert (thread.archived, thread.record.revision, thread.record.updated_at) == (True, record.revision, NOON)
    await say(other, "t", "b")
    assert await view.mark("t", title="My thread")
    record = await view.read_record("t")
    assert record
    await view.branch("t", at=1, expected_revision=record.revision)
    [thread] = await other.read_threads(limit=9, archived="only")
    assert (thread.id, thread.title, thread.archived) == ("t", "My thread", True)
    assert await view.mark("t", title="", archived=False)
    assert [(thread.title, thread.archived) for thread in await other.read_threads(limit=9)] == [("", False)]
    assert await view.mark("t"), "nothing is said of it, but it is there"


async def test_forks_and_threads_that_are_made_again_are_not_archived(view: ThreadView) -> None:
    await say(view, "t", "a")
    await view.mark("t", archived=True)
    await view.fork("t", new_conversation_id="f")
    await view.delete("t")
    await say(view, "t", "b")
    assert sorted(await titles(view)) == ["f", "t"]
    assert await titles(view, archived="only") == []


async def test_threads_that_nobody_uses_are_found_whoever_owns_them(store: Store) -> None:
    for number, (scope, name) in enumerate(itertools.product(("ada", "bob"), "xyz")):
        await say(store.view(scope), name, at=NOON + timedelta(days=number))
    assert await store.unused_since(NOON, 10) == []
    expected = [("ada", "x"), ("ada", "y"), ("ada", "z"), ("bob", "x")]
    assert await store.unused_since(NOON + timedelta(days=4), 10) == expected
    assert await store.unused_since(NOON + timedelta(days=4), 2) == expected[:2]
    await say(store.view("ada"), "x", at=NOON + timedelta(days=9))
    assert await store.unused_since(NOON + timedelta(days=4), 1) == [("ada", "y")]
    thread = await store.view("ada").read_thread("x")
    assert thread
    assert thread.created_at == NOON


# Owners


async def test_owners_never_meet(store: Store) -> None:
    ada, bob = store.view("ada"), store.view("bob")
    mine, yours = await say(ada, "t", "a"), await say(bob, "t", "b", "c")
    assert await texts_of(ada, "t") == ["a"]
    assert await texts_of(bob, "t") == ["b", "c"]
    for read in (bob.read_line, bob.read_history, bob.read_entry):
        with pytest.raises(LookupError):
            await read(mine.head_id or "")
    with pytest.raises(ConversationConflict):
        await bob.write_record(ConversationRecord(conversation_id="f", head_id=mine.head_id), expected_revision=None)
    stolen = chain(says("x"), after=mine.head_id)
    with pytest.raises(ConversationConflict):
        await bob.write_record(
            ConversationRecord(conversation_id="f", head_id=stolen[0].id), new_entries=stolen, expected_revision=None
        )
    assert await titles(bob) == ["t"]
    await bob.mark("t", title="bob's", archived=True)
    await bob.delete("t")
    assert await bob.read_thread("t") is None
    assert [thread.title for thread in await ada.read_threads(limit=9)] == [""]
    assert await texts_of(ada, "t") == ["a"]
    assert yours.head_id


async def test_owners_may_have_the_same_entry_ids(store: Store) -> None:
    for scope in ("ada", "bob"):
        entries = [ConversationEntry(id="e", parent_id=None, message=says(scope))]
        record = ConversationRecord(conversation_id="t", head_id="e", revision="r")
        await store.view(scope).write_record(record, new_entries=entries, expected_revision=None)
    await store.view("ada").delete("t")
    assert await texts_of(store.view("bob"), "t") == ["bob"]


# Deletion


async def test_a_deletion_leaves_what_a_fork_shares(make_store: Callable[[], Store]) -> None:
    view, other = make_store().view("ada"), make_store().view("ada")
    await say(view, "t", *"ab")
    record = await say(view, "t", *"cd")
    await other.fork("t", at=2, new_conversation_id="f")
    await view.delete("t")
    assert await view.read_thread("t") is None
    for reader in (view, other):
        assert await texts_of(reader, "f") == list("ab")
    assert (await view.read_line((await view.read_record("f") or record).head_id)).turns
    for read in (view.read_line, view.read_history, view.read_entry):
        with pytest.raises(LookupError):
            await read(record.head_id or "")
    await say(other, "f", "x")
    assert await texts_of(view, "f") == list("abx")
    await view.delete("f")
    assert await view.read_threads(limit=9) == []


async def test_a_deletion_leaves_the_branches_of_a_fork(view: ThreadView) -> None:
    await say(view, "t", *"abc")
    await view.fork("t", new_conversation_id="f")
    record = await view.read_record("f")
    assert record
    await view.branch("f", at=1, expected_revision=record.revision)
    await view.delete("t")
    assert [text_of(entry) for entry in (await view.read_line(record.head_id)).entries] == list("abc")
    assert await texts_of(view, "f") == ["a"]


async def test_a_deletion_leaves_other_threads_alone(view: ThreadView) -> None:
    for name in "xyz":
        await say(view, name, *"ab")
    await view.fork("y", new_conversation_id="f")
    await view.delete("x")
    await view.delete("f")
    for name in "yz":
        assert await texts_of(view, name) == list("ab")


async def test_entries_of_two_threads_may_come_to_be_shared(view: ThreadView) -> None:
    one, two = await say(view, "one", *"ab"), await say(view, "two", *"cd")
    moved = ConversationRecord(conversation_id="one", head_id=two.head_id, branches=[one.head_id or ""])
    await view.write_record(moved, expected_revision=one.revision)
    await view.delete("two")
    assert await texts_of(view, "one") == list("cd")
    assert [text_of(entry) for entry in (await view.read_line(one.head_id)).entries] == list("ab")
    await view.delete("one")
    for head in (one.head_id, two.head_id):
        with pytest.raises(LookupError):
            await view.read_line(head)


async def test_forks_and_deletions_at_once_never_leave_a_thread_without_its_entries(
    make_store: Callable[[], Store],
) -> None:
    stores = [make_store() for _ in range(2)]
    whole = list("abcdef")

    async def fork(number: int) -> None:
        view = stores[number % 2].view("ada")
        try:
            await view.fork("t0" if number % 3 else "t1", new_conversation_id=f"f{number}")
        except (ConversationConflict, UserError):
            return
        try:
            await say(view, f"f{number}", "x")
        except ConversationConflict:
            return
        await view.delete(f"f{(number * 7) % 20}")

    for _ in range(3):
        view = stores[0].view("ada")
        await say(view, "t0", *whole)
        await view.fork("t0", new_conversation_id="t1")
        async with asyncio.timeout(BOUND):
            await asyncio.gather(*(fork(number) for number in range(20)), view.delete("t0"), view.delete("t1"))
        for record in await view.read_records():
            assert (await texts_of(make_store().view("ada"), record.conversation_id))[:6] == whole
            await view.delete(record.conversation_id)


# Who has what


async def test_what_is_read_and_written_may_be_changed(view: ThreadView) -> None:
    entries = chain(says("a"))
    turn = make_turn(entries[0].id, state={"list": [1]}, wire_ids={"user": ["id"]})
    record = ConversationRecord(conversation_id="t", head_id=entries[0].id, usage=RunUsage(details={"x": 1}))
    await view.write_record(record, new_entries=entries, expected_revision=None, turn=turn)
    kept = dataclasses.replace(record, usage=RunUsage(details={"x": 1}), branches=[])

    async def check() -> None:
        thread = await view.read_thread("t")
        assert thread
        assert thread.turn
        assert thread.record == kept
        assert thread.record.usage.details == {"x": 1}
        assert (thread.turn.state, thread.turn.wire_ids) == ({"list": [1]}, {"user": ["id"]})
        line = await view.read_line(record.head_id)
        assert line.turns == {entries[0].id: thread.turn}
        assert [entry.message.metadata for entry in line.entries] == [None]

    def change(record: ConversationRecord, turn: TurnRecord | None, messages: list[ModelMessage]) -> None:
        record.branches.append("changed")
        record.usage.details["x"] = 2
        if turn:
            assert turn.state
            turn.state["list"].append(2)
            turn.wire_ids["user"].append("changed")
        for message in messages:
            message.metadata = {"changed": True}

    change(record, turn, [entries[0].message])
    await check()
    thread, stored = await view.read_thread("t"), await view.read_record("t")
    assert thread
    assert stored
    change(thread.record, thread.turn, [])
    history = await view.read_history(record.head_id)
    change(stored, None, [history[0].message, (await view.read_entry(record.head_id or "")).message])
    for listed in await view.read_threads(limit=1):
        change(listed.record, listed.turn, [])
    for each in await view.read_records():
        change(each, None, [])
    loaded = await view.load("t")
    assert loaded
    change(record, None, loaded.messages)
    await check()


async def test_a_line_is_shared_by_its_readers(view: ThreadView) -> None:
    record = await say(view, "t", *"abc")
    one, other = await view.read_line(record.head_id), await view.read_line(record.head_id)
    assert all(mine is theirs for mine, theirs in zip(one.entries, other.entries, strict=True))
    grown = await say(view, "t", "d")
    longer = await view.read_line(grown.head_id)
    assert all(mine is theirs for mine, theirs in zip(one.entries, longer.entries, strict=False))
    assert len(one.entries) == 3

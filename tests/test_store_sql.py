"""What only stores in a database have: statements, schemas, files of their own, and processes that die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import subprocess
import sys
import traceback
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from conversations import chain, make_turn, say, says, texts_of, titles
from fault_proxy import FaultProxy
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres_server import any_postgres, own_database
from pydantic_ai.conversation_store import ConversationConflict, ConversationRecord
from pydantic_ai.messages import BinaryContent, ModelMessage, ModelRequest, ToolReturnPart, UserPromptPart
from serving import ROOT
from sqlalchemy import Connection, column, event, func, select, table, text, update
from sqlalchemy.exc import OperationalError

from gateway.errors import ConfigError, StoreUnavailable
from gateway.history import Line
from gateway.stores import database, lines, packing, versions
from gateway.stores.files import LARGE, put_back, take_out
from gateway.stores.lines import KnownLine, Lines, Recent
from gateway.stores.memory import MemoryStore
from gateway.stores.rows import dump_message
from gateway.stores.schema import NEWEST, VERSION_TABLE, metadata
from gateway.stores.sql import SqlStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

    from pydantic_ai.conversation_store import ConversationEntry

    from gateway.history import Archived
    from gateway.stores import ThreadView

pytestmark = pytest.mark.anyio
BOUND = 30.0
PICTURE = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with any_postgres() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database that the gateway never used."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/gateway.db"
    else:
        with own_database(request.getfixturevalue("postgres")) as url:
            yield url


@pytest.fixture
async def url(empty_url: str) -> str:
    async with opened(empty_url) as store:
        await store.upgrade()
    return empty_url


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncGenerator[SqlStore]:
    store = SqlStore(url)
    try:
        if url.startswith("sqlite"):
            await store.open()
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(url: str) -> AsyncGenerator[SqlStore]:
    async with opened(url) as made:
        yield made


@pytest.fixture
def view(store: SqlStore) -> ThreadView:
    return store.view("ada")


def engine_of(store: SqlStore) -> Any:
    engine = cast("Any", store)._database._engine
    return getattr(engine, "sync_engine", engine)


@contextlib.contextmanager
def statements(store: SqlStore) -> Generator[list[str]]:
    """What is asked of the database meanwhile."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(engine_of(store), "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine_of(store), "before_cursor_execute", note)


async def counted(store: SqlStore) -> dict[str, int]:
    """Rows of each table that has some."""

    def count(connection: Connection) -> dict[str, int]:
        tables = metadata.sorted_tables
        rows = {each.name: connection.scalar(select(func.count()).select_from(each)) or 0 for each in tables}
        return {name.removeprefix("gateway_"): number for name, number in rows.items() if number}

    return await store.read(count)


async def set_version(store: SqlStore, version: str) -> None:
    change = update(table(VERSION_TABLE, column("version_num"))).values(version_num=version)

    def work(connection: Connection) -> None:
        connection.execute(change)

    await cast("Any", store)._database.write(work)


def forget(store: SqlStore) -> None:
    """What another process does not know."""
    store.lines = Lines()
    store.files = Recent(1_000_000)


# Statements


async def test_a_history_is_one_query(store: SqlStore, view: ThreadView) -> None:
    record = await say(view, "t", *map(str, range(50)))
    forget(store)
    for read in (
        view.read_line(record.head_id),
        view.read_history(record.head_id),
        view.read_history(record.head_id, limit=3),
    ):
        with statements(store) as seen:
            await read
        assert len(seen) == 1


async def test_a_thread_that_was_just_used_costs_one_row(store: SqlStore, view: ThreadView) -> None:
    await say(view, "t", "a")
    await say(view, "t", "b")
    with statements(store) as seen:
        thread = await view.read_thread("t")
        assert thread
        line = await view.read_line(thread.record.head_id)
    assert len(seen) == 1
    assert len(line.entries) == len(line.turns) == 2


async def test_a_plain_turn_is_one_update_and_two_inserts(store: SqlStore, view: ThreadView) -> None:
    await say(view, "t", "a")
    stored = await view.read_record("t")
    assert stored
    entries = chain(says("b"), says("c"), after=stored.head_id)
    record = ConversationRecord(conversation_id="t", head_id=entries[-1].id)
    with statements(store) as seen:
        await view.write_record(
            record, new_entries=entries, expected_revision=stored.revision, turn=make_turn(entries[-1].id), token=3
        )
    verbs = [statement.split()[0] for statement in seen if not statement.startswith("BEGIN")]
    assert verbs == ["UPDATE", "INSERT", "INSERT"]
    assert await texts_of(view, "t") == ["a", "b", "c"]


@pytest.mark.parametrize("archived", ["exclude", "include", "only"])
@pytest.mark.parametrize("agents", [None, ["one"], ["one", "two"]])
@pytest.mark.parametrize("before", [None, (datetime(2026, 1, 1, tzinfo=UTC), "t")])
async def test_a_page_of_the_list_is_read_from_its_place_in_an_index(
    tmp_path: Path, agents: list[str] | None, before: tuple[datetime, str] | None, archived: Archived
) -> None:
    async with opened(f"sqlite:///{tmp_path}/gateway.db") as store:
        steps: list[str] = []

        def explain(connection: Any, _cursor: object, statement: str, values: Any, *_: object) -> None:
            plan = connection.connection.cursor()
            plan.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            steps.extend(row[3] for row in plan.fetchall())

        event.listen(engine_of(store), "before_cursor_execute", explain)
        await store.view("ada").read_threads(limit=50, agents=agents, before=before, archived=archived)
    place = " AND (updated_at,id)<(?,?)" if before else ""
    index = ("agent (scope=? AND agent=?" if agents else "newest (scope=?") + " AND archived=?"
    used = [step for step in steps if f"gateway_threads_{index}{place})" in step]
    assert len(used) == len(agents or [""]) * (2 if archived == "include" else 1)
    assert not [step for step in steps if step.startswith("SCAN gateway_") or ("(scope=?)" in step and before)]


async def test_what_another_process_knows_of_a_line_is_used_again(url: str) -> None:
    async with opened(url) as one, opened(url) as other:
        await say(one.view("ada"), "t", "a", "b")
        known = await other.view("ada").read_line((await say(one.view("ada"), "t", "c")).head_id)
        grown = await other.view("ada").read_line((await say(one.view("ada"), "t", "d")).head_id)
        assert [mine is theirs for mine, theirs in zip(known.entries, grown.entries, strict=False)] == [True] * 3


async def test_a_long_line_is_parsed_in_pieces() -> None:
    def sizes(*chars: int) -> list[int]:
        rows: Any = [SimpleNamespace(message="x" * each) for each in chars]
        return [len(piece) for piece in packing.pieces(rows)]

    assert sizes() == []
    assert sizes(1) == [1]
    assert sizes(*[10] * 200) == [64, 64, 64, 8]
    assert sizes(*[packing.PIECE_CHARS // 2] * 5) == [2, 2, 1]
    assert sizes(1, 10 * packing.PIECE_CHARS, 1) == [1, 1, 1]


# What is kept in memory


def test_what_is_kept_is_bounded() -> None:
    recent: Recent[str, str] = Recent(10)
    assert recent.put("a", "A", 4) == []
    assert recent.put("b", "B", 4) == []
    assert recent.get("a") == "A"
    assert recent.put("c", "C", 4) == ["B"]
    assert recent.put("a", "AA", 6) == []
    assert recent.put("d", "D", 11) == ["C", "AA", "D"]
    assert [recent.get(key) for key in "abcd"] == [None] * 4
    assert recent.put("e", "E", 10) == []


def known_line(name: str, edition: int) -> KnownLine:
    (entry,) = chain(says(name))
    return KnownLine(Line([entry]), "ada", "family", edition, 1)


def test_a_line_of_an_older_edition_holds_no_longer_whatever_is_heard_late() -> None:
    kept, old, new = Lines(), known_line("old", 1), known_line("new", 2)
    kept.put(old)
    assert kept.get("ada", old.head_id)
    kept.seen("ada", "family", 2, None)
    assert kept.get("ada", old.head_id) is None
    kept.offer(known_line("read before", 1))
    kept.put(new)
    kept.seen("ada", "family", 1, None)
    assert kept.get("ada", old.head_id) is None
    assert kept.get("ada", new.head_id) is None
    assert [list(kept.shared("ada", "family", [old.head_id, "next"]))] == [old.line.entries]


async def test_lines_that_no_longer_fit_are_read_again(store: SqlStore, view: ThreadView) -> None:
    store.lines = Lines(max_bytes=5_000)
    records = {name: await say(view, name, "x" * 1_000) for name in "abcdefgh"}
    for _ in range(2):
        for name, record in records.items():
            assert len((await view.read_line(record.head_id)).entries) == 1
            assert await texts_of(view, name) == ["x" * 1_000]
    kept = cast("Any", store.lines)
    assert 0 < len(kept._lines._kept) < 5
    assert len(kept._heads) == len(kept._editions) == len(kept._lines._kept)


async def test_a_deletion_forgets_lines_and_a_growing_thread_is_kept_once(store: SqlStore, view: ThreadView) -> None:
    for word in "abc":
        await say(view, "t", word)
    kept = cast("Any", store.lines)
    assert len(kept._lines._kept) == 1
    await view.delete("t")
    assert not kept._lines._kept
    assert not kept._heads
    assert not kept._editions
    assert kept._lines._room == lines.LINE_BYTES


# Files


def sends(*files: bytes, note: str = "See") -> ModelMessage:
    return ModelRequest(
        parts=[UserPromptPart([note, *(BinaryContent(data, media_type="application/pdf") for data in files)])]
    )


def returns(data: bytes) -> ModelMessage:
    content = {"pages": [BinaryContent(data, media_type="application/pdf")]}
    return ModelRequest(parts=[ToolReturnPart("print", content, tool_call_id="call")])


async def put(view: ThreadView, thread_id: str, *messages: ModelMessage) -> list[ConversationEntry]:
    entries = chain(*messages)
    record = ConversationRecord(conversation_id=thread_id, head_id=entries[-1].id)
    await view.write_record(record, new_entries=entries, expected_revision=None)
    return entries


async def test_a_file_is_kept_once_for_each_owner(url: str, store: SqlStore, view: ThreadView) -> None:
    entries = await put(view, "one", sends(PICTURE, PICTURE), returns(PICTURE), sends(PICTURE[1:]), sends(b"small"))
    await put(view, "two", sends(PICTURE))
    await put(store.view("bob"), "one", sends(PICTURE))
    rows = await counted(store)
    assert (rows["blobs"], rows["entry_blobs"]) == (3, 5)

    def longest(connection: Connection) -> int:
        return connection.execute(text("SELECT max(length(message)) FROM gateway_entries")).scalar_one()

    assert await store.read(longest) < len(PICTURE)
    async with opened(url) as other:
        for reader in (view, other.view("ada")):
            assert list((await reader.read_line(entries[-1].id)).entries) == entries
        forget(other)
        with statements(other) as seen:
            await other.view("ada").read_line(entries[-1].id)
            await other.view("ada").read_history(entries[-1].id)
        assert len(seen) == 3


async def test_a_file_goes_with_the_last_thread_that_needs_it(store: SqlStore, view: ThreadView) -> None:
    await put(view, "one", sends(PICTURE), sends(PICTURE[1:]))
    entries = await put(view, "two", sends(PICTURE))
    await view.fork("one", at=1, new_conversation_id="fork")
    await view.delete("one")
    assert (await counted(store))["blobs"] == 1
    await view.delete("fork")
    forget(store)
    assert (await view.read_entry(entries[0].id)) == entries[0]
    await view.delete("two")
    assert await counted(store) == {}


async def test_saves_and_deletions_at_once_lose_no_file(url: str) -> None:
    async with opened(url) as one, opened(url) as other:
        views = [one.view("ada"), other.view("ada")]

        async def come_and_go(number: int) -> None:
            for turn in range(6):
                name = f"{number}.{turn}"
                entries = await put(views[number % 2], name, sends(PICTURE))
                read = await views[(number + 1) % 2].read_history(entries[0].id)
                assert read == entries
                await views[turn % 2].delete(name)
                forget(one)
                forget(other)

        async with asyncio.timeout(BOUND):
            await asyncio.gather(*(come_and_go(number) for number in range(6)))
        assert await counted(one) == {}


async def test_what_looks_like_a_mark_is_text(store: SqlStore, view: ThreadView) -> None:
    first = await put(view, "one", sends(PICTURE))

    def stored(connection: Connection) -> str:
        return connection.execute(text("SELECT files FROM gateway_entries")).scalar_one()

    mark = (await store.read(stored)).split('"')[1]
    for number, note in enumerate([f"{mark}:0", f'"{mark}:0" {mark}:0 "data":"{"A" * 3000}"']):
        entries = await put(view, f"{number}", sends(PICTURE, note=note))
        forget(store)
        assert await view.read_history(entries[0].id) == entries
    assert await view.read_history(first[0].id) == first


@given(
    st.lists(st.one_of(st.binary(max_size=9), st.integers(LARGE - 2, LARGE + 2).map(lambda size: b"\xfb\xff" * size))),
    st.text(),
)
@settings(deadline=None, max_examples=60)
def test_every_file_is_put_back_where_it_was(files: list[bytes], note: str) -> None:
    whole = dump_message(sends(*files, note=note))
    packed = take_out(whole)
    assert bool(packed.blobs) == any(len(data) > LARGE for data in files)
    assert put_back(packed.text, packed.files, packed.blobs) == whole if packed.files else packed.text == whole


@given(st.lists(st.sampled_from(['"data":"', "A" * 1500, "-_8=" * 400, '"', "\\", ":0", '{"data":"'])).map("".join))
@settings(deadline=None)
def test_text_of_any_kind_survives(whole: str) -> None:
    packed = take_out(whole)
    assert (put_back(packed.text, packed.files, packed.blobs) if packed.files else packed.text) == whole


# Deletion


async def test_a_deletion_leaves_no_row(store: SqlStore, view: ThreadView) -> None:
    record = await say(view, "t", *"abc")
    await view.branch("t", at=1, expected_revision=record.revision)
    await say(view, "t", "x")
    await view.fork("t", new_conversation_id="f")
    await say(view, "f", "y")
    await say(store.view("bob"), "t", "z")
    await view.delete("t")
    assert await counted(store) == {"threads": 2, "entries": 4, "turns": 3}
    await view.delete("f")
    assert await counted(store) == {"threads": 1, "entries": 1, "turns": 1}
    await store.view("bob").delete("t")
    assert await counted(store) == {}


# Every backend does the same

STEPS = st.tuples(
    st.sampled_from(["say", "fork", "branch", "back", "delete", "turn", "rename", "archive"]),
    st.integers(0, 2),
    st.integers(0, 3),
)


@given(st.lists(STEPS, max_size=25))
@settings(deadline=None, max_examples=40)
def test_a_database_does_what_memory_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('same')}/gateway.db"

    async def both() -> None:
        async with opened(url) as store:
            remembered, stored = MemoryStore().view("ada"), store.view("ada")
            for number, step in enumerate(steps):
                outcomes = [await take(view, number, *step) for view in (remembered, stored)]
                assert outcomes[0] == outcomes[1]
            assert await everything(remembered) == await everything(stored)
            forget(store)
            assert await everything(remembered) == await everything(stored)

    asyncio.run(both())


async def take(view: ThreadView, number: int, verb: str, thread: int, place: int) -> object:
    """One thing that may be done to a thread; what came of it, without what differs each time."""
    name, record = str(thread), await view.read_record(str(thread))
    try:
        match verb:
            case "say":
                await say(view, name, f"{number}", agent=f"agent-{place}")
            case "fork":
                await view.fork(name, at=place, new_conversation_id=str(place % 3))
            case "branch" if record:
                await view.branch(name, at=place, expected_revision=record.revision)
            case "back" if record and record.branches:
                tip = record.branches[place % len(record.branches)]
                await view.branch(name, from_entry=tip, expected_revision=record.revision)
            case "turn" if record and record.head_id:
                turn = make_turn(record.head_id, run_id=f"run-{number}", agent=f"agent-{place}")
                record.revision, expected = f"r{number}", record.revision
                await view.write_record(record, expected_revision=expected, turn=turn)
            case "delete":
                await view.delete(name)
            case "rename":
                return await view.mark(name, title=f"title {number}")
            case "archive":
                return await view.mark(name, archived=place % 2 == 0)
            case _:
                return None
    except (ConversationConflict, Exception) as error:  # noqa: BLE001 - whatever it is, both must raise it
        return type(error)
    return "done"


async def everything(view: ThreadView) -> object:
    """All that is known of an owner's threads, but for ids and times."""
    found: list[object] = []
    for thread in sorted(await view.read_threads(limit=99, archived="include"), key=lambda thread: thread.id):
        tips = [thread.record.head_id, *thread.record.branches]
        known = (thread.id, thread.title, thread.archived, thread.agent)
        found.append((*known, [await told(view, tip) for tip in tips]))
    agents = [sorted(await titles(view, agents=[f"agent-{number}"])) for number in range(4)]
    return found, agents


async def told(view: ThreadView, tip: str | None) -> object:
    line = await view.read_line(tip)
    parts = [cast("Any", entry.message.parts[0]).content for entry in line.entries]
    turns = [line.turns[entry.id].run_id if entry.id in line.turns else None for entry in line.entries]
    return parts, turns


# Schemas


async def test_migrations_make_the_tables_that_the_code_expects(store: SqlStore) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return compare_metadata(context, metadata)

    assert await store.read(differences) == []


def test_the_newest_migration_is_the_one_that_the_code_expects() -> None:
    script = ScriptDirectory(str(versions.MIGRATIONS))
    revisions = [revision.revision for revision in script.walk_revisions()]
    assert script.get_heads() == [NEWEST]
    assert revisions == sorted(revisions, reverse=True)


async def test_a_file_is_made_at_the_first_use_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    async with contextlib.AsyncExitStack() as stack:
        store = SqlStore(f"sqlite:///{path}")
        stack.push_async_callback(store.close)
        assert not path.exists()
        assert await store.view("ada").read_record("t") is None
        await say(store.view("ada"), "t", "a")
        modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in os.listdir(tmp_path)}  # noqa: PTH208 - pathlib would be refused as blocking
        assert modes["gateway.db"] == 0o600
        assert set(modes.values()) == {0o600}


async def test_a_path_without_a_slash_is_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened("sqlite:///here.db"):
        assert (tmp_path / "here.db").exists()


async def test_a_closed_store_has_no_connection_and_is_opened_again_by_the_next_use(url: str) -> None:
    async with opened(url) as store:
        await say(store.view("ada"), "t", "a")
        assert engine_of(store).pool.checkedin() > 0
        await store.close()
        assert engine_of(store).pool.checkedin() == 0
        assert await texts_of(store.view("ada"), "t") == ["a"]


async def test_first_uses_at_once_open_once(url: str) -> None:
    store = SqlStore(url)
    try:
        assert await asyncio.gather(*(store.view("ada").read_record("t") for _ in range(20))) == [None] * 20
        await store.close()
        assert await store.view("ada").read_record("t") is None
    finally:
        await store.close()


def python(program: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=BOUND * 2,
        check=False,
        env={**os.environ, "PYTHONPATH": paths, **environ},
    )


FIRST_USES = """
import asyncio, os, sys
from gateway.stores.sql import SqlStore
from conversations import say

async def main():
    store = SqlStore(sys.argv[1])
    if not sys.argv[1].startswith("sqlite"):
        await store.upgrade()
    await say(store.view("ada"), str(os.getpid()), "a")
    await store.close()

for _ in range(6):
    if not os.fork():
        asyncio.run(main())
        os._exit(0)
ends = [os.wait()[1] for _ in range(6)]
assert not any(ends), ends
"""


async def test_processes_that_start_at_once_make_one_schema(empty_url: str) -> None:
    made = python(FIRST_USES, empty_url)
    assert made.returncode == 0, made.stderr
    async with opened(empty_url) as store:
        assert len(await titles(store.view("ada"))) == 6


async def test_a_server_is_not_changed_by_starting(postgres: str) -> None:
    with own_database(postgres) as url:
        async with opened(url) as store:
            for use in (store.open, lambda: store.view("ada").read_record("t")):
                with pytest.raises(ConfigError, match=r"it has no schema yet, .* run `gateway db upgrade`"):
                    await use()
            assert await store.schema() is None
            assert await store.upgrade() is None
            assert await store.upgrade() == NEWEST
            await set_version(store, "0000")
        async with opened(url) as store:
            with pytest.raises(ConfigError, match=r"its schema is 0000, and .* run `gateway db upgrade`"):
                await store.open()


async def test_a_schema_of_a_newer_version_is_left_alone(url: str) -> None:
    async with opened(url) as store:
        await set_version(store, "9999")
    store = SqlStore(url)
    for use in (store.open, store.schema, store.upgrade, lambda: store.view("ada").read_record("t")):
        with pytest.raises(ConfigError, match="9999, was made by a newer version"):
            await use()
    await store.close()


START = """
import asyncio, sys
from gateway.stores.sql import SqlStore

async def main():
    store = SqlStore(sys.argv[1])
    await store.open()
    await store.view("ada").read_record("t")

asyncio.run(main())
assert "alembic" not in sys.modules
assert ("sqlalchemy.ext.asyncio" in sys.modules) == sys.argv[1].startswith("postgresql")
"""


async def test_a_start_with_the_newest_schema_needs_no_alembic_and_no_close(url: str) -> None:
    """The program ends without closing its connections, and must not wait for their threads."""
    started = python(START, url)
    assert started.returncode == 0, started.stderr
    assert started.stderr == ""


# What cannot be had


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "write sqlite:///gateway.db"),
        ("sqlite:///:memory:", "write sqlite:///gateway.db"),
        ("sqlite:///x.db?mode=ro", "write sqlite:///gateway.db"),
        ("postgresql://user:hunter2@host:port/name", "not a database URL"),
        ("postgresql://[::1/hunter2", "not a database URL"),
    ],
)
def test_a_url_that_is_none_is_refused_at_once(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"^stores\.conversations: ") as raised:
        SqlStore(url)
    assert says in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(database, "import_module", missing)
    with pytest.raises(ConfigError, match=r"install agent-gateway\[postgres\]"):
        SqlStore("postgresql://user:hunter2@host/name")


async def test_a_database_that_cannot_be_had_is_said_without_its_url(tmp_path: Path, postgres: str) -> None:
    (tmp_path / "text.db").write_text("This is no database." * 100)
    for url in (
        f"sqlite:///{tmp_path}/missing/gateway.db",
        f"sqlite:///{tmp_path}/text.db",
        "postgresql://user:hunter2@127.0.0.1:1/name",
        f"postgresql://{postgres}/no-such-database?password=hunter2",
    ):
        async with contextlib.AsyncExitStack() as stack:
            store = SqlStore(url)
            stack.push_async_callback(store.close)
            for use in (store.open, store.upgrade, *([] if "missing" in url else [store.schema])):
                with pytest.raises(ConfigError, match=r"^stores\.conversations: ") as raised:
                    await use()
                assert "hunter2" not in str(raised.value)


async def test_a_first_use_without_a_database_is_tried_again_by_the_next(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/later/gateway.db")
    with pytest.raises(StoreUnavailable):
        await store.view("ada").read_record("t")
    (tmp_path / "later").mkdir()
    assert await store.view("ada").read_record("t") is None
    await store.close()


async def test_a_server_that_goes_away_is_unavailable_until_it_comes_back(postgres: str) -> None:
    with own_database(postgres) as url:
        port = urlsplit(url).port
        assert port
        async with FaultProxy(port) as proxy, opened(url.replace(f":{port}", f":{proxy.port}")) as store:
            await store.upgrade()
            view = store.view("ada")
            await say(view, "t", "a")
            proxy.cut()
            assert await texts_of(view, "t") == ["a"], "a broken connection is replaced"
            proxy.cut()
            await say(view, "t", "b")
            proxy.cut(refuse=True)
            for use in (
                partial(view.read_record, "t"),
                partial(view.mark, "t", title="x"),
                partial(say, view, "t", "lost"),
            ):
                with pytest.raises(StoreUnavailable):
                    await use()
            proxy.mend()
            await say(view, "t", "c")
            assert await texts_of(view, "t") == list("abc")


async def test_a_server_that_does_not_answer_is_given_up(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE", 0.3)
    with own_database(postgres) as url:
        port = urlsplit(url).port
        assert port
        async with FaultProxy(port) as proxy, opened(url.replace(f":{port}", f":{proxy.port}")) as store:
            await store.upgrade()
            await say(store.view("ada"), "t", "a")
            proxy.pause()
            async with asyncio.timeout(BOUND):
                with pytest.raises(StoreUnavailable):
                    await store.view("ada").read_record("t")
            proxy.resume()


async def test_a_file_that_another_process_holds_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY", 0.1)
    url = f"sqlite:///{tmp_path}/gateway.db"
    async with opened(url) as one, opened(url) as other:
        with engine_of(one).execution_options(writes=True).begin():
            with pytest.raises(StoreUnavailable):
                await say(other.view("ada"), "t", "a")
            assert await other.view("ada").read_record("t") is None, "readers do not wait"
        await say(other.view("ada"), "t", "a")


async def test_no_error_has_what_was_said_in_it(store: SqlStore, view: ThreadView) -> None:
    await say(view, "t", "a")
    await store.write(
        lambda connection: connection.execute(text("ALTER TABLE gateway_entries RENAME COLUMN message TO gone")).close()
    )
    entries = [*chain(sends(PICTURE, note="a secret")), *chain(says("another secret"))]
    record = ConversationRecord(conversation_id="new", head_id=entries[0].id, scope="a third secret")
    with pytest.raises(Exception, match=r".") as raised:
        await view.write_record(record, new_entries=entries, expected_revision=None)
    logged = "".join(traceback.format_exception(raised.value))
    assert "INSERT INTO gateway_entries" in logged
    assert "secret" not in logged


async def test_a_save_whose_confirmation_was_lost_is_not_taken_for_anothers(
    store: SqlStore, view: ThreadView, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = cast("Any", store)._database
    run, lost = used._run, Counter[bool]()

    async def breaks_after_the_commit(work: Callable[[Connection], Any], *, writes: bool, patience: float) -> Any:
        done = await run(work, writes=writes, patience=patience)
        lost[writes] += 1
        if writes and lost[writes] % 2:
            raise OperationalError("COMMIT", {}, Exception("gone"), connection_invalidated=True)
        return done

    await view.read_record("t")
    monkeypatch.setattr(used, "_run", breaks_after_the_commit)
    await say(view, "t", "a")
    await say(view, "t", "b")
    assert await texts_of(view, "t") == ["a", "b"]
    record = await view.read_record("t")
    assert record
    await view.delete_record("t", expected_revision=record.revision)
    assert await counted(store) == {}


# Processes that die


async def test_a_process_that_is_killed_leaves_whole_turns(url: str) -> None:
    crashing = Path(__file__).with_name("crashing.py")
    ran = subprocess.run(  # noqa: ASYNC221 - there is nothing else to do meanwhile
        [sys.executable, crashing, url, "25"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 25

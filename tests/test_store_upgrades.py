"""Databases that an older version of the gateway made, and processes of it that still run."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, cast

import pytest
from alembic import command
from conversations import say, texts_of, titles
from postgres_server import any_postgres, own_database
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import BinaryContent, ModelRequest, UserPromptPart
from sqlalchemy import Connection, MetaData, insert, select
from stored_threads import add_turn, ask_for_consent

from gateway.errors import ConfigError
from gateway.stores.schema import NEWEST, metadata
from gateway.stores.sql import SqlStore
from gateway.stores.versions import alembic_config

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

    from gateway.stores import ThreadView

    Rows = dict[str, list[dict[str, Any]]]

pytestmark = pytest.mark.anyio
FIRST = "0001"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database that the gateway never used."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/old.db"
        return
    with any_postgres() as address, own_database(address) as made:
        yield made


@pytest.fixture
async def newest(tmp_path: Path) -> AsyncGenerator[SqlStore]:
    """A store of this version, with something of everything."""
    store = SqlStore(f"sqlite:///{tmp_path}/newest.db")
    await store.open()
    ada = store.view("ada")
    root = await add_turn(ada, "t", "Root", state={"count": 3})
    await add_turn(ada, "t", "Left")
    await add_turn(ada, "t", "Right", after=root, agent="other")
    await ask_for_consent(ada, "waits")
    await ada.mark("t", title="Größe ✓")
    picture = BinaryContent(bytes(range(256)) * 100, media_type="image/png")
    seen = ModelRequest(parts=[UserPromptPart(["See", picture])])
    await ada.save(Conversation(conversation_id="file", messages=[seen]))
    await ada.fork("t", new_conversation_id="fork")
    await say(store.view("bob"), "t", "Bob's")
    yield store
    await store.close()


async def rows_of(store: SqlStore) -> Rows:
    """All that a store has, table by table, with what is pointed at before what points."""

    def read(connection: Connection) -> Rows:
        found = {each.name: connection.execute(select(each)).mappings() for each in metadata.sorted_tables}
        return {name: [dict(row) for row in rows] for name, rows in found.items()}

    return await store.read(read)


async def write_as(version: str, store: SqlStore, rows: Rows) -> None:
    """Write rows with the statements of a version, whose columns are those of its schema."""

    def write(connection: Connection) -> None:
        known = columns_of(version)
        tables = MetaData()
        tables.reflect(connection, only=[*rows])
        for name, values in rows.items():
            columns = known.get(name) or {column.name for column in tables.tables[name].columns}
            written = [{key: value for key, value in row.items() if key in columns} for row in values]
            if written:
                connection.execute(insert(tables.tables[name]), written)

    await database_of(store).write(write)


def columns_of(version: str) -> dict[str, set[str]]:
    """The columns that a version wrote, of the tables that have others today."""
    threads = {column.name for column in metadata.tables["gateway_threads"].columns}
    return {"gateway_threads": threads - {"archived"}} if version < "0002" else {}


async def made_by(version: str, store: SqlStore, rows: Rows) -> None:
    """Make the schema of a version, and what it would have stored."""

    def make(connection: Connection) -> None:
        command.upgrade(alembic_config(connection), version)

    await database_of(store).make()
    await database_of(store).change(make)
    await write_as(version, store, rows)


def database_of(store: SqlStore) -> Any:
    return cast("Any", store)._database


async def everything(view: ThreadView) -> list[object]:
    """All that is known of an owner's threads."""
    found: list[object] = []
    for thread in await view.read_threads(limit=99, archived="include"):
        tips = [thread.record.head_id, *thread.record.branches]
        found.append((thread, [await view.read_line(tip) for tip in tips]))
    return found


async def test_an_upgrade_loses_nothing(url: str, newest: SqlStore) -> None:
    async with AsyncExitStack() as stack:
        store = SqlStore(url)
        stack.push_async_callback(store.close)
        await made_by(FIRST, store, await rows_of(newest))
        assert await store.schema() == FIRST
        assert await store.upgrade() == FIRST
        assert await store.schema() == NEWEST
        for owner in ("ada", "bob"):
            stored = await everything(store.view(owner))
            assert stored == await everything(newest.view(owner))
            assert stored
        ada = store.view("ada")
        await ada.mark("t", archived=True)
        assert sorted(await titles(ada)) == ["file", "fork", "waits"]
        assert await titles(ada, archived="only") == ["t"]
        await say(store.view("bob"), "t", "More")
        assert await texts_of(store.view("bob"), "t") == ["Bob's", "More"]


async def test_a_file_of_an_older_version_is_upgraded_by_its_first_use(tmp_path: Path, newest: SqlStore) -> None:
    old = SqlStore(f"sqlite:///{tmp_path}/old.db")
    await made_by(FIRST, old, await rows_of(newest))
    await old.close()
    store = SqlStore(f"sqlite:///{tmp_path}/old.db")
    try:
        assert await everything(store.view("ada")) == await everything(newest.view("ada"))
        assert await store.schema() == NEWEST
    finally:
        await store.close()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_a_server_of_an_older_version_is_said_and_not_changed(url: str, newest: SqlStore) -> None:
    async with AsyncExitStack() as stack:
        store = SqlStore(url)
        stack.push_async_callback(store.close)
        await made_by(FIRST, store, await rows_of(newest))
        with pytest.raises(ConfigError, match=rf"its schema is {FIRST}, and {NEWEST} is needed: run `gateway db up"):
            await store.open()
        assert await store.schema() == FIRST


async def test_a_process_of_the_version_before_goes_on_writing(url: str, newest: SqlStore) -> None:
    async with AsyncExitStack() as stack:
        store = SqlStore(url)
        stack.push_async_callback(store.close)
        await made_by(FIRST, store, {})
        await store.upgrade()
        await write_as(FIRST, store, await rows_of(newest))
        assert sorted(await titles(store.view("ada"))) == ["file", "fork", "t", "waits"]
        assert await titles(store.view("ada"), archived="only") == []

"""`gateway db ...`: the schema of the conversation store, for a database that several replicas share.

A SQLite file needs none of this: it is brought up to date when it is opened.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from cyclopts import App

from gateway.cli.options import CONFIG_FILE, ConfigFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gateway.stores.sql import SqlStore

db = App(name="db")

T = TypeVar("T")
IN_MEMORY = "stores.conversations is memory://, which has no schema."


@db.command
def upgrade(*, config: ConfigFile = CONFIG_FILE) -> None:
    """Bring the schema up to date. Safe to run again, and beside running gateways.

    Run it before new replicas start; a start never changes a server's schema by itself.
    """
    from gateway.stores.schema import NEWEST  # noqa: PLC0415 - not for `--help`

    if (store := _store(config)) is None:
        print(IN_MEMORY)
        return
    found = _run(store, store.upgrade)
    if found == NEWEST:
        print(f"The schema is {NEWEST}, the newest: there was nothing to do.")
    else:
        print(f"The schema is now {NEWEST}; it was {found}." if found else f"The schema {NEWEST} was made.")


@db.command
def current(*, config: ConfigFile = CONFIG_FILE) -> int:
    """Say what schema is there. The exit code is 1 when `gateway db upgrade` is needed."""
    from gateway.stores.schema import NEWEST  # noqa: PLC0415 - as above
    from gateway.stores.versions import state  # noqa: PLC0415 - as above

    if (store := _store(config)) is None:
        print(IN_MEMORY)
        return 0
    found = _run(store, store.schema)
    if found == NEWEST:
        print(f"The schema is {NEWEST}, the newest.")
        return 0
    print(f"The store is not ready: {state(found)}. Run `gateway db upgrade`.")
    return 1


def _store(config: Path) -> SqlStore | None:
    """The store of the config; none when it is in memory."""
    from gateway.configfile import load  # noqa: PLC0415 - as above

    url = load(config).stores.conversations
    if url.startswith("memory:"):
        return None
    from gateway.stores.sql import SqlStore  # noqa: PLC0415 - as above

    return SqlStore(url)


def _run(store: SqlStore, work: Callable[[], Awaitable[T]]) -> T:
    async def run() -> T:
        try:
            return await work()
        finally:
            await store.close()

    return asyncio.run(run())

"""A database URL -> short pieces of work, each run on a connection of its own, off the event loop's way.

Work is a plain function of a SQLAlchemy connection, the same for both databases. SQLite gets threads: a piece of work
is then one hop to a thread and back, where an async driver would make three for each statement. PostgreSQL gets
psycopg's async connections, with SQLAlchemy's bridge in between.

What goes wrong on the way is `StoreUnavailable`. Work may run twice: after a deadlock, and when the connection broke,
even if that was while it was committed. Functions that write must notice what they have done already.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from gateway.errors import ConfigError, ConfigProblem, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")

READERS = 4
"""Threads that read from a SQLite file, each on its connection. In WAL mode they and the one writer do not wait."""
BUSY = 10.0
"""Seconds to wait for another process that writes to the same SQLite file."""
POOL = 10
"""Connections to PostgreSQL, of each process."""
PATIENCE = 20.0
"""Seconds for one piece of work on PostgreSQL; a network that lost the connection without a word ends here."""
ATTEMPTS = 3
"""How often work is tried when the connection broke or a deadlock was resolved against it."""
_RESOLVED = {"40P01", "40001", "55P03"}
"""SQLSTATEs: deadlock, serialization failure, lock not available."""


class Database(ABC):
    """Where the tables are."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run work that only reads, without a transaction around it."""
        return await self._patiently(work, writes=False, patience=PATIENCE)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run work in a transaction; on SQLite no other one writes meanwhile."""
        return await self._patiently(work, writes=True, patience=PATIENCE)

    async def change(self, work: Callable[[Connection], T]) -> T:
        """As `write`, however long it takes: for what changes the tables themselves."""
        return await self._patiently(work, writes=True, patience=None)

    unreachable: str
    """What to say when there is no connection; without the URL, which may hold a password."""
    is_ours: bool
    """Whether this process may change the schema without being asked to."""

    @property
    def is_made(self) -> bool:
        """Whether there is something to look into."""
        return True

    @abstractmethod
    async def make(self) -> None:
        """Make what can be made without a person's doing."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of all connections."""

    @abstractmethod
    async def _run(self, work: Callable[[Connection], T], *, writes: bool, patience: float | None) -> T: ...

    async def _patiently(self, work: Callable[[Connection], T], *, writes: bool, patience: float | None) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._run(work, writes=writes, patience=patience)
            except DBAPIError as error:
                if attempt < ATTEMPTS and (error.connection_invalidated or _sqlstate(error) in _RESOLVED):
                    continue
                if isinstance(error, OperationalError | InterfaceError):
                    raise StoreUnavailable from error
                raise
            except (PoolTimeout, OSError) as error:
                raise StoreUnavailable from error
        raise AssertionError  # the last attempt returned or raised


class SQLiteDatabase(Database):
    """A file."""

    is_ours = True

    def __init__(self, url: URL) -> None:
        if not url.database or url.database == ":memory:" or url.query:
            raise not_usable("write sqlite:///gateway.db, or sqlite:////data/gateway.db for an absolute path")
        self.unreachable = f"the file {url.database} cannot be opened: its folder must exist and be writable"
        self._path = url.database
        self._engine = create_engine(
            "sqlite+pysqlite://",
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=READERS + 1,
            max_overflow=0,
            hide_parameters=True,  # errors go to the log, and what was said must not
        )
        event.listen(self._engine, "begin", _begin)
        self._writer = self._engine.execution_options(writes=True)
        self._threads: dict[bool, ThreadPoolExecutor] = {}

    @property
    def is_made(self) -> bool:
        """See `Database`."""
        return Path(self._path).exists()

    async def close(self) -> None:
        """See `Database`. Waits for what is being written."""
        threads, self._threads = self._threads, {}
        for each in threads.values():
            await asyncio.to_thread(each.shutdown)
        self._engine.dispose()

    async def _run(self, work: Callable[[Connection], T], *, writes: bool, patience: float | None) -> T:
        del patience  # nothing is far away
        if writes not in self._threads:
            self._threads[writes] = ThreadPoolExecutor(1 if writes else READERS, "sqlite-w" if writes else "sqlite-r")
        run = partial(_in_transaction, self._writer, work) if writes else partial(_connected_to, self._engine, work)
        return await asyncio.get_running_loop().run_in_executor(self._threads[writes], run)

    async def make(self) -> None:
        """See `Database`. The file, in which readers and the writer do not wait for each other."""
        try:
            with contextlib.suppress(FileExistsError):
                # Conversations are nobody else's to read; SQLite gives the files beside it the same mode.
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise StoreUnavailable from error
        await self.read(lambda connection: connection.exec_driver_sql("PRAGMA journal_mode = WAL").close())

    def _connect(self) -> sqlite3.Connection:
        """Open the file, which is there; the driver begins no transaction of its own."""
        where = f"file:{quote(self._path)}?mode=rw"
        connection = sqlite3.connect(where, uri=True, isolation_level=None, check_same_thread=False)
        for pragma in (f"busy_timeout = {int(BUSY * 1000)}", "synchronous = NORMAL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
        return connection


class PostgreSQLDatabase(Database):
    """A server."""

    is_ours = False
    unreachable = "no connection to the database: check host, port, name, user and password, and that it runs"

    def __init__(self, url: URL) -> None:
        self._engine = _async_engine(url)
        self._reader = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    async def make(self) -> None:
        """See `Database`. A server is somebody else's to make."""

    async def close(self) -> None:
        """See `Database`."""
        await self._engine.dispose()

    async def _run(self, work: Callable[[Connection], T], *, writes: bool, patience: float | None) -> T:
        async with asyncio.timeout(patience):
            async with self._engine.begin() if writes else self._reader.connect() as connection:
                return await connection.run_sync(work)


def open_database(url: str) -> Database:
    """`sqlite:///...` or `postgresql://...`. Raises `ConfigError`, which never shows the URL."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise not_usable("not a database URL: write postgresql://user:password@host:5432/name") from None
    if parsed.get_backend_name() == "sqlite":
        return SQLiteDatabase(parsed)
    return PostgreSQLDatabase(parsed)


def lock_scope(connection: Connection, scope: str) -> None:
    """Nobody else deletes entries, points at older ones, or stores files for this owner until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK, {"scope": scope})


_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:scope, 7012))")


def not_usable(message: str) -> ConfigError:
    """A problem with `stores.conversations`."""
    return ConfigError([ConfigProblem(message, key="stores.conversations")])


def _async_engine(url: URL) -> AsyncEngine:
    try:
        import_module("psycopg")
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - needs greenlet, which is an extra too
    except ImportError:
        raise not_usable("postgresql:// needs another package: install agent-gateway[postgres]") from None
    return create_async_engine(
        url.set(drivername="postgresql+psycopg"),
        isolation_level="READ COMMITTED",
        hide_parameters=True,  # as above
        pool_size=POOL,
        max_overflow=0,
        pool_timeout=PATIENCE / 2,
        pool_use_lifo=True,
        connect_args={} if "connect_timeout" in url.query else {"connect_timeout": 5},
    )


def _in_transaction(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def _connected_to(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.connect() as connection:
        return work(connection)


def _begin(connection: Connection) -> None:
    """Take the lock at once: a transaction that reads before it writes could otherwise be refused in between."""
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""

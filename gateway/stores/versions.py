"""The schema that a database has -> the one that this version needs.

A SQLite file is brought up to date when it is opened. A server is not: other replicas may still need what it has, so
`gateway db upgrade` is a step of its own. Alembic is imported when there is something to change, and not before.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Text, column, inspect, select, table, text

from gateway.stores.database import not_usable
from gateway.stores.schema import NEWEST, VERSION_TABLE

if TYPE_CHECKING:
    from alembic.config import Config

    from gateway.stores.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"
_CURRENT = select(column("version_num", Text)).select_from(table(VERSION_TABLE))
_LOCK = text("SELECT pg_advisory_xact_lock(7011)")


async def prepare(database: Database) -> None:
    """Make sure of the newest schema. Raises `ConfigError` when that is for a person to do."""
    await database.make()
    found = await database.read(current)
    if found == NEWEST:
        return
    if not database.is_ours:
        raise not_usable(f"{state(found)}: run `gateway db upgrade`")
    await database.change(upgrade)


def current(connection: Connection) -> str | None:
    """The schema that is there, none where the gateway never was. Raises `ConfigError` for one that is too new."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(_CURRENT).scalar_one_or_none()
    if found is not None and found > NEWEST:
        message = f"its schema, {found}, was made by a newer version of the gateway; this one works with {NEWEST}"
        raise not_usable(message)
    return found


def state(found: str | None) -> str:
    """What to say about a schema that is not the newest."""
    there = f"its schema is {found}" if found else "it has no schema yet"
    return f"{there}, and {NEWEST} is needed"


def upgrade(connection: Connection) -> str | None:
    """Bring the schema up to date, within the transaction, one process at a time. The schema that was there."""
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK)
    found = current(connection)
    if found != NEWEST:
        from alembic import command  # noqa: PLC0415 - see above

        command.upgrade(alembic_config(connection), NEWEST)
    return found


def alembic_config(connection: Connection) -> Config:
    """What Alembic needs to know; `migrations/env.py` reads it."""
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config

"""The tables of the SQL store, the same on SQLite and PostgreSQL.

Ids sort by code point, times are microseconds since 1970 (UTC), JSON is kept as the text that was written. The owner's
scope is the first part of every key: no statement leaves it out but the one that looks for unused threads.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
)

NEWEST = "0002"
"""The schema that this version works with: the newest of the migrations, whose names sort by age."""

VERSION_TABLE = "gateway_version"
"""Where Alembic keeps what schema there is. Not its default, which the database may have for something else."""

KEY = Text().with_variant(Text(collation="C"), "postgresql")

metadata = MetaData()

threads = Table(
    "gateway_threads",
    metadata,
    Column("scope", KEY, primary_key=True),
    Column("id", KEY, primary_key=True),
    # Threads that may share entries (forks, and what they were forked from) are one family.
    Column("family", KEY, nullable=False),
    # A random number, the same for a family, which changes when a turn of an older entry does.
    Column("edition", BigInteger, nullable=False),
    Column("head_id", KEY),
    Column("revision", KEY, nullable=False),
    Column("usage", Text, nullable=False),
    Column("deferred_tool_requests", Text),
    # What `ConversationRecord.scope` says, which is the caller's to use; the owner is `scope`.
    Column("record_scope", Text),
    Column("forked_from", KEY),
    Column("forked_at", KEY),
    Column("branches", Text, nullable=False),
    Column("format_version", Integer, nullable=False),
    Column("renamed", Text, nullable=False),
    # With a default, for processes of the version before this column, which may still be writing.
    Column("archived", Boolean, nullable=False, server_default=false()),
    # Of the head's turn: the list is filtered by it.
    Column("agent", KEY, nullable=False),
    # The greatest fencing token that the thread was saved with.
    Column("token", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index("gateway_threads_newest", "scope", "archived", "updated_at", "id"),
    Index("gateway_threads_agent", "scope", "agent", "archived", "updated_at", "id"),
    Index("gateway_threads_family", "scope", "family"),
    Index("gateway_threads_unused", "updated_at"),
)

entries = Table(
    "gateway_entries",
    metadata,
    Column("scope", KEY, primary_key=True),
    Column("id", KEY, primary_key=True),
    Column("parent_id", KEY),
    Column("family", KEY, nullable=False),
    Column("kind", Text, nullable=False),
    Column("message", Text, nullable=False),
    # What stands in the message in place of files, and which they are: see `files.py`.
    Column("files", Text),
    Index("gateway_entries_family", "scope", "family"),
)

turns = Table(
    "gateway_turns",
    metadata,
    Column("scope", KEY, primary_key=True),
    Column("entry_id", KEY, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("surface", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("state", Text),
    Column("wire_ids", Text, nullable=False),
    Column("answers", Text),
    Column("answered_run", Text, nullable=False),
    Column("expires_at", BigInteger),
    Column("at", BigInteger, nullable=False),
    ForeignKeyConstraint(["scope", "entry_id"], [entries.c.scope, entries.c.id], ondelete="CASCADE"),
)

blobs = Table(
    "gateway_blobs",
    metadata,
    Column("scope", KEY, primary_key=True),
    Column("hash", KEY, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

entry_blobs = Table(
    "gateway_entry_blobs",
    metadata,
    Column("scope", KEY, primary_key=True),
    Column("entry_id", KEY, primary_key=True),
    Column("hash", KEY, primary_key=True),
    ForeignKeyConstraint(["scope", "entry_id"], [entries.c.scope, entries.c.id], ondelete="CASCADE"),
    ForeignKeyConstraint(["scope", "hash"], [blobs.c.scope, blobs.c.hash]),
    Index("gateway_entry_blobs_hash", "scope", "hash"),
)

"""Threads, entries, turns and files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Nothing -> the first schema."""
    _threads()
    _entries()
    _turns()
    _files()


def _threads() -> None:
    op.create_table(
        "gateway_threads",
        sa.Column("scope", KEY, primary_key=True),
        sa.Column("id", KEY, primary_key=True),
        sa.Column("family", KEY, nullable=False),
        sa.Column("edition", sa.BigInteger, nullable=False),
        sa.Column("head_id", KEY),
        sa.Column("revision", KEY, nullable=False),
        sa.Column("usage", sa.Text, nullable=False),
        sa.Column("deferred_tool_requests", sa.Text),
        sa.Column("record_scope", sa.Text),
        sa.Column("forked_from", KEY),
        sa.Column("forked_at", KEY),
        sa.Column("branches", sa.Text, nullable=False),
        sa.Column("format_version", sa.Integer, nullable=False),
        sa.Column("renamed", sa.Text, nullable=False),
        sa.Column("agent", KEY, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_index("gateway_threads_newest", "gateway_threads", ["scope", "updated_at", "id"])
    op.create_index("gateway_threads_agent", "gateway_threads", ["scope", "agent", "updated_at", "id"])
    op.create_index("gateway_threads_family", "gateway_threads", ["scope", "family"])
    op.create_index("gateway_threads_unused", "gateway_threads", ["updated_at"])


def _entries() -> None:
    op.create_table(
        "gateway_entries",
        sa.Column("scope", KEY, primary_key=True),
        sa.Column("id", KEY, primary_key=True),
        sa.Column("parent_id", KEY),
        sa.Column("family", KEY, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("files", sa.Text),
    )
    op.create_index("gateway_entries_family", "gateway_entries", ["scope", "family"])


def _turns() -> None:
    op.create_table(
        "gateway_turns",
        sa.Column("scope", KEY, primary_key=True),
        sa.Column("entry_id", KEY, primary_key=True),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("surface", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("state", sa.Text),
        sa.Column("wire_ids", sa.Text, nullable=False),
        sa.Column("answers", sa.Text),
        sa.Column("answered_run", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("at", sa.BigInteger, nullable=False),
        _of_an_entry(),
    )


def _files() -> None:
    op.create_table(
        "gateway_blobs",
        sa.Column("scope", KEY, primary_key=True),
        sa.Column("hash", KEY, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "gateway_entry_blobs",
        sa.Column("scope", KEY, primary_key=True),
        sa.Column("entry_id", KEY, primary_key=True),
        sa.Column("hash", KEY, primary_key=True),
        _of_an_entry(),
        sa.ForeignKeyConstraint(["scope", "hash"], ["gateway_blobs.scope", "gateway_blobs.hash"]),
    )
    op.create_index("gateway_entry_blobs_hash", "gateway_entry_blobs", ["scope", "hash"])


def _of_an_entry() -> sa.ForeignKeyConstraint:
    columns = ["gateway_entries.scope", "gateway_entries.id"]
    return sa.ForeignKeyConstraint(["scope", "entry_id"], columns, ondelete="CASCADE")

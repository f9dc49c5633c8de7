"""Archived threads, which lists leave out: in the indexes before the order, so that a page is read from its place."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

THREADS = "gateway_threads"
LISTED = ["archived", "updated_at", "id"]


def upgrade() -> None:
    """No thread is archived. A process of the version before goes on: the column has a default."""
    op.add_column(THREADS, sa.Column("archived", sa.Boolean, nullable=False, server_default=sa.false()))
    for name, first in (("gateway_threads_newest", ["scope"]), ("gateway_threads_agent", ["scope", "agent"])):
        op.drop_index(name, THREADS)
        op.create_index(name, THREADS, [*first, *LISTED])

"""Alembic's migrations of the SQL store. One that was released is never changed."""

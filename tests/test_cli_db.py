"""`gateway db`: what schema a database has, and how it gets the one that is needed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from postgres_server import any_postgres, own_database
from projects import CONFIG, Project

from gateway.stores.schema import NEWEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield "sqlite:///gateway.db"
        return
    with any_postgres() as address, own_database(address) as made:
        yield made


def keep_in(project: Project, url: str) -> None:
    project.write(f"stores: {{conversations: '{url}'}}\n{CONFIG}")


def test_a_schema_is_made_once(project: Project, url: str) -> None:
    keep_in(project, url)
    before = project.run("db", "current")
    assert before.returncode == 1
    assert "no schema yet" in before.stdout
    assert "gateway db upgrade" in before.stdout
    assert not (project.folder / "gateway.db").exists(), "looking makes nothing"
    made, again = project.run("db", "upgrade"), project.run("db", "upgrade")
    assert (made.returncode, made.stdout) == (0, f"The schema {NEWEST} was made.\n")
    assert (again.returncode, again.stdout) == (0, f"The schema is {NEWEST}, the newest: there was nothing to do.\n")
    after = project.run("db", "current")
    assert (after.returncode, after.stdout) == (0, f"The schema is {NEWEST}, the newest.\n")


def test_a_schema_of_a_newer_version_is_said_and_left_alone(project: Project) -> None:
    keep_in(project, "sqlite:///gateway.db")
    project.run("db", "upgrade")
    with closing(sqlite3.connect(project.folder / "gateway.db")) as connection, connection:
        connection.execute("UPDATE gateway_version SET version_num = '0999'")
    for command in ("current", "upgrade"):
        refused = project.run("db", command)
        assert refused.returncode == 1
        assert refused.stderr.startswith("error: stores.conversations: its schema, 0999, was made by a newer version")
        assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("command", ["current", "upgrade"])
def test_threads_in_memory_have_no_schema(project: Project, command: str) -> None:
    done = project.run("db", command)
    assert (done.returncode, done.stdout) == (0, "stores.conversations is memory://, which has no schema.\n")


@pytest.mark.parametrize("command", ["current", "upgrade"])
def test_a_database_that_cannot_be_reached_is_said_without_its_password(project: Project, command: str) -> None:
    keep_in(project, "postgresql://user:hunter2@127.0.0.1:1/name")
    refused = project.run("db", command)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: stores.conversations: no connection to the database")
    assert "hunter2" not in refused.stdout + refused.stderr


def test_a_file_beside_shared_streams_is_worth_a_note(project: Project) -> None:
    stores = "{conversations: 'sqlite:///x.db', streams: 'redis://127.0.0.1:1/0'}"
    project.write(f"stores: {stores}\n{CONFIG}")
    checked = project.run("check")
    assert "note: stores.conversations: a file beside shared streams" in checked.stdout

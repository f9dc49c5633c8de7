"""`gateway threads`: what a person is owed, handed over or deleted."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from projects import CONFIG, DEADLINE, Project
from pydantic_ai.messages import ModelMessagesTypeAdapter
from stored_threads import INTERNAL, add_turn, ask_for_consent

from gateway.auth import ANONYMOUS, Principal
from gateway.cli import threads
from gateway.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gateway.stores import Store

ADA, ADA_AT_ACME, BOB = Principal("ada"), Principal("ada", "acme"), Principal("bob")


class Kept:
    """A project whose threads are in a file."""

    def __init__(self, folder: Path) -> None:
        self.project = Project(folder)
        self.url = f"sqlite:///{folder}/threads.db"
        self.project.write(f"{CONFIG}stores: {{conversations: '{self.url}'}}\n")

    def use(self, work: Callable[[Store], Awaitable[Any]]) -> Any:
        """Do something with the store, as another process would."""

        async def opened() -> Any:
            store = open_store(self.url)
            await store.open()
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(opened())

    def left(self, owner: Principal) -> set[str]:
        async def ids(store: Store) -> set[str]:
            return {thread.id for thread in await store.view(owner.scope).read_threads(limit=1_000, archived="include")}

        return self.use(ids)

    def run(self, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gateway", "threads", *arguments],
            cwd=self.project.folder,
            input=answer,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    kept = Kept(tmp_path)

    async def fill(store: Store) -> None:
        ada = store.view(ADA.scope)
        root = await add_turn(ada, "t", "Root", when=datetime(2026, 1, 1, tzinfo=UTC))
        await add_turn(ada, "t", "Left")
        await add_turn(ada, "t", "Größe ✓\nright", after=root, state={"count": 3})
        await ada.mark("t", title="Named", archived=True)
        await ask_for_consent(ada, "a/b", agent="retired")
        for owner in (ADA_AT_ACME, BOB, ANONYMOUS):
            await add_turn(store.view(owner.scope), "t", f"Not Ada's but {owner.scope}")

    kept.use(fill)
    return kept


def exported(lines: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def said(messages: list[dict[str, Any]]) -> list[Any]:
    parsed = ModelMessagesTypeAdapter.validate_python(messages)
    return [getattr(part, "content", None) for message in parsed for part in message.parts]


def test_an_export_has_everything_of_the_person_and_nothing_else(kept: Kept) -> None:
    done = kept.run("export", "--subject", "ada")
    assert (done.returncode, done.stderr) == (0, "2 threads exported.\n")
    waiting, thread = exported(done.stdout)
    assert (waiting["id"], waiting["agent"], waiting["status"]) == ("a/b", "retired", "waiting")
    assert (thread["id"], thread["title"], thread["renamed"], thread["archived"]) == ("t", "Named", "Named", True)
    assert not waiting["archived"]
    assert thread["state"] == {"count": 3}
    assert said(thread["messages"]) == ["Root", "Hello yourself.", "Größe ✓\nright", "Hello yourself."]
    [branch] = thread["branches"]
    assert (branch["title"], branch["outcome"], branch["current"]) == ("Left", "finished", False)
    assert said(branch["messages"]) == ["Left", "Hello yourself."]
    assert "Not Ada's" not in done.stdout
    assert INTERNAL not in done.stdout


def test_tenants_and_anonymous_callers_are_owners_of_their_own(kept: Kept) -> None:
    for arguments, owner in (
        (["--subject", "ada", "--tenant", "acme"], ADA_AT_ACME),
        (["--subject", "bob"], BOB),
        (["--anonymous"], ANONYMOUS),
    ):
        [thread] = exported(kept.run("export", *arguments).stdout)
        assert said(thread["messages"])[0] == f"Not Ada's but {owner.scope}"


def test_an_export_of_nobody_is_empty(kept: Kept) -> None:
    done = kept.run("export", "--subject", "carol")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "0 threads exported.\n")


def test_an_export_goes_into_a_file_that_only_its_owner_reads(kept: Kept) -> None:
    done = kept.run("export", "--subject", "ada", "--out", "ada.jsonl")
    assert (done.returncode, done.stdout) == (0, "")
    path = kept.project.folder / "ada.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [thread["id"] for thread in exported(path.read_text(encoding="utf-8"))] == ["a/b", "t"]


def test_an_export_of_many_threads_has_each_of_them_once(kept: Kept) -> None:
    async def fill(store: Store) -> None:
        for number in range(120):
            await add_turn(store.view("tenant:/subject:many"), str(number))

    kept.use(fill)
    found = [thread["id"] for thread in exported(kept.run("export", "--subject", "many").stdout)]
    assert len(found) == 120
    assert set(found) == {str(number) for number in range(120)}


async def all_while_one_is_used(store: Store) -> list[str]:
    view = store.view(BOB.scope)
    for number in range(5):
        await add_turn(view, str(number))
    found: list[str] = []
    async for thread in threads.all_of(view):
        found.append(thread.id)
        if len(found) == 1:
            for used in (*found, "0", "new"):
                await add_turn(view, used)
    return found


def test_a_thread_that_is_used_while_the_pages_are_turned_is_not_left_out(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "PAGE", 2)
    assert sorted(kept.use(all_while_one_is_used)) == ["0", "1", "2", "3", "4", "new", "t"]


@pytest.mark.parametrize("answer", ["", "n\n", "\n", "nope\n"])
def test_nothing_is_deleted_without_a_yes(kept: Kept, answer: str) -> None:
    done = kept.run("delete", "--subject", "ada", answer=answer)
    assert done.returncode == 1
    assert "Delete 2 threads for good?" in done.stdout
    assert "Nothing was deleted." in done.stdout
    assert kept.left(ADA) == {"t", "a/b"}


@pytest.mark.parametrize(("arguments", "answer"), [(["--yes"], ""), ([], "y\n"), ([], " Yes \n")])
def test_a_person_is_deleted_and_nobody_else(kept: Kept, arguments: list[str], answer: str) -> None:
    done = kept.run("delete", "--subject", "ada", *arguments, answer=answer)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("2 threads deleted.\n")
    assert kept.left(ADA) == set()
    assert kept.left(ADA_AT_ACME) == kept.left(BOB) == kept.left(ANONYMOUS) == {"t"}
    assert kept.run("delete", "--subject", "ada").stdout == "0 threads deleted.\n"
    assert kept.run("delete", "--anonymous", "--yes").stdout == "1 thread deleted.\n"


@pytest.mark.parametrize("command", ["export", "delete"])
@pytest.mark.parametrize(
    "arguments", [[], ["--tenant", "acme"], ["--anonymous", "--subject", "ada"], ["--anonymous", "--tenant", "acme"]]
)
def test_it_must_be_said_whose_threads(kept: Kept, command: str, arguments: list[str]) -> None:
    done = kept.run(command, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Say whose threads" in " ".join(done.stderr.split())


@pytest.mark.parametrize("command", ["export", "delete"])
def test_threads_in_the_memory_of_another_process_cannot_be_reached(kept: Kept, command: str) -> None:
    kept.project.write(CONFIG)
    done = kept.run(command, "--subject", "ada")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("error: gateway.yaml: stores.conversations: memory:// keeps threads in the process")
    assert "Traceback" not in done.stderr

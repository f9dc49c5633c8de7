"""`gateway threads ...`: all conversations of one person, to hand over or to delete. On the store of the config.

Works beside running gateways. Nothing of a conversation is printed but where the export was asked to go.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - read by cyclopts
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, ArgumentCollection, Group, Parameter

from gateway.cli.options import CONFIG_FILE, ConfigFile
from gateway.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from typing import TextIO

    from gateway.history import Thread
    from gateway.stores import ThreadView

threads = App(name="threads")

PAGE = 50
"""Threads that are read at a time."""

IN_MEMORY = (
    "memory:// keeps threads in the process that serves them, where no other can reach them: "
    "use the /threads routes, or a store that is kept outside"
)


def _one_owner(given: ArgumentCollection) -> None:
    names = {argument.name for argument in given if argument.has_tokens}
    if len(names & {"--subject", "--anonymous"}) != 1 or {"--anonymous", "--tenant"} <= names:
        raise ValueError("Say whose threads: --subject, with --tenant if there is one, or --anonymous.")


_SUBJECT_HELP = "Subject of the API key or the token."
_OWNER = Group("Whose threads", validator=_one_owner)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Owner:
    """A person, as the gateway knows them."""

    subject: Annotated[str, Parameter(group=_OWNER, help=_SUBJECT_HELP, show_default=False)] = ""
    tenant: Annotated[str | None, Parameter(group=_OWNER, help="Tenant of the API key or the token, if any.")] = None
    anonymous: Annotated[bool, Parameter(group=_OWNER, help="All callers without credentials, instead.")] = False

    @property
    def scope(self) -> str:
        """The owner's key."""
        from gateway.auth import ANONYMOUS, Principal  # noqa: PLC0415 - not for `--help`

        return ANONYMOUS.scope if self.anonymous else Principal(self.subject, self.tenant).scope


@threads.command
def export(
    *,
    owner: Owner = Owner(),
    out: Annotated[Path | None, Parameter(help="Write to this file instead of the terminal.")] = None,
    config: ConfigFile = CONFIG_FILE,
) -> None:
    """Write all threads of a person as JSON lines, one thread on each, with branches and messages."""
    with _lines_to(out) as file:
        count = asyncio.run(_export(config, owner.scope, file))
    print(f"{_threads(count)} exported.", file=sys.stderr)


@threads.command
def delete(
    *,
    owner: Owner = Owner(),
    yes: Annotated[bool, Parameter(help="Do not ask.")] = False,
    config: ConfigFile = CONFIG_FILE,
) -> int:
    """Delete all threads of a person, with everything that belongs to them. There is no way back."""
    return asyncio.run(_delete(config, owner.scope, ask=not yes))


async def _export(config: Path, scope: str, file: TextIO) -> int:
    count = 0
    async with _view(config, scope) as view:
        async for thread in all_of(view):
            if exported := await _exported(view, thread):
                file.write(json.dumps(exported, ensure_ascii=False) + "\n")
                count += 1
    return count


async def _delete(config: Path, scope: str, *, ask: bool) -> int:
    async with _view(config, scope) as view:
        found = [thread.id async for thread in all_of(view)]
        if found and ask and not _agreed(f"Delete {_threads(len(found))} for good? [y/N] "):
            print("Nothing was deleted.")
            return 1
        deleted = 0
        while found:  # again, for what the person has begun meanwhile
            for thread_id in found:
                await view.delete(thread_id)
            deleted += len(found)
            found = [thread.id async for thread in all_of(view)]
    print(f"{_threads(deleted)} deleted.")
    return 0


async def all_of(view: ThreadView) -> AsyncGenerator[Thread]:
    """Every thread of the owner, archived ones too; a page at a time is in memory."""
    seen: set[str] = set()
    began = datetime.now(UTC)
    # Whatever is saved while the pages are turned moves to the first one, and is found there afterwards.
    for since in (None, began):
        async for thread in _newest_first(view):
            if since and thread.record.updated_at < since:
                break
            if thread.id not in seen:
                seen.add(thread.id)
                yield thread


async def _newest_first(view: ThreadView) -> AsyncGenerator[Thread]:
    place = None
    while page := await view.read_threads(limit=PAGE, before=place, archived="include"):
        for thread in page:
            yield thread
        place = page[-1].record.updated_at, page[-1].id


async def _exported(view: ThreadView, thread: Thread) -> dict[str, Any] | None:
    """A thread with its branches, each with the messages that are its own; nothing for one that was deleted."""
    from gateway.surfaces.thread_branches import branch_summary, read_branches  # noqa: PLC0415 - not for `--help`
    from gateway.surfaces.thread_shapes import native, stored_status, summary  # noqa: PLC0415
    from gateway.wires.native.shapes import messages_of  # noqa: PLC0415

    try:
        line = await view.read_line(thread.record.head_id)
    except LookupError:
        return None
    status = stored_status(thread)
    others = [branch for branch in await read_branches(view, thread, limit=None) if not branch.current]
    branches = [
        branch_summary(each, status) | {"messages": messages_of([entry.message for entry in each.own])}
        for each in others
    ]
    state = thread.turn.state if thread.turn else None
    return {**summary(thread, status), "renamed": thread.renamed, "state": state, **native(line), "branches": branches}


@asynccontextmanager
async def _view(path: Path, scope: str) -> AsyncGenerator[ThreadView]:
    from gateway.configfile import load  # noqa: PLC0415 - not for `--help`

    url = load(path).stores.conversations
    if url.startswith("memory:"):
        raise ConfigError([ConfigProblem(IN_MEMORY, key="stores.conversations", file=path)])
    from gateway.stores import open_store  # noqa: PLC0415 - imports pydantic-ai

    store = open_store(url)
    try:
        await store.open()
        yield store.view(scope)
    finally:
        await store.close()


@contextmanager
def _lines_to(path: Path | None) -> Generator[TextIO]:
    """The file, readable by its owner alone, or the terminal."""
    if path is None:
        yield sys.stdout
        return
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        yield file


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"

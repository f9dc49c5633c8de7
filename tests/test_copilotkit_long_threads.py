"""Law 9 for CopilotKit: a thread of thousands of messages is written off the loop, which other streams need."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from copilotkit_talk import connected, snapshot
from serving import make_config
from stored_threads import add_turn
from talking import calling

from gateway.app import create_app
from gateway.surfaces.copilotkit import connection

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

TURNS = 1000


async def test_2000_messages_are_told_whole_and_not_on_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, used = threading.current_thread(), list[threading.Thread]()

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            used.append(threading.current_thread())
            return function(*given)

        return call

    for name in ("events", "messages", "frames"):
        monkeypatch.setattr(connection, name, watched(getattr(connection, name)))
    app = create_app(make_config(agents={"plain": "probes:plain"}, auth={"anonymous": True}))
    async with calling(app) as client:
        view = app.state.runs.threads.store.view("anonymous")
        for number in range(TURNS):
            await add_turn(view, "t", f"Question {number}", agent="plain", surface="copilotkit")
        told = snapshot(await connected(client, "plain", "t"))
        kept = (await client.get("/copilotkit/threads/t/messages")).json()["messages"]
    assert len(told) == len(kept) == 2 * TURNS
    assert told[-2]["content"] == f"Question {TURNS - 1}"
    assert used
    assert loop not in used

"""Threads in memory: each owner's own, and only so many of them."""

from __future__ import annotations

import gc
import hashlib
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelRequest, UserPromptPart
from serving import make_config
from talking import WIRES, calling, events_of, run_url, text_of, turn

from gateway.app import create_app
from gateway.auth import Principal
from gateway.stores import open_store
from gateway.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx
    from pydantic_ai.conversation_store import ConversationStore
    from starlette.applications import Starlette

pytestmark = pytest.mark.anyio

OWNERS = {"ada": ("ada", "acme"), "bob": ("bob", "acme"), "other-ada": ("ada", "initech"), "no-tenant": ("ada", None)}


def gateway() -> Starlette:
    keys = [
        {"id": key, "sha256": hashlib.sha256(key.encode()).hexdigest(), "subject": subject, "tenant": tenant}
        for key, (subject, tenant) in OWNERS.items()
    ]
    agents = {"remembering": "probes:remembering", "again": "probes:remembering"}
    return create_app(make_config(agents=agents, auth={"api_keys": keys, "anonymous": True}))


async def say(
    client: httpx.AsyncClient, wire: str, text: str, key: str | None = None, agent: str = "remembering"
) -> str:
    headers = {"x-api-key": key} if key else {}
    response = await client.post(run_url(wire, agent), json=turn(wire, text, "t"), headers=headers)
    return text_of(events_of(response.text))


@pytest.mark.parametrize("wire", WIRES)
async def test_a_turn_sees_the_turns_before_it(wire: str) -> None:
    async with calling(gateway()) as client:
        assert await say(client, wire, "One") == "You said: One."
        assert await say(client, wire, "Two") == "You said: One, Two."
        assert await say(client, wire, "Three") == "You said: One, Two, Three."


async def test_a_thread_goes_on_over_another_wire() -> None:
    async with calling(gateway()) as client:
        assert await say(client, "ag-ui", "One") == "You said: One."
        assert await say(client, "vercel-ai", "Two") == "You said: One, Two."
        assert await say(client, "ag-ui", "Three") == "You said: One, Two, Three."


@pytest.mark.parametrize("wire", WIRES)
async def test_owners_who_use_the_same_thread_id_never_meet(wire: str) -> None:
    async with calling(gateway()) as client:
        for number in range(2):
            for key in (*OWNERS, None):
                answer = await say(client, wire, f"{key} {number}", key)
                assert answer == "You said: " + ", ".join(f"{key} {turn}" for turn in range(number + 1)) + "."


async def test_a_run_that_fails_is_part_of_the_thread() -> None:
    app = create_app(make_config(agents={"remembering": "probes:remembering", "broken": "probes:broken"}))
    async with calling(app) as client:
        await say(client, "ag-ui", "One")
        await say(client, "ag-ui", "Lost", agent="broken")
        assert await say(client, "ag-ui", "Two") == "You said: One, Lost, Two."


async def save(view: ConversationStore, thread: str) -> None:
    """One more turn on the thread."""
    conversation = await view.load(thread) or Conversation(conversation_id=thread)
    conversation.messages.append(ModelRequest(parts=[UserPromptPart("Hello")]))
    await view.save(conversation)


async def holds(view: ConversationStore, thread: str) -> bool:
    return await view.load(thread) is not None


async def test_the_thread_that_was_saved_longest_ago_makes_room_whoever_owns_it() -> None:
    store = MemoryStore(max_threads=3)
    ada, bob = store.view(Principal("ada").scope), store.view(Principal("bob").scope)
    await save(ada, "1")
    await save(bob, "1")
    await save(bob, "2")
    assert await holds(ada, "1")
    await save(bob, "3")
    assert not await holds(ada, "1")
    assert [await holds(bob, thread) for thread in "123"] == [True, True, True]


async def test_a_thread_that_is_saved_again_is_the_newest() -> None:
    store = MemoryStore(max_threads=2)
    view = store.view("a")
    await save(view, "1")
    await save(view, "2")
    await save(view, "1")
    await save(view, "3")
    assert [await holds(view, thread) for thread in "123"] == [True, False, True]


def alive(views: Sequence[ref[Any]]) -> int:
    gc.collect()
    return sum(view() is not None for view in views)


async def test_an_owner_without_threads_costs_nothing() -> None:
    store = MemoryStore(max_threads=2)
    views = [ref(store.view(f"visitor-{number}")) for number in range(100)]
    assert alive(views) == 0
    for number in range(100):
        view = store.view(f"visitor-{number}")
        views.append(ref(view))
        assert not await holds(view, "t")
        await save(view, "t")
        del view
    assert alive(views) == 2, "those with the threads that are kept"


async def test_a_thread_that_was_deleted_is_gone_and_its_owner_with_the_last_one() -> None:
    store = MemoryStore()
    view = store.view("a")
    views = [ref(view)]
    await save(view, "1")
    await save(view, "2")
    await view.delete("1")
    assert not await holds(view, "1")
    del view
    assert alive(views) == 1
    assert await holds(store.view("a"), "2")
    await store.view("a").delete("2")
    assert alive(views) == 0


async def test_requests_at_once_see_the_same_threads_of_an_owner() -> None:
    store = open_store("memory://")
    one, other = store.view("a"), store.view("a")
    await save(one, "t")
    assert await holds(other, "t")
    assert not await holds(store.view("b"), "t")

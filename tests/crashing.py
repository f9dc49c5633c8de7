"""A program that is killed while it saves turns, again and again: `python crashing.py URL KILLS`.

It prints how many turns were saved. Each is two messages, a record and a turn that all say the same number; after each
kill the thread must hold all of them of the last turn that was confirmed, or all of them of the next one.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time

from conversations import make_turn, text_of
from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord
from pydantic_ai.messages import ModelRequest, UserPromptPart
from pydantic_ai.usage import RunUsage

from gateway.stores.sql import SqlStore


async def save_for_ever(url: str, confirmed: int) -> None:
    """Save one turn after the other, and write a byte for each."""
    view = SqlStore(url).view("ada")
    stored = await view.read_record("t")
    number = stored.usage.requests if stored else 0
    while True:
        number += 1
        first = ConversationEntry(parent_id=stored.head_id if stored else None, message=said(number))
        last = ConversationEntry(parent_id=first.id, message=said(number))
        record = ConversationRecord(conversation_id="t", head_id=last.id, usage=RunUsage(requests=number))
        await view.write_record(
            record,
            new_entries=[first, last],
            expected_revision=stored.revision if stored else None,
            turn=make_turn(last.id, run_id=str(number)),
        )
        stored = record
        os.write(confirmed, b".")


def said(number: int) -> ModelRequest:
    return ModelRequest(parts=[UserPromptPart(f"{number} {'x' * (number % 7) * 5_000}")])


def run_and_kill(url: str, dice: random.Random) -> int:
    """How many turns were confirmed before the program died."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        asyncio.run(save_for_ever(url, writer))
    os.close(writer)
    confirmed = len(os.read(reader, 1))
    time.sleep(dice.random() * 0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(reader, 65_536):
        confirmed += len(more)
    os.close(reader)
    return confirmed


async def check(url: str) -> int:
    """The number of the last turn, which all parts of it must agree on."""
    store = SqlStore(url)
    view = store.view("ada")
    thread = await view.read_thread("t")
    assert thread
    assert thread.turn
    line = await view.read_line(thread.record.head_id)
    number = thread.record.usage.requests
    assert thread.turn.run_id == str(number), (thread.turn.run_id, number)
    said = [int(text_of(entry).split()[0]) for entry in line.entries]
    assert said == [turn for turn in range(1, number + 1) for _ in range(2)], (said[-5:], number)
    assert [turn.run_id for turn in line.turns.values()] == [str(turn) for turn in range(1, number + 1)]
    await store.close()
    return number


def main() -> None:
    url, kills = sys.argv[1], int(sys.argv[2])
    dice = random.Random(kills)  # noqa: S311 - the same moments each time
    before = 0
    for _ in range(kills):
        confirmed = run_and_kill(url, dice)
        assert confirmed, "it died before it saved anything"
        after = asyncio.run(check(url))
        assert after - before in (confirmed, confirmed + 1), (before, confirmed, after)
        before = after
    sys.stdout.write(str(before))


if __name__ == "__main__":
    main()

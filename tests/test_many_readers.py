"""Many runs, many readers, bad networks: nobody sees anything but the log, and nobody holds up anybody else."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest
from reading import client_for, held, reading, run_config, status_of
from serving import serving
from talking import WIRES, events_of, numbers_of, run_url, text_of, turn

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

RUNS = 200
WORDS = 60
PATIENCE = 60.0
"""Seconds that one reader may take while all others read too, on a machine that does other things as well."""


@pytest.fixture
def url() -> Iterator[str]:
    with serving(run_config(settings={"on_disconnect": "continue"})) as base:
        yield base


async def read_some(client: httpx.AsyncClient, path: str, chance: random.Random) -> str:
    """Whole frames from `path`, up to a random point or to the end."""
    wanted = chance.choice([1, 500, 3_000, 8_000, 10**9])
    text = ""
    async with reading(client, "GET", path) as reader:
        async for chunk in reader.response.aiter_text():
            text += chunk
            if len(text) >= wanted:
                break
    return text[: text.rfind("\n\n") + 2] if "\n\n" in text else ""


def is_over(frames: str) -> bool:
    return "RUN_FINISHED" in frames or "[DONE]" in frames


async def reads_all(client: httpx.AsyncClient, run_id: str, chance: random.Random) -> str:
    """Everything, by a reader that drops and resumes until it has the last frame."""
    text = ""
    while not is_over(text):
        last = numbers_of(text)[-1] if text else 0
        text += await read_some(client, f"/runs/{run_id}/stream?after={last}", chance)
    return text


@pytest.mark.timeout(120)
async def test_readers_that_drop_and_resume_at_random_see_the_log_byte_for_byte(url: str) -> None:
    async with client_for(url) as client:
        client.timeout = httpx.Timeout(PATIENCE)

        async def one(number: int) -> None:
            chance = random.Random(number)  # noqa: S311 - the same at each time, for whoever looks for a failure
            wire = WIRES[number % 2]
            async with reading(client, "POST", run_url(wire, "fast"), json=turn(wire, str(WORDS))) as first:
                run_id = first.run_id
                readers = [asyncio.create_task(reads_all(client, run_id, chance)) for _ in range(1 + number % 2)]
                if chance.random() < 0.5:  # the first one drops too
                    await first.until(f'"{chance.randrange(WORDS)} "', PATIENCE)
                else:
                    async for chunk in first.response.aiter_text():
                        first.text += chunk
            seen = await asyncio.gather(*readers)
            log = (await client.get(f"/runs/{run_id}/stream")).text
            assert text_of(events_of(log)) == "".join(f"{word} " for word in range(WORDS))
            assert numbers_of(log) == list(range(1, len(numbers_of(log)) + 1))
            assert log.startswith(first.text)
            assert set(seen) == {log}

        async with asyncio.TaskGroup() as group:
            for number in range(RUNS):
                group.create_task(one(number))


BIG = 15_000


@pytest.mark.timeout(60)
async def test_a_slow_reader_lags_behind_and_holds_up_nothing(url: str) -> None:
    process = psutil.Process()
    async with client_for(url) as client:
        client.timeout = httpx.Timeout(40)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.connect(("127.0.0.1", httpx.URL(url).port or 0))
            body = turn("ag-ui", str(BIG))
            content = httpx.Request("POST", url, json=body).read()
            head = f"POST {run_url('ag-ui', 'fast')} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: ada\r\n"
            kind = f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
            slow.sendall(head.encode() + kind.encode() + content)
            taken = await asyncio.to_thread(slow.recv, 1_024)
            found = re.search(rb"x-run-id: (\S+)", taken)
            assert found
            run_id = found[1].decode()
            before = process.memory_info().rss
            fast = asyncio.create_task(client.get(f"/runs/{run_id}/stream"))
            async with asyncio.timeout(40):
                while not fast.done():
                    await asyncio.sleep(0.5)
                    taken += await asyncio.to_thread(slow.recv, 512)  # 1 kB in a second
            assert await status_of(client, run_id) == "finished"
            log = (await fast).content
            assert len(taken) < 100_000 < len(log), "the slow reader has seen a small part of it"
            grown = process.memory_info().rss - before
            assert grown < 20 * len(log) + 50_000_000, "what is kept is the log, once, and this test's own copies"
            # It has lost nothing: what it reads later is the same.
            slow.settimeout(20)
            started = taken.index(b"id: 1\n")
            came = await asyncio.to_thread(read_chunks, slow, taken)
            assert started > 0
            assert came == log


def read_chunks(connection: socket.socket, taken: bytes) -> bytes:
    """The body of a chunked response, of which `taken` was read before."""
    with connection.makefile("rb") as rest:
        data = bytearray(taken)
        while not data.endswith(b"\r\n0\r\n\r\n"):
            more = rest.read1(65_536)
            assert more, "the response was broken off"
            data += more
    _, _, chunks = bytes(data).partition(b"\r\n\r\n")
    body = bytearray()
    while chunks:
        size, _, chunks = chunks.partition(b"\r\n")
        length = int(size, 16)
        body += chunks[:length]
        chunks = chunks[length + 2 :]
    return bytes(body)


async def test_a_reader_that_takes_nothing_does_not_keep_others_from_a_held_run(url: str) -> None:
    async with (
        client_for(url) as client,
        held(client, "vercel-ai") as run,
        client.stream("GET", f"{run.path}/stream"),
    ):
        run.gate.open()
        assert text_of(events_of(await run.reader.rest())) == "Begun ünd ended."
        assert await status_of(client, run.id) == "finished"

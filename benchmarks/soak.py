"""`python -m benchmarks.soak`: two gateways and one Redis through faults for minutes -> what their readers have seen.

Runs begin on either process. Their readers drop and come back at random, on either process, at the frame behind the
last one that they have. Meanwhile the way to Redis pauses, breaks and slows down, each time for less than
`streams.retry`, and one of the processes is killed and started again. No reader may miss a frame, see one twice, or
come to an end without a terminal event, and only runs of a killed process may end as lost: else the exit status is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import itertools
import json
import random
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import psutil

from benchmarks.load import HEADERS, WIRES, ag_ui_body
from benchmarks.model import WORD
from benchmarks.table import machine
from tests.fault_proxy import FaultProxy
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.load import Wire

ROOT = Path(__file__).parent.parent
CONFIG: dict[str, Any] = {
    "auth": {
        "api_keys": [{"id": "load", "sha256": "926f08afae1f31d412721b54c740579e48331b295778bd07a10b289474186411"}]
    },
    "streams": {"lease": 2, "retry": 10, "keep": 60},
    "agents": {"words": {"import": "benchmarks.model:agent", "on_disconnect": "continue"}},
}
RUNS_AT_ONCE, READERS = 12, 2
DELTAS, PAUSE = (100, 500), 0.01
STAY = 3.0
"""Seconds after which most readers have dropped once."""
REST = 3.0
"""Seconds between two faults."""
PATIENCE = 45.0
"""Seconds that a reader may need from its first frame to its last one, whatever happens."""
START_TIMEOUT = 30.0
WARM_UP = 0.25
"""Part of a process's life in which its memory is not looked at: LINGER keeps ended runs for a while."""
ENDS = {"RUN_FINISHED", "RUN_ERROR", "finish", "error"}
FAULTS = ("pause", "cut", "cuts", "refuse", "slow", "kill")


class Process:
    """A gateway that can be killed and started again on its port."""

    def __init__(self, name: str, folder: Path, redis_port: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self.lives = 0
        """How many have ended: a run belongs to one of them."""
        self.memory: list[tuple[float, int]] = []
        """Minutes since this life began, bytes that the process has for itself."""
        self.slopes: list[tuple[float, float]] = []
        """Minutes of a life, kB for each of them."""
        self._config = folder / f"{name}.yaml"
        self._log = folder / f"{name}.log"
        stores = {"streams": f"redis://127.0.0.1:{redis_port}/0"}
        server = {"port": port, "drain_timeout": 5, "log_level": "warning", "log_format": "json"}
        self._config.write_text(json.dumps({**CONFIG, "stores": stores, "server": server}))

    async def start(self, client: httpx.AsyncClient) -> None:
        """Return when it is ready."""
        command = ["-m", "gateway", "serve", "--config", str(self._config)]
        with self._log.open("a") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *command, cwd=ROOT, stdout=log, stderr=log
            )
        async with asyncio.timeout(START_TIMEOUT):
            while not await self._ready(client):  # noqa: ASYNC110 - only another request can tell
                await asyncio.sleep(0.05)
        self._since = time.monotonic()
        self.memory = []

    async def _ready(self, client: httpx.AsyncClient) -> bool:
        if self._process.returncode is not None:
            raise RuntimeError(f"process {self.name} ended:\n{self._log.read_text()[-2000:]}")
        try:
            return (await client.get(f"{self.url}/readyz")).status_code == http.client.OK
        except httpx.TransportError:
            return False

    async def end(self, *, kill: bool = False) -> None:
        """With `kill` at once and without a word."""
        self.lives += 1
        self.slopes.append(slope(self.memory))
        if self._process.returncode is None:
            self._process.kill() if kill else self._process.terminate()
        await asyncio.wait_for(self._process.wait(), START_TIMEOUT)

    def look(self) -> None:
        """Note how much memory it has."""
        minutes = (time.monotonic() - self._since) / 60
        self.memory.append((minutes, psutil.Process(self._process.pid).memory_full_info().uss))


@dataclass(eq=False, slots=True)
class Run:
    """One run, and what is known of it."""

    run_id: str
    owner: Process
    life: int
    words: int
    readers: list[Reader] = field(default_factory=list["Reader"])

    @property
    def killed(self) -> bool:
        """Whether its process was killed since."""
        return self.owner.lives != self.life


@dataclass(eq=False, slots=True)
class Reader:
    """Frames, as one reader has seen them over all its connections."""

    frames: list[bytes] = field(default_factory=list[bytes])
    seen: int = 0
    """Frames, counted each time that they came."""
    missing: int = 0
    doubled: int = 0
    silent: int = 0
    """Ends of a response that were clean, and without a terminal event."""
    resumed: int = 0
    ended: bool = False

    def take(self, block: bytes) -> None:
        """A server-sent event, its blank line left out."""
        head, _, frame = block.partition(b"\n")
        if not head.startswith(b"id: "):
            return  # a comment, or the end marker behind the last words of a lost run
        number = int(head[4:])
        self.seen += 1
        if number <= len(self.frames):
            self.doubled += 1
            return
        gap = number - len(self.frames) - 1
        self.missing += gap
        self.frames += [b""] * gap + [frame]
        self.ended = self.ended or kind_of(frame) in ENDS


def kind_of(frame: bytes) -> str:
    """The type of an event."""
    data = frame.removeprefix(b"data: ")
    return str(json.loads(data)["type"]) if data.startswith(b"{") else ""


class Soak:
    """Everything that goes on at the same time."""

    def __init__(
        self, dice: random.Random, proxy: FaultProxy, processes: list[Process], client: httpx.AsyncClient
    ) -> None:
        self._dice = dice
        self._proxy = proxy
        self._processes = processes
        self._client = client
        self.faults: Counter[str] = Counter()
        self.figures: Counter[str] = Counter()
        self.notes: list[str] = []

    async def go_on(self, seconds: float) -> None:
        """Soak for that long, and wait until what has begun has ended."""
        until = time.monotonic() + seconds
        looking = asyncio.create_task(self._look_at_memory())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._make_faults(until))
                for _ in range(RUNS_AT_ONCE):
                    group.create_task(self._run_again_and_again(until))
        finally:
            looking.cancel()

    async def _look_at_memory(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            for process in self._processes:
                try:
                    process.look()
                except psutil.Error:
                    continue  # it is being started again

    async def _run_again_and_again(self, until: float) -> None:
        while time.monotonic() < until:
            wire, words = self._dice.choice(WIRES), self._dice.randint(*DELTAS)
            if run := await self._start(wire, words):
                run.readers = [Reader() for _ in range(READERS)]
                await asyncio.gather(*(self._read(run, reader) for reader in run.readers))
                self._count(run)

    async def _start(self, wire: Wire, words: int) -> Run | None:
        """A run whose first response is dropped at once; nothing when there was no answer."""
        owner = self._dice.choice(self._processes)
        life, prompt = owner.lives, f"{words} {PAUSE}"
        body = ag_ui_body(prompt) if wire == "ag-ui" else vercel_ai_body(prompt)
        try:
            async with self._client.stream("POST", f"{owner.url}/agents/words/{wire}", json=body) as response:
                if response.status_code == http.client.OK:
                    return Run(response.headers["x-run-id"], owner, life, words)
                self.figures["turns refused"] += 1
        except httpx.TransportError:
            self.figures["turns without an answer"] += 1
        await asyncio.sleep(0.1)
        return None

    async def _read(self, run: Run, reader: Reader) -> None:
        """Read to the end, over as many connections as it takes."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not reader.ended:
                    await self._follow(run, reader, self._dice.expovariate(1 / STAY))
        except TimeoutError:
            self.figures["readers without an end"] += 1
            self.notes.append(f"a reader of {run.run_id} has no end, after {len(reader.frames)} frames")

    async def _follow(self, run: Run, reader: Reader, seconds: float) -> None:
        """One connection, dropped after that time."""
        url = f"{self._dice.choice(self._processes).url}/runs/{run.run_id}/stream"
        leave = time.monotonic() + seconds
        rest = b""
        try:
            async with self._client.stream("GET", url, params={"after": len(reader.frames)}) as response:
                if response.status_code != http.client.OK:
                    self.figures[f"answers {response.status_code}"] += 1
                    await asyncio.sleep(0.1)
                    return
                reader.resumed += 1
                async for chunk in response.aiter_bytes():
                    *blocks, rest = (rest + chunk).split(b"\n\n")
                    for block in blocks:
                        reader.take(block)
                    if time.monotonic() > leave:
                        return
                if not reader.ended:
                    reader.silent += 1
        except httpx.TransportError:
            self.figures["connections broken off"] += 1
            await asyncio.sleep(0.1)

    def _count(self, run: Run) -> None:
        whole = max((reader.frames for reader in run.readers), key=len)
        ending = ending_of(whole)
        self.figures[f"runs {ending}"] += 1
        self.figures["runs"] += 1
        if ending == "finished":
            self._expect(run, "words lost", run.words - b"".join(whole).count(WORD.encode()))
        elif not (ending == "run_lost" and run.killed):
            self._expect(run, "runs ended for no reason", 1)
        for reader in run.readers:
            self.figures["frames read"] += reader.seen
            self.figures["connections"] += reader.resumed
            self._expect(run, "frames lost", reader.missing + len(whole) - len(reader.frames))
            self._expect(run, "frames doubled", reader.doubled)
            self._expect(run, "frames different", differing(whole, reader.frames))
            self._expect(run, "silent endings", reader.silent)

    def _expect(self, run: Run, name: str, wrong: int) -> None:
        """Count what should not be."""
        self.figures[name] += wrong
        if wrong:
            self.notes.append(f"{name}: {wrong}, {run.run_id} on {run.owner.name}, {ending_of(run.readers[0].frames)}")

    async def _make_faults(self, until: float) -> None:
        for names in iter(lambda: self._dice.sample(FAULTS, len(FAULTS)), []):
            for name in names:
                await asyncio.sleep(self._dice.uniform(0.5, 1.0) * REST)
                if time.monotonic() > until:
                    return
                self.faults[name] += 1
                await getattr(self, f"_{name}")()

    async def _pause(self) -> None:
        self._proxy.pause()
        await asyncio.sleep(self._dice.uniform(0.2, 3))
        self._proxy.resume()

    async def _cut(self) -> None:
        self._proxy.cut()

    async def _cuts(self) -> None:
        for _ in range(10):
            self._proxy.cut()
            await asyncio.sleep(0.1)

    async def _refuse(self) -> None:
        self._proxy.cut(refuse=True)
        await asyncio.sleep(self._dice.uniform(0.2, 3))
        self._proxy.mend()

    async def _slow(self) -> None:
        self._proxy.delay = 0.05
        await asyncio.sleep(self._dice.uniform(0.5, 3))
        self._proxy.delay = 0.0

    async def _kill(self) -> None:
        """Always the same one, so that the other shows what it does to memory to live long."""
        victim = self._processes[-1]
        await victim.end(kill=True)
        await victim.start(self._client)


def vercel_ai_body(prompt: str) -> dict[str, object]:
    """What the AI SDK sends."""
    message = {"id": str(uuid4()), "role": "user", "parts": [{"type": "text", "text": prompt}]}
    return {"id": str(uuid4()), "messages": [message], "trigger": "submit-message"}


def ending_of(frames: list[bytes]) -> str:
    """How a run ended, by its frames."""
    for frame in reversed(frames):
        if kind_of(frame) in {"RUN_ERROR", "error"}:
            event = json.loads(frame.removeprefix(b"data: "))
            return str(event.get("code") or event["errorText"].rpartition(" [")[2].removesuffix("]"))
        if kind_of(frame) in ENDS:
            return "finished"
    return "open"


def differing(one: list[bytes], other: list[bytes]) -> int:
    """How many frames of the shorter list are other bytes; missing ones are counted elsewhere."""
    return sum(a != b for a, b in zip(one, other, strict=False) if a and b)


def slope(samples: list[tuple[float, int]]) -> tuple[float, float]:
    """Minutes that were looked at, and kB for each of them (least squares)."""
    samples = samples[int(len(samples) * WARM_UP) :]
    if len(samples) < 2:  # noqa: PLR2004 - of a line
        return 0.0, 0.0
    middle = sum(x for x, _ in samples) / len(samples)
    spread = sum((x - middle) ** 2 for x, _ in samples)
    return samples[-1][0] - samples[0][0], sum((x - middle) * y for x, y in samples) / spread / 1000


async def soak(minutes: float, seed: int) -> bool:
    """Print the figures. Whether all is as it should be."""
    redis = RedisServer()
    try:
        with tempfile.TemporaryDirectory() as folder:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            async with (
                FaultProxy(redis.port) as proxy,
                httpx.AsyncClient(headers=HEADERS, timeout=20, limits=limits) as client,
            ):
                processes = [Process(name, Path(folder), proxy.port) for name in ("a", "b")]
                await asyncio.gather(*(process.start(client) for process in processes))
                work = Soak(random.Random(seed), proxy, processes, client)  # noqa: S311 - which fault comes next
                try:
                    await work.go_on(minutes * 60)
                finally:
                    for process in processes:
                        await process.end()
                print(*report(work, processes), sep="\n", flush=True)
                return not work.notes
    finally:
        redis.close()


def report(work: Soak, processes: list[Process]) -> Iterator[str]:
    """The lines to print."""
    wrong = ("frames lost", "frames doubled", "frames different", "words lost", "silent endings")
    first = ("runs", "frames read", "connections")
    for name in (*first, *wrong, *sorted(work.figures.keys() - {*first, *wrong})):
        yield f"{name:<28}{work.figures[name]:>9}"
    yield f"{'faults injected':<28}{work.faults.total():>9}   {', '.join(f'{n} {c}' for n, c in work.faults.items())}"
    for process in processes:
        minutes, rise = max(process.slopes)
        yield f"{'memory slope of ' + process.name:<28}{rise:>9.0f}   kB per minute, over {minutes:.1f} minutes"
    yield from itertools.islice(work.notes, 20)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Readers of runs, through faults.")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long; 0.3 is a first look")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="of everything that is random")
    options = parser.parse_args()
    if not shutil.which("redis-server"):
        sys.exit("redis-server is not installed")
    print(*machine(), f"seed {options.seed}, {options.minutes:g} minutes", sep="\n", end="\n\n", flush=True)
    if not asyncio.run(soak(options.minutes, options.seed)):
        sys.exit("something was lost")


if __name__ == "__main__":
    main()

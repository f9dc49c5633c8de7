"""A function -> processes that run it: started, started again when they die, and stopped together.

Knows nothing of what they do. (uvicorn's own supervisor builds a plain `Server`, starts a broken worker again without a
pause, and kills one that is busy for five seconds.)
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_context
from typing import TYPE_CHECKING, Any

from gateway.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from multiprocessing.context import SpawnProcess

log = get_logger("gateway.workers")

SIGNALS = (signal.SIGINT, signal.SIGTERM)

HEALTHY = 30.0
"""Seconds after which a worker's death is an accident, and its successor starts at once."""

BACKOFF = 0.5
"""Seconds before a worker that died sooner is started again; doubled each time."""

MAX_BACKOFF = 30.0
"""Seconds."""


def die_of(sig: int) -> None:
    """Let the signal have its usual effect, now."""
    signal.signal(sig, signal.SIG_DFL)
    signal.raise_signal(sig)
    os._exit(128 + sig)  # PID 1 of a container is not killed by signals


@dataclass(slots=True)
class _Place:
    """One worker, and what is known of those before it."""

    process: SpawnProcess | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    """Workers in a row that did not live long."""


class Supervisor:
    """Keeps `count` processes running `work(*arguments)`.

    Args:
        work: a function of a module, so that a new process finds it.
        arguments: are pickled; sockets may be among them.
        count: how many.
        patience: seconds that workers get to end after a stop signal, before they are killed.
    """

    def __init__(self, work: Callable[..., None], arguments: tuple[Any, ...], count: int, patience: float) -> None:
        self._work = work
        self._arguments = arguments
        self._places = [_Place() for _ in range(count)]
        self._patience = patience
        self._context = get_context("spawn")  # a fork would share the event loop's and the agents' connections
        self._heard, self._say = self._context.Pipe(duplex=False)

    def run(self, on_stop: Callable[[], None]) -> None:
        """Until a stop signal; SIGINT raises `KeyboardInterrupt`, at the end. A second signal kills.

        `on_stop` is called before the workers are stopped.
        """
        with self._listening():
            try:
                sig = self._keep_running()
                on_stop()
                self._stop()
            finally:
                self._kill()
        if sig == signal.SIGINT:
            raise KeyboardInterrupt

    def _keep_running(self) -> int:
        """Returns the first signal."""
        while True:
            for place in self._places:
                self._look_after(place)
            due = [place.start_at for place in self._places if place.process is None]
            processes = [place.process for place in self._places if place.process]
            if sig := self._wait(processes, min(due) if due else None):
                return sig

    def _look_after(self, place: _Place) -> None:
        if place.process is not None and place.process.exitcode is not None:
            self._bury(place, place.process)
        if place.process is None and time.monotonic() >= place.start_at:
            place.started_at = time.monotonic()
            place.process = self._context.Process(target=self._work, args=self._arguments)
            place.process.start()
            log.info("worker_started", pid=place.process.pid)

    def _bury(self, place: _Place, process: SpawnProcess) -> None:
        now = time.monotonic()
        place.failures = 0 if now - place.started_at > HEALTHY else place.failures + 1
        pause = min(BACKOFF * 2 ** (place.failures - 1), MAX_BACKOFF) if place.failures else 0.0
        place.process, place.start_at = None, now + pause
        log.warning("worker_died", pid=process.pid, exitcode=process.exitcode, again_in=pause)

    def _stop(self) -> None:
        deadline = time.monotonic() + self._patience
        for process in self._alive():
            process.terminate()
        while (alive := self._alive()) and time.monotonic() < deadline:
            if sig := self._wait(alive, deadline):
                self._kill()
                die_of(sig)

    def _kill(self) -> None:
        for process in self._alive():
            log.warning("worker_killed", pid=process.pid)
            process.kill()
            process.join()

    def _alive(self) -> list[SpawnProcess]:
        return [place.process for place in self._places if place.process and place.process.exitcode is None]

    def _wait(self, processes: list[SpawnProcess], until: float | None) -> int:
        """Until one of them is dead, it is that late, or a signal comes, which is returned."""
        timeout = None if until is None else max(until - time.monotonic(), 0.0)
        ready = connection.wait([self._heard, *(process.sentinel for process in processes)], timeout)
        return self._heard.recv() if self._heard in ready else 0

    @contextmanager
    def _listening(self) -> Generator[None]:
        """Signals become messages: what they ask for is done in its turn, and not between any two instructions."""
        before = {sig: signal.signal(sig, lambda sig, _frame: self._say.send(sig)) for sig in SIGNALS}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

"""A way to serve the agent -> a server process on a free port of the loopback address, and the CPU time it has used."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

ROOT = Path(__file__).parent.parent
TIMEOUT = 30.0


@dataclass(frozen=True, eq=False, slots=True)
class Kind:
    """One way to serve the agent."""

    name: str
    command: tuple[str, ...]
    """Arguments for the program; the port comes behind them."""
    paths: Mapping[str, str]
    """Wire -> path."""
    program: str = sys.executable


GATEWAY = Kind(
    "gateway",
    ("-m", "gateway", "serve", "--config", "benchmarks/gateway.yaml", "--port"),
    {"ag-ui": "/agents/words/ag-ui", "vercel-ai": "/agents/words/vercel-ai"},
)
PLAIN = Kind("plain", ("-m", "benchmarks.plain"), {"ag-ui": "/ag-ui", "vercel-ai": "/vercel-ai"})


class Server:
    """One process of a kind, from `exec` to a stop signal. It listens some time after it was made.

    Args:
        kind: what to start.
        threads: where the gateway keeps threads, as a URL.
        arguments: what comes behind the port.
    """

    def __init__(self, kind: Kind, threads: str = "memory://", arguments: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.port = _free_port()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as the process runs
        command = [kind.program, *kind.command, str(self.port), *arguments]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={**_environment(), "BENCHMARK_THREADS": threads}, stdout=self._log, stderr=self._log
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def wait(self) -> None:
        """Return as soon as the port can be connected to. Raises `RuntimeError` with the log of one that ended."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the {self.kind.name} server did not start:\n{self._said()}") from None
                time.sleep(0.005)
            else:
                return

    def cpu(self) -> float:
        """CPU seconds that the process has used since it was started, user and system, its children left out."""
        if sys.platform == "linux":
            # What psutil reads counts in steps of 10 ms; the process's own clock (clock_getcpuclockid(3)) in ns.
            return time.clock_gettime((~self._process.pid << 3) | 2)
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def memory(self) -> int:
        """Bytes that the process has for itself."""
        return psutil.Process(self._process.pid).memory_full_info().uss

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")


def _environment() -> dict[str, str]:
    """Ours, without what would slow Python down: a measurement of coverage, a debug mode, bytecode forbidden."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "COV_", "PYTHON"))}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]

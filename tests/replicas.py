"""Gateway processes of a test's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Generator

TESTS = Path(__file__).parent
START_TIMEOUT = 30.0


def environment() -> dict[str, str]:
    """Ours, with what the tests can import."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


class Replica:
    """A gateway process.

    Args:
        folder: of its config and log; agents in it can be named in the config.
        name: unlike that of others in the folder.
        sections: the config; the port is chosen here.
    """

    def __init__(self, folder: Path, name: str, sections: dict[str, Any]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / f"{name}.log"
        config = folder / f"{name}.yaml"
        server = {"port": port, "log_format": "json", **sections.get("server", {})}
        config.write_text(json.dumps({**sections, "server": server}))
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(config)]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=TESTS.parent, env=environment(), stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait(self) -> None:
        """Until it is ready."""
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    async def ended(self, within: float) -> int:
        """Its exit code."""
        return await asyncio.to_thread(self.process.wait, within)

    @contextlib.contextmanager
    def stopped(self) -> Generator[None]:
        """Standing still meanwhile, as on a machine that is out of breath."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

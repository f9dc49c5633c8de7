"""A real Redis: the one that runs on this machine when there is one, else `redis-server` on a private port."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
import redis
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

SHARED = "redis://127.0.0.1:6379/0"
TIMEOUT = 10.0


class RedisServer:
    """A private server that can be stopped, killed, frozen and started again.

    Args:
        folder: where it may keep its append-only file; without one it forgets everything.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if not shutil.which("redis-server"):
            pytest.skip("redis-server is not installed")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [
            "redis-server",
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--loglevel",
            "warning",
        ]
        if self.folder:
            command += ["--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", "everysec"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + TIMEOUT
        while not answers(self.url):
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.01)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait until it has ended."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait(TIMEOUT)
            self._process = None

    def freeze(self) -> None:
        """Let it stand still, with its connections open."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self._process:
            self.thaw()
            self.stop(signal.SIGKILL)


def answers(url: str) -> bool:
    """Whether there is a server at `url`."""
    with contextlib.closing(connect(url)) as client, contextlib.suppress(redis.RedisError):
        return bool(client.ping())
    return False


def connect(url: str) -> Any:
    """A client for the test itself; `Any`, because the library's own types are full of unknowns."""
    return cast("Any", redis.Redis).from_url(url, socket_timeout=5)


@contextlib.contextmanager
def any_redis() -> Generator[str]:
    """The URL of a server that others may use at the same time."""
    if answers(SHARED):
        yield SHARED
        return
    server = RedisServer()
    try:
        yield server.url
    finally:
        server.close()


@contextlib.contextmanager
def own_keys(url: str) -> Generator[str]:
    """A prefix of one's own; its keys are deleted in the end."""
    prefix = f"test-{secrets.token_hex(6)}:"
    try:
        yield prefix
    finally:
        with contextlib.closing(connect(url)) as client:
            for key in client.scan_iter(f"{prefix}*", count=1000):
                client.delete(key)

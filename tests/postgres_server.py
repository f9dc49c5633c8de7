"""A real PostgreSQL: the one that runs on this machine when it lets us in, else a private one."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Generator

SHARED = "127.0.0.1:5432"
TIMEOUT = 20.0


class PostgresServer:
    """A private server that can be killed and started again. It keeps its files in a folder of its own."""

    def __init__(self) -> None:
        self._programs = _programs()
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self.address = f"tester@127.0.0.1:{self._port}"
        if os.getuid() == 0:
            shutil.chown(self._folder, "nobody")
        made = subprocess.run(
            [*_as_somebody(), self._programs / "initdb", "-D", self._folder / "data", "-U", "tester", "--no-sync"],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
        )
        assert made.returncode == 0, made.stderr
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = ["-h", "127.0.0.1", "-p", str(self._port), "-k", self._folder, "-F"]
        command = [*_as_somebody(), self._programs / "postgres", "-D", self._folder / "data", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        deadline = time.monotonic() + TIMEOUT
        while not _answers(self.address):
            assert time.monotonic() < deadline, "postgres does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it at once, with all connections, and wait until it has ended."""
        if self._process:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(TIMEOUT)
            self._process = None

    def close(self) -> None:
        """End it for good."""
        self.stop()
        shutil.rmtree(self._folder)


def _programs() -> Path:
    found = shutil.which("initdb")
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *([Path(found).resolve().parent] if found else [])]
    complete = [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]
    if not complete:
        pytest.skip("PostgreSQL is not installed")
    return max(complete)


def _as_somebody() -> list[str]:
    """PostgreSQL refuses to be run by root."""
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []


def _answers(address: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError), _admin(address):
        return True
    return False


def _admin(address: str) -> psycopg.Connection:
    return psycopg.connect(f"postgresql://{address}/postgres", autocommit=True, connect_timeout=2)


def _shared() -> str | None:
    """Who may use the server of this machine without a password, and where it is."""
    for user in ("postgres", getpass.getuser()):
        if _answers(f"{user}@{SHARED}"):
            return f"{user}@{SHARED}"
    return None


@contextlib.contextmanager
def any_postgres() -> Generator[str]:
    """`user@host:port` of a server that others may use at the same time."""
    if shared := _shared():
        yield shared
        return
    server = PostgresServer()
    try:
        yield server.address
    finally:
        server.close()


@contextlib.contextmanager
def own_database(address: str) -> Generator[str]:
    """The URL of an empty database, which is dropped in the end."""
    name = f"gateway_test_{secrets.token_hex(6)}"
    with _admin(address) as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
    try:
        yield f"postgresql://{address}/{name}"
    finally:
        with _admin(address) as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())

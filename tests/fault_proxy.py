"""A TCP proxy in the test's event loop that does to connections what networks do."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class FaultProxy:
    """Forwards to a port of this machine, for as long as it is told to.

    Args:
        port: where to forward to.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._refusing = False
        self.delay = 0.0
        """Seconds that each piece of data takes longer, in each direction."""
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server
        self._server.close()
        self.cut()
        for task in list(self._pipes):
            task.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where the proxy listens, as a Redis URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def pause(self) -> None:
        """Connections stay open, and nothing passes any more."""
        self._passing.clear()

    def resume(self) -> None:
        """What was held back passes, and what comes."""
        self._passing.set()

    def cut(self, *, refuse: bool = False) -> None:
        """End all connections; with `refuse` new ones too, until `mend`."""
        self._refusing = refuse
        for writer in list(self._writers):
            writer.transport.abort()

    def mend(self) -> None:
        """Take new connections again."""
        self._refusing = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            back, out = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, out}
        for source, target in ((reader, out), (back, writer)):
            task = asyncio.create_task(self._pipe(source, target))
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)

    async def _pipe(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._passing.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                target.write(data)
                await target.drain()
        target.close()
        self._writers.discard(target)

"""Plain streams on a real socket, begun and gone on with."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import run_probes
from plain_wire import events_in
from reading import Held, happens, reading

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx
    from reading import Reader

TEXT, RUN = "/agents/gated/stream/text", "/agents/gated/run"


@asynccontextmanager
async def begun(
    client: httpx.AsyncClient, path: str = TEXT, *, method: str = "GET", headers: Any = None, **fields: Any
) -> AsyncGenerator[Held]:
    """A run that has begun and waits at its gate, which is opened in the end."""
    gate = f"gate-{uuid4()}"
    request: Any = {"json" if method == "POST" else "params": {"prompt": gate, "debounce": 0, **fields}}
    try:
        async with reading(client, method, path, headers=headers, **request) as reader:
            run = Held("native", gate, "", reader)
            await happens(run.gate.reached.is_set)
            yield run
    finally:
        run_probes.gates[gate].open()


@asynccontextmanager
async def going_on(
    client: httpx.AsyncClient, last_event_id: str, path: str = TEXT, **headers: str
) -> AsyncGenerator[Reader]:
    """The rest of a run, as an `EventSource` asks for it."""
    async with reading(client, "GET", path, headers={"last-event-id": last_event_id, **headers}) as reader:
        yield reader


async def last_of(run: Held) -> str:
    """The id of the first event, when it has been read."""
    return events_in(await run.reader.until("Begun"))[-1].id

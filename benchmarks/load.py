"""A wire, a number of deltas and a pause -> one run on a new thread, posted and read to its end.

One keep-alive connection for each server, one run at a time: the figures are costs of a run, not of a crowd.
"""

from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING, Literal, Protocol
from uuid import uuid4

from benchmarks.model import WORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Self

    from benchmarks.servers import Kind

Wire = Literal["ag-ui", "vercel-ai", "copilotkit"]
WIRES: tuple[Wire, ...] = ("ag-ui", "vercel-ai")

TIMEOUT = 30.0

MAX_IDLE = 3.0
"""Seconds; uvicorn closes a connection that nobody used for 5."""

HEADERS = {
    "accept": "text/event-stream",
    "content-type": "application/json",
    "authorization": "Bearer benchmark-key",  # its hash is in gateway.yaml
}


def ag_ui_body(prompt: str, prior: int = 0, thread: str = "") -> dict[str, object]:
    """What an AG-UI client sends, with as many messages ahead of the new one."""
    past = [{"id": f"m{n}", "role": role, "content": WORD * 20} for n, role in _past(prior)]
    return {
        "threadId": thread or str(uuid4()),
        "runId": str(uuid4()),
        "protocolVersion": "1.0",
        "state": {},
        "messages": [*past, {"id": str(uuid4()), "role": "user", "content": prompt}],
        "tools": [],
        "context": [],
        "forwardedProps": {},
    }


def _vercel_ai(prompt: str, prior: int = 0, thread: str = "") -> dict[str, object]:
    past = [{"id": f"m{n}", "role": role, "parts": [{"type": "text", "text": WORD * 20}]} for n, role in _past(prior)]
    message = {"id": str(uuid4()), "role": "user", "parts": [{"type": "text", "text": prompt}]}
    return {"id": thread or str(uuid4()), "messages": [*past, message], "trigger": "submit-message"}


def _past(prior: int) -> Iterator[tuple[int, str]]:
    return ((number, "assistant" if number % 2 else "user") for number in range(prior))


def _copilotkit(prompt: str, prior: int = 0, thread: str = "") -> dict[str, object]:
    body = ag_ui_body(prompt, prior, thread)
    del body["protocolVersion"]
    return body


_BODIES: Mapping[Wire, Callable[[str, int, str], dict[str, object]]] = {
    "ag-ui": ag_ui_body,
    "vercel-ai": _vercel_ai,
    "copilotkit": _copilotkit,
}
_ENDS: Mapping[Wire, bytes] = {"ag-ui": b'"RUN_FINISHED"', "vercel-ai": b"[DONE]", "copilotkit": b'"RUN_FINISHED"'}


class Address(Protocol):
    """Where a server is, on the loopback address."""

    kind: Kind
    port: int


class Client:
    """A browser's side of one server."""

    def __init__(self, server: Address) -> None:
        self._paths = server.kind.paths
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
        self._used = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def run(self, wire: Wire, deltas: int, pause: float = 0.0, *, prior: int = 0, thread: str = "") -> list[float]:
        """Have the agent say `deltas` words, behind so many `prior` messages. When each piece of the answer arrived.

        Raises `RuntimeError` for an answer that is not all of them.
        """
        if time.monotonic() - self._used > MAX_IDLE:
            self._connection.close()  # and opened again by the request
        body = json.dumps(_BODIES[wire](f"{deltas} {pause}", prior, thread))
        self._connection.request("POST", self._paths[wire], body, HEADERS)
        response = self._connection.getresponse()
        answer, arrived = b"", list[float]()
        while piece := response.read1():
            answer += piece
            arrived.append(time.perf_counter())
        self._used = time.monotonic()
        # Words are counted, not frames: a server may merge deltas.
        if response.status != http.client.OK or _ENDS[wire] not in answer or answer.count(WORD.encode()) < deltas:
            raise RuntimeError(f"{self._paths[wire]} answered {response.status}: {answer[-500:]!r}")
        return arrived

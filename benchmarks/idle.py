"""Many streams that are open and say nothing -> the memory that each of them takes in its server's process."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks.load import HEADERS, TIMEOUT, ag_ui_body
from benchmarks.measures import KINDS, Row
from benchmarks.servers import Server

if TYPE_CHECKING:
    from benchmarks.servers import Kind

SILENCE = 600
"""Seconds that the agent waits before it says its word: longer than the measurement."""

WARM_UP = 20
"""Streams that are open before the first look at the memory."""


def memory(streams: int) -> Row:
    """Kilobytes for each of `streams` open streams, those of a first few left out."""
    row = Row(f"memory per open stream, {streams} open", "kB")
    for kind in KINDS:
        row.samples[kind.name].append(_memory(kind, streams))
    return row


def _memory(kind: Kind, streams: int) -> float:
    with Server(kind) as server, ExitStack() as stack:
        server.wait()
        for _ in range(WARM_UP):
            stack.callback(_open(server).close)
        before = server.memory()
        for _ in range(streams):
            stack.callback(_open(server).close)
        time.sleep(0.5)  # what was garbage by then would be counted to nobody
        return (server.memory() - before) / streams / 1000


def _open(server: Server) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    connection.request("POST", server.kind.paths["ag-ui"], json.dumps(ag_ui_body(f"1 {SILENCE}")), HEADERS)
    response = connection.getresponse()
    if response.status != http.client.OK or b"RUN_STARTED" not in response.read1():
        raise RuntimeError(f"{server.kind.name} answered {response.status}")
    return connection

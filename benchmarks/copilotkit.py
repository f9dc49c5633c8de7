"""The gateway as a CopilotKit runtime beside CopilotKit's own on Node, in front of plain pydantic-ai on uvicorn.

What a React app needs to talk to a pydantic-ai agent: one process here, two there, whose CPU is added up.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks import measures
from benchmarks.load import Client
from benchmarks.servers import GATEWAY, PLAIN, ROOT, Kind, Server

if TYPE_CHECKING:
    from collections.abc import Generator

    from benchmarks.measures import Effort, Row

FOLDER = ROOT / "tests/node-runtime"
PATH = "/copilotkit/agent/words/run"
OURS = replace(GATEWAY, paths={"copilotkit": PATH})


class Behind:
    """Node with plain pydantic-ai behind it, as one server."""

    def __init__(self, node: Server, plain: Server) -> None:
        self.kind, self.port = node.kind, node.port
        self._servers = (node, plain)

    def cpu(self) -> float:
        """Seconds that both have used."""
        return sum(server.cpu() for server in self._servers)


def is_installed() -> bool:
    """Whether there is something to compare with: `make test` installs it."""
    return shutil.which("node") is not None and (FOLDER / "node_modules/@copilotkit/runtime").exists()


def runs(effort: Effort) -> list[Row]:
    """CPU per text delta and per run, of runs that CopilotKit's client begins."""
    rows = measures.wire_rows("copilotkit")
    with ExitStack() as stack:
        gateway, node = stack.enter_context(_gateway()), stack.enter_context(_node())
        sides = [
            (server, stack.enter_context(Client(server)), name)
            for server, name in ((gateway, "gateway"), (node, "plain"))
        ]
        for server, client, _ in sides:
            measures.figures(server, client, "copilotkit", effort)
        for turn in measures.turns(sides, effort.rounds, effort.seconds):
            for server, client, name in turn:
                for row, figure in zip(rows, measures.figures(server, client, "copilotkit", effort), strict=True):
                    row.samples[name].append(figure)
    return rows


@contextmanager
def _gateway() -> Generator[Server]:
    with Server(OURS) as server:
        server.wait()
        yield server


@contextmanager
def _node() -> Generator[Behind]:
    with Server(PLAIN) as plain:
        plain.wait()
        kind = Kind("node", (str(FOLDER / "serve.mjs"),), {"copilotkit": PATH}, program="node")
        with Server(kind, arguments=(f"http://127.0.0.1:{plain.port}/ag-ui",)) as node:
            node.wait()
            yield Behind(node, plain)

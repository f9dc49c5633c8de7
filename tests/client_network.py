"""A network for the core of the Python clients: its responses are scripted, and break where a test says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.client import requests
from gateway.client.blocking import finished
from gateway.client.errors import PROBLEM
from gateway.client.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.client.requests import Request
    from gateway.client.shapes import Event

RUN = "0199-run"
FRAMES: list[list[tuple[str, Any]]] = [
    [("message", {"text": "Grüße\u2028und\x85 "})],
    [("message", {"text": "a"}), ("reset", {"reason": "retry"}), ("message", {"text": "b"})],
    [("message", {"text": ""})],
    [("result", {"text": "b"}), ("usage", {"requests": 1}), ("done", {"run_id": RUN, "outcome": "finished"})],
]
"""A frame may hold several events, all with its number."""

EXPECTED = [event for frame in FRAMES for event in frame]
BEAT = b'{"event":"heartbeat"}\n'


def body_behind(after: int) -> bytes:
    """The rest of the run, as the gateway writes it."""
    lines = [
        json.dumps({"id": f"{RUN}:{number}", "event": name, "data": data}, ensure_ascii=False)
        for number, frame in enumerate(FRAMES, 1)
        for name, data in frame
        if number > after
    ]
    return "".join(f"{line}\n" for line in lines).encode()


@dataclass
class Served:
    """A response."""

    chunks: list[bytes | Exception]
    status: int = 200
    headers: Mapping[str, str] = field(
        default_factory=lambda: {"content-type": "application/x-ndjson", "x-run-id": RUN}
    )

    async def chunk(self) -> bytes:
        taken = self.chunks.pop(0) if self.chunks else b""
        if isinstance(taken, Exception):
            raise taken
        return taken

    async def close(self) -> None:
        self.chunks.clear()


@dataclass
class Network:
    """A connection whose responses are scripted; `None` for the rest of the run in one piece."""

    script: list[Served | Exception | None]
    retries: int = 8
    requests: list[Request] = field(default_factory=list["Request"])
    pauses: list[float] = field(default_factory=list[float])

    async def open(self, request: Request) -> Served:
        self.requests.append(request)
        served = self.script.pop(0) if self.script else None
        if isinstance(served, Exception):
            raise served
        return served or Served([body_behind(self.after)])

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    @property
    def after(self) -> int:
        """What the last request says that its reader has."""
        run_id, _, number = self.requests[-1].headers.get("last-event-id", f"{RUN}:0").rpartition(":")
        assert run_id == RUN
        return int(number)


def events_over(network: Network) -> list[tuple[str, Any]]:
    """All that is read of a run."""
    reading = Reading(network, requests.start("agent", "text", "Hello", {}))

    def events() -> Iterator[Event]:
        while event := finished(reading.read()):
            yield event

    return [(event.name, event.data) for event in events()]


def problem(status: int, code: str, **headers: str) -> Served:
    """A refusal of the gateway."""
    members = {"status": status, "code": code, "detail": f"About {code}.", "request_id": "r"}
    return Served([json.dumps(members).encode()], status, {"content-type": PROBLEM, **headers})

"""The stream log: the frames of each run, readable from any number on, by many readers, from any replica.

The contract, for every backend:

- Frames of a run are numbered 1, 2, 3, ... without gaps, and never change. A reader that starts before, during or after
  the run sees the same frames, byte for byte, from the number that it asked for.
- `append` never waits: a run waits neither for a reader nor for a round trip. What does not fit into the bounds raises
  `StreamFull`; what cannot be stored within the retry budget calls `on_failed`. Both end the run, loudly.
- Only the holder of the run's lease appends. A writer whose lease was lost appends nothing more.
- A reader ends when the run has ended. When the producer died without ending it, the log ends it, with the `lost` frame
  that was given at the start, within the time of the lease and two seconds. When the log itself cannot be read any
  more, the reader raises `StreamUnavailable`; it never just ends.
- Frames are kept for a while after the end (`streams.keep`). Then the log raises `StreamExpired`, and some time later
  `NotFound`, as for a run that never was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence  # noqa: TC003 - fields' types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.config import StoreSettings, StreamSettings
    from gateway.coordination import Lease

RUNNING = ""
"""The ending of a run that has not ended."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What is known of a run without reading its frames."""

    run_id: str
    agent: str
    surface: str
    scope: str
    """Owner key: everybody else is told that there is no such run."""
    thread_id: str
    started_at: float
    """Unix time."""
    lost: bytes
    """The wire's terminal frame for a producer that died."""
    dialect: str = ""
    """What the frames were encoded for, such as AG-UI `1.0`."""
    request_id: str = ""
    """The client's own id of the request, such as AG-UI's `runId`; empty when the wire has none."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames that follow each other."""

    first: int
    """Number of the first one."""
    frames: Sequence[bytes]


class StreamWriter(Protocol):
    """The one writer of a run."""

    on_failed: Callable[[], None]
    """Called once, on the event loop, when nothing more can be stored. Set by the run."""

    def append(self, frame: bytes) -> None:
        """Add a frame. Raises `StreamFull`."""
        ...

    async def close(self, ending: str, last: bytes = b"") -> None:
        """Add the last frame, if any, whatever the bounds are, and end the stream with `ending`, such as `finished`."""
        ...


class StreamLog(Protocol):
    """The streams of running and recent runs."""

    async def open(self, info: StreamInfo, lease: Lease) -> StreamWriter:
        """Begin a run's stream, as the current one of its thread."""
        ...

    def read(self, run_id: str, after: int = 0) -> AsyncGenerator[Batch]:
        """The frames after that number, as they come, until the run has ended."""
        ...

    async def info(self, run_id: str) -> tuple[StreamInfo, str]:
        """The run, and how it ended. Raises `NotFound` or `StreamExpired`."""
        ...

    async def find(self, scope: str, thread_id: str) -> StreamInfo | None:
        """The run that goes on on the thread. Cheap: a page asks for every chat when it is loaded."""
        ...

    async def watched(self, run_id: str) -> bool:
        """Whether a reader in any process follows the run now; may be late by some seconds."""
        ...

    async def close(self) -> None:
        """Let go of tasks and connections."""
        ...


def open_streams(stores: StoreSettings, settings: StreamSettings) -> StreamLog:
    """The log for `stores.streams`."""
    if stores.streams.startswith("memory:"):
        from gateway.streams.memory import MemoryStreams  # noqa: PLC0415 - one is chosen

        return MemoryStreams(settings)
    from gateway.streams.redis import RedisStreams  # noqa: PLC0415 - an extra

    return RedisStreams(stores.streams, settings)

"""What stands where in Redis: the names of the keys, an entry's bytes, a run's JSON. No I/O.

An entry holds the number of its frames, their lengths, and then they themselves.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gateway.streams import StreamInfo

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Names:
    """Keys, and how long they live."""

    prefix: str
    keep_ms: int
    gone_ms: int

    def run(self, run_id: str) -> str:
        """The hash of a run."""
        return f"{self.prefix}run:{run_id}"

    def frames(self, run_id: str) -> str:
        """The frames of a run."""
        return f"{self.prefix}frames:{run_id}"

    def thread(self, scope: str, thread_id: str) -> str:
        """The current run of a thread. Lengths first: no scope and thread look like another pair."""
        return f"{self.prefix}thread:{len(scope)}:{scope}:{thread_id}"


def pack(frames: Sequence[bytes]) -> bytes:
    """Frames -> an entry."""
    return struct.pack(f">I{len(frames)}I", len(frames), *map(len, frames)) + b"".join(frames)


def unpack(blob: bytes) -> list[bytes]:
    """An entry -> its frames."""
    if not blob:
        return []
    (count,) = struct.unpack_from(">I", blob)
    at = 4 + 4 * count
    frames: list[bytes] = []
    for length in struct.unpack_from(f">{count}I", blob, 4):
        frames.append(blob[at : at + length])
        at += length
    return frames


def dump(info: StreamInfo) -> str:
    """What is known of a run -> JSON, but for its `lost` frame, which may be any bytes."""
    return json.dumps({name: value for name, value in asdict(info).items() if name != "lost"})


def load(text: bytes, lost: bytes) -> StreamInfo:
    """The reverse of `dump`."""
    return StreamInfo(**json.loads(text), lost=lost)

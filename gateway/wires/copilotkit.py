"""CopilotKit's runtime wire: AG-UI as `@ag-ui/client` 0.0.59 has it, and a stored thread told as one stream.

All of CopilotKit 1.75 declares no `protocolVersion`, so runs are encoded for the older dialect. `connect` is read
without the rules of a single run (`connect-replay.ts` of `@copilotkit/core`): what was said so far comes as one
finished run, with the interrupts that it left, and the run that goes on may follow in the same stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from gateway.wires.ag_ui import AgUi
from gateway.wires.ag_ui_dialects import to_0_0_59, understands_1_0

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config import Surface

    Json = dict[str, Any]


class CopilotKit(AgUi):
    """The wire of CopilotKit's runs. Stateless."""

    surface: Surface = "copilotkit"


def told(thread_id: str, run_id: str, messages: Sequence[Json], state: Any, interrupts: Sequence[Json]) -> list[Json]:
    """What a thread holds, as the AG-UI events of one finished run.

    Args:
        thread_id: the thread.
        run_id: its last run.
        messages: as `AgUi.dump` has them.
        state: the shared state; none when there is none.
        interrupts: AG-UI `Interrupt`s that nobody has answered.
    """
    place = {"threadId": thread_id, "runId": run_id}
    outcome = {"outcome": {"type": "interrupt", "interrupts": [*interrupts]}} if interrupts else {}
    return [
        {"type": "RUN_STARTED", **place},
        {"type": "MESSAGES_SNAPSHOT", "messages": [*messages]},
        *([] if state is None else [{"type": "STATE_SNAPSHOT", "snapshot": state}]),
        {"type": "RUN_FINISHED", **place, **outcome},
    ]


def frames(events: Sequence[Json], dialect: str) -> bytes:
    """The events for a client of that `protocolVersion`, as server-sent events without numbers: no run has them."""
    encoded = [b"data: %b\n\n" % to_json(event) for event in events]
    return b"".join(encoded if understands_1_0(dialect) else [to_0_0_59(frame) or b"" for frame in encoded])

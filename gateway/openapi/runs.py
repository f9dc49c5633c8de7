"""What is said of runs."""

from __future__ import annotations

from gateway.errors import BadRequest, CrossSite, NotFound, StreamExpired, StreamUnavailable
from gateway.openapi.models import RunDetails, Stopped
from gateway.openapi.operation import EVENTS, Answer, Operation, Parameter
from gateway.wires.native.framing import NDJSON, TEXT

FRAME = {"type": "string", "pattern": "^((.*:)?[0-9]{1,15})?$"}

OPERATIONS = {
    "GET /runs/{run_id}": Operation(
        "read_run",
        "How a run stands.",
        {200: Answer("The run.", RunDetails)},
        errors=(NotFound, StreamExpired, StreamUnavailable),
    ),
    "GET /runs/{run_id}/stream": Operation(
        "stream_run",
        "Read a run's frames, from any one on.",
        {
            200: Answer(
                "The frames, on the wire of the run.",
                media=(*EVENTS, NDJSON, TEXT),
                headers=("x-run-id", "x-thread-id"),
            )
        },
        description="While the run goes on, its frames are sent as they come; the stream ends with the run's last one.",
        parameters=(
            Parameter(
                "after", "The number of the last frame that the reader has, or the id of a plain stream's event.", FRAME
            ),
            Parameter("Last-Event-ID", "The same, as an `EventSource` says it.", FRAME, where="header"),
            Parameter("protocolVersion", "What an AG-UI client understands, such as `1.0`."),
        ),
        errors=(BadRequest, NotFound, StreamExpired, StreamUnavailable),
    ),
    "POST /runs/{run_id}/cancel": Operation(
        "cancel_run",
        "Stop a run, wherever it is.",
        {200: Answer("Whether there was something to stop.", Stopped)},
        errors=(CrossSite, NotFound, StreamExpired, StreamUnavailable),
    ),
}

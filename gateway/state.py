"""The state that an agent shares with its front end: an object of JSON, in `deps.state`."""

from __future__ import annotations

from typing import Any, cast

from pydantic_ai.ui import StateHandler
from pydantic_core import PydanticSerializationError, to_jsonable_python

from gateway.telemetry import get_logger

log = get_logger("gateway.runs")


def state_of(deps: Any) -> dict[str, Any] | None:
    """The state as JSON; none for an agent without one, or with one that is not an object."""
    if not isinstance(deps, StateHandler):
        return None
    try:
        state: Any = to_jsonable_python(deps.state, by_alias=True)
    except PydanticSerializationError as error:
        log.warning("state_not_stored", exc_info=error)
        return None
    return cast("dict[str, Any]", state) if isinstance(state, dict) else None

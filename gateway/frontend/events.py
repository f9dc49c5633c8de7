"""Events of a front end's protocol among an agent's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_ai.messages import CustomEvent

if TYPE_CHECKING:
    from ag_ui.core import BaseEvent


@dataclass(kw_only=True)
class AgUiEvent(CustomEvent, name="ag_ui_event"):
    """An AG-UI event. The wires that speak AG-UI stream it as it is; others leave it out."""

    event: Any

    def to_payload(self) -> BaseEvent:
        """What pydantic-ai's AG-UI stream passes on."""
        event: BaseEvent = self.event
        return event

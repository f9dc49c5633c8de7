"""The shared state, for agents that have one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_ai.ui import StateHandler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.ui import UIAdapter

    Base = UIAdapter[Any, Any, Any, Any, Any]
else:
    Base = object


class StateForHandlers(Base):
    """Mixed into a wire's adapter: runs an agent that keeps no state without the state of the thread, or the client's.

    Every AG-UI client sends one, and the agents of a thread need not all share it; pydantic-ai would warn each time.
    """

    def run_stream_native(self, **options: Any) -> AsyncIterator[Any]:
        """See `UIAdapter`."""
        if not isinstance(options.get("deps"), StateHandler):
            self.state = None
        return super().run_stream_native(**options)

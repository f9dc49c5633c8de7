"""A turn -> a run -> encoded frames, of which the last one is always the wire's terminal frame.

Nothing here sees a `Request`. What the agent raises becomes the wire's terminal event inside pydantic-ai's stream; what
breaks outside of it (an encoder, the store) becomes the wire's last words here. Only a process that dies gets neither,
and then the connection breaks off.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_ai.exceptions import UserError

from gateway.errors import MalformedBody
from gateway.failures import reporter
from gateway.ids import new_id
from gateway.telemetry import get_logger
from gateway.wires import History, first_problem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from pydantic_ai.ui import UIAdapter

    from gateway.auth import Principal
    from gateway.failures import Report
    from gateway.registry import AgentEntry
    from gateway.stores import Store
    from gateway.wires import Turn, Wire

log = get_logger("gateway.runs")


@dataclass(frozen=True)
class Run:
    """One execution of an agent on a thread."""

    entry: AgentEntry
    wire: Wire
    turn: Turn
    principal: Principal
    id: str = field(default_factory=new_id)

    async def start(self, store: Store) -> AsyncGenerator[bytes]:
        """The run's frames. It goes on as they are taken, and is cancelled when they are closed.

        Raises:
            MalformedBody: the turn is well formed, but not for this agent: state of another shape, say.
            AgentUnready: the agent's toolsets do not open.
        """
        await self.entry.lifetime.ready()
        report = reporter(self.id, self.entry.id)
        history = History(store.view(self.principal.scope), self.principal.scope)
        adapter = self.wire.adapter(self.entry.agent, self.turn, history, report)
        events = self._events(adapter, await self._deps())
        return self._frames(adapter, events, report)

    async def _deps(self) -> Any:
        if self.entry.make_deps is None:
            return None
        deps = self.entry.make_deps(self.principal)
        return await deps if inspect.isawaitable(deps) else deps

    def _events(self, adapter: UIAdapter[Any, Any, Any, Any, Any], deps: Any) -> AsyncIterator[Any]:
        try:
            return adapter.run_stream(
                deps=deps,
                timeout=self.entry.timeout,
                usage_limits=self.entry.usage_limits,
                capabilities=self.entry.capabilities,
            )
        except ValidationError as error:
            # The one thing that is validated here and not when the body is read: state, by the agent's own model.
            raise MalformedBody(first_problem(error, "state")) from error
        except UserError as error:
            raise MalformedBody from error

    async def _frames(
        self, adapter: UIAdapter[Any, Any, Any, Any, Any], events: AsyncIterator[Any], report: Report
    ) -> AsyncGenerator[bytes]:
        encode = adapter.build_event_stream().encode_event
        log.info("run_started", run_id=self.id, agent=self.entry.id, surface=self.wire.surface)
        try:
            async with aclosing(events):  # pyright: ignore[reportArgumentType] - an async generator, typed as iterator
                async for event in events:
                    yield encode(event).encode()
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            # Nobody cancelled this run: something in it gave up, and the stream must not end as if it had finished.
            yield self.wire.last_words(report(RuntimeError("cancelled from within"), True))  # noqa: FBT003
        except Exception as error:  # noqa: BLE001 - reported, and told to the reader
            yield self.wire.last_words(report(error, True))  # noqa: FBT003 - see failures.Report

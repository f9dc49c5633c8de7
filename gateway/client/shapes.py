"""The gateway's JSON as typed values. Members that a newer gateway adds are left out."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """A value that does not change."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class AgentInfo(Shape):
    """An agent that the caller may use."""

    id: str
    """What to call it by."""
    description: str | None = None
    ready: bool = True
    """Whether its tools are connected; one that is not answers `Unavailable`."""
    url: str = ""
    surfaces: dict[str, str] = {}
    """Protocol -> URL."""
    capabilities: dict[str, Any] | None = None
    """What it can do, in AG-UI's shape; from `agent(id)`, not in the list."""


class Event(Shape):
    """One event of a run; `docs/plain-streams.md` has the names and what is in their data."""

    id: str
    """`{run_id}:{number}`."""
    name: str
    data: Any


class Usage(Shape):
    """What a run used."""

    requests: int = 0
    """To the model."""
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    tool_calls: int = 0
    cost: float | None = None
    """US dollars; none where it is not known."""


class ToolCall(Shape):
    """A call that a run waits for."""

    tool_call_id: str
    tool_name: str
    args: Any = None
    """What the tool would be called with."""


class Deferred(Shape):
    """What a run waits for; answered with `approvals` and `results` on the same thread."""

    approvals: list[ToolCall] = []
    """To be allowed or denied by a person."""
    calls: list[ToolCall] = []
    """To be run by the client."""


class Message(Shape):
    """One line of a conversation, ready to be shown."""

    role: Literal["user", "assistant"]
    content: str


class ThreadSummary(Shape):
    """A thread as it stands in the list."""

    id: str
    title: str
    agent: str
    """That spoke last."""
    surface: str = ""
    """Protocol of the last turn."""
    status: str
    """`running`, `waiting`, `idle`, or how the last run ended: `finished`, `cancelled` or a code."""
    archived: bool = False
    """Whether lists leave it out."""
    created_at: datetime
    updated_at: datetime
    forked_from: str | None = None


class ThreadInfo(ThreadSummary):
    """A thread by itself."""

    run_id: str | None = None
    """The run that goes on on it."""
    state: Any = None
    """Shared by agent and front end."""
    interrupts: list[dict[str, Any]] = []
    """Approvals that are open, as AG-UI interrupts."""
    pending: list[str] = []
    """Tool calls that wait for the client's result."""
    expires_at: datetime | None = None
    """When the approvals expire."""


class Branch(Shape):
    """One way that a conversation went."""

    entry: str
    """What `switch` and `fork` take."""
    current: bool
    agent: str = ""
    outcome: str = ""
    preview: str = ""
    """Beginning of what is said in this branch alone."""
    title: str = ""
    parent: str | None = None
    """Entry behind which it parts from the others."""
    at: datetime | None = None


class Turn(Shape):
    """A step of a conversation that can be gone back to: a question, and then, in a turn of its own, its answer."""

    entry: str
    """What `fork` takes."""
    run_id: str
    agent: str
    at: datetime
    outcome: str | None = None
    """None for a question, and while it runs, or when it was lost."""
    messages: int
    """How many the thread had at its end."""

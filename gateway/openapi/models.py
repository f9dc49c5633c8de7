"""The answers of the JSON routes, as models. The routes write plain dictionaries; a test holds the two together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ag_ui.core import AgentCapabilities, Interrupt, Message
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_ai.ui.vercel_ai.request_types import UIMessage

Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


class Shape(BaseModel):
    """What all of them share. A field with a `default_factory` is one that may be left out."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Problem(Shape):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(extra="allow")

    title: str
    """The phrase of the status."""
    status: int
    detail: str
    """A sentence that may be shown to a user."""
    code: str
    """Stable: see the list of error codes."""
    request_id: str = Field(default_factory=str)
    """Names the request in the log."""


class Alive(Shape):
    """The process answers."""

    status: Literal["ok"]


class AgentCount(Shape):
    """How many agents there are, and how many serve."""

    ready: int
    total: int


class Readiness(Shape):
    """Whether the process can serve."""

    status: Literal["ready", "degraded", "unready", "draining"]
    agents: AgentCount = Field(default_factory=lambda: AgentCount(ready=0, total=0))
    """Left out while draining."""


class AgentSummary(Shape):
    """An agent as it stands in the list."""

    id: str
    description: str
    ready: bool
    """Whether its toolsets are open."""
    url: str
    surfaces: dict[str, str]
    """The URL of each way in."""


class AgentDetails(AgentSummary):
    """An agent, and what it can do."""

    capabilities: AgentCapabilities
    """As AG-UI has them; what is left out is not known."""


class AgentList(Shape):
    """The agents that the caller may use, in the order of the config."""

    agents: list[AgentSummary]


class RunDetails(Shape):
    """A run, and how it stands."""

    id: str
    agent: str
    surface: str
    thread_id: str
    status: str
    """`running`, or how it ended: `finished`, `cancelled`, or the code of an error."""
    started_at: Time
    stream: str
    """Where its frames can be read."""


class Usage(Shape):
    """What a run used."""

    requests: int
    input_tokens: int
    output_tokens: int
    total_tokens: int
    tool_calls: int
    cost: float = Field(default_factory=float)
    """In US dollars, where it is known."""


class WaitingCall(Shape):
    """A call of a tool that waits for somebody."""

    tool_call_id: str
    tool_name: str
    args: Any


class Deferred(Shape):
    """The calls that a run ended with: to answer with `approvals` and `results` on the same thread."""

    approvals: list[WaitingCall]
    """Those to approve."""
    calls: list[WaitingCall]
    """Those that the client runs itself."""


class RunAnswer(Shape):
    """All that a run said."""

    run_id: str
    outcome: str
    """`finished`, `cancelled` or `deferred`."""
    thread_id: str = Field(default_factory=str)
    """Where one was named."""
    text: str = Field(default_factory=str)
    """The answer, of agents that answer in text."""
    output: Any = Field(default_factory=str)
    """The validated output; the text, where there is no other."""
    deferred: Deferred = Field(default_factory=lambda: Deferred(approvals=[], calls=[]))
    usage: Usage | None = None
    """Null where it is not known."""


class Stopped(Shape):
    """Whether there was something to stop."""

    stopped: bool


class ThreadSummary(Shape):
    """A thread as it stands in the list."""

    id: str
    title: str
    agent: str
    """The agent that spoke last."""
    surface: str
    status: str
    """`running`, `waiting`, `idle`, or how the last run ended: `finished`, `cancelled`, or the code of an error."""
    archived: bool
    """Whether lists leave it out."""
    created_at: Time
    updated_at: Time
    forked_from: str = Field(default_factory=str)
    """The thread that it was forked from."""


class ThreadDetails(ThreadSummary):
    """A thread by itself."""

    state: dict[str, Any] | None
    """The state that agent and front end share; null without one."""
    interrupts: list[Interrupt]
    """The approvals that are open, as AG-UI has them."""
    pending: list[str]
    """Ids of the tool calls that wait for the client's result."""
    run_id: str = Field(default_factory=str)
    """The run that goes on."""
    expires_at: Time = Field(default_factory=str)
    """When the approvals expire."""


class ThreadPage(Shape):
    """One page of the list."""

    threads: list[ThreadSummary]
    next_cursor: str = Field(default_factory=str)
    """Gets the next page; left out on the last one."""


class TurnSummary(Shape):
    """A turn of a thread."""

    entry: str
    """What to fork, or to go back to."""
    run_id: str
    agent: str
    at: Time
    outcome: str = Field(default_factory=str)
    """Left out while it runs, or when its run was lost."""
    messages: int
    """How many of the messages there were at its end."""


class NativePart(Shape):
    """A part of a message, with the other fields of its kind."""

    model_config = ConfigDict(extra="allow")

    part_kind: str


class NativeMessage(Shape):
    """A message in pydantic-ai's JSON, with its other fields."""

    model_config = ConfigDict(extra="allow")

    kind: Literal["request", "response"]
    parts: list[NativePart]


class NativeMessages(Shape):
    """`format=native`: pydantic-ai's JSON, and the turns."""

    messages: list[NativeMessage]
    turns: list[TurnSummary]


class AgUiMessages(Shape):
    """`format=ag-ui`."""

    messages: list[Message]


class AiSdkMessages(Shape):
    """`format=vercel-ai`: what `useChat` takes."""

    messages: list[UIMessage]


class BranchSummary(Shape):
    """One way that the conversation went."""

    entry: str
    """What to fork, or to go back to."""
    current: bool
    agent: str
    outcome: str
    preview: str
    """The beginning of what is said in this branch alone."""
    title: str = Field(default_factory=str)
    parent: str = Field(default_factory=str)
    """The entry behind which it parts from the others."""
    at: Time = Field(default_factory=str)


class BranchList(Shape):
    """The current branch, and then those that were left, the last one first."""

    branches: list[BranchSummary]

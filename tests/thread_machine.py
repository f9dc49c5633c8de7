"""What a thread must be, kept beside a real one, and an agent that writes down what it is told, for random sequences.

A model of a thread is a line of nodes. A node is what one message says; nodes are shared by the lines of branches and
forks, as entries are. What the agent says is taken from its own log, so that the model only predicts what it is told.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_ai import Agent, DeferredToolRequests, RunContext
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.ui import StateDeps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from pydantic_ai.messages import ModelMessage

    Stream = AsyncIterator[str | dict[int, DeltaToolCall]]

Said = tuple[str, ...]
"""`("user", text)`, `("answer", text)` or `("call", name, outcome)`."""

OPEN, BROKEN, SUCCESS, DENIED = "open", "broken", "success", "denied"


# ---------------------------------------------------------------------------------------------------------------------
# The agent


class Notes(BaseModel):
    """State that the agent and its front end share."""

    items: list[str] = []


@dataclass
class Call:
    """One request to the model, and what it made of it."""

    told: list[Said]
    problem: str
    text: str = ""
    calls: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class Log:
    """What the agent was told and did, since it was looked at."""

    calls: list[Call] = field(default_factory=list[Call])
    executed: list[str] = field(default_factory=list[str])
    """Ids of payments that were really made."""
    holding: asyncio.Event | None = None
    """Set when the agent hangs until it is stopped."""
    over: asyncio.Event | None = None
    """Ends what does not give way."""

    def taken(self) -> tuple[list[Call], list[str]]:
        """What there is, once."""
        calls, self.calls = self.calls, []
        executed, self.executed = self.executed, []
        return calls, executed


log = Log()


async def _acts(messages: list[ModelMessage], info: AgentInfo) -> Stream:
    """Does what the last prompt says, as in `7: pay ann/note`: first one thing, and with its results the next."""
    call = Call(said_in(messages), invalid(messages))
    log.calls.append(call)
    verb, *names = _todo(messages).split()
    if verb == "drop":
        raise RuntimeError("as asked, before a word")
    if verb in ("pay", "note", "hold", "browse"):
        tools = {tool.name for tool in info.function_tools}
        asked = [(name if name in ("browse", "note", "hold") else "pay", name) for name in (names or [verb])]
        for index, (tool, name) in enumerate(each for each in asked if each[0] in tools):
            call_id = f"{tool}-{name}-{len(messages)}"
            call.calls[call_id] = tool
            yield {index: DeltaToolCall(tool, json.dumps({"name": name}), tool_call_id=call_id)}
        if call.calls:
            return
    call.text = f"{verb}, told {len(messages)}"
    yield call.text
    if verb == "fail":
        raise RuntimeError("as asked, after some words")
    if verb == "wait":
        await _hang()


async def _hang() -> None:
    if log.holding:
        log.holding.set()
    await asyncio.Event().wait()


agent = Agent(
    FunctionModel(stream_function=_acts),
    name="acting",
    deps_type=StateDeps[Notes],
    output_type=[str, DeferredToolRequests],
    system_prompt="Be brief.",
    instructions="Be kind.",
)


def make_notes(_principal: object) -> StateDeps[Notes]:
    """Fresh state."""
    return StateDeps(Notes())


@agent.tool(requires_approval=True)
async def pay(ctx: RunContext[StateDeps[Notes]], name: str) -> str:
    """Pays, really."""
    log.executed.append(ctx.tool_call_id or "")
    return f"paid {name}"


@agent.tool
async def note(ctx: RunContext[StateDeps[Notes]], name: str) -> str:
    """Notes how many notes there are."""
    ctx.deps.state.items.append(f"{name} {len(ctx.deps.state.items)}")
    return "noted"


@agent.tool_plain
async def hold(name: str) -> str:
    """Never ends by itself."""
    await _hang()
    return name


async def _notes(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    if isinstance(messages[-1].parts[-1], ToolReturnPart):
        yield "Noted."
        return
    prompt = next(part.content for part in reversed(messages[-1].parts) if isinstance(part, UserPromptPart))
    yield {0: DeltaToolCall("keep", json.dumps({"what": prompt}), tool_call_id=f"keep-{len(messages)}")}


@dataclass
class Shapeless:
    """State without a shape."""

    state: dict[str, Any] = field(default_factory=dict[str, Any])


forgetting = Agent(FunctionModel(stream_function=_notes), name="forgetting", deps_type=Shapeless)


def make_shapeless(_principal: object) -> Shapeless:
    """Fresh state without a shape."""
    return Shapeless()


@forgetting.tool
def keep(ctx: RunContext[Shapeless], what: str) -> str:
    """Keeps one thing, or `nothing`."""
    ctx.deps.state = {} if what == "nothing" else {"noted": what}
    return what


async def _two_at_once(messages: list[ModelMessage], _info: AgentInfo) -> Stream:
    if results := [part for part in messages[-1].parts if isinstance(part, ToolReturnPart)]:
        yield ", ".join(f"{result.tool_name} {result.outcome}" for result in results)
        return
    yield {0: DeltaToolCall("quick", "{}", tool_call_id="1"), 1: DeltaToolCall("deaf", "{}", tool_call_id="2")}


half_deaf = Agent(FunctionModel(stream_function=_two_at_once), name="half_deaf")


@half_deaf.tool_plain
async def quick() -> str:
    """Does it at once."""
    return "done"


@half_deaf.tool_plain
async def deaf() -> str:
    """Does not give way to a cancellation."""
    await asyncio.sleep(0.1)  # the other one's result is on its way by then
    log.over = asyncio.Event()
    if log.holding:
        log.holding.set()
    while not log.over.is_set():
        with suppress(asyncio.CancelledError):
            await log.over.wait()
    return "done as well"


def _todo(messages: Sequence[ModelMessage]) -> str:
    answers = 0
    for message in reversed(messages):
        if prompts := [part.content for part in message.parts if isinstance(part, UserPromptPart)]:
            script = str(prompts[-1]).partition(": ")[2].split("/")
            return script[answers] if answers < len(script) else "say"
        answers += isinstance(message, ModelResponse)
    return "say"


# ---------------------------------------------------------------------------------------------------------------------
# Messages -> what was said


def said_in(messages: Sequence[ModelMessage]) -> list[Said]:
    """What the messages say, with each call's outcome beside it."""
    outcomes = {part.tool_call_id: part for m in messages for part in m.parts if isinstance(part, ToolReturnPart)}
    said: list[Said] = []
    for message in messages:
        if isinstance(message, ModelRequest):
            said += [("user", str(part.content)) for part in message.parts if isinstance(part, UserPromptPart)]
            continue
        if text := "".join(part.content for part in message.parts if isinstance(part, TextPart)):
            said.append(("answer", text))
        for part in (part for part in message.parts if isinstance(part, ToolCallPart)):
            said.append(("call", part.tool_name, _outcome(outcomes.get(part.tool_call_id))))
    return said


def _outcome(result: ToolReturnPart | None) -> str:
    if result is None:
        return OPEN
    return result.outcome if result.outcome in (SUCCESS, DENIED) else BROKEN


def invalid(messages: Sequence[ModelMessage]) -> str:
    """Why a provider would refuse these messages; empty when none would."""
    unanswered: set[str] = set()
    before: ModelMessage | None = None
    for message in messages:
        if isinstance(message, ModelResponse):
            if unanswered:
                return f"an answer comes before the results of {sorted(unanswered)}"
            if not isinstance(before, ModelRequest):
                return "an answer to nothing"
            unanswered = {part.tool_call_id for part in message.parts if isinstance(part, ToolCallPart)}
        for part in message.parts if isinstance(message, ModelRequest) else ():
            if isinstance(part, UserPromptPart) and unanswered:
                return f"a prompt comes before the results of {sorted(unanswered)}"
            if isinstance(part, ToolReturnPart):
                if part.tool_call_id not in unanswered:
                    return f"a second result, or one for no call: {part.tool_call_id}"
                unanswered.discard(part.tool_call_id)
        if isinstance(message, ModelRequest) and isinstance(before, ModelRequest):
            return "two requests behind each other"
        before = message
    return f"no results of {sorted(unanswered)}" if unanswered else ""


# ---------------------------------------------------------------------------------------------------------------------
# The model


@dataclass(eq=False)
class Node:
    """What one stored message says."""

    user: str | None = None
    """A user's words."""
    id: str = ""
    """Of the user's message."""
    text: str = ""
    """Of an answer."""
    calls: dict[str, str] = field(default_factory=dict[str, str])
    """Tools by call, of an answer."""
    results: dict[str, str] = field(default_factory=dict[str, str])
    """Outcomes by call."""
    recorded: bool = False
    """A turn was saved with it."""
    state: dict[str, Any] | None = None
    """The shared state that was saved with it."""

    @property
    def is_empty(self) -> bool:
        """Nothing was said: the run failed before a word, which may be stored or not."""
        return self.user is None and not (self.text or self.calls or self.results)


@dataclass
class Model:
    """A thread as it must be."""

    thread: str
    line: list[Node] = field(default_factory=list[Node])
    open: dict[str, str] = field(default_factory=dict[str, str])
    """Tools by call, of those that wait for somebody."""
    given: dict[str, str] = field(default_factory=dict[str, str])
    """Outcomes of those that were answered while others are not."""
    tips: dict[str, list[Node]] = field(default_factory=dict[str, list[Node]])
    """Lines that were left, by their last entry."""
    outcome: str = "finished"
    archived: bool = False

    @property
    def said(self) -> list[Said]:
        """What was said on the line, as `said_in` has it."""
        return said_on(self.line, {} if not self.open else {**self.open})

    @property
    def told(self) -> list[Said]:
        """What a model has to be told."""
        return said_on(self.line, {})

    @property
    def users(self) -> list[Node]:
        """The user's messages."""
        return [node for node in self.line if node.user is not None]

    @property
    def state(self) -> dict[str, Any] | None:
        """The state that the next turn begins with."""
        return next((node.state for node in reversed(self.line) if node.recorded), None)

    @property
    def choices(self) -> list[str]:
        """The tips of branches on which something was said."""
        return sorted(tip for tip, line in self.tips.items() if not line[-1].is_empty)

    @property
    def missing(self) -> dict[str, str]:
        """Open calls without an answer."""
        return {call: tool for call, tool in self.open.items() if call not in self.given}

    def forked(self, thread: str) -> Model:
        """A new thread with the same beginning."""
        return Model(thread, list(self.line), outcome=self.outcome)


def said_on(line: Sequence[Node], still_open: Mapping[str, str]) -> list[Said]:
    """What was said on a line."""
    outcomes = {call: outcome for node in line for call, outcome in node.results.items()}
    said: list[Said] = []
    for node in line:
        if node.user is not None:
            said.append(("user", node.user))
        if node.text:
            said.append(("answer", node.text))
        said += [
            ("call", tool, outcomes.get(call, OPEN if call in still_open else BROKEN))
            for call, tool in node.calls.items()
        ]
    return said

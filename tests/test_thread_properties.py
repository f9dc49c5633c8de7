"""Whatever users do to a thread, in whatever order: the gateway keeps what was said, and tells the model that."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ag_ui.core import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from pydantic import TypeAdapter
from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord
from pydantic_ai.messages import (
    ImageUrl,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, ToolApproved, ToolDenied
from pydantic_ai.ui.ag_ui import AGUIAdapter
from pydantic_ai.ui.vercel_ai import VercelAIAdapter
from pydantic_ai.ui.vercel_ai.request_types import UIMessage
from serving import make_config
from talking import calling
from thread_machine import BROKEN, DENIED, OPEN, SUCCESS, Model, Node, Said, log, said_in, said_on
from threading_http import WIRES, Answer, Talk

from gateway import answers
from gateway.app import create_app
from gateway.errors import ApprovalExpired, TurnRejected
from gateway.history import Line, Thread, TurnRecord
from gateway.turns import plan
from gateway.wires import Turn

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    import httpx
    from hypothesis.strategies import DataObject, DrawFn

    Json = dict[str, Any]

AGENTS: dict[str, Any] = {"acting": {"import": "thread_machine:agent", "deps": "thread_machine:make_notes"}}
TOOLS: list[dict[str, Any]] = [
    {"name": "browse", "description": "Opens a page.", "parameters": {"type": "object", "properties": {}}}
]
HANGING = ("wait", "hold")

# What the agent of `thread_machine` does at once, and what it does when the results are there.
scripts = st.sampled_from(
    (
        "say",
        "fail",
        "drop",
        "wait",
        "hold",
        "note",
        "note/fail",
        "note/drop",
        "note/wait",
        "pay ann",
        "pay ann bob",
        "pay ann note",
        "pay ann/fail",
        "pay ann/drop",
        "pay ann/wait",
        "pay ann/note",
        "pay ann/pay bob",
        "browse",
        "pay ann browse",
        "pay ann browse/fail",
    )
)
wires = st.sampled_from(WIRES)

MESSAGES: TypeAdapter[list[Message]] = TypeAdapter(list[Message])
UI_MESSAGES = TypeAdapter(list[UIMessage])


class ThreadMachine(RuleBasedStateMachine):
    """One user, two front ends, one thread and its forks."""

    store: ClassVar = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.stack = AsyncExitStack()
        self.numbers = count(1)
        self.threads: list[Model] = []
        self.at = 0
        self.head = ""
        self.title = ""
        self.settled: list[tuple[str, dict[str, bool]]] = []
        self.seen: tuple[list[Node], dict[str, set[str]]] = ([], {})
        self.forks = 0

    @property
    def model(self) -> Model:
        return self.threads[self.at]

    # What users do

    @initialize()
    def begin(self) -> None:
        logging.disable()  # the failures that are asked for, each with its traceback
        log.taken()
        self.threads = [Model("thread")]
        self.do(self._open())

    @rule(wire=wires, script=scripts, whole=st.booleans())
    def say(self, wire: str, script: str, whole: bool) -> None:
        """A new message, whatever the thread waits for."""
        user = Node(user=f"{next(self.numbers)}: {script}", id=f"user-{next(self.numbers)}")
        self.do(self._say(wire, user, whole=whole))

    @precondition(lambda self: self.model.users)
    @rule(wire=wires, data=st.data(), whole=st.booleans())
    def say_again(self, wire: str, data: DataObject, whole: bool) -> None:
        """An earlier message once more, or the last one that failed."""
        users = self.model.users
        user = users[data.draw(st.integers(0, len(users) - 1), label="which")]
        self.do(self._again(wire, user, None, whole=whole))

    @precondition(lambda self: self.model.users)
    @rule(wire=wires, data=st.data(), script=scripts, whole=st.booleans())
    def edit(self, wire: str, data: DataObject, script: str, whole: bool) -> None:
        """An earlier message in other words."""
        users = self.model.users
        user = users[data.draw(st.integers(0, len(users) - 1), label="which")]
        self.do(self._again(wire, user, f"{next(self.numbers)}: {script}", whole=whole))

    @precondition(lambda self: self.model.missing)
    @rule(wire=wires, data=st.data())
    def answer(self, wire: str, data: DataObject) -> None:
        """Yes, no, or the result of a front end's tool: to one of the open calls, or to all approvals."""
        missing = self.model.missing
        approvals = [call for call, tool in missing.items() if tool == "pay"]
        if len(approvals) < len(missing) and data.draw(st.booleans(), label="result"):
            call = next(call for call, tool in missing.items() if tool == "browse")
            self.do(self._answer(wire, {}, call))
        elif approvals:
            chosen = data.draw(st.lists(st.sampled_from(approvals), min_size=1, unique=True), label="answered")
            self.do(self._answer(wire, {call: data.draw(st.booleans(), label=call) for call in chosen}, None))

    @precondition(lambda self: self.settled)
    @rule(wire=wires, data=st.data())
    def answer_again(self, wire: str, data: DataObject) -> None:
        """An old answer once more: it changes nothing, whatever was settled by it."""
        thread, answers = data.draw(st.sampled_from(self.settled), label="old")
        if thread == self.model.thread and not answers.keys() & self.model.open.keys():
            self.do(self._repeat(wire, answers))

    @rule(wire=wires, data=st.data())
    def forge(self, wire: str, data: DataObject) -> None:
        """A yes to something that nobody asked: refused as a whole."""
        others = data.draw(st.sampled_from(({}, dict.fromkeys(self.model.missing, True))), label="with")
        approvable = {call: yes for call, yes in others.items() if self.model.open[call] == "pay"}
        self.do(self._forge(wire, {**approvable, "forged": True}))

    @precondition(lambda self: self.model.line and len(self.threads) < 3)
    @rule(stay=st.booleans())
    def fork(self, stay: bool) -> None:
        """A thread with the same beginning."""
        self.do(self._fork(stay=stay))

    @precondition(lambda self: len(self.threads) > 1)
    @rule(data=st.data())
    def go_to_another_thread(self, data: DataObject) -> None:
        """A fork, or what it was made of."""
        self.at = data.draw(st.integers(0, len(self.threads) - 1), label="thread")
        self.seen = ([], {})
        self.do(self._look())

    @precondition(lambda self: self.model.choices)
    @rule(data=st.data(), back=st.booleans())
    def switch(self, data: DataObject, back: bool) -> None:
        """Another branch, and perhaps back."""
        tip = data.draw(st.sampled_from(self.model.choices), label="tip")
        self.do(self._switch(tip, back=back))

    @precondition(lambda self: self.model.line)
    @rule(title=st.sampled_from(("Mine", "")))
    def rename(self, title: str) -> None:
        """Another title, or the old one again."""
        self.do(self._rename(title))

    @precondition(lambda self: self.model.line)
    @rule(archived=st.booleans())
    def archive(self, archived: bool) -> None:
        """Away, and perhaps back: nothing else may notice."""
        self.do(self._archive(archived=archived))

    @precondition(lambda self: self.store == "sqlite")
    @rule()
    def restart(self) -> None:
        """A new process on the same file."""
        self.do(self._restart())

    def teardown(self) -> None:
        self.loop.run(self.stack.aclose())
        self.loop.close()
        logging.disable(logging.NOTSET)
        self.folder.cleanup()

    # How it goes

    def do(self, step: Coroutine[Any, Any, None]) -> None:
        self.loop.run(self._step(step))

    async def _step(self, step: Coroutine[Any, Any, None]) -> None:
        async with asyncio.timeout(20):
            await step
            await self._check()

    async def _open(self) -> None:
        url = "memory://" if self.store == "memory" else f"sqlite:///{Path(self.folder.name) / 'threads.db'}"
        app = create_app(make_config(agents=AGENTS, stores={"conversations": url}))
        self.client: httpx.AsyncClient = await self.stack.enter_async_context(calling(app))

    async def _restart(self) -> None:
        await self.stack.aclose()
        await self._open()

    def _talk(self, wire: str) -> Talk:
        return Talk(self.client, wire, "acting", self.model.thread)

    async def _say(self, wire: str, user: Node, *, whole: bool) -> None:
        assert user.user
        talk, model = self._talk(wire), self.model
        before = await self._held(wire) if whole else []
        approved = [call for call, outcome in model.given.items() if outcome == SUCCESS and model.open[call] == "pay"]
        outcomes = {"pay": DENIED, "browse": BROKEN}
        closed = {call: model.given.get(call, outcomes[tool]) for call, tool in model.open.items()}
        model.line.append(user)
        if closed:
            self._settle({call: outcome == SUCCESS for call, outcome in closed.items() if model.open[call] == "pay"})
            model.line.append(Node(results=closed))
        await self._runs(
            user.user.partition(": ")[2],
            talk.send([*before, talk.user(user.user, user.id)], **_tools(wire)),
            approved,
            user,
        )

    async def _again(self, wire: str, user: Node, text: str | None, *, whole: bool) -> None:
        talk, model = self._talk(wire), self.model
        held = await self._held(wire) if whole else []
        before = held[: next((at for at, each in enumerate(held) if each["id"] == user.id), 0)]
        index = model.line.index(user)
        end = index + 1
        while end < len(model.line) and model.line[end].results and model.line[end].user is None:
            end += 1
        old = model.line
        if text is None:
            model.line = old[:end]
            again = user
        else:
            again = Node(user=text, id=user.id)
            model.line = [*old[:index], *(Node(results=node.results) for node in old[index + 1 : end]), again]
        begin = model.line[-1]
        if not any(node is old[-1] for node in model.line):
            model.tips[self.head] = old
        model.tips = {entry: line for entry, line in model.tips.items() if line[-1] is not begin}
        said = talk.user(again.user or "", again.id)
        more: Json = _tools(wire)
        if wire == "vercel-ai" and text is None:
            more["trigger"] = "regenerate-message"
        await self._runs((again.user or "").partition(": ")[2], talk.send([*before, said], **more), [], begin)

    async def _answer(self, wire: str, approvals: dict[str, bool], call: str | None) -> None:
        talk, model = self._talk(wire), self.model
        outcomes = {call: SUCCESS if yes else DENIED for call, yes in approvals.items()}
        if call:
            outcomes[call] = SUCCESS
        request = talk.result(call, "browse", "a page") if call else talk.answer(approvals, **_tools(wire))
        model.given |= outcomes
        if model.missing:
            reply = await request
            assert not reply.problem
            assert self._taken() == []
            return
        self._settle({call: model.given[call] == SUCCESS for call, tool in model.open.items() if tool == "pay"})
        approved = [call for call, tool in model.open.items() if tool == "pay" and model.given[call] == SUCCESS]
        prompt = next(node.user or "" for node in reversed(model.users))
        head = model.line[-1]
        model.line.append(Node(results=dict(model.given)))
        await self._runs(prompt.partition("/")[2], request, approved, head)

    async def _runs(self, script: str, request: Coroutine[Any, Any, Answer], approved: list[str], begin: Node) -> None:
        """Send it, and put what comes of it into the model. `begin` is what was saved before anything ran."""
        model = self.model
        begin.state, begin.recorded = model.state, True
        model.open, model.given = {}, {}
        before = len(model.line)
        log.holding = asyncio.Event()
        sending = asyncio.create_task(request)
        holding = asyncio.create_task(log.holding.wait())
        await asyncio.wait({sending, holding}, return_when=asyncio.FIRST_COMPLETED)
        stopped = log.holding.is_set()
        if stopped:
            run_id = (await self._talk("ag-ui").about())["run_id"]
            assert (await self.client.post(f"/runs/{run_id}/cancel")).json() == {"stopped": True}
        holding.cancel()
        reply = await sending
        assert reply.response.status_code == 200, (script, reply.response.text)
        assert reply.problem in {"", "run_failed"}, (script, reply.problem)
        model.outcome = "cancelled" if stopped else reply.problem or "finished"
        self._absorb(approved)
        state = (await self._talk("ag-ui").about())["state"]
        notes = [call for node in model.line[before:] for call, tool in node.calls.items() if tool == "note"]
        kept = (begin.state or {"items": []})["items"]
        assert [*kept, *(f"note {len(kept) + number}" for number in range(len(notes)))] == state["items"]
        model.line[-1].state, model.line[-1].recorded = state, True
        if not stopped and not reply.problem:
            model.open = {call: tool for call, tool in model.line[-1].calls.items() if tool in ("pay", "browse")}
            if not model.open and len(model.line) > 1 and model.line[-1].results:
                asked = model.line[-2].calls
                model.open = {call: tool for call, tool in asked.items() if tool in ("pay", "browse")}
                if model.open.keys() & model.line[-1].results.keys():
                    model.open = {}

    def _absorb(self, approved: list[str]) -> None:
        model = self.model
        calls, executed = log.taken()
        assert sorted(executed) == sorted(approved)
        for call in calls:
            assert not call.problem, (call.problem, call.told)
            assert call.told == model.told
            model.line.append(Node(text=call.text, calls=call.calls))
            if noted := {each: SUCCESS for each, tool in call.calls.items() if tool == "note"}:
                model.line.append(Node(results=noted))

    def _taken(self) -> list[str]:
        calls, executed = log.taken()
        return [*executed, *(str(call) for call in calls)]

    def _settle(self, answers: dict[str, bool]) -> None:
        if answers:
            self.settled.append((self.model.thread, answers))

    async def _repeat(self, wire: str, answers: dict[str, bool]) -> None:
        reply = await self._talk(wire).answer(answers)
        assert reply.response.status_code in (200, 409), reply.response.text
        assert self._taken() == []

    async def _forge(self, wire: str, answers: dict[str, bool]) -> None:
        reply = await self._talk(wire).answer(answers)
        assert (reply.response.status_code, reply.problem) == (409, "turn_rejected")
        assert self._taken() == []

    async def _fork(self, *, stay: bool) -> None:
        self.forks += 1
        fork = f"fork-{self.forks}"
        response = await self.client.post(f"/threads/{self.model.thread}/fork", json={"id": fork})
        assert response.status_code == 201
        self.threads.append(self.model.forked(fork))
        if not stay:
            self.at = len(self.threads) - 1
            self.seen = ([], {})
            await self._look()

    async def _switch(self, tip: str, *, back: bool) -> None:
        model, left = self.model, self.head
        await self._switched(tip)
        if back and left in model.choices:
            await self._switched(left)

    async def _switched(self, entry: str) -> None:
        model = self.model
        response = await self.client.post(f"/threads/{model.thread}/branches/{entry}")
        assert response.status_code == 200
        old, model.line = model.line, list(model.tips.pop(entry))
        if not any(node is old[-1] for node in model.line):
            model.tips[self.head] = old
        self.head, model.open, model.given, model.outcome = entry, {}, {}, ""

    async def _archive(self, *, archived: bool) -> None:
        self.model.archived = archived
        changed = await self.client.patch(f"/threads/{self.model.thread}", json={"archived": archived})
        assert changed.json()["archived"] is archived

    async def _rename(self, title: str) -> None:
        response = await self.client.patch(f"/threads/{self.model.thread}", json={"title": title})
        assert response.json()["title"] == (title or self.model.line[0].user)
        await self.client.patch(f"/threads/{self.model.thread}", json={"title": None})

    async def _held(self, wire: str) -> list[Json]:
        """The list that a client of the wire holds when it has loaded the thread."""
        if not self.model.line:
            return []
        response = await self.client.get(f"/threads/{self.model.thread}/messages?format={wire}")
        assert response.status_code == 200, response.text
        return response.json()["messages"]

    # What must hold

    async def _look(self) -> None:
        [self.head] = [each["entry"] for each in await self._branches() if each["current"]]

    async def _branches(self) -> list[Json]:
        return (await self.client.get(f"/threads/{self.model.thread}/branches")).json()["branches"]

    async def _check(self) -> None:
        model = self.model
        if not model.line:
            assert (await self.client.get(f"/threads/{model.thread}")).status_code == 404
            return
        await self._look()
        tips = [each["entry"] for each in await self._branches()]
        assert len(set(tips)) == len(tips)
        assert {self.head, *model.choices} <= set(tips) <= {self.head, *model.tips}
        await self._check_thread()
        shown = said_on(model.line, model.missing)
        native = ModelMessagesTypeAdapter.validate_python(await self._held("native"))
        assert _closed(said_in(native)) == _closed(shown)
        ids: dict[str, set[str]] = {}
        for wire in WIRES:
            held = await self._held(wire)
            expected = said_on(model.line, model.open)
            assert _shown_as(wire, model, said_in(_loaded(wire, held))) == _shown_as(wire, model, expected), wire
            ids[wire] = {each["id"] for each in held}
            assert len(ids[wire]) == len(held)
            assert [each["id"] for each in await self._held(wire)] == [each["id"] for each in held]
            assert [each["id"] for each in held if each["role"] == "user"] == [node.id for node in model.users]
            line, seen = self.seen
            if line and line == model.line[: len(line)]:
                assert seen[wire] <= ids[wire]
        self.seen = (list(model.line), ids)

    async def _check_thread(self) -> None:
        model, about = self.model, await self._talk("ag-ui").about()
        assert about["title"] == (model.line[0].user or "")
        assert about["archived"] is model.archived
        assert about["state"] == model.state
        assert (about["status"] == "waiting") == bool(model.missing)
        asked = {interrupt["toolCallId"] for interrupt in about["interrupts"]}
        assert asked == {call for call, tool in model.missing.items() if tool == "pay"}
        assert set(about["pending"]) == {call for call, tool in model.missing.items() if tool == "browse"}


class ThreadsInSqlite(ThreadMachine):
    store: ClassVar = "sqlite"


def _tools(wire: str) -> Json:
    return {"tools": TOOLS} if wire == "ag-ui" else {}


def _closed(said: Sequence[Said]) -> list[Said]:
    """With no difference between what is open and what was broken off."""
    return [(*each[:-1], BROKEN) if each[-1] == OPEN and each[0] == "call" else each for each in said]


def _shown_as(wire: str, model: Model, said: Sequence[Said]) -> list[Said]:
    """With no difference where a wire has none."""
    if wire == "vercel-ai":  # the stream gives a call that was stopped a result
        return [(*each[:-1], SUCCESS) if each[-1] == BROKEN and each[0] == "call" else each for each in said]
    # See `test_a_call_that_was_given_up_is_not_shown_as_open`.
    return list(said) if model.open else _closed(said)


def _loaded(wire: str, held: list[Json]) -> Any:
    if wire == "ag-ui":
        return AGUIAdapter[Any, Any].load_messages(MESSAGES.validate_python(held))
    return VercelAIAdapter[Any, Any].load_messages(UI_MESSAGES.validate_python(held))


# ---------------------------------------------------------------------------------------------------------------------
# Plans

ids = st.sampled_from(("", "a", "b", "c"))
calls = st.sampled_from(("call-1", "call-2", "call-3"))
parts: dict[str, Any] = {
    "prompt": UserPromptPart("Hello"),
    "other prompt": UserPromptPart([ImageUrl("https://example.com/cat.png")]),
    "text": TextPart("Hello yourself"),
    "call": ToolCallPart("pay", {}, tool_call_id="call-1"),
    "other call": ToolCallPart("browse", {}, tool_call_id="call-2"),
    "result": ToolReturnPart("pay", "paid", tool_call_id="call-1"),
}
requests = st.lists(st.sampled_from(("prompt", "other prompt", "result")), max_size=2).map(
    lambda names: ModelRequest([parts[name] for name in names])
)
responses = st.lists(st.sampled_from(("text", "call", "other call")), max_size=3).map(
    lambda names: ModelResponse([parts[name] for name in names])
)
results = st.builds(
    DeferredToolResults,
    approvals=st.dictionaries(calls, st.sampled_from((True, False, ToolApproved(), ToolDenied())), max_size=2),
    calls=st.dictionaries(calls, st.just("a page"), max_size=2),
)
questions = st.builds(
    DeferredToolRequests,
    approvals=st.sampled_from(([], [parts["call"]])),
    calls=st.sampled_from(([], [parts["other call"]])),
)
times = st.sampled_from((None, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)))


@st.composite
def lines(draw: DrawFn) -> Line:
    """Whatever a store may hold, whether a run would leave it or not."""
    entries: list[ConversationEntry] = []
    turns: dict[str, TurnRecord] = {}
    for message in draw(st.lists(st.one_of(requests, responses), max_size=7)):
        entries.append(ConversationEntry(parent_id=entries[-1].id if entries else None, message=message))
        if draw(st.booleans()):
            entry_id = entries[-1].id
            given = draw(st.none() | results)
            turns[entry_id] = TurnRecord(
                entry_id=entry_id,
                run_id=draw(st.sampled_from(("run-1", "run-2"))),
                agent="agent",
                surface="ag-ui",
                wire_ids={"user": draw(st.lists(ids, max_size=2)), "vercel-ai": {"message": draw(ids)}},
                answers=answers.to_store(given) if given else None,
                answered_run=draw(st.sampled_from(("", "run-1", "run-2"))),
                expires_at=draw(times),
            )
    return Line(entries, turns)


@st.composite
def turns_and_threads(draw: DrawFn) -> tuple[Turn, Thread | None, Line]:
    """Any turn on any thread."""
    line = draw(lines())
    messages = draw(st.lists(st.sampled_from(("prompt", "other prompt")), max_size=3))
    turn = Turn(
        "thread",
        0,
        None,
        messages=[ModelRequest([parts[name]]) for name in messages],
        message_ids=draw(st.lists(ids, min_size=len(messages), max_size=len(messages))),
        regenerate=draw(st.none() | ids),
        answers=draw(results),
    )
    if not line.entries:
        return turn, None, line
    head = line.entries[-1].id
    waiting = draw(st.none() | questions)
    record = ConversationRecord(conversation_id="thread", head_id=head, deferred_tool_requests=waiting)
    return turn, Thread(record=record, turn=line.turns.get(head), created_at=datetime.now(UTC)), line


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(turns_and_threads())
def test_a_plan_is_refused_in_words_or_fits_the_thread(given: tuple[Turn, Thread | None, Line]) -> None:
    turn, thread, line = given
    try:
        planned = plan(turn, thread, line, "agent")
    except (TurnRejected, ApprovalExpired):
        return
    assert list(planned.line.entries) == list(line.entries[: len(planned.line.entries)])
    assert planned.line.turns.items() <= line.turns.items()
    if planned.answers is not None:
        assert thread
        waiting = thread.record.deferred_tool_requests
        assert waiting
        kept, asked = answers.stored(thread.turn), answers.ids_of(waiting)
        assert planned.line == line
        assert answers.ids_of(planned.answers) <= asked | answers.ids_of(kept)
        yes = {call for call, answer in planned.answers.approvals.items() if answer in (True, ToolApproved())}
        assert yes <= {call.tool_call_id for call in waiting.approvals} | kept.approvals.keys()
        assert not planned.runs or asked <= answers.ids_of(planned.answers)
    if planned.new:
        assert planned.runs
        assert planned.new[-1] == turn.messages[-1]


PROFILE = settings(
    max_examples=40,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
)

TestThreadsInMemory = ThreadMachine.TestCase
TestThreadsInMemory.settings = PROFILE
TestThreadsInSqlite = ThreadsInSqlite.TestCase
TestThreadsInSqlite.settings = settings(PROFILE, max_examples=12)

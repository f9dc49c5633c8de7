"""What the real npm clients hold after a conversation, and what the wires say that they hold."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import uvicorn
from ag_ui.core import ActivitySnapshotEvent, StateSnapshotEvent
from client_probes import asking, paying
from clients_driver import FOLDER, AgUi, AiSdk, Node, Opening
from probes import broken
from pydantic import BaseModel, TypeAdapter
from pydantic_ai import (
    Agent,
    BinaryContent,
    CancellationToken,
    DeferredToolRequests,
    ExternalToolset,
    ModelRetry,
    capture_run_messages,
)
from pydantic_ai.conversation_store import ConversationEntry
from pydantic_ai.messages import (
    FilePart,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturn,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.tools import DeferredToolResults, ToolDefinition, ToolDenied
from pydantic_ai.ui.vercel_ai.response_types import DataChunk, FileChunk, SourceUrlChunk
from serving import running
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from agents.approver import agent as approver
from agents.assistant import agent as assistant
from agents.extractor import agent as extractor
from gateway.failures import reporter
from gateway.history import CANCELLED, FINISHED, Line, TurnRecord
from gateway.replay import as_events
from gateway.wires import Opening as Begin
from gateway.wires import Repetition
from gateway.wires.ag_ui import AgUi as AgUiWire
from gateway.wires.vercel_ai import VercelAi as VercelAiWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from clients_driver import Answer
    from pydantic_ai.exceptions import RunCancelled
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.run import AgentRunResult
    from starlette.requests import Request

    from gateway.wires import Turn, Wire

    Json = dict[str, Any]

CLIENTS = {"ag-ui-1.0.0": "@ag-ui/client", "ag-ui-0.0.59": "ag-ui-client-0", "ai-7": "ai", "ai-6": "ai-6"}
ANSWERS = TypeAdapter(DeferredToolResults)


@dataclass
class Thread:
    """One conversation with an agent, kept as the gateway does it, with no regard for anything that can go wrong."""

    wire: Wire
    agent: Agent[Any, Any]
    line: Line = field(default_factory=Line)
    waiting: DeferredToolRequests | None = None
    stop_at: str = ""
    """Text in a frame after which the run is stopped."""

    async def post(self, request: Request) -> Response:
        """One request of a client -> the run that it starts, to its end."""
        turn = self.wire.read(await request.body())
        given = self.answers(turn)
        if turn.messages:
            self.save(turn.messages, "running", {"user": list(turn.message_ids)})
        self.waiting = None
        opened = Begin(str(uuid4()), continues=not turn.messages, agent="agent")
        adapter = self.wire.adapter(self.agent, turn, opened, reporter("run", "agent"))
        stream: Any = adapter.build_event_stream()
        tokens.append(token := CancellationToken())
        history = [entry.message for entry in self.line.entries]
        stored = len(history)

        def store(outcome: str, messages: Sequence[ModelMessage]) -> None:
            self.save(messages, outcome, {self.wire.protocol: json.loads(json.dumps(stream.wire_ids))})

        async def finished(result: AgentRunResult[Any]) -> None:
            self.waiting = result.output if isinstance(result.output, DeferredToolRequests) else None
            store(FINISHED, result.new_messages())

        async def cancelled(run: RunCancelled) -> None:
            store(CANCELLED, run.new_messages())

        frames: list[str] = []
        with capture_run_messages() as messages:
            events = adapter.run_stream_native(
                message_history=history, deferred_tool_results=given, cancellation_token=token
            )
            async for event in stream.transform_stream(events, on_complete=finished, on_cancel=cancelled):
                frames.append(f"id: {len(frames) + 1}\n{stream.encode_event(event)}")
                if self.stop_at and self.stop_at in frames[-1]:
                    token.cancel()
        if len(self.line.entries) == stored:
            store("run_failed", messages[stored:])
        return Response("".join(frames), media_type="text/event-stream")

    def answers(self, turn: Turn) -> DeferredToolResults | None:
        """What the run is given of what the turn answers; a message is a no."""
        if self.waiting is None:
            return None
        given = turn.answers
        if turn.messages:
            denied = dict.fromkeys(
                [call.tool_call_id for call in self.waiting.approvals], ToolDenied("A message came.")
            )
            given = DeferredToolResults(approvals=dict(denied))
        mine = {call.tool_call_id for call in (*self.waiting.calls, *self.waiting.approvals)}
        given.calls = {call: result for call, result in given.calls.items() if call in mine}
        head = self.line.turns[self.line.entries[-1].id]
        answered = replace(head, answers=ANSWERS.dump_python(given, mode="json"), answered_run="taking")
        self.line = Line(self.line.entries, {**self.line.turns, head.entry_id: answered})
        return given

    def save(self, messages: Any, outcome: str, wire_ids: Json) -> None:
        """Put messages at the end of the line."""
        entries = list(self.line.entries)
        # As it comes out of a database.
        for message in ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(list(messages))):
            parent = entries[-1].id if entries else None
            entries.append(ConversationEntry(id=str(uuid4()), parent_id=parent, message=message))
        record = TurnRecord(
            entry_id=entries[-1].id,
            run_id=str(uuid4()),
            agent="agent",
            surface="ag-ui",
            outcome=outcome,
            wire_ids=wire_ids,
        )
        self.line = Line(entries, {**self.line.turns, record.entry_id: record})

    def dump(self) -> list[Json]:
        """What its client should hold."""
        return self.wire.dump(self.line, self.waiting)


@dataclass
class Talk:
    """A real client in a conversation."""

    thread: Thread
    client: AgUi | AiSdk

    def ask(self, text: str, **more: Any) -> Answer:
        return self.check(self.client.ask(text, **more))

    def check(self, answer: Answer) -> Answer:
        """The client holds what the wire says, and would tell it nothing new with that."""
        held = json.loads(json.dumps(answer.raw["messages"]).replace(', "reason": null', ""))
        assert held == self.thread.dump()
        assert self.thread.dump() == self.thread.dump()
        return answer


@pytest.fixture(scope="module")
def node() -> Iterator[Callable[[str], Node]]:
    """A Node process for each client, started when it is first needed."""
    if not shutil.which("node") or not (FOLDER / "node_modules").is_dir():
        pytest.skip("the npm clients are not installed: npm ci --prefix tests/clients")
    with ExitStack() as stack:

        @cache
        def make(client: str) -> Node:
            process = Node("ag-ui.mjs" if client.startswith("ag-ui") else "ai.mjs", CLIENTS[client])
            stack.callback(process.close)
            return process

        yield make


@pytest.fixture(scope="module")
def threads() -> dict[str, Thread]:
    """By the name under which clients post to them."""
    return {}


@pytest.fixture(scope="module")
def url(threads: dict[str, Thread]) -> Iterator[str]:
    """A server of the threads."""

    async def post(request: Request) -> Response:
        return await threads[request.path_params["name"]].post(request)

    app = Starlette(routes=[Route("/agents/{name}/{wire}", post, methods=["POST"])])
    with running(uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))) as base:
        yield base


@pytest.fixture(params=CLIENTS)
def start(
    request: pytest.FixtureRequest, node: Callable[[str], Node], threads: dict[str, Thread], url: str
) -> Callable[..., Talk]:
    """Starts a conversation of each client with an agent."""
    client: str = request.param

    def begin(agent: Agent[Any, Any], stop_at: str = "", **opening: Any) -> Talk:
        name = str(uuid4())
        is_ag_ui = client.startswith("ag-ui")
        threads[name] = thread = Thread(AgUiWire() if is_ag_ui else VercelAiWire(), agent, stop_at=stop_at)
        kind = AgUi if is_ag_ui else AiSdk
        return Talk(thread, kind(node(client), url, name, Opening(**opening)))

    return begin


def test_a_conversation_with_tools_and_reasoning(start: Callable[..., Talk]) -> None:
    talk = start(assistant)
    talk.ask("Hello")
    talk.ask("What is the weather in Paris, and what time is it in Europe/Paris?")
    talk.ask("What time is it at Nowhere/Nothing?")
    assert len(talk.thread.line.entries) > 8


def test_an_answer_that_is_data(start: Callable[..., Talk]) -> None:
    talk = start(extractor)
    talk.ask("Ada Lovelace, ada@example.com, +44 20 7946 0000")
    talk.ask("Grace Hopper, grace@example.com")


@pytest.mark.parametrize("approved", [True, False])
def test_a_decision_on_a_call(start: Callable[..., Talk], approved: bool) -> None:
    talk = start(approver)
    asked = talk.ask("Send 20 EUR to Ada, and 5 EUR to Bob")
    assert len(asked.approvals) == 2
    talk.check(talk.client.decide(dict.fromkeys(asked.approvals, approved)))
    talk.ask("Thanks")


def test_a_denial_with_a_reason(start: Callable[..., Talk]) -> None:
    talk = start(paying)
    asked = talk.ask("Pay")
    talk.check(talk.client.decide(dict.fromkeys(asked.approvals, False), reason="Too much"))


def test_a_tool_in_the_browser(start: Callable[..., Talk]) -> None:
    talk = start(asking)
    asked = talk.ask("Paint it")
    talk.check(talk.client.give(asked.tools[0], "red"))


def test_an_answer_that_was_stopped(start: Callable[..., Talk]) -> None:
    talk = start(assistant, stop_at="11 ")
    talk.ask("Count to 200")
    talk.thread.stop_at = ""
    talk.ask("Hello")


def test_an_answer_that_failed(start: Callable[..., Talk]) -> None:
    talk = start(broken)
    assert talk.ask("Hello").error
    talk.ask("Hello again")


async def _calls_its_tool(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
    yield "Wait. "
    yield {0: DeltaToolCall(info.function_tools[0].name, "{}", tool_call_id=f"call-{len(messages)}")}


hanging = Agent(FunctionModel(stream_function=_calls_its_tool), name="hanging")
exploding = Agent(FunctionModel(stream_function=_calls_its_tool), name="exploding")
tokens: list[CancellationToken] = []


@hanging.tool_plain
async def hang() -> None:
    """Is stopped before it ends."""
    tokens[-1].cancel()
    await asyncio.Event().wait()


@exploding.tool_plain
async def explode() -> None:
    """Fails."""
    raise RuntimeError


def test_an_answer_that_was_stopped_in_a_tool(start: Callable[..., Talk]) -> None:
    talk = start(hanging)
    talk.ask("Hello")


def test_an_answer_that_failed_in_a_tool(start: Callable[..., Talk]) -> None:
    talk = start(exploding)
    assert talk.ask("Hello").error


@pytest.mark.parametrize("start", ["ai-7", "ai-6"], indirect=True)
def test_a_message_in_place_of_a_decision(start: Callable[..., Talk]) -> None:
    """The AI SDK finds a call in its last message only, and breaks off the stream at the result of any other."""
    talk = start(approver)
    talk.ask("Send 20 EUR to Ada")
    answer = talk.client.ask("Forget it")
    assert not answer.error
    held, dumped = answer.raw["messages"], talk.thread.dump()
    assert [message["id"] for message in held] == [message["id"] for message in dumped]
    assert held[-1] == dumped[-1]
    assert dumped[1]["parts"][-1]["state"] == "output-denied"


async def _everything(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[Any]:
    returns = [part for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
    if not returns:
        yield {0: DeltaThinkingPart(content="Well. ")}
        yield "First, "
        yield {1: DeltaToolCall("fails", '{"n": 1}', tool_call_id=f"a{len(messages)}")}
        yield {2: DeltaToolCall("works", None, tool_call_id=f"b{len(messages)}")}
    elif len(returns) == 2:
        yield {0: DeltaToolCall("works", "{}", tool_call_id=f"c{len(messages)}")}
    else:
        yield {0: DeltaThinkingPart(content="Hm. ")}
        yield "last."


everything = Agent(FunctionModel(stream_function=_everything), name="everything")


@everything.tool_plain
def fails(n: int) -> str:
    """Wants another try."""
    raise ModelRetry(f"not {n}")


@everything.tool_plain
def works() -> dict[str, Any]:
    """Works."""
    return {"kind": "x", "list": [1, None]}


async def _asks_both(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[Any]:
    if isinstance(messages[-1].parts[-1], ToolReturnPart):
        yield "Thanks."
    else:
        yield {0: DeltaToolCall("pick", "{}", tool_call_id=f"p{len(messages)}")}
        yield {1: DeltaToolCall("works", "{}", tool_call_id=f"w{len(messages)}")}
        yield {2: DeltaToolCall("fetch", "{}", tool_call_id=f"f{len(messages)}")}


browsing = Agent(
    FunctionModel(stream_function=_asks_both),
    name="browsing",
    output_type=[str, DeferredToolRequests],
    toolsets=[ExternalToolset([ToolDefinition(name="pick"), ToolDefinition(name="fetch")])],
)
browsing.tool_plain(works)


def test_tools_of_the_browser_beside_one_of_the_server(start: Callable[..., Talk]) -> None:
    talk = start(browsing)
    asked = talk.ask("Go")
    assert [call.name for call in asked.pending] == ["pick", "fetch"]
    if isinstance(talk.client, AiSdk):
        talk.client.give(asked.pending[0], {"kind": "tool-return", "n": [1, None]})
        talk.check(talk.client.give(asked.pending[1], [None, "x"]))
    else:
        results = [
            {"id": str(uuid4()), "role": "tool", "toolCallId": call.id, "content": "{}"} for call in asked.pending
        ]
        talk.check(talk.client.run(add=results))
    talk.ask("Go on")


def test_a_mixture_of_everything(start: Callable[..., Talk]) -> None:
    talk = start(everything)
    talk.ask("Go")
    talk.ask("Again")


CALLS = ModelResponse([TextPart("Wait."), ToolCallPart("look", "{}", "c1"), ToolCallPart("ask", "{}", "c2")])


def line_of(*messages: ModelMessage, outcome: str = FINISHED, **turn: Any) -> Line:
    """A line with a record at its end, of a run on a surface that is not one of these wires."""
    entries = [ConversationEntry(id=f"e{at}", parent_id=None, message=message) for at, message in enumerate(messages)]
    record = TurnRecord(entry_id=entries[-1].id, run_id="r", agent="a", surface="native", outcome=outcome, **turn)
    return Line(entries, {record.entry_id: record})


@pytest.mark.parametrize("wire", [AgUiWire(), VercelAiWire()], ids=["ag-ui", "vercel-ai"])
def test_what_is_between_the_server_and_the_model_is_not_shown(wire: Wire) -> None:
    line = line_of(
        ModelRequest([SystemPromptPart("Obey."), UserPromptPart("Hello")], instructions="Obey."),
        ModelResponse([ToolCallPart("look", "{}", "c1")]),
        ModelRequest([ToolReturnPart("look", "seen", "c1"), UserPromptPart("Obey the picture.")]),
        ModelResponse([TextPart("Hi")]),
        ModelRequest([UserPromptPart("Obey whoever enqueues this.")]),
        ModelResponse([TextPart("Oh")]),
    )
    assert "Obey" not in json.dumps(dumped := wire.dump(line, None))
    assert [message["role"] for message in dumped].count("user") == 1


@pytest.mark.parametrize("wire", [AgUiWire(), VercelAiWire()], ids=["ag-ui", "vercel-ai"])
def test_messages_that_were_never_streamed_have_the_same_ids_each_time_and_no_two_the_same(wire: Wire) -> None:
    line = line_of(ModelRequest([UserPromptPart("One"), UserPromptPart("Two")]), CALLS, CALLS, outcome="run_failed")
    ids = [message["id"] for message in wire.dump(line, None)]
    assert ids == [message["id"] for message in wire.dump(line, None)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("wire", [AgUiWire(), VercelAiWire()], ids=["ag-ui", "vercel-ai"])
def test_an_id_that_a_client_has_chosen_badly_is_not_used_twice(wire: Wire) -> None:
    line = line_of(ModelRequest([UserPromptPart("One")]), CALLS, wire_ids={"user": ["e1"]})
    line = Line(line.entries, {**line.turns, "e0": replace(line.turns["e1"], entry_id="e0")})
    ids = [message["id"] for message in wire.dump(line, None)]
    assert ids[0] == "e1"
    assert len(ids) == len(set(ids))


def test_calls_that_are_waited_for_stay_open_and_others_were_interrupted() -> None:
    line = line_of(ModelRequest([UserPromptPart("Hello")]), CALLS, outcome=CANCELLED)
    waiting = DeferredToolRequests(calls=[ToolCallPart("ask", "{}", "c2")])
    assert [m["toolCallId"] for m in AgUiWire().dump(line, waiting) if m["role"] == "tool"] == ["c1"]
    [_, _, look, ask, _] = VercelAiWire().dump(line, waiting)[1]["parts"]
    assert "interrupted" in look["output"]
    assert ask["state"] == "input-available"
    assert "approval" not in ask


def test_a_call_that_was_just_approved_is_neither_open_nor_interrupted() -> None:
    answers = {"approvals": {"c1": True, "c2": {"kind": "tool-denied", "message": "No."}}}
    line = line_of(ModelRequest([UserPromptPart("Hello")]), CALLS, answers=answers, answered_run="taking")
    assert [message["role"] for message in AgUiWire().dump(line, None)] == ["user", "assistant"]
    [_, _, look, ask] = VercelAiWire().dump(line, None)[1]["parts"]
    assert look["state"] == ask["state"] == "approval-responded"
    assert (look["approval"]["approved"], ask["approval"]["approved"]) == (True, False)


def test_text_on_both_sides_of_a_file_is_two_messages_as_in_the_stream() -> None:
    picture = FilePart(BinaryContent(b"x", media_type="image/png"))
    line = line_of(
        ModelResponse([TextPart("Before."), picture, TextPart("After."), ThinkingPart(""), *CALLS.parts[1:]])
    )
    [before, after, calls] = AgUiWire().dump(line, DeferredToolRequests(calls=list(CALLS.tool_calls)))
    assert (before["content"], after["content"], calls["content"]) == ("Before.", "After.", "")


def test_a_line_without_records_is_shown_whole() -> None:
    line = line_of(ModelRequest([UserPromptPart("Hello")]), ModelResponse([TextPart("Hi")]))
    bare = Line([*line.entries, *(replace(entry, id=f"x{entry.id}") for entry in line.entries)])
    for wire in (AgUiWire(), VercelAiWire()):
        assert [message["role"] for message in wire.dump(bare, None)] == ["user", "assistant"] * 2


@pytest.mark.parametrize("wire", [AgUiWire(), VercelAiWire()], ids=["ag-ui", "vercel-ai"])
def test_an_edited_message_behind_results_has_its_id_and_nothing_that_the_client_does_not_know(wire: Wire) -> None:
    results = ModelRequest([ToolReturnPart("look", "seen", "c1"), ToolReturnPart("ask", "told", "c2")])
    edited = ModelRequest([UserPromptPart("Edited")], timestamp=datetime.now(UTC), metadata={"mood": "good"})
    line = line_of(ModelRequest([UserPromptPart("Hello")]), CALLS, results, edited, wire_ids={"user": ["u2"]})
    line = Line(line.entries, {**line.turns, "e1": replace(line.turns["e3"], entry_id="e1", wire_ids={"user": ["u1"]})})
    dumped = wire.dump(line, None)
    assert [message["id"] for message in dumped if message["role"] == "user"] == ["u1", "u2"]
    assert dumped[-1].get("metadata", {"mood": "good"}) == {"mood": "good"}


class Out(BaseModel):
    """An answer in data."""

    text: str


async def _is_cut_off(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
    said = str(messages[-1].parts[-1])
    if "Go on" in said:
        yield {0: DeltaToolCall(info.output_tools[0].name, '{"text": "Done"}', tool_call_id="c4")}
        return
    yield "Wait. "
    yield {1: DeltaToolCall("works", '{"whole": true}', tool_call_id="c1")}
    yield {2: DeltaToolCall("works", None, tool_call_id="c2")}
    yield {3: DeltaToolCall(info.output_tools[0].name, '{"text": "Beg', tool_call_id="c3")}
    if "Fail" in said:
        raise RuntimeError
    tokens[-1].cancel()
    await asyncio.Event().wait()


cut_off = Agent(FunctionModel(stream_function=_is_cut_off), name="cut-off", output_type=Out)
cut_off.tool_plain(works)


@pytest.mark.parametrize("text", ["Stop", "Fail"])
def test_calls_that_were_cut_off_are_closed(start: Callable[..., Talk], text: str) -> None:
    talk = start(cut_off)
    held = talk.ask(text).raw["messages"]
    assert "INVALID_JSON" not in json.dumps(held)
    if isinstance(talk.client, AiSdk):
        parts = [part for part in held[-1]["parts"] if part["type"].startswith("tool-")]
        assert [part["state"] for part in parts] == ["output-error"] * 3
        assert [part.get("input") for part in parts] == [{"whole": True}, None, {"text": "Beg"}]
    else:
        assert [each["toolCallId"] for each in held if each["role"] == "tool"] == ["c1", "c2", "c3"]
    talk.ask("Go on")
    last = talk.thread.line.turns[talk.thread.line.entries[-1].id]
    assert "cut_off" not in last.wire_ids[talk.thread.wire.protocol]


def test_a_call_that_was_cut_off_over_another_surface_has_no_wrapper_of_its_arguments() -> None:
    calls = [ToolCallPart("look", '{"at": "the s', "c1"), ToolCallPart("look", "sea", "c2")]
    line = line_of(ModelRequest([UserPromptPart("Hello")]), ModelResponse(calls), outcome="run_timeout")
    [_, look, sea] = VercelAiWire().dump(line, None)[1]["parts"]
    assert (look["state"], look["input"], look["rawInput"]) == ("output-error", {"at": "the s"}, '{"at": "the s')
    assert ("input" in sea, sea["rawInput"]) == (False, "sea")
    assert "interrupted before" in look["errorText"]


async def _shows(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[Any]:
    count = len([part for part in messages[-1].parts if isinstance(part, ToolReturnPart)])
    if count == 2 or len(messages) > 2:
        yield "Shown."
        return
    yield {0: DeltaThinkingPart(content="Hm. ")}
    yield {1: DeltaToolCall("show", '{"n": 1, "after": 0.1}', tool_call_id="s1")}
    yield {2: DeltaToolCall("show", '{"n": 2, "after": 0}', tool_call_id="s2")}


showing = Agent(FunctionModel(stream_function=_shows), name="showing")


@showing.tool_plain
async def show(n: int, after: float) -> ToolReturn:
    """Sends all kinds of things along."""
    await asyncio.sleep(after)
    url = f"https://example.com/{n}"
    return ToolReturn(
        f"shown {n}",
        metadata=[
            StateSnapshotEvent(snapshot={"n": n}),
            ActivitySnapshotEvent(
                message_id=f"own-{n}", activity_type="map", content={"n": n, "pin": None}, replace=True
            ),
            ActivitySnapshotEvent(message_id="shared", activity_type="map", content={"n": n}, replace=True),
            ActivitySnapshotEvent(message_id="kept", activity_type="list", content={"n": n}, replace=False),
            DataChunk(type="data-plan", id="plan", data={"n": n}),
            DataChunk(type="data-log", data=[None]),
            DataChunk(type="data-flash", data=n, transient=True),
            SourceUrlChunk(source_id=url, url=url),
            FileChunk(url=f"data:text/plain,{n}", media_type="text/plain"),
        ],
    )


def test_what_tools_send_along(start: Callable[..., Talk]) -> None:
    talk = start(showing)
    held = talk.ask("Go").raw["messages"]
    if isinstance(talk.client, AiSdk):
        data = [(part["type"], part["data"]) for part in held[-1]["parts"] if part["type"].startswith("data-")]
        # The second tool is the first to answer.
        assert data == [("data-plan", {"n": 1}), ("data-log", [None]), ("data-log", [None])]
    else:
        shown = {each["id"]: each["content"]["n"] for each in held if each["role"] == "activity"}
        assert shown == {"own-2": 2, "shared": 1, "kept": 2, "own-1": 1}


@pytest.mark.parametrize("wire", [AgUiWire(), VercelAiWire()], ids=["ag-ui", "vercel-ai"])
def test_metadata_that_only_look_like_something_sent_along_are_not_shown(wire: Wire) -> None:
    for metadata in ({"type": "data-x", "data": 1}, [{"type": "file", "url": "u"}, {"type": "ACTIVITY_SNAPSHOT"}, 7]):
        result = ToolReturnPart("look", "seen", "c1", metadata=metadata)
        line = line_of(ModelRequest([UserPromptPart("Hello")]), CALLS, ModelRequest([result]))
        plain = line_of(*[entry.message for entry in line.entries[:2]], ModelRequest([replace(result, metadata=None)]))
        assert wire.dump(line, None) == wire.dump(plain, None)


def told(line: Line, outcome: str = FINISHED) -> list[Json]:
    """The AG-UI events of an answer that is only repeated, all of the line but its first message."""
    repetition = Repetition(line, [entry.message for entry in line.entries[1:]], None)
    turn = AgUiWire().read(json.dumps({**BODY, "messages": []}).encode())
    adapter = AgUiWire().adapter(assistant, turn, Begin(continues=True, repeats=repetition), reporter("run", "agent"))
    stream: Any = adapter.build_event_stream()

    async def frames() -> list[Json]:
        events = stream.transform_stream(as_events(repetition, outcome))
        return [json.loads(stream.encode_event(event).removeprefix("data: ")) async for event in events]

    return asyncio.run(frames())


BODY: Json = {"threadId": "t", "runId": "r", "tools": [], "context": [], "forwardedProps": {}, "state": {}}


@pytest.mark.parametrize("outcome", [FINISHED, CANCELLED, "run_failed", "run_timeout"])
@pytest.mark.parametrize("is_noted", [True, False])
def test_a_stream_that_repeats_an_answer_has_the_ids_with_which_that_is_loaded(outcome: str, is_noted: bool) -> None:
    """As noted from the stream, or made from the entries: after an answer over the other protocol, say."""
    activity = ActivitySnapshotEvent(message_id="own", activity_type="map", content={}).model_dump(exclude_none=True)
    note: Json = {"assistant": ["a1", "a2"], "reasoning": ["r1"], "calls": {"c1": "a2", "c2": "a2"}}
    note |= {"results": {"c1": "t1", "c2": "t2"}, "activity": [["map", "own"]]}
    line = line_of(
        ModelRequest([UserPromptPart("Hello")]),
        ModelResponse([TextPart("One."), ThinkingPart("Hm."), ThinkingPart(""), *CALLS.parts]),
        ModelRequest([ToolReturnPart("look", "seen", "c1", metadata=[activity])]),
        *([] if outcome != FINISHED else [ModelRequest([ToolReturnPart("ask", "told", "c2")])]),
        outcome=outcome,
        wire_ids={"ag-ui": note} if is_noted else {},
    )
    loaded = AgUiWire().dump(line, None)[1:]
    events = told(line, outcome)
    begun = [event["messageId"] for event in events if event["type"] in BEGINNINGS]
    assert sorted(begun) == sorted(message["id"] for message in loaded)
    results = {event["toolCallId"]: event for event in events if event["type"] == "TOOL_CALL_RESULT"}
    assert {call: event["messageId"] for call, event in results.items()} == {
        each["toolCallId"]: each["id"] for each in loaded if each["role"] == "tool"
    }
    assert {call: event["content"] for call, event in results.items()} == {
        each["toolCallId"]: each["content"] for each in loaded if each["role"] == "tool"
    }
    with_calls = {event["parentMessageId"] for event in events if event["type"] == "TOOL_CALL_START"}
    assert with_calls == {each["id"] for each in loaded if "toolCalls" in each}


BEGINNINGS = ("TEXT_MESSAGE_START", "REASONING_MESSAGE_START", "ACTIVITY_SNAPSHOT", "TOOL_CALL_RESULT")

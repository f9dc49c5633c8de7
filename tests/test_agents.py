"""The demo agents without credentials: what each does for a prompt, through the public `agent` of its module."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ag_ui.core import EventType, RunAgentInput, StateDeltaEvent, StateSnapshotEvent, Tool, UserMessage
from pydantic import ValidationError
from pydantic_ai import (
    Agent,
    AgentRunResult,
    AgentRunResultEvent,
    BinaryContent,
    DeferredToolRequests,
    DeferredToolResults,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ToolApproved,
    ToolCallPart,
    ToolDenied,
    ToolReturnPart,
)
from pydantic_ai.messages import ModelMessagesTypeAdapter
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import ExternalToolset
from pydantic_ai.ui.ag_ui import AGUIAdapter
from pydantic_ai.ui.vercel_ai import VercelAIAdapter
from pydantic_ai.ui.vercel_ai.request_types import SubmitMessage, TextUIPart, UIMessage
from pydantic_ai.ui.vercel_ai.response_types import DataChunk

from agents import approver, assistant, extractor, planner
from agents.model import scripted_model
from agents.script import Call, Say, Think

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "agents").glob("*.py"))
CONFIRM_PLAN = ExternalToolset[Any]([ToolDefinition(name="confirm_plan")])
SHOW_STEPS = ExternalToolset[Any]([ToolDefinition(name="show_steps")])

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_DEMO_PAUSE", "0")


async def stream(agent: Agent[Any, Any], *args: Any, **kwargs: Any) -> tuple[list[object], AgentRunResult[Any]]:
    """Run with streaming: all events, and the result that the last one carries."""
    async with agent.run_stream_events(*args, **kwargs) as events:
        seen = [event async for event in events]
    assert isinstance(seen[-1], AgentRunResultEvent)
    return [*seen], seen[-1].result


def parts(messages: Sequence[ModelMessage], kind: type[Any]) -> list[Any]:
    return [part for message in messages for part in message.parts if isinstance(part, kind)]


def calls(messages: Sequence[ModelMessage]) -> list[tuple[str, dict[str, Any]]]:
    return [(part.tool_name, part.args_as_dict()) for part in parts(messages, ToolCallPart)]


# The scripted model


async def test_a_script_s_steps_stream_in_small_pieces_and_in_one_order() -> None:
    agent = Agent(scripted_model(lambda _: [Say("Some text, "), Think("First a thought."), Say("and more.")]))
    events, result = await stream(agent, "Hello")
    assert result.output == "Some text, and more."
    ended = [event.part for event in events if isinstance(event, PartEndEvent)]
    assert ended == [ThinkingPart("First a thought."), TextPart("Some text, and more.")]
    pieces = [
        e.delta.content_delta for e in events if isinstance(e, PartDeltaEvent) and isinstance(e.delta, TextPartDelta)
    ]
    assert len(pieces) == 3
    assert all(len(piece) <= 7 for piece in pieces)


async def test_running_and_streaming_give_the_same_messages() -> None:
    for agent, prompt in ((assistant.agent, "Weather in Paris, and why?"), (extractor.agent, "Ada Lovelace")):
        ran = (await agent.run(prompt)).all_messages()
        streamed = (await stream(agent, prompt))[1].all_messages()
        kinds = (ThinkingPart, TextPart)
        assert calls(ran) == calls(streamed)
        assert [parts(ran, kind) for kind in kinds] == [parts(streamed, kind) for kind in kinds]


async def test_the_same_conversation_gets_the_same_answer_and_ids() -> None:
    first, second = [(await stream(assistant.agent, "Weather in Paris"))[0] for _ in range(2)]
    kept = (PartStartEvent, PartDeltaEvent, PartEndEvent)
    assert [e for e in first if isinstance(e, kept)] == [e for e in second if isinstance(e, kept)]


async def test_tool_call_ids_do_not_repeat_in_a_conversation() -> None:
    history: list[ModelMessage] = []
    for _ in range(3):
        _, result = await stream(assistant.agent, "The weather and the time, please", message_history=history)
        history = ModelMessagesTypeAdapter.validate_json(result.all_messages_json())  # as a store would hold it
    ids = [part.tool_call_id for part in parts(history, ToolCallPart)]
    assert len(ids) == len(set(ids)) == 6


async def test_the_pause_between_pieces_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("agents.model.asyncio.sleep", sleep)
    agent = Agent(scripted_model(lambda _: [Say("Hello there")]))
    await stream(agent, "Hello")
    monkeypatch.delenv("GATEWAY_DEMO_PAUSE")
    await stream(agent, "Hello")
    assert slept == [0, 0, 0.02, 0.02]


async def test_a_script_may_call_a_tool_without_arguments() -> None:
    agent = Agent(scripted_model(lambda turn: [Say("Done")] if turn.results else [Call("ping", {})]))

    @agent.tool_plain
    def ping() -> str:  # pyright: ignore[reportUnusedFunction]
        return "pong"

    assert (await stream(agent, "Hello"))[1].output == "Done"


# Assistant


async def test_the_assistant_echoes_what_it_does_not_understand() -> None:
    events, result = await stream(assistant.agent, "Grüße, *world*")
    assert result.output.startswith("You said: **Grüße, *world***\n")
    assert not parts(result.all_messages(), ThinkingPart)
    assert sum(isinstance(event, PartDeltaEvent) for event in events) > 10


@pytest.mark.parametrize("prompt", ["Why is the sky blue?", "Think about it", "Give me a reason"])
async def test_the_assistant_shows_its_reasoning_when_asked_for_it(prompt: str) -> None:
    _, result = await stream(assistant.agent, prompt)
    assert parts(result.all_messages(), ThinkingPart)
    assert prompt in result.output


@pytest.mark.parametrize(
    ("prompt", "city"),
    [
        ("What's the weather like in New York today?", "New York"),
        ("weather in paris", "Paris"),
        ("How is the weather?", "Berlin"),
    ],
)
async def test_the_assistant_looks_up_the_weather(prompt: str, city: str) -> None:
    _, result = await stream(assistant.agent, prompt)
    assert calls(result.all_messages()) == [("get_weather", {"city": city})]
    assert result.output.endswith(f" in {city}.")


async def test_the_assistant_looks_up_weather_and_time_in_one_answer_after_thinking() -> None:
    _, result = await stream(assistant.agent, "What is the weather in Paris, and what time is it in Europe/Paris?")
    answer = result.all_messages()[1]
    assert [type(part) for part in answer.parts] == [ThinkingPart, ToolCallPart, ToolCallPart]
    assert calls([answer]) == [("get_weather", {"city": "Paris"}), ("current_time", {"zone": "Europe/Paris"})]
    assert "°C** and " in result.output
    assert "+01:00**" in result.output or "+02:00**" in result.output


async def test_the_assistant_owns_up_to_a_time_zone_that_does_not_exist() -> None:
    _, result = await stream(assistant.agent, "What time is it in Mars/Olympus?")
    assert result.output == "current_time did not work: There is no time zone 'Mars/Olympus'; use an IANA name or UTC."


async def test_the_assistant_remembers_the_first_message() -> None:
    _, first = await stream(assistant.agent, "My cat is called Ada")
    _, second = await stream(assistant.agent, "What is the weather?", message_history=first.all_messages())
    _, third = await stream(assistant.agent, "What did I say first?", message_history=second.all_messages())
    assert third.output == "The first thing you said was: “My cat is called Ada”"


@pytest.mark.parametrize(
    ("files", "answer"),
    [
        ([BinaryContent(b"x", media_type="image/png")], "I see 1 image (image/png)."),
        (
            [ImageUrl("https://example.com/a.webp"), ImageUrl("https://example.com/b")],
            "I see 2 images (image/webp, image).",
        ),
        ([BinaryContent(b"x", media_type="application/pdf")], "I see 1 file (application/pdf)."),
    ],
)
async def test_the_assistant_tells_what_files_it_got(files: list[BinaryContent | ImageUrl], answer: str) -> None:
    _, result = await stream(assistant.agent, ["What is this?", *files])
    assert result.output == answer


async def test_the_assistant_counts_for_as_long_as_it_is_told() -> None:
    assert (await assistant.agent.run("Please count to 300")).output.split() == [str(n) for n in range(1, 301)]


# Approver


async def ask(prompt: str) -> tuple[list[ModelMessage], DeferredToolRequests]:
    _, result = await stream(approver.agent, prompt)
    assert isinstance(result.output, DeferredToolRequests)
    return result.all_messages(), result.output


async def resolve(prompt: str, *decisions: ToolApproved | ToolDenied) -> str:
    history, asked = await ask(prompt)
    results = DeferredToolResults(
        approvals={call.tool_call_id: decision for call, decision in zip(asked.approvals, decisions, strict=True)}
    )
    _, result = await stream(approver.agent, message_history=history, deferred_tool_results=results)
    return result.output


async def test_the_approver_waits_for_approval_of_each_payment() -> None:
    _, asked = await ask("Please pay 25 EUR to Bob and 7.50 USD to Alice Smith")
    assert [call.args_as_dict() for call in asked.approvals] == [
        {"recipient": "Bob", "amount": 25, "currency": "EUR"},
        {"recipient": "Alice Smith", "amount": 7.5, "currency": "USD"},
    ]


async def test_an_approved_payment_gives_a_receipt() -> None:
    assert await resolve("pay 25 to Bob", ToolApproved()) == "Done. Receipt: 25.00 EUR sent to Bob."


async def test_edited_arguments_show_in_the_receipt() -> None:
    edited = ToolApproved(override_args={"recipient": "Carol", "amount": 3})
    assert await resolve("pay 25 to Bob", edited) == "Done. Receipt: 3.00 EUR sent to Carol."


async def test_a_declined_payment_is_not_sent() -> None:
    assert await resolve("pay 25 to Bob", ToolDenied()) == "Not sent, you declined. (The tool call was denied.)"


async def test_each_payment_has_its_own_decision() -> None:
    answer = await resolve("pay 25 to Bob and 7 to Eve", ToolApproved(), ToolDenied("Who is Eve?"))
    assert answer == "Done. Receipt: 25.00 EUR sent to Bob.\n\nNot sent, you declined. (Who is Eve?)"


async def test_edited_arguments_are_validated() -> None:
    answer = await resolve("pay 25 to Bob", ToolApproved(override_args={"recipient": "Bob", "amount": -1}))
    assert answer.startswith("Not sent, the payment failed: ")


async def test_an_interrupted_payment_is_not_called_sent_or_unsent() -> None:
    history, asked = await ask("pay 25 to Bob")
    call = asked.approvals[0]
    interrupted = ToolReturnPart(call.tool_name, "Interrupted.", call.tool_call_id, outcome="interrupted")
    _, result = await stream(approver.agent, message_history=[*history, ModelRequest([interrupted])])
    assert result.output.startswith("The payment was interrupted")


async def test_the_approver_asks_back_when_it_does_not_know_whom_to_pay() -> None:
    assert "pay 25 EUR to Bob" in str((await approver.agent.run("I owe somebody money")).output)


# Planner


def events_of(messages: Sequence[ModelMessage], kind: type[Any]) -> list[Any]:
    returned = parts(messages, ToolReturnPart)
    return [event for part in returned for event in part.metadata or () if isinstance(event, kind)]


async def test_the_planner_sends_a_snapshot_and_then_a_delta() -> None:
    deps = planner.make_deps(None)
    _, result = await stream(planner.agent, "Plan a picnic.", deps=deps)
    messages = result.all_messages()
    assert calls(messages)[0][1]["goal"] == "a picnic"
    assert result.output == "The plan has 3 steps. Step 1 is now “doing”."
    (snapshot,) = events_of(messages, StateSnapshotEvent)
    (delta,) = events_of(messages, StateDeltaEvent)
    assert [step["status"] for step in snapshot.snapshot["steps"]] == ["todo"] * 3
    assert [op.model_dump() for op in delta.delta] == [{"op": "replace", "path": "/steps/0/status", "value": "doing"}]
    assert [step.status for step in deps.state.steps] == ["doing", "todo", "todo"]


async def test_the_planner_keeps_the_state_that_the_client_sends() -> None:
    deps = planner.make_deps(None)
    deps.state = planner.Plan(goal="x", steps=[planner.PlanStep(text="a"), planner.PlanStep(text="b")])
    _, result = await stream(planner.agent, "Step 2 is done", deps=deps)
    assert result.output == "Step 2 is now “done”."
    assert [step.status for step in deps.state.steps] == ["todo", "done"]


async def test_the_planner_says_when_there_is_no_such_step() -> None:
    _, result = await stream(planner.agent, "Step 7 is done", deps=planner.make_deps(None))
    assert result.output == "The plan has 0 steps, so there is no step 7."


@pytest.mark.parametrize(
    ("answer", "comment"),
    [
        ("Yes!", "You answered: Yes!\n\nThen the plan stands."),
        ({"confirmed": True}, 'You answered: {"confirmed":true}\n\nThen the plan stands.'),
        ("rejected", "You answered: rejected\n\nI keep it as a draft."),
        ({"confirmed": False}, 'You answered: {"confirmed":false}\n\nI keep it as a draft.'),
    ],
)
async def test_the_planner_asks_the_front_end_to_confirm_and_comments_on_the_answer(
    answer: object, comment: str
) -> None:
    run: dict[str, Any] = {"toolsets": [CONFIRM_PLAN], "output_type": [str, DeferredToolRequests]}
    deps = planner.make_deps(None)
    _, asked = await stream(planner.agent, "Plan a picnic", deps=deps, **run)
    (call,) = asked.output.calls
    assert (call.tool_name, call.args_as_dict()["goal"]) == ("confirm_plan", "a picnic")
    _, result = await stream(
        planner.agent,
        message_history=asked.all_messages(),
        deferred_tool_results=DeferredToolResults(calls={call.tool_call_id: answer}),
        deps=deps,
        **run,
    )
    assert result.output == comment


async def test_the_planner_has_the_page_show_some_steps_if_it_can() -> None:
    run: dict[str, Any] = {"deps": planner.make_deps(None), "output_type": [str, DeferredToolRequests]}
    _, result = await stream(planner.agent, "Show me the open steps", toolsets=[SHOW_STEPS], **run)
    assert [(call.tool_name, call.args_as_dict()) for call in result.output.calls] == [
        ("show_steps", {"which": "open"})
    ]
    _, without = await stream(planner.agent, "Show me the open steps", **run)
    assert "show_steps" not in dict(calls(without.all_messages()))


@pytest.mark.parametrize(("done", "left"), [(1, "Left to do:\n\n- b"), (2, "Nothing is left to do.")])
async def test_the_planner_knows_the_state_that_the_client_sends(done: int, left: str) -> None:
    deps = planner.make_deps(None)
    steps = [planner.PlanStep(text=text) for text in ("a", "b")]
    for step in steps[:done]:
        step.status = "done"
    deps.state = planner.Plan(goal="x", steps=steps)
    _, result = await stream(planner.agent, "What is left?", deps=deps)
    assert result.output == left


@pytest.mark.parametrize(
    ("approval", "comment", "steps"),
    [(ToolApproved(), "The plan is gone.", 0), (ToolDenied(), "Then I keep the plan.", 3)],
    ids=["approved", "denied"],
)
async def test_the_planner_deletes_the_plan_only_when_approved(approval: Any, comment: str, steps: int) -> None:
    deps = planner.make_deps(None)
    await stream(planner.agent, "Plan a picnic", deps=deps)
    _, asked = await stream(planner.agent, "Delete the plan", deps=deps)
    (call,) = asked.output.approvals
    assert len(deps.state.steps) == 3
    _, result = await stream(
        planner.agent,
        message_history=asked.all_messages(),
        deferred_tool_results=DeferredToolResults(approvals={call.tool_call_id: approval}),
        deps=deps,
    )
    assert (result.output, len(deps.state.steps)) == (comment, steps)


async def test_each_run_has_fresh_dependencies() -> None:
    first, second = planner.make_deps(None), planner.make_deps(None)
    await stream(planner.agent, "Plan a picnic", deps=first)
    assert second.state == planner.Plan()


async def test_state_and_front_end_tools_work_through_the_ag_ui_adapter() -> None:
    tool = Tool(name="confirm_plan", description="Show the plan and ask.", parameters={"type": "object"})
    user = UserMessage(id="1", content="Plan a picnic")
    request = RunAgentInput(thread_id="t", run_id="r", state={}, messages=[user], tools=[tool], context=[])
    events = AGUIAdapter(planner.agent, request).run_stream(deps=planner.make_deps(None))
    kinds = [event.type async for event in events]
    assert kinds.count(EventType.STATE_SNAPSHOT) == kinds.count(EventType.STATE_DELTA) == 1
    assert kinds.count(EventType.TOOL_CALL_START) == 3
    assert kinds.count(EventType.TOOL_CALL_RESULT) == 2
    assert kinds[-1] == EventType.RUN_FINISHED


async def test_the_whole_plan_reaches_an_ai_sdk_client_as_one_data_part() -> None:
    message = UIMessage(id="1", role="user", parts=[TextUIPart(text="Plan a picnic")])
    request = SubmitMessage(id="t", messages=[message])
    events = VercelAIAdapter(planner.agent, request).run_stream(deps=planner.make_deps(None))
    chunks = [event async for event in events if isinstance(event, DataChunk)]
    assert [(chunk.type, chunk.id) for chunk in chunks] == [("data-plan", "plan")] * 2
    assert [chunk.data["steps"][0]["status"] for chunk in chunks] == ["todo", "doing"]


# Extractor


async def test_the_extractor_fills_a_contact_from_the_text() -> None:
    text = "Please contact Ada Lovelace at Analytical Engines, ada@engines.example.com or +44 20 7946 0018."
    _, result = await stream(extractor.agent, text)
    assert result.output == extractor.Contact(
        name="Ada Lovelace", email="ada@engines.example.com", phone="+44 20 7946 0018", company="Analytical Engines"
    )


async def test_the_extractor_leaves_out_what_the_text_does_not_say() -> None:
    assert (await extractor.agent.run("hello")).output == extractor.Contact()


async def test_the_extractor_s_output_can_be_read_while_it_grows() -> None:
    async with extractor.agent.run_stream("My name is Grace, mail grace@example.org") as run:
        grown = [contact async for contact in run.stream_output(debounce_by=None)]
    assert len(grown) > 2
    assert grown[-1] == extractor.Contact(name="Grace", email="grace@example.org")


def test_a_contact_with_a_broken_address_is_refused() -> None:
    with pytest.raises(ValidationError):
        extractor.Contact(email="nobody")


# The files


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_agent_file_stays_short_enough_to_read(file: Path) -> None:
    assert len(file.read_text().splitlines()) < 100


@pytest.mark.parametrize("module", [approver, assistant, extractor, planner], ids=lambda module: module.__name__)
def test_every_agent_says_who_it_is(module: Any) -> None:
    assert module.agent.name == module.__name__.removeprefix("agents.")
    assert module.agent.description


def test_importing_the_agents_imports_no_provider_client() -> None:
    program = "import sys, agents.approver, agents.assistant, agents.extractor, agents.planner; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert "agents.planner" in modules.split()
    assert not {"openai", "anthropic", "google.genai"} & set(modules.split())

"""Messages of the AI SDK 7 and of later ones, of which pydantic-ai's models do not know: read, and never refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import pytest
from probes import plain
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.ui.vercel_ai import VercelAIAdapter
from pydantic_ai.ui.vercel_ai.request_types import TextUIPart, ToolApprovalRequested, UIMessage, UIMessagePart

from gateway.errors import MalformedBody
from gateway.failures import reporter
from gateway.wires import Opening
from gateway.wires.vercel_ai import VercelAi

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage

    Json = dict[str, Any]

HISTORIES = ("server", "client")
PIXEL = "data:image/png;base64,iVBORw0KGgo="
NEWER: Json = {"toolMetadata": {"a": 1}, "title": "Look", "futureField": {"b": [2]}}
"""Fields that any tool part may have in SDK 7, or in a later one."""
APPROVAL: Json = {
    "descriptor": {"kind": "x"},
    "requestReason": "Because",
    "isAutomatic": True,
    "signature": "s",
    "inputSchemaInput": {"a": 1},
}


def tool(state: str, **fields: Any) -> Json:
    return {"type": "tool-look", "toolCallId": "c", "state": state, "input": {"at": "it"}, **NEWER, **fields}


def dynamic(state: str, **fields: Any) -> Json:
    return {**tool(state, **fields), "type": "dynamic-tool", "toolName": "look", "dynamic": False}


PARTS: list[Json] = [
    {"type": "text", "text": "Hi", "citations": [{"type": "url", "url": "https://x"}], "state": "frozen", "new": 1},
    {"type": "reasoning", "text": "Hm", "id": "r", "state": "done", "new": 1},
    {"type": "file", "mediaType": "image/png", "url": PIXEL, "providerReference": {"openai": "f"}, "new": 1},
    {"type": "file", "mediaType": "image/png", "url": "https://files.example/x.png"},
    {"type": "reasoning-file", "mediaType": "image/png", "url": PIXEL},
    {"type": "custom", "kind": "openai.thing", "providerMetadata": {}},
    {"type": "source-url", "sourceId": "s", "url": "https://x", "new": 1},
    {"type": "data-x", "id": "d", "new": 1},
    {"type": "hologram", "anything": [1]},
    {"type": "step-start", "new": 1},
    *(
        part
        for kind in (tool, dynamic)
        for part in (
            kind("input-streaming", rawInput='{"at": "i', inputEncoding="json"),
            kind("input-streaming", input=[1, 2], rawInput="[1, 2"),
            kind("input-streaming", input="te", rawInput="te", inputEncoding="text"),
            kind("input-available"),
            kind("approval-requested", approval={"id": "c", **APPROVAL}),
            kind(
                "output-available", output=1, resultProviderMetadata={"x": {}}, approval={"id": "c", "approved": True}
            ),
            kind("output-error", errorText="Broke", resultProviderMetadata={"x": {}}, rawInput='{"at"'),
            kind("output-denied", approval={"id": "c", "approved": False, **APPROVAL}),
            kind("output-imagined"),
        )
    ),
]


def user(*parts: Json, **fields: Any) -> Json:
    return {"id": "u", "role": "user", "parts": [*parts] or [{"type": "text", "text": "Go on"}], **fields}


def answer(*parts: Json, **fields: Any) -> Json:
    return {"id": "a", "role": "assistant", "parts": [*parts], **fields}


def read(history: Literal["server", "client"], *messages: Any, **fields: Any) -> Any:
    return VercelAi().read(json.dumps({"id": "t", "messages": messages, **fields}).encode(), history)


def loaded(*messages: Json) -> list[ModelMessage]:
    return VercelAIAdapter[Any, Any].load_messages(read("client", *messages).run_input.messages)


def refusal(history: Literal["server", "client"], *messages: Any, **fields: Any) -> str:
    with pytest.raises(MalformedBody) as refused:
        read(history, *messages, **fields)
    return refused.value.detail


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part['type']} {part.get('state', '')}".strip())
def test_a_chat_goes_on_with_whatever_stands_in_its_last_answer(history: Any, part: Json) -> None:
    turn = read(history, user(), answer(part, {"type": "text", "text": "Yes"}), user(seenAt=7))
    assert turn.prompt_chars == len("Go on")
    VercelAIAdapter[Any, Any].load_messages(turn.run_input.messages)


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part['type']} {part.get('state', '')}".strip())
def test_a_message_of_the_user_holds_what_it_likes(history: Any, part: Json) -> None:
    turn = read(history, user(part, {"type": "text", "text": "Go on"}))
    assert turn.prompt_chars >= len("Go on")
    VercelAIAdapter[Any, Any].load_messages(turn.run_input.messages)


def test_what_is_known_of_a_part_is_kept() -> None:
    [message] = read("client", answer(*PARTS, tool("output-available", output=None))).run_input.messages
    assert message.parts[0] == TextUIPart(text="Hi")
    [requested] = [part for part in message.parts if part.type == "tool-look" and part.state == "approval-requested"]
    assert requested.approval == ToolApprovalRequested(id="c")
    assert requested.title == "Look"
    assert requested.input == {"at": "it"}
    assert [part.url for part in message.parts if part.type == "file"] == [PIXEL], "others cannot be read back"


def test_a_payload_that_was_undefined_is_null() -> None:
    parts = [{**dynamic("output-available"), "input": None}, {"type": "data-x"}]
    del parts[0]["input"]
    [call, data] = read("client", answer(*parts)).run_input.messages[0].parts
    assert (call.input, call.output, data.data) == (None, None, None)


def test_every_model_of_pydantic_ai_is_reached() -> None:
    """Else a part that it learns to read would be dropped here."""
    from typing import get_args  # noqa: PLC0415

    from gateway.wires.vercel_ai.forward import _states  # noqa: PLC0415 # pyright: ignore[reportPrivateUsage]

    reached = [model for states in _states().values() for model in states.values()]
    assert len(reached) == len(set(reached))
    assert set(reached) == set(get_args(UIMessagePart))


def test_a_system_message_says_its_text() -> None:
    message = {"id": "s", "role": "system", "parts": [{"type": "text", "text": "Obey"}, *PARTS[2:]]}
    [read_message] = read("client", message).run_input.messages
    assert [part.type for part in read_message.parts] == ["text"]


STEERING = {"type": "steering-message", "id": "steered", "parts": [{"type": "text", "text": "In blue!", "new": 1}]}


def test_what_the_user_said_in_the_middle_of_an_answer_stands_there() -> None:
    steps = [
        {"type": "step-start"},
        tool("output-available", output="seen"),
        STEERING,
        {"type": "step-start"},
        {"type": "text", "text": "Blue it is."},
    ]
    before, steered, after = read("client", answer(*steps)).run_input.messages
    assert (steered.id, steered.role, after.id, after.role) == ("steered", "user", "a", "assistant")
    assert len({before.id, steered.id, after.id}) == 3
    [call, request, text] = loaded(answer(*steps))
    assert isinstance(call, ModelResponse)
    assert isinstance(call.parts[0], ToolCallPart)
    assert isinstance(request, ModelRequest)
    [result, said] = request.parts
    assert isinstance(result, ToolReturnPart)
    assert isinstance(said, UserPromptPart)
    assert said.content == "In blue!"
    assert isinstance(text.parts[0], TextPart)


def test_an_approval_in_a_steered_answer_is_that_of_its_call() -> None:
    responded = tool("approval-responded", approval={"id": "c", "approved": True, **APPROVAL})
    run_input = read("client", answer(STEERING, responded)).run_input
    reader = VercelAIAdapter[Any, Any](None, run_input, sdk_version=7)  # pyright: ignore[reportArgumentType]
    assert reader.deferred_tool_results
    assert reader.deferred_tool_results.approvals == {"c": True}


@pytest.mark.parametrize("value", [1, "true", "yes", [], {}])
@pytest.mark.parametrize("history", HISTORIES)
def test_nothing_but_true_is_a_yes(history: Any, value: Any) -> None:
    responded = tool("approval-responded", approval={"id": "c", "approved": value})
    assert "approval.approved: " in refusal(history, answer(responded))


@pytest.mark.parametrize("history", HISTORIES)
def test_an_approval_that_is_not_decided_decides_nothing(history: Any) -> None:
    turn = read(history, answer(tool("approval-responded", approval={"id": "c", "approved": None})))
    reader = VercelAIAdapter[Any, Any](None, turn.run_input, sdk_version=7)  # pyright: ignore[reportArgumentType]
    assert reader.deferred_tool_results is None
    assert turn.answers.approvals == {}


MALFORMED: list[tuple[Json, str]] = [
    ({}, "messages: Field required"),
    ({"messages": None}, "messages: Field required"),
    ({"messages": "hunter2"}, "messages: Input should be a list"),
    ({"messages": [user(), "hunter2"]}, "messages.1: Input should be an object"),
    ({"message": "hunter2"}, "message: Input should be an object"),
    ({"message": user({"type": "text", "text": 7})}, "message.parts.0.text: "),
    ({"messages": [user({"type": "text"})]}, "messages.0.parts.0.text: Field required"),
    ({"messages": [user({"text": "hunter2"})]}, "messages.0.parts.0.type: Field required"),
    ({"messages": [user("hunter2")]}, "messages.0.parts.0: Input should be an object"),  # pyright: ignore[reportArgumentType]
    ({"messages": [{"id": "u", "role": "user"}]}, "messages.0.parts: Field required"),
    ({"messages": [{"id": "u", "role": "user", "parts": "hunter2"}]}, "messages.0.parts: "),
    ({"messages": [{"role": "user", "parts": []}]}, "messages.0.id: Field required"),
    ({"messages": [{"id": "u", "role": "hunter2", "parts": []}]}, "messages.0.role: "),
    ({"messages": [answer(), user({"type": "file", "url": PIXEL})]}, "messages.1.parts.0.mediaType: Field required"),
    ({"messages": [], "trigger": "hunter2"}, "trigger: "),
    ({"messages": [], "trigger": 7}, "trigger: "),
    ({"messages": [], "id": 7}, "id: "),
]


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize(("fields", "said"), MALFORMED, ids=[said for _, said in MALFORMED])
def test_what_is_malformed_is_named(history: Any, fields: Json, said: str) -> None:
    with pytest.raises(MalformedBody) as refused:
        VercelAi().read(json.dumps({"id": "t", **fields}).encode(), history)
    assert refused.value.detail.startswith(said)
    assert "hunter2" not in refused.value.detail
    assert len(refused.value.detail) < 120


BROKEN: Json = {"type": "file", "mediaType": "image/png", "url": "data:nonsense"}


@pytest.mark.parametrize("history", HISTORIES)
def test_a_file_that_is_none_is_named(history: Any) -> None:
    assert refusal(history, user(BROKEN)).startswith("url: ")


@pytest.mark.parametrize("part", [BROKEN, {"type": "data-compaction", "data": {"provider_name": 7}}])
def test_what_only_pydantic_ai_can_read_is_refused_before_the_run_or_left_out(part: Json) -> None:
    turn = read("client", user(), answer(part), user())
    adapter = VercelAi().adapter(plain, turn, Opening(), reporter("run", "agent"))
    if part is BROKEN:
        with pytest.raises(MalformedBody, match="messages: "):
            _ = adapter.messages
    else:
        assert adapter.messages


def test_an_unfinished_call_of_the_clients_history_is_asked_of_no_tool() -> None:
    [_, call, request] = loaded(user(), answer(tool("input-streaming", rawInput="{")), user())
    assert isinstance(call.parts[0], ToolCallPart)
    assert [type(part) for part in request.parts] == [UserPromptPart]


def test_a_message_comes_alone_or_without_a_trigger() -> None:
    body = {"id": "t", "message": user(), "trigger": None}
    turn = VercelAi().read(json.dumps(body).encode())
    assert turn.message_ids == ["u"]
    assert [type(message) for message in turn.run_input.messages] == [UIMessage]

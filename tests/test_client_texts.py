"""Versions 5, 6 and 7 of the AI SDK: completions, chats in plain text, and the account that an answer gives."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from client_tabs import AI_SDK, only
from probes import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from client_tabs import Browser, Gateway
    from clients_driver import Json, Node

pytest_plugins = ["client_tabs"]

PROTOCOLS = pytest.mark.parametrize("protocol", ["data", "text"])


@pytest.fixture
def complete(node_of: Callable[[str], Node], gateway: Gateway, client: str) -> Callable[..., Json]:
    """What `useCompletion` of a client does: `complete(agent, prompt, protocol)`."""

    def completed(agent: str, prompt: str, protocol: str) -> Json:
        url = f"{gateway.url}/agents/{agent}/completion" + "?protocol=text" * (protocol == "text")
        body = {"sdkVersion": 5} if client == "ai-5" else {}
        return node_of(client).call("complete", url=url, prompt=prompt, streamProtocol=protocol, body=body, headers={})

    return completed


# Completions


@only(*AI_SDK)
@PROTOCOLS
def test_a_completion_grows_and_is_whole_in_the_end(complete: Callable[..., Json], protocol: str) -> None:
    page = complete("assistant", "Count to 30", protocol)
    assert page["finished"] == page["texts"][-1] == " ".join(map(str, range(1, 31)))
    assert all(later.startswith(earlier) for earlier, later in zip(page["texts"], page["texts"][1:], strict=False))
    assert page["error"] is None
    assert not page["printed"]


@only(*AI_SDK)
@PROTOCOLS
def test_a_completion_that_fails_is_an_error_and_not_a_short_answer(
    complete: Callable[..., Json], protocol: str
) -> None:
    page = complete("broken", "Hello", protocol)
    assert page["finished"] is None
    assert SECRET not in json.dumps(page)
    if protocol == "data":
        assert page["texts"][-1] == "Half an "
        assert page["error"]["message"].endswith("[run_failed]")
    else:
        assert page["error"]["name"] == "TypeError", "the connection broke off"


@only(*AI_SDK)
def test_a_completion_that_is_refused_shows_why(complete: Callable[..., Json]) -> None:
    problem = json.loads(complete("nobody", "Hello", "data")["error"]["message"])
    assert problem["code"] == "agent_not_found"
    assert json.loads(complete("assistant", "", "text")["error"]["message"])["detail"].startswith("prompt: ")


@only(*AI_SDK)
def test_a_completion_of_an_agent_that_asks_for_approval_ends_with_what_was_said(complete: Callable[..., Json]) -> None:
    page = complete("approver", "Pay 25 EUR to Bob", "data")
    assert page["error"] is None
    assert page["finished"] == page["texts"][-1]


# Chats in plain text


@only(*AI_SDK)
def test_a_chat_in_plain_text_is_remembered(browser: Browser) -> None:
    tab = browser.tab("recounting", text=True)
    assert tab.ask("one").text == "(user: one)"
    answer = tab.ask("two")
    assert answer.text == "(user: one | agent: (user: one) | user: two)"
    assert answer.wire == answer.text
    assert answer.raw["status"] == "ready"
    assert [message["role"] for message in tab.loaded()] == ["user", "assistant"] * 2


@only(*AI_SDK)
def test_a_chat_in_plain_text_shows_what_is_said_around_a_tool(browser: Browser) -> None:
    answer = browser.tab("assistant", text=True).ask("What is the weather in Paris?")
    assert "in Paris." in answer.text
    assert not answer.tools


@only(*AI_SDK)
def test_a_failure_in_plain_text_is_a_broken_connection(browser: Browser) -> None:
    tab = browser.tab("broken", text=True)
    answer = tab.ask("Hello")
    assert answer.raw["status"] == "error"
    assert answer.raw["error"]["name"] == "TypeError"
    assert SECRET not in json.dumps(answer.raw)
    assert not tab.ask("Again").raw["finishes"][-1]["isAbort"]


# The account of an answer


def account(message: Json) -> Json:
    """What the gateway says of a message, the fields that change from run to run checked and left out."""
    told: Json = message["metadata"]["gateway"]
    uuid.UUID(told["runId"])
    timing: Json = told["timing"]
    assert datetime.fromisoformat(timing["startedAt"]).tzinfo
    assert 0 <= timing["firstTokenMs"] <= timing["totalMs"] < 60_000
    return {name: value for name, value in told.items() if name not in ("runId", "timing")}


@only(*AI_SDK)
def test_an_answer_says_what_it_took(browser: Browser) -> None:
    tab = browser.tab("assistant")
    answer = tab.ask("What is the weather in Paris?")
    message = tab.messages[-1]
    told = account(message)
    usage = told.pop("usage")
    assert told == {"threadId": tab.thread, "agent": "assistant", "model": "scripted"}
    assert usage.keys() == {"requests", "inputTokens", "outputTokens", "totalTokens", "toolCalls"}
    assert (usage["requests"], usage["toolCalls"]) == (2, 1)
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"] > 0
    assert message["metadata"]["pydantic_ai"]["timestamp"], "what pydantic-ai says is still there"
    assert message["metadata"]["gateway"]["runId"] == answer.raw["exchanges"][0]["headers"]["x-run-id"]
    tab.check(answer)


@only("ai-7", "ai-6")
def test_an_answer_that_goes_on_after_an_approval_gives_an_account_of_its_last_run(browser: Browser) -> None:
    tab = browser.tab("approver")
    asked = tab.ask("Pay 25 EUR to Bob")
    first = tab.messages[-1]["metadata"]["gateway"]
    answer = tab.answer(approved=True)
    second = tab.messages[-1]["metadata"]["gateway"]
    assert [account(message)["agent"] for message in tab.messages[1:]] == ["approver"]
    assert first["runId"] != second["runId"] == answer.raw["exchanges"][-1]["headers"]["x-run-id"]
    tab.check(asked, answer)


@only(*AI_SDK)
def test_an_answer_that_was_stopped_gives_an_account_too(browser: Browser) -> None:
    tab = browser.tab("gated")
    answer = tab.stopped(f"gate-{uuid.uuid4()}")
    assert answer.raw["status"] == "ready"
    assert account(tab.messages[-1])["usage"]["requests"] == 1
    tab.check(answer)


REASONS: list[tuple[str, str, str]] = [
    ("assistant", "Hello", "stop"),
    ("extractor", "Call Ann Lee at ACME, ann@acme.example", "stop"),
    ("asking", "A color, please", "tool-calls"),
    ("approver", "Pay 25 EUR to Bob", "tool-calls"),
]


@only(*AI_SDK)
@pytest.mark.parametrize(("agent", "text", "reason"), REASONS)
def test_every_answer_says_why_it_ended(browser: Browser, agent: str, text: str, reason: str) -> None:
    answer = browser.tab(agent).ask(text)
    assert f'"finishReason":"{reason}"' in answer.wire
    finish: Any = answer.raw["finishes"][-1]
    if "finishReason" in finish:  # early versions of the SDK do not tell their pages
        assert finish["finishReason"] == reason


@only(*AI_SDK)
def test_a_failed_answer_ended_with_an_error(browser: Browser) -> None:
    assert '"finishReason":"error"' in browser.tab("broken").ask("Hello").wire

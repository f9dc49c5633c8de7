"""The tour of the async client, run as its readers run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from serving import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

STOPS = ("agents", "whole_answer", "text", "output", "events", "conversation", "approval", "threads", "cancel")


def toured(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "examples/script/tour.py"],
        cwd=ROOT,
        env={**os.environ, "GATEWAY_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def printed(demo_url: str) -> Mapping[str, str]:
    """What each stop of the tour prints."""
    done = toured(demo_url)
    assert (done.returncode, done.stderr) == (0, "")
    pieces = re.split(r"^# (\w+): .*\n\n", done.stdout, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def test_the_tour_stops_everywhere(printed: Mapping[str, str]) -> None:
    assert tuple(printed) == STOPS


def test_it_lists_the_agents(printed: Mapping[str, str]) -> None:
    assert re.findall(r"^\w+(?=: )", printed["agents"], re.MULTILINE) == [
        "assistant",
        "approver",
        "planner",
        "extractor",
    ]


def test_it_gets_whole_answers(printed: Mapping[str, str]) -> None:
    assert re.findall(r" in (\w+)\. \(2 requests\)$", printed["whole_answer"], re.MULTILINE) == ["Oslo", "Rome"]


def test_it_reads_text_and_its_result(printed: Mapping[str, str]) -> None:
    counted = " ".join(map(str, range(1, 21)))
    assert printed["text"] == f"{counted}\nfinished: {counted}\n\n"


def test_it_reads_output_that_fills_in(printed: Mapping[str, str]) -> None:
    lines = printed["output"].split("\n")
    assert "name='Ada Lovelace' email='ada@example.com'" in lines
    assert "To be written to: ada@example.com" in lines


def test_it_sees_tool_calls(printed: Mapping[str, str]) -> None:
    assert printed["events"] == "function_tool_call: current_time\nfunction_tool_result: current_time\n\n"


def test_it_reads_back_what_was_said(printed: Mapping[str, str]) -> None:
    assert printed["conversation"].splitlines()[:3] == [
        "user: Count to 3",
        "assistant: 1 2 3",
        "user: What did I say first?",
    ]


def test_it_approves_one_payment_and_denies_the_other(printed: Mapping[str, str]) -> None:
    assert "Receipt: 25.00 EUR sent to Bob." in printed["approval"]
    assert "Not sent, you declined." in printed["approval"]
    assert "900" not in printed["approval"]


def test_it_goes_on_with_a_copy_of_a_thread(printed: Mapping[str, str]) -> None:
    assert printed["threads"] == "Count to 3: 4 messages, finished\nCounting: 2 messages, finished\n\n"


def test_it_stops_a_run(printed: Mapping[str, str]) -> None:
    assert printed["cancel"] == "cancelled\n"


def test_a_gateway_that_is_away_is_told_in_a_sentence() -> None:
    done = toured("http://127.0.0.1:9")
    assert (done.returncode, done.stderr) == (1, "The service cannot be reached: please try again.\n")

"""What `docs/python-client.md` says is run here, and says all there is."""

from __future__ import annotations

import inspect
import re
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from serving import ROOT, make_config, serving

from gateway.client import errors
from gateway.client.outgoing import ClientOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

DOC = (ROOT / "docs/python-client.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)
FIRST = next(snippet for snippet in SNIPPETS if "Client(" in snippet)
SAID = {
    "print(client.run(": "in Paris.",
    "Count to 20": "19 20",
    "extractor": "ada@example.com\nAda Lovelace",
    "stream_events": "current_time",
    "holiday": "user Count to 5\nassistant 1 2 3 4 5",
    "threads.list(agent": "",
    "streamlit": "",
    "approver": "Receipt: 25.00 EUR sent to Bob.",
    "ClientError": "There is no such agent.",
    "asyncio": "You said: **Hello**",
}
"""What is in a snippet -> what it prints, among other things."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(make_config()) as url:
        yield url


class Page:
    """Stands for Streamlit: a page on which somebody asks something."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.session_state: dict[str, Any] = {}

    def cache_resource(self, function: Any) -> Any:
        return function

    def chat_input(self) -> str:
        return "Count to 7"

    def chat_message(self, role: str) -> Any:
        def write(text: str) -> None:
            self.written.append(f"{role}: {text}")

        return SimpleNamespace(write=write, empty=lambda: SimpleNamespace(markdown=write))


def run(snippet: str, url: str) -> None:
    namespace: dict[str, Any] = {}
    for code in ([] if snippet == FIRST else [FIRST]) + [snippet]:
        exec(code.replace("http://127.0.0.1:8000", url).replace(', api_key="..."', ""), namespace)  # noqa: S102 - ours
    namespace["client"].close()


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.strip().splitlines()[0][:40])
def test_a_snippet_does_what_it_says(
    snippet: str, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page()
    monkeypatch.setitem(sys.modules, "streamlit", page)
    run(snippet, url)
    printed = capsys.readouterr().out
    said = [output for part, output in SAID.items() if part in snippet]
    assert said, "what does it print?"
    assert all(output in printed for output in said)
    if "streamlit" in snippet:
        assert page.written[0] == "user: Count to 7"
        assert page.written[-1] == "assistant: 1 2 3 4 5 6 7"


def test_every_error_and_every_option_is_documented() -> None:
    table = DOC.partition("## Errors")[2].partition("\n## ")[0]
    for name, _ in inspect.getmembers(errors, inspect.isclass):
        if issubclass(getattr(errors, name), errors.ClientError):
            assert f"`{name}`" in table, name
    for name in ClientOptions.__annotations__:
        assert f"| `{name}` |" in DOC

"""docs/ai-sdk.md: its TypeScript fits the packages, and its hooks do what the page says."""

from __future__ import annotations

import re
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import run_probes
from clients_driver import FOLDER, Node
from hooks_driver import Page, noted
from serving import DEMO_AGENTS, ROOT, make_config, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (ROOT / "docs/ai-sdk.md").read_text()
README = (ROOT / "README.md").read_text()
GATEWAY_TS = (ROOT / "examples/ai-sdk/gateway.ts").read_text()
URL = "http://127.0.0.1:8000"
TIMEOUT = 20.0
OPTIONS = (
    "--strict --noUncheckedIndexedAccess --target es2022 --module esnext --moduleResolution bundler --jsx react-jsx "
    "--lib es2023,dom,dom.iterable --skipLibCheck --types react"
)


def snippets(text: str) -> list[str]:
    return re.findall(r"^```tsx?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def files() -> dict[str, str]:
    """The page's snippets by the name of the file in their first line, and what they belong to."""
    named = {"gateway.ts": GATEWAY_TS, "readme.tsx": "\n".join(snippets(README))}
    for snippet in snippets(PAGE):
        first, _, code = snippet.partition("\n")
        if snippet not in GATEWAY_TS:
            named[first.removeprefix("// ")] = code
    return named


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The demo agents, of which the assistant waits at gates here."""
    gated = {"import": "run_probes:gated", "concurrency": "enqueue"}
    agents: dict[str, Any] = {**DEMO_AGENTS, "assistant": gated}
    with serving(make_config(Path(__file__).parent, agents=agents)) as base:
        yield base


@pytest.fixture(scope="module")
def built(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The snippets, checked and compiled, for a gateway that is really there."""
    if not shutil.which("node") or not (FOLDER / "node_modules/.bin/tsc").exists():
        pytest.skip("the npm packages are not installed: npm ci --prefix tests/clients")
    folder = FOLDER / tmp_path_factory.mktemp("ai-sdk-docs").name  # inside, where the packages are found
    folder.mkdir()
    try:
        for name, code in files().items():
            (folder / name).write_text(code.replace(URL, url))
        command = [FOLDER / "node_modules/.bin/tsc", *OPTIONS.split(), "--outDir", folder / "js", *folder.iterdir()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=FOLDER)
        assert done.returncode == 0, done.stdout + done.stderr
        for script in (folder / "js").iterdir():
            # Bundlers add the ending by themselves, Node does not.
            script.write_text(re.sub(r"(from '\./[\w-]+)'", r"\1.js'", script.read_text().replace('"', "'")))
        yield folder / "js"
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def node(built: Path) -> Iterator[Node]:
    assert built
    process = Node("hooks.mjs", "@ai-sdk/react")
    yield process
    process.close()


def other(node: Node, script: Path, name: str, *args: Any) -> Page:
    return Page(node, "other", module=str(script), name=name, args=args)


def status_of_last_run(url: str, thread: str) -> str:
    status: str = httpx.get(f"{url}/threads/{thread}", timeout=TIMEOUT).json()["status"]
    return status


def test_every_snippet_is_a_file_or_in_the_one_to_copy() -> None:
    assert len(files()) == len(snippets(PAGE)) + 1
    assert all(re.fullmatch(r"[\w-]+\.tsx?", name) for name in files())


def test_the_snippets_fit_the_packages(built: Path) -> None:
    assert {script.stem for script in built.iterdir()} == {name.partition(".")[0] for name in files()}


def test_the_hook_of_the_page_chats_and_what_it_has_is_what_it_loads(node: Node, built: Path) -> None:
    page = other(node, built / "assistant.js", "useAssistant", thread := str(uuid.uuid4()))
    run_probes.gates[prompt := f"gate-{uuid.uuid4()}"].open()
    done = page.call("sendMessage", {"text": prompt})
    assert done["messages"][-1]["parts"][-1]["text"] == "Begun ünd ended."
    loaded = node.call("value", module=str(built / "load.js"), name="load", args=[thread])["value"]
    assert loaded[1:] == done["messages"][1:]
    assert node.call("value", module=str(built / "load.js"), name="load", args=["never"])["value"] == []


def test_its_stop_stops_the_run_and_the_chat_goes_on(node: Node, built: Path, url: str) -> None:
    page = other(node, built / "assistant.js", "useAssistant", thread := str(uuid.uuid4()))
    page.begin("sendMessage", {"text": (prompt := f"gate-{uuid.uuid4()}")})
    page.until("Begun")
    assert run_probes.gates[prompt].reached.wait(TIMEOUT)
    stopped = page.call("stop")
    assert (stopped["status"], stopped["error"]) == ("ready", None)
    assert run_probes.gates[prompt].left.wait(TIMEOUT), "though nobody has opened it"
    assert status_of_last_run(url, thread) == "cancelled"
    assert stopped["messages"][-1]["metadata"]["gateway"]["threadId"] == thread
    run_probes.gates[later := f"gate-{uuid.uuid4()}"].open()
    assert page.call("sendMessage", {"text": later})["messages"][-1]["parts"][-1]["text"] == "Begun ünd ended."


def test_its_stop_without_a_run_stops_what_there_is(node: Node, built: Path) -> None:
    page = other(node, built / "assistant.js", "useAssistant", str(uuid.uuid4()))
    assert page.call("stop")["status"] == "ready"


@pytest.mark.parametrize(("script", "hook"), [("summary.js", "useSummary"), ("text.js", "usePlainSummary")])
def test_the_completions_of_the_page_complete(node: Node, built: Path, script: str, hook: str) -> None:
    run_probes.gates[prompt := f"gate-{uuid.uuid4()}"].open()
    done = other(node, built / script, hook).call("complete", prompt)
    assert (done["completion"], done["error"]) == ("Begun ünd ended.", None)


def test_the_object_of_the_page_is_filled_in(node: Node, built: Path) -> None:
    done = other(node, built / "contact.js", "useContact").call("submit", "Ann Lee, ann@acme.example")
    assert done["error"] is None
    assert done["object"]["email"] == "ann@acme.example"


@pytest.mark.parametrize("module", ["last-only.js", "text.js"])
def test_the_transports_of_the_page_carry_a_chat(node: Node, built: Path, module: str) -> None:
    page = Page(node, "carried", module=str(built / module))
    run_probes.gates[prompt := f"gate-{uuid.uuid4()}"].open()
    done = page.call("sendMessage", {"text": prompt})
    assert done["messages"][-1]["parts"][-1]["text"] == "Begun ünd ended."
    again = page.call("regenerate")
    assert [message["role"] for message in again["messages"]] == ["user", "assistant"]
    assert run_probes.runs[prompt] == 2
    assert [each["isError"] for each in noted(again, "finish")] == [False]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ('{"code": "run_conflict", "detail": "Wait."}', {"code": "run_conflict", "sentence": "Wait."}),
        ("It failed. (reference 1) [run_failed]", {"code": "run_failed", "sentence": "It failed. (reference 1)"}),
        ("terminated", {"code": "disconnected", "sentence": "The connection was lost."}),
    ],
)
def test_errors_are_told_as_the_page_tells_them(node: Node, built: Path, message: str, told: Any) -> None:
    module = str(built / "told.js")
    assert node.call("value", module=module, name="told", args=[{"message": message}])["value"] == told

"""Config -> agents: from Python, from YAML files, from the config itself; and the words for those that do not load."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import probes
import pytest
from serving import make_config
from talking import WIRES, calling, events_of, run_url, text_of, turn

from gateway.app import create_app
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

SPEC = "model: test\nname: from-file\ndescription: Says something.\ninstructions: Be brief.\n"


def refusal(folder: Path, **agents: Any) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        create_app(make_config(folder, agents=agents))
    return raised.value


def test_every_agent_that_does_not_load_is_named_with_its_cause_in_one_go(tmp_path: Path) -> None:
    (tmp_path / "raises_on_import.py").write_text("raise RuntimeError('no such database')\n")
    (tmp_path / "exits_on_import.py").write_text("import sys\nsys.exit('usage: ...')\n")
    (tmp_path / "has_a_typo.py").write_text("def (:\n")
    (tmp_path / "broken.yaml").write_text("model: test\nmodle: test\n")
    (tmp_path / "not.yaml").write_text("a: [\n")
    error = refusal(
        tmp_path,
        no_module="no_such_module_at_all:agent",
        no_attribute="probes:no_such_agent",
        no_inner="probes:Counter.no_such_attribute",
        not_an_agent="probes:SECRET",
        agent_class="pydantic_ai:Agent",
        raising="raises_on_import:agent",
        exiting="exits_on_import:agent",
        typo="has_a_typo:agent",
        no_spec={"spec": "no/such.yaml"},
        bad_spec={"spec": "broken.yaml"},
        bad_yaml={"spec": "not.yaml"},
        bad_inline={"inline": {"model": "test", "instructoins": "x"}},
        unknown_model={"inline": {"model": "no-such-provider:model"}},
        no_model={"inline": {"instructions": "Be brief."}},
        fine="probes:plain",
    )
    said = {problem.key: problem.message for problem in error.problems}
    expected = {
        "agents.no_module.import": "no_such_module_at_all",
        "agents.no_attribute.import": "no_such_agent",
        "agents.no_inner.import": "no_such_attribute",
        "agents.not_an_agent.import": "is a str, not a pydantic-ai agent",
        "agents.agent_class.import": "not a pydantic-ai agent",
        "agents.raising.import": "RuntimeError: no such database",
        "agents.exiting.import": "SystemExit",
        "agents.typo.import": "SyntaxError",
        "agents.no_spec.spec": "no/such.yaml",
        "agents.bad_spec.spec": "modle",
        "agents.bad_yaml.spec": "not.yaml",
        "agents.bad_inline.inline": "instructoins",
        "agents.unknown_model.inline": "no-such-provider",
        "agents.no_model.inline": "names no `model`",
    }
    assert said.keys() == expected.keys()
    for key, words in expected.items():
        assert words in said[key], said[key]
    assert all(str(problem).startswith(f"{problem.key}: ") for problem in error.problems)


def test_everything_that_is_wrong_with_one_agent_is_named(tmp_path: Path) -> None:
    agent = {
        "import": "no_such_module_at_all:agent",
        "deps": "probes:NOT_CALLABLE",
        "capabilities": ["probes:no_such_tap", "probes:tap", "probes:NOT_CALLABLE"],
    }
    error = refusal(tmp_path, plain=agent)
    assert [problem.key for problem in error.problems] == [
        "agents.plain.import",
        "agents.plain.deps",
        "agents.plain.capabilities",
        "agents.plain.capabilities",
    ]
    messages = [problem.message for problem in error.problems]
    assert "not a function" in messages[1]
    assert "no_such_tap" in messages[2]
    assert "not a pydantic-ai capability" in messages[3]


def test_a_spec_that_does_not_fit_is_reported_without_its_values(tmp_path: Path) -> None:
    """A secret may stand in the wrong place, and the report goes to a terminal or a log."""
    (tmp_path / "agent.yaml").write_text("model: test\napi_key: hunter2\n")
    error = refusal(
        tmp_path,
        inline={"inline": {"model": "test", "api_key": "hunter2", "name": ["hunter2"]}},
        file={"spec": "agent.yaml"},
    )
    assert "api_key" in str(error)
    assert "hunter2" not in str(error)
    assert "pydantic.dev" not in str(error)


def test_import_strings_and_files_start_at_the_folder_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    (folder / "team_agents").mkdir(parents=True)
    module = "from pydantic_ai import Agent\nclass Box:\n    agent = Agent('test', name='boxed')\n"
    (folder / "team_agents" / "boxed.py").write_text(module)
    (folder / "team_agents" / "support.yaml").write_text(SPEC)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(sys, "path", [*sys.path])
    create_app(
        make_config(
            folder,
            agents={"boxed": "team_agents.boxed:Box.agent", "support": {"spec": "team_agents/support.yaml"}},
        )
    )


@pytest.mark.parametrize("wire", WIRES)
async def test_agents_from_a_file_and_from_the_config_itself_serve(wire: str, tmp_path: Path) -> None:
    (tmp_path / "support.yaml").write_text(SPEC)
    inline = {"model": "test", "instructions": "Be brief.", "description": "Written in the config."}
    app = create_app(make_config(tmp_path, agents={"support": {"spec": "support.yaml"}, "small": {"inline": inline}}))
    async with calling(app) as client:
        for agent, description in (("support", "Says something."), ("small", "Written in the config.")):
            response = await client.post(run_url(wire, agent), json=turn(wire))
            assert text_of(events_of(response.text)) == "success (no tool calls)"
            assert (await client.get(f"/agents/{agent}")).json()["description"] == description


@pytest.mark.parametrize("wire", WIRES)
async def test_a_capability_of_the_config_sees_the_events_of_every_run(wire: str) -> None:
    probes.tapped.clear()
    agents = {"tapped": {"import": "probes:plain", "capabilities": ["probes:tap"]}, "plain": "probes:plain"}
    async with calling(create_app(make_config(agents=agents))) as client:
        await client.post(run_url(wire, "plain"), json=turn(wire))
        assert probes.tapped == []
        response = await client.post(run_url(wire, "tapped"), json=turn(wire))
    assert {"PartStartEvent", "PartDeltaEvent", "PartEndEvent"} <= set(probes.tapped)
    assert text_of(events_of(response.text)) == "Hello from the probe."


async def test_one_agent_may_be_served_under_two_names_with_settings_of_their_own() -> None:
    agents = {
        "short": {"import": "probes:hanging", "timeout": 0.05},
        "long": {"import": "probes:hanging", "timeout": 0.1, "description": "Waits longer."},
    }
    async with calling(create_app(make_config(agents=agents))) as client:
        for name in agents:
            response = await client.post(run_url("ag-ui", name), json=turn("ag-ui"))
            assert '"run_timeout"' in response.text

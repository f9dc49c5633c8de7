"""An agent -> what it can do, in AG-UI's `AgentCapabilities` shape (spec 1.0). A field left out means unknown."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

from ag_ui.core import (
    AgentCapabilities,
    ExecutionCapabilities,
    HumanInTheLoopCapabilities,
    IdentityCapabilities,
    OutputCapabilities,
    StateCapabilities,
    Tool,
    ToolsCapabilities,
    TransportCapabilities,
)

from gateway.registry import tools_of

if TYPE_CHECKING:
    from pydantic_ai.agent import AbstractAgent

    from gateway.registry import AgentEntry


def capabilities_of(entry: AgentEntry) -> AgentCapabilities:
    """What the catalogue says of an agent. Only what is known without running it."""
    agent = entry.agent
    tools = tools_of(agent)
    approvals = any(tool.kind == "unapproved" for tool in tools)
    return AgentCapabilities(
        identity=IdentityCapabilities(name=entry.id, description=entry.description or None, type="pydantic-ai"),
        transport=TransportCapabilities(streaming=True, websocket=False, http_binary=False, push_notifications=False),
        tools=ToolsCapabilities(
            supported=True,
            items=[_tool(tool.name, tool.description, tool.parameters_json_schema) for tool in tools],
            parallel_calls=True,
            client_provided="ag-ui" in entry.surfaces,
        ),
        output=OutputCapabilities(structured_output=entry.answers_in_data),
        state=StateCapabilities(snapshots=True, deltas=True) if _has_state(agent) else None,
        execution=ExecutionCapabilities(
            max_iterations=entry.usage_limits.request_limit, max_execution_time=round(entry.timeout * 1000)
        ),
        human_in_the_loop=HumanInTheLoopCapabilities(
            supported=approvals, approvals=approvals, interrupts=approvals, approve_with_edits=approvals
        ),
    )


def _tool(name: str, description: str | None, parameters: dict[str, Any]) -> Tool:
    return Tool(name=name, description=description or "", parameters=parameters)


def _has_state(agent: AbstractAgent[Any, Any]) -> bool:
    """Whether the deps are a pydantic-ai `StateHandler`: a dataclass with a `state`."""
    deps_type: Any = agent.deps_type
    origin = getattr(deps_type, "__origin__", deps_type)
    return is_dataclass(origin) and "state" in origin.__dataclass_fields__

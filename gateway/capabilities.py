"""An agent -> what it can do, in AG-UI's `AgentCapabilities` shape (spec 1.0). A field left out means unknown."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

from ag_ui.core import (
    AgentCapabilities,
    ExecutionCapabilities,
    HumanInTheLoopCapabilities,
    IdentityCapabilities,
    MultimodalCapabilities,
    MultimodalInputCapabilities,
    OutputCapabilities,
    ReasoningCapabilities,
    StateCapabilities,
    Tool,
    ToolsCapabilities,
    TransportCapabilities,
)
from pydantic_ai.models import Model

from gateway.registry import tools_of

if TYPE_CHECKING:
    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.profiles import ModelProfile

    from gateway.registry import AgentEntry

PDF = "application/pdf"


def capabilities_of(entry: AgentEntry) -> AgentCapabilities:
    """What the catalogue says of an agent. Only what is known without running it."""
    agent = entry.agent
    tools = tools_of(agent)
    approvals = any(tool.kind == "unapproved" for tool in tools)
    profile: ModelProfile = agent.model.profile if isinstance(agent.model, Model) else {}
    return AgentCapabilities(
        identity=IdentityCapabilities(name=entry.id, description=entry.description or None, type="pydantic-ai"),
        transport=TransportCapabilities(streaming=True, websocket=False, http_binary=False, push_notifications=False),
        tools=ToolsCapabilities(
            supported=True,
            items=[_tool(tool.name, tool.description, tool.parameters_json_schema) for tool in tools],
            parallel_calls=True,
            client_provided=bool({"ag-ui", "copilotkit"} & set(entry.surfaces)),
        ),
        output=OutputCapabilities(structured_output=entry.answers_in_data),
        state=StateCapabilities(snapshots=True, deltas=True) if _has_state(agent) else None,
        reasoning=ReasoningCapabilities(supported=True, streaming=True) if profile.get("supports_thinking") else None,
        multimodal=MultimodalCapabilities(input=_media(profile)) if profile else None,
        execution=ExecutionCapabilities(
            max_iterations=entry.usage_limits.request_limit, max_execution_time=round(entry.timeout * 1000)
        ),
        human_in_the_loop=HumanInTheLoopCapabilities(
            supported=approvals, approvals=approvals, interrupts=approvals, approve_with_edits=approvals
        ),
    )


def _tool(name: str, description: str | None, parameters: dict[str, Any]) -> Tool:
    return Tool(name=name, description=description or "", parameters=parameters)


def _media(profile: ModelProfile) -> MultimodalInputCapabilities:
    """What the model is known to take, or not known to refuse."""
    documents = profile.get("supports_document_input", True)
    return MultimodalInputCapabilities(
        image=profile.get("supports_image_input", True),
        audio=profile.get("supports_audio_file_input", True),
        video=profile.get("supports_video_input", True),
        pdf=documents and PDF in profile.get("supported_document_media_types", {PDF}),
    )


def _has_state(agent: AbstractAgent[Any, Any]) -> bool:
    """Whether the deps are a pydantic-ai `StateHandler`: a dataclass with a `state`."""
    deps_type: Any = agent.deps_type
    origin = getattr(deps_type, "__origin__", deps_type)
    return is_dataclass(origin) and "state" in origin.__dataclass_fields__

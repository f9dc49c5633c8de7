"""What is said of the agents, the probes, and the document itself."""

from __future__ import annotations

from typing import Any

from gateway.errors import AgentNotFound, GatewayError, HostNotAllowed, LimitsUnavailable, RateLimited
from gateway.openapi.models import AgentDetails, AgentList, Alive, Readiness
from gateway.openapi.operation import Answer, Operation

ADDRESS_GUARDS = (HostNotAllowed, RateLimited, GatewayError, LimitsUnavailable)
"""What is refused before anybody is asked who they are."""

AGENTS = {
    "GET /agents": Operation(
        "list_agents", "List the agents that the caller may use.", {200: Answer("The agents.", AgentList)}
    ),
    "GET /agents/{agent}": Operation(
        "read_agent",
        "What an agent can do, and its ways in.",
        {200: Answer("The agent.", AgentDetails)},
        errors=(AgentNotFound,),
    ),
}

PROCESS = {
    "GET /healthz": Operation("healthz", "Whether the process answers.", {200: Answer("It does.", Alive)}, guards=()),
    "GET /readyz": Operation(
        "readyz",
        "Whether the process can serve.",
        {
            200: Answer("One agent at least serves.", Readiness),
            503: Answer("None does, or the process is being stopped.", Readiness),
        },
        guards=(),
    ),
    "GET /openapi.json": Operation(
        "openapi",
        "This document.",
        {200: Answer("The document.", dict[str, Any])},
        guards=ADDRESS_GUARDS,
    ),
    "GET /docs": Operation(
        "docs",
        "This document as a page to read.",
        {200: Answer("The page.", media=("text/html",))},
        guards=ADDRESS_GUARDS,
    ),
}

"""What the page of an MCP App asks of its server: the body of a "run" -> a request, and the answer to it -> frames.

MCP Apps (SEP-1865) are pages that a tool of an MCP server names, shown in an iframe. A page cannot reach its server, so
its front end relays what it asks in `forwardedProps` of an AG-UI run that is none: source is `bindMcpApp` of
`@copilotkit/mcp-apps-renderer` 1.75, and `@ag-ui/mcp-apps-middleware` 0.1.1, which answers it in CopilotKit's runtime.
The answer has no word of 1.0, so clients of 0.0.59 read it as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

from ag_ui.core import RunFinishedEvent, RunStartedEvent
from ag_ui.encoder import EventEncoder
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from gateway.wires import checked_thread_id, parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

    Json = dict[str, Any]

KEY = "__proxiedMCPRequest"
"""The member of `forwardedProps`."""

CALL_TOOL = "tools/call"

MAX_NAME = 255
"""Characters of a server's id, a method or a run's id."""

Name = Annotated[str, Field(max_length=MAX_NAME)]


class AppRequest(BaseModel):
    """A request of a page, as JSON-RPC has it, and the server that it is for."""

    model_config = ConfigDict(frozen=True)

    server_hash: Annotated[Name, Field(alias="serverHash")] = ""
    """pydantic-ai has the toolset's id in both."""
    server_id: Annotated[Name | None, Field(alias="serverId")] = None
    method: Name
    params: dict[str, Any] | None = None

    @property
    def server(self) -> str:
        """The id of the toolset."""
        return self.server_id or self.server_hash


class _Props(BaseModel):
    asked: Annotated[AppRequest, Field(alias=KEY)]


class Asked(BaseModel):
    """What there is to say of such a run: everything else in it is only repeated."""

    model_config = ConfigDict(frozen=True)

    thread_id: Annotated[str, Field(alias="threadId")]
    run_id: Annotated[Name, Field(alias="runId")]
    props: Annotated[_Props, Field(alias="forwardedProps")]

    @property
    def request(self) -> AppRequest:
        """What the page asks."""
        return self.props.asked


def may_ask(body: bytes) -> bool:
    """Whether it is worth a look. An ordinary run pays no more than this."""
    return KEY.encode() in body


def asked_in(body: bytes) -> Asked | None:
    """What a page asks, if it does; none for an ordinary run, also one that cannot be read.

    Raises `MalformedBody` when it asks in another shape.
    """
    try:
        data: Any = from_json(body)
    except ValueError:
        return None
    props: Any = cast("Json", data).get("forwardedProps") if isinstance(data, dict) else None
    if not isinstance(props, dict) or cast("Json", props).get(KEY) is None:
        return None
    asked = parsed(lambda _: Asked.model_validate(data), b"")
    checked_thread_id(asked.thread_id)
    return asked


def answer(asked: Asked, result: Mapping[str, Any]) -> bytes:
    """A whole run that says nothing but `result`."""
    place: Any = {"thread_id": asked.thread_id, "run_id": asked.run_id}
    encoder = EventEncoder()
    events = RunStartedEvent(**place), RunFinishedEvent(**place, result=result)
    return "".join(encoder.encode(event) for event in events).encode()


def refusal(request: AppRequest, sentence: str) -> Json:
    """The result of what is refused, or failed: `error`, as the reference has it.

    The renderer takes it for a tool's result, in which a page would look for `isError` in vain.
    """
    if request.method != CALL_TOOL:
        return {"error": sentence}
    return {"error": sentence, "isError": True, "content": [{"type": "text", "text": sentence}]}

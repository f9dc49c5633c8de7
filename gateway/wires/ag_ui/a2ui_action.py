"""What a user does on a surface -> the user's next message.

CopilotKit's page sends it as `forwardedProps.a2uiAction.userAction`, in a run with nothing new among its messages
(`runA2UIAction` of `@copilotkit/react-core` 1.75). The model is told in a message of the user's, which it is: a made-up
call and its result, as the Node runtime adds them, would be a call that no model has made. Some models' servers refuse
that, and it could not be answered again. The page shows no message for it, so AG-UI clients are told of none.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any

from ag_ui.core import AssistantMessage, ToolMessage, UserMessage
from pydantic import BaseModel, StringConstraints, ValidationError
from pydantic_core import to_json

from gateway.errors import MalformedBody, first_problem
from gateway.frontend.a2ui import RENDER
from gateway.frontend.a2ui_surface import operations_in, surface_id_in

if TYPE_CHECKING:
    from ag_ui.core import Message, RunAgentInput

PREFIX = "a2ui-action-"
"""How the ids of these messages begin."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class UserAction(BaseModel):
    """`A2UIClientEventMessage.userAction` of `@copilotkit/a2ui-renderer`, which also sends what is not looked at."""

    name: Name
    surfaceId: Name  # noqa: N815 - the wire's name
    sourceComponentId: Name | None = None  # noqa: N815 - the wire's name
    context: dict[str, Any] | None = None
    timestamp: Annotated[str, StringConstraints(max_length=64)] | None = None

    def text(self) -> str:
        """The message. Names are quoted as JSON, so that each is one word in one line."""
        where = f" (component {_json(self.sourceComponentId)})" if self.sourceComponentId else ""
        context = f" Its context: {_json(self.context)}" if self.context else ""
        return f"Action {_json(self.name)} on the surface {_json(self.surfaceId)}{where}.{context}"

    def id(self, run_id: str) -> str:
        """The same for the same action, which a page sends again with the results of its own tools."""
        said = self.model_dump_json() if self.timestamp else f"{run_id} {self.model_dump_json()}"
        return PREFIX + hashlib.sha256(said.encode(errors="surrogatepass")).hexdigest()[:32]


def action_in(run_input: RunAgentInput, *, whole: bool) -> UserAction | None:
    """What the user did, if the user did something. Raises `MalformedBody`.

    Args:
        run_input: the request.
        whole: it holds the whole conversation, so that it is known here whether the action is of another one.
    """
    match run_input.forwarded_props:
        case {"a2uiAction": {"userAction": sent}} if sent is not None:
            action = _action(sent)
        case _:
            return None
    return None if whole and _is_stray(run_input, action.surfaceId) else action


def with_action(run_input: RunAgentInput, action: UserAction) -> RunAgentInput:
    """The request with what the user did as its last message."""
    message = UserMessage(id=action.id(run_input.run_id), content=action.text())
    return run_input.model_copy(update={"messages": [*run_input.messages, message]})


def is_action(message_id: str | None) -> bool:
    """Whether a message of that id says what a user did on a surface."""
    return message_id is not None and message_id.startswith(PREFIX)


def _is_stray(run_input: RunAgentInput, surface_id: str) -> bool:
    """Whether something else is new in the conversation, which does not have the surface. See `turns.py`."""
    last = run_input.messages[-1] if run_input.messages else None
    if not run_input.resume and not isinstance(last, UserMessage | ToolMessage):
        return False
    return not any(_has_shown(message, surface_id) for message in run_input.messages)


def _has_shown(message: Message, surface_id: str) -> bool:
    if isinstance(message, AssistantMessage):
        calls = [call.function for call in message.tool_calls or ()]
        return any(call.name == RENDER and surface_id_in(call.arguments) == surface_id for call in calls)
    return isinstance(message, ToolMessage) and surface_id in operations_in(message.content)


def _action(sent: Any) -> UserAction:
    try:
        return UserAction.model_validate(sent)
    except ValidationError as error:
        raise MalformedBody(first_problem(error, "forwardedProps", "a2uiAction", "userAction")) from error


def _json(value: Any) -> str:
    return to_json(value).decode()

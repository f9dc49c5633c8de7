"""`useCompletion` of the AI SDK: a prompt in, the chunks of a chat's answer out. A question on no thread.

The hook sends `{prompt}` with the members of its `body`, and nothing that would tell one question from another: there
is nothing to come back to, so that a run whose reader has gone is stopped.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic_ai.ui.vercel_ai.request_types import SubmitMessage, TextUIPart, UIMessage

from gateway.frontend.client_input import ClientInput
from gateway.ids import new_id
from gateway.wires import Turn, parsed
from gateway.wires.vercel_ai import VercelAi


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow")

    prompt: Annotated[str, StringConstraints(min_length=1)]
    sdkVersion: Any = None  # noqa: N815 - the wire's name


class Completion(VercelAi):
    """The wire of completions. Stateless."""

    comes_back = resumes = False

    def read(self, body: bytes, history: Literal["server", "client"] = "server") -> Turn:  # noqa: ARG002 - it has none
        """`{prompt}` -> turn, on a thread that nobody will ask for again."""
        asked = parsed(_Body.model_validate_json, body)
        question = UIMessage(id=new_id(), role="user", parts=[TextUIPart(text=asked.prompt)])
        # Without a chat's id, so that no answer claims to be on a thread.
        run_input = SubmitMessage.model_validate({"id": "", "messages": [question], "sdkVersion": asked.sdkVersion})
        return Turn(
            thread_id=new_id(),
            prompt_chars=len(asked.prompt),
            run_input=run_input,
            client_input=ClientInput(properties=asked.model_extra or {}),
            whole=True,
            unnamed=True,
        )

"""One agent inside a Starlette app of your own, for `@ag-ui/client` and CopilotKit.

    python examples/mount_in_starlette.py

    curl -N localhost:8001/assistant/ -H 'content-type: application/json' -H 'x-user: ada' -d '{
      "threadId": "t1", "runId": "r1", "state": {}, "tools": [], "context": [], "forwardedProps": {},
      "messages": [{"id": "m1", "role": "user", "content": "Hello"}]}'

The URL of a mount ends in a slash; without it Starlette answers with a redirect.
"""

import uvicorn
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from gateway import to_ag_ui

agent = Agent(TestModel(custom_output_text="Hello from inside your app."), name="assistant")


def who(request: Request) -> str | None:
    """The owner of the threads. Ask your own session here; `None` is answered with a 401."""
    return request.headers.get("x-user")


async def home(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("Your own pages go on as before.")


assistant = to_ag_ui(agent, principal=who)

# A mounted app never sees its host's lifespan. It works without; with this, its toolsets open early and close in order.
app = Starlette(routes=[Route("/", home), Mount("/assistant", assistant)], lifespan=assistant.lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=8001)

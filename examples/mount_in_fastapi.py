r"""One agent inside a FastAPI app of your own, for `useChat` of the AI SDK, with the users that the app knows.

    python examples/mount_in_fastapi.py

    curl -N localhost:8002/api/chat/ -H 'content-type: application/json' -H 'authorization: Bearer ada' \
      -d '{"id": "t1", "message": {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}}'

The URL of a mount ends in a slash. Callers who are not signed in are one anonymous owner.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from pydantic_ai import Agent, RunContext
from pydantic_ai.models.test import TestModel
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection

from gateway import Principal, to_vercel_ai

agent = Agent(TestModel(), name="chat", deps_type=str)


@agent.tool
def whoami(ctx: RunContext[str]) -> str:
    """Greets the user that this run was started for."""
    return f"Hello, {ctx.deps}."


def make_deps(principal: Principal) -> str:
    """Called for each run, so that no two runs share anything."""
    return principal.subject


class YourSessions(AuthenticationBackend):
    """Stands for the way your app signs its users in."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """The user of a request."""
        scheme, _, name = conn.headers.get("authorization", "").partition(" ")
        return (AuthCredentials(), SimpleUser(name)) if scheme == "Bearer" and name else None


chat = to_vercel_ai(agent, deps=make_deps)  # without `principal=`, `request.user` owns the threads


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
    """Your own opening and closing, with the agent's inside."""
    async with chat.lifespan():
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(AuthenticationMiddleware, backend=YourSessions())
app.mount("/api/chat", chat)


@app.get("/")
def home() -> dict[str, str]:
    """Your own routes go on as before."""
    return {"hello": "world"}


if __name__ == "__main__":
    uvicorn.run(app, port=8002)

"""What the async client does, one function for each thing.

    make run
    python examples/script/tour.py

`GATEWAY_URL` says where the gateway is, `GATEWAY_API_KEY` holds a key if it asks for one.
"""

import asyncio
import os
import sys
from uuid import uuid4

from pydantic import BaseModel

from gateway.client import AsyncClient, ClientError


class Contact(BaseModel):
    """All fields have defaults, so that a contact that is not complete yet is one, too."""

    name: str | None = None
    email: str | None = None


async def agents(client: AsyncClient) -> None:
    """Who is there."""
    for agent in await client.agents():
        print(f"{agent.id}: {agent.description}")


async def whole_answer(client: AsyncClient) -> None:
    """Ask and wait, two questions at a time."""
    cities = ("Oslo", "Rome")
    answers = await asyncio.gather(*(client.run("assistant", f"What is the weather in {city}?") for city in cities))
    for answer in answers:
        print(answer.text, f"({answer.usage.requests} requests)")


async def text(client: AsyncClient) -> None:
    """Read an answer while it is written."""
    async with client.stream_text("assistant", "Count to 20") as stream:
        async for piece in stream:
            print(piece, end="", flush=True)
    print(f"\n{stream.outcome}: {stream.result}")


async def output(client: AsyncClient) -> None:
    """Read data while it fills in; every item is a `Contact`, and `result` the one that the agent has validated."""
    async with client.stream_output("extractor", "I am Ada Lovelace, ada@example.com", Contact) as stream:
        async for contact in stream:
            print(contact)
    print(f"To be written to: {stream.result.email}")


async def events(client: AsyncClient) -> None:
    """See what an agent does besides talking."""
    async with client.stream_events("assistant", "What time is it in Europe/Paris?") as stream:
        async for event in stream:
            if event.name in ("function_tool_call", "function_tool_result"):
                print(f"{event.name}: {event.data['part']['tool_name']}")


async def conversation(client: AsyncClient) -> None:
    """Talk; the gateway keeps what was said, under an id of our choice."""
    chat = client.chat(f"tour-{uuid4().hex}", agent="assistant")
    await chat.send("Count to 3")
    await chat.send("What did I say first?")
    for message in await chat.history():
        print(f"{message.role}: {message.content}")
    await chat.delete()


async def approval(client: AsyncClient) -> None:
    """Decide on what an agent wants to do. It waits on a thread, for this program or for another one."""
    payments = f"tour-{uuid4().hex}"
    asked = await client.run("approver", "Pay 25 EUR to Bob and 900 EUR to Mallory", thread_id=payments)
    calls = asked.deferred.approvals if asked.deferred else []
    decisions = {call.tool_call_id: call.args["amount"] < 100 for call in calls}  # noqa: PLR2004 - our policy
    answer = await client.run("approver", thread_id=payments, approvals=decisions)
    print(answer.text)
    await client.threads.delete(payments)


async def threads(client: AsyncClient) -> None:
    """Rename a conversation, go on with a copy of it, list both, and delete them."""
    chat = client.chat(f"tour-{uuid4().hex}", agent="assistant")
    await chat.send("Count to 3")
    await client.threads.rename(chat.session_id, "Counting")
    copy = await client.threads.fork(chat.session_id)
    await client.chat(copy.id, agent="assistant").send("Count to 4")
    ours = [
        thread async for thread in client.threads.list(agent="assistant") if thread.id in (chat.session_id, copy.id)
    ]
    for thread in ours:
        print(f"{thread.title}: {len(await client.threads.history(thread.id))} messages, {thread.status}")
        await client.threads.delete(thread.id)


async def cancel(client: AsyncClient) -> None:
    """Stop a run. Leaving its block early does so, too; `client.cancel(run_id)` does it from anywhere."""
    async with client.stream_text("assistant", "Count to 20000") as stream:
        async for _ in stream:
            await stream.cancel()
    print(stream.outcome)


STOPS = (agents, whole_answer, text, output, events, conversation, approval, threads, cancel)


async def main(url: str, api_key: str | None) -> None:
    """The whole tour."""
    async with AsyncClient(url, api_key=api_key) as client:
        for stop in STOPS:
            print(f"\n# {stop.__name__}: {stop.__doc__}\n")
            await stop(client)


if __name__ == "__main__":
    try:
        asyncio.run(main(os.environ.get("GATEWAY_URL", "http://127.0.0.1:8000"), os.environ.get("GATEWAY_API_KEY")))
    except ClientError as error:
        sys.exit(str(error))

"""What readers of plain streams send and get, and the gateway that they ask."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import plain_probes
from serving import make_config
from talking import calling

from gateway.app import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    import httpx

NDJSON = {"accept": "application/x-ndjson"}
FORMS = ("text", "output", "responses", "events", "nodes")


class Event(NamedTuple):
    """One event of a plain stream; `message` is one without a name."""

    name: str
    data: Any
    id: str


def events_in(body: str) -> list[Event]:
    """The events of server-sent events, as an `EventSource` would see them: an id holds until the next one."""
    found: list[Event] = []
    last_id = ""
    for block in body.removesuffix("\n\n").split("\n\n"):
        fields = dict(re.findall(r"^(id|event|data): (.*)$", block, re.MULTILINE))
        last_id = fields.get("id", last_id)
        if "data" in fields:
            found.append(Event(fields.get("event", "message"), json.loads(fields["data"]), last_id))
    return found


def lines_in(body: str) -> list[Event]:
    """The events of lines of JSON."""
    said = [json.loads(line) for line in body.split("\n") if line]
    return [Event(each["event"], each["data"], each["id"]) for each in said if each["event"] != "heartbeat"]


def of(events: Iterable[Event], name: str) -> list[Any]:
    """The data of the events of that name."""
    return [event.data for event in events if event.name == name]


def one(events: Iterable[Event], name: str) -> Any:
    """The data of the one event of that name."""
    [data] = of(events, name)
    return data


def answer_in(events: Iterable[Event]) -> str:
    """What a reader of `text` has in the end: all pieces since the last `reset`."""
    text = ""
    for event in events:
        text = "" if event.name == "reset" else text + event.data["text"] if event.name == "message" else text
    return text


def names(events: Iterable[Event]) -> list[str]:
    """The names of the events, in order."""
    return [event.name for event in events]


class Plain:
    """A reader of plain streams."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def ask(self, agent: str, form: str = "text", prompt: str | None = "Hello", **fields: Any) -> list[Event]:
        """The events of the answer; without debounce, unless told otherwise."""
        response = await self.post(agent, form, prompt, **fields)
        assert response.status_code == 200, response.text
        return events_in(response.text)

    async def post(self, agent: str, form: str = "text", prompt: str | None = "Hello", **fields: Any) -> httpx.Response:
        """The response to a question. `form` may also be `run`."""
        path = f"/agents/{agent}/run" if form == "run" else f"/agents/{agent}/stream/{form}"
        headers = fields.pop("headers", {})
        said = {} if prompt is None else {"prompt": prompt}
        return await self.client.post(path, json={**said, "debounce": 0, **fields}, headers=headers)


@asynccontextmanager
async def plain(*agents: str, settings: dict[str, Any] | None = None, **config: Any) -> AsyncGenerator[Plain]:
    """A gateway in memory with agents of `plain_probes`, `plain_tool_probes` or `module:name`, with the settings."""
    found = {name.rpartition(":")[2]: name if ":" in name else _where(name) for name in agents}
    entries = {name: {"import": where, **(settings or {})} for name, where in found.items()}
    async with calling(create_app(make_config(agents=entries, **config))) as client:
        yield Plain(client)


def _where(name: str) -> str:
    return f"plain_probes:{name}" if hasattr(plain_probes, name) else f"plain_tool_probes:{name}"

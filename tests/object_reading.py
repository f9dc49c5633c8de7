"""Object streams, read and checked."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
from object_probes import OUTPUTS
from pydantic import TypeAdapter
from pydantic_core import from_json
from serving import make_config, serving

from gateway.wires.native import body as native_body
from gateway.wires.native.body import PlainRequest

if TYPE_CHECKING:
    from collections.abc import Generator

    Json = dict[Any, Any]

AGENTS = {name: f"object_probes:agent_{name}" for name in OUTPUTS} | {
    name: f"object_probes:{name}"
    for name in ("native", "native_of_two", "prompted", "named", "making", "asking", "either")
}
AGENTS["plain"] = "probes:plain"


WRAPPED = {"places", "numbers", "any"}
"""Agents whose models write their output within an object: `{"response": ...}`."""


class AtOnce(PlainRequest):
    """A question of which every token is looked at: nothing is gathered."""

    debounce: float = 0.0


@contextmanager
def object_client() -> Generator[httpx.Client]:
    """A client of a gateway with the agents of `object_probes`, on a real socket."""
    with pytest.MonkeyPatch.context() as patch, serving(make_config(agents=AGENTS)) as url:
        patch.setattr(native_body, "PlainRequest", AtOnce)
        with httpx.Client(base_url=url, timeout=20) as client:
            yield client


def is_beginning(part: Any, whole: Any, *, last: bool = True) -> bool:
    """Whether `part` is what has come of `whole`: only what comes last in it may be unfinished."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return _begins(cast("Json", part), cast("Json", whole), last=last)
    if isinstance(part, list) and isinstance(whole, list):
        items, all_items = dict(enumerate(cast("list[Any]", part))), dict(enumerate(cast("list[Any]", whole)))
        return _begins(items, all_items, last=last)
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part) if last else whole == part
    return bool(part == whole)


def _begins(part: Json, whole: Json, *, last: bool) -> bool:
    if part.keys() - whole.keys() or (not last and part.keys() != whole.keys()):
        return False
    end = next(reversed(part), None)
    return all(is_beginning(each, whole[key], last=last and key == end) for key, each in part.items())


def assert_grows(text: str, final: Any) -> None:
    """Every beginning of the text is JSON so far, and a beginning of the final value."""
    for end in range(1, len(text) + 1):
        part = from_json(text[:end], allow_partial="trailing-strings")
        # A number that is cut in half can be read as another one, by a reader as by this test.
        if not text[:end][-1].isdigit() or end == len(text):
            assert is_beginning(part, final), f"{text[:end]!r} is no beginning of {final!r}"
    assert json.loads(text) == final


def pieces(client: httpx.Client, agent: str) -> list[str]:
    """The pieces of an object stream that ends well."""
    with client.stream("POST", f"/agents/{agent}/object", json="Write.") as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        return [*response.iter_text()]


def fill(client: httpx.Client, agent: str, final: Any = None) -> str:
    """The text of an object stream, which is that of the final value of the output's type."""
    text = "".join(pieces(client, agent))
    assert_grows(text, json.loads(text) if final is None else final)
    return text


def validated(output: Any, value: Any) -> Any:
    """The value as the gateway shows it."""
    adapter: TypeAdapter[Any] = TypeAdapter(output)
    return json.loads(adapter.dump_json(adapter.validate_json(json.dumps(value)), by_alias=True))


def broken_off(client: httpx.Client, agent: str, body: Any = "Write.") -> str:
    """What comes of an object stream until it breaks off."""
    said: list[str] = []
    with client.stream("POST", f"/agents/{agent}/object", json=body) as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            _read(response, said)
    return "".join(said)


def _read(response: httpx.Response, said: list[str]) -> None:
    for piece in response.iter_text():
        said.append(piece)  # noqa: PERF402 - what has come is kept when it breaks off

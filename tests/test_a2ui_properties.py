"""Surfaces in random pieces: however a model's words fall, the same surface is there in the end, and none before."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import httpx
import pytest
from a2ui_agents import script
from copilotkit_talk import at, body
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import make_config, serving
from talking import events_of

if TYPE_CHECKING:
    from collections.abc import Generator

    Json = dict[str, Any]


@pytest.fixture(scope="module")
def client() -> Generator[httpx.Client]:
    config = make_config(agents={"own": "a2ui_agents:own"})
    with serving(config) as url, httpx.Client(base_url=url, timeout=15) as client:
        yield client


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
ITEMS = st.lists(st.fixed_dictionaries({"name": TEXTS, "more": VALUES, "note": st.just("x" * 40)}), max_size=6)
DATA = st.dictionaries(TEXTS, ITEMS | VALUES, max_size=4)
NAMES = st.lists(TEXTS.filter(lambda name: name not in ("", "root")), unique=True, max_size=5)
UNCHECKED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
"""A list of one's own takes the place of the profile's, and a busy machine is slow."""


@st.composite
def arguments(draw: st.DrawFn) -> Json:
    """Right ones, in any order."""
    names = draw(NAMES)
    root = {"id": "root", "component": "Column", "children": names}
    components = [root, *({"id": name, "component": "Text", "text": draw(VALUES)} for name in names)]
    members: Json = {"surfaceId": draw(TEXTS.filter(bool)), "components": draw(st.permutations(components))}
    if draw(st.booleans()):
        members["data"] = draw(DATA)
    return {name: members[name] for name in draw(st.permutations([*members]))}


def is_beginning(early: Any, late: Any) -> bool:
    """Whether a value says nothing but what a later one says, too: of lists, items that are whole."""
    if isinstance(early, dict) and isinstance(late, dict):
        fields, later = cast("Json", early), cast("Json", late)
        return all(name in later and is_beginning(fields[name], later[name]) for name in fields)
    if isinstance(early, list) and isinstance(late, list):
        items = cast("list[Any]", early)
        return items == cast("list[Any]", late)[: len(items)]
    return bool(early == late)


@settings(max_examples=40, deadline=None, suppress_health_check=UNCHECKED)
@given(given=arguments(), indent=st.sampled_from([None, 1]), size=st.integers(1, 200))
def test_any_pieces_end_in_the_same_surface(client: httpx.Client, given: Json, indent: int | None, size: int) -> None:
    text = json.dumps(given, indent=indent)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    response = client.post(at("own", "run"), json=body(f"thread-{uuid4()}", script(pieces)))
    contents = [event["content"] for event in events_of(response.text) if event["type"] == "ACTIVITY_SNAPSHOT"]
    operations = [content["a2ui_operations"] for content in contents if "a2ui_operations" in content]
    create, components, *data = operations[-1]
    assert create["createSurface"]["surfaceId"] == given["surfaceId"]
    assert components["updateComponents"]["components"] == given["components"]
    assert [each["updateDataModel"]["value"] for each in data] == ([given["data"]] if given.get("data") else [])
    assert {content["status"] for content in contents if "status" in content} == {"building"}
    for early, late in pairwise(operations):
        # The list of operations gets the data as another one.
        assert all(is_beginning(one, other) for one, other in zip(early, late, strict=False)), "nothing is taken back"

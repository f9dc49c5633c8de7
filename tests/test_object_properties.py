"""`/object` with random values in random pieces: what is told on the way always holds in the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import object_probes
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from object_probes import OUTPUTS, write
from object_reading import WRAPPED, assert_grows, fill, object_client, validated

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture(scope="module")
def client() -> Generator[httpx.Client]:
    with object_client() as client:
        yield client


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(-(10**12), 10**12)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
PLACES = st.fixed_dictionaries({"street": TEXTS}, optional={"zip": NUMBERS, "tags": st.lists(TEXTS, max_size=3)})
PETS = st.one_of(
    st.fixed_dictionaries({"kind": st.just("cat"), "lives": NUMBERS}, optional={"name": TEXTS}),
    st.fixed_dictionaries({"kind": st.just("dog"), "name": TEXTS}),
)
PEOPLE = st.fixed_dictionaries(
    {"fullName": TEXTS},
    optional={
        "age": st.none() | NUMBERS,
        "height": FLOATS,
        "mood": st.sampled_from(["good", "goodish", "bad"]),
        "homePlace": PLACES,
        "otherPlaces": st.lists(PLACES, max_size=3),
        "pets": st.lists(PETS, max_size=3),
        "notes": st.dictionaries(TEXTS, TEXTS, max_size=3),
        "isNice": st.booleans(),
        "hidden": TEXTS,
        "unknown": TEXTS,
    },
)
CHANGES = st.fixed_dictionaries(
    {
        "at": st.datetimes().map(str) | st.dates().map(str) | st.integers(0, 2**31),
        "link": st.just("https://example.com"),
    },
    optional={
        "words": st.lists(TEXTS, max_size=4),
        "names": st.lists(TEXTS, max_size=4),
        "title": TEXTS,
    },
)
ANYTHING = st.dictionaries(
    TEXTS,
    st.recursive(
        st.none() | st.booleans() | NUMBERS | FLOATS | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)
TREES = st.recursive(
    st.fixed_dictionaries({"label": TEXTS}),
    lambda inner: st.fixed_dictionaries({"label": TEXTS, "children": st.lists(inner, max_size=3)}),
    max_leaves=5,
)
ENDS = st.lists(st.integers(0, 400), max_size=30)
UNCHECKED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
"""A list of one's own takes the place of the profile's, and a busy machine is slow."""


def shuffled(value: Any, random: Any) -> Any:
    """The same value, with the members of its objects in another order."""
    if isinstance(value, dict):
        items: list[tuple[str, Any]] = [(name, shuffled(each, random)) for name, each in value.items()]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        random.shuffle(items)
        return dict(items)
    return [shuffled(each, random) for each in value] if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]


@settings(max_examples=150, deadline=None, suppress_health_check=UNCHECKED)
@given(
    sample=st.one_of(
        st.tuples(st.just("person"), PEOPLE),
        st.tuples(st.just("native"), PEOPLE),
        st.tuples(st.just("changed"), CHANGES),
        st.tuples(st.just("tree"), TREES),
        st.tuples(st.just("any"), ANYTHING),
        st.tuples(st.just("places"), st.lists(PLACES, max_size=4)),
    ),
    ends=ENDS,
    random=st.randoms(use_true_random=False),
    escaped=st.booleans(),
)
def test_random_values_in_random_pieces_grow(
    client: httpx.Client, sample: tuple[str, Any], ends: list[int], random: Any, escaped: bool
) -> None:
    agent, value = sample
    value = shuffled(value, random)
    write(json.dumps({"response": value} if agent in WRAPPED else value, ensure_ascii=escaped), ends=ends)
    final = validated(OUTPUTS.get(agent, object_probes.Person), value)
    if agent == "changed" and len(set(value.get("words", []))) > 1:
        final = None  # sets come in any order
    fill(client, agent, final)


@settings(max_examples=60, deadline=None, suppress_health_check=UNCHECKED)
@given(first=PEOPLE, cut=st.integers(0, 200), ends=ENDS, data=st.data())
def test_random_second_attempts_grow_or_break_off(
    client: httpx.Client, first: Any, cut: int, ends: list[int], data: st.DataObject
) -> None:
    second = data.draw(st.one_of(st.just(first), PEOPLE))
    text = json.dumps(first)
    write(text[: cut % len(text)], json.dumps(second), ends=ends)
    said = ""
    with client.stream("POST", "/agents/person/object", json="Write.") as response:
        try:
            for piece in response.iter_text():
                said += piece
        except httpx.RemoteProtocolError:
            assert second != first
            return
    assert_grows(said, validated(object_probes.Person, second))

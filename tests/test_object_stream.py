"""`/object`: one text of JSON, of which every beginning is a beginning of the final, validated value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import object_probes
import pytest
from object_probes import OUTPUTS, write
from object_reading import WRAPPED, broken_off, fill, is_beginning, object_client, validated
from pydantic_core import from_json, to_json
from talking import assert_problem

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture(scope="module")
def client() -> Generator[httpx.Client]:
    with object_client() as client:
        yield client


ADA: dict[str, Any] = {
    "fullName": 'Ada "King" Lovelace \\ \n ünd 🎉',
    "age": 36,
    "height": 1.75,
    "mood": "goodish",
    "homePlace": {"street": "St James's Square", "tags": ["london", "12"]},
    "otherPlaces": [{"street": "One"}, {"street": "Two", "zip": 12345}],
    "pets": [{"kind": "cat", "lives": 9}, {"kind": "dog", "name": "Rex"}],
    "notes": {"a": "b", "1": ""},
    "isNice": False,
    "hidden": "not shown",
}


@pytest.mark.parametrize("agent", ["person", "native", "prompted", "named"])
def test_an_object_comes_as_the_model_writes_it_with_its_defaults_in_the_end(client: httpx.Client, agent: str) -> None:
    write(ADA)
    final = validated(object_probes.Person, ADA)
    text = fill(client, agent, final)
    assert "hidden" not in text
    assert text.index('"initial"') > text.index('"isNice"')


def test_text_is_told_before_it_is_complete(client: httpx.Client) -> None:
    write({"street": "St James's Square", "zip": 7})
    response = client.post("/agents/asking/object", json="Write.")
    path = f"/runs/{response.headers['x-run-id']}/stream"
    rests = [client.get(path, params={"after": number}).text for number in range(10)]
    assert rests[0] == response.text
    assert [*map(len, rests)] == sorted({*map(len, rests)}, reverse=True), "each frame brings some of it"
    assert json.loads(response.text) == {"street": "St James's Square", "zip": 7, "tags": ["home"]}


VALUES: dict[str, list[Any]] = {
    "changed": [
        {"at": "2026-01-02T03:04:05+00:00", "link": "https://example.com", "names": ["b", " A", ""], "title": "a  b c"},
        {"heading": "x y", "words": ["z", "a", "m"], "at": "2026-01-02", "link": "http://ä.example/a b"},
        {"names": [], "title": "", "link": "https://example.com/a/b?c=d", "at": 1_700_000_000},
        {"names": ["c", "b", "a"], "at": "2026-01-02 03:04", "link": "https://example.com/", "title": " a"},
    ],
    "tree": [{"label": "a", "children": [{"label": "b", "children": [{"label": "c"}]}, {"label": "d"}]}],
    "draft": [{"title": "T", "pages": [1, 22, 333]}, {"pages": []}, {}],
    "point": [{"x": 1, "y": -2.5}, {"label": "here", "y": 1e30, "x": 0}],
    "team": [
        {"names": ["a", "b"], "leads": {"a": {"street": "One"}, "b": {"street": ""}}, "size": [12, 34]},
        {"size": [1, 2], "names": []},
    ],
    "places": [[{"street": "One"}, {"street": "Two", "tags": []}], []],
    "numbers": [[1, 2.5, -3e-7, 10**15], [0]],
    "any": [{"a": [1, {"b": None, "c": [True, []]}], "": {"": ""}, "n": -0.0}],
    "pet": [{"kind": "cat", "lives": 9}, {"lives": 12, "kind": "cat", "name": "Kitty"}],
    "native_of_two": [{"result": {"kind": "Place", "data": {"street": "Here", "zip": 12}}}],
    "making": [{"street": "Here", "zip": 12}],
}


@pytest.mark.parametrize(("agent", "value"), [(agent, value) for agent, values in VALUES.items() for value in values])
def test_every_type_of_output_grows_and_is_what_validation_makes_of_it(
    client: httpx.Client, agent: str, value: Any
) -> None:
    object_probes.made.clear()
    write({"response": value} if agent in WRAPPED else value)
    text = fill(client, agent)
    output = OUTPUTS.get(agent, object_probes.Place)
    final = validated(output, value["result"]["data"] if agent == "native_of_two" else value)
    told, meant = json.loads(text), final
    if "words" in meant:
        told["words"], meant["words"] = sorted(told["words"]), sorted(meant["words"])
    assert told == meant
    assert len(object_probes.made) == (agent == "making")


def test_names_are_those_of_the_output_whichever_the_model_writes_and_in_its_order(client: httpx.Client) -> None:
    write({"is_nice": True, "home_place": {"tags": [], "street": "x"}, "full_name": "Ada"}, ends=[20, 60])
    text = fill(client, "person")
    assert text.startswith('{"isNice":true,"homePlace":{"tags":[],"street":"x"')


def test_members_that_the_type_does_not_know_hold_nothing_up(client: httpx.Client) -> None:
    write({"unknown": [1], "fullName": "Ada", "more": {"a": 1}, "age": 3})
    assert "unknown" not in fill(client, "person")


FIRST = {"fullName": "Ada", "age": 36}


RETRIES: list[tuple[Any, Any]] = [
    ({**FIRST, "mood": "sad"}, {**FIRST, "mood": "bad"}),
    (
        {"age": 36, "homePlace": {"zip": 2}, "fullName": "A"},
        {"age": 36, "homePlace": {"street": "x", "zip": 2}, "fullName": "A"},
    ),
    ({"age": 36}, FIRST),
    ('{"fullName": "Ad', {"fullName": "Ada"}),
    ('{"fullName": "Ada", "age": "old', FIRST),
    ("no JSON at all", FIRST),
    ({**FIRST, "otherPlaces": [{}]}, {**FIRST, "otherPlaces": [{"street": "x"}]}),
]


@pytest.mark.parametrize(("first", "second"), RETRIES)
def test_a_model_that_tries_again_goes_on_where_it_began(client: httpx.Client, first: Any, second: Any) -> None:
    write(first, second)
    fill(client, "person", validated(object_probes.Person, second))


def test_a_model_that_takes_back_what_was_told_breaks_off_and_says_nothing_wrong(client: httpx.Client) -> None:
    write({"fullName": "Ada", "age": "old"}, {"fullName": "Bob", "age": 36})
    text = broken_off(client, "person")
    assert is_beginning(from_json(text, allow_partial="trailing-strings"), {"fullName": "Ada"})
    with pytest.raises(ValueError, match="EOF"):
        from_json(text)


def test_a_validator_that_changes_what_was_told_breaks_off_and_says_nothing_wrong(client: httpx.Client) -> None:
    write({"total": 7, "at": 0, "link": "https://example.com", "names": ["a"]})
    text = broken_off(client, "changed")
    assert text.startswith('{"total":0,')
    with pytest.raises(ValueError, match="EOF"):
        from_json(text)


def test_a_model_that_never_fits_breaks_off(client: httpx.Client) -> None:
    write({"fullName": "Ada", "age": "old"})
    with pytest.raises(ValueError, match="EOF"):
        from_json(broken_off(client, "person"))


def test_a_model_that_says_nothing_breaks_off(client: httpx.Client) -> None:
    write("")
    assert broken_off(client, "person") in ("", "{")


def test_how_it_ended_can_be_asked_for(client: httpx.Client) -> None:
    write({"fullName": "Ada", "age": "old"})
    with client.stream("POST", "/agents/person/object", json="Write.") as response:
        run_id = response.headers["x-run-id"]
        with pytest.raises(httpx.RemoteProtocolError):
            response.read()
    assert client.get(f"/runs/{run_id}").json()["status"] == "model_behavior"


def test_an_agent_that_answers_in_text_alone_is_refused(client: httpx.Client) -> None:
    assert_problem(client.post("/agents/plain/object", json="Write."), 422, "unsuitable_agent")


BODIES: list[tuple[Any, str]] = [
    ("Write.", "Write."),
    ({"prompt": "Write."}, "Write."),
    ({"topic": "cats", "n": 3}, '{"topic":"cats","n":3}'),
    (["a", 1], '["a",1]'),
    (7, "7"),
]


@pytest.mark.parametrize(("body", "said"), BODIES)
def test_whatever_is_submitted_is_the_question(client: httpx.Client, body: Any, said: str) -> None:
    object_probes.asked.clear()
    write({"street": "x"})
    response = client.post("/agents/making/object", content=to_json(body), headers={"content-type": "application/json"})
    assert response.status_code == 200
    assert object_probes.asked[-1] == said


@pytest.mark.parametrize("body", [b"", b"{", b'""', b'" "', b'{"prompt": ""}', b"\xff"])
def test_what_is_no_json_or_says_nothing_is_refused(client: httpx.Client, body: bytes) -> None:
    response = client.post("/agents/person/object", content=body, headers={"content-type": "application/json"})
    assert_problem(response, 422, "malformed_body")

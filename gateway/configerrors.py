"""pydantic's findings about the config -> short sentences for the person who wrote it.

The names and descriptions in them come from the config model itself. A sentence never shows a value.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

from gateway.config import GatewayConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

_SENTENCES = {
    "missing": "this key is required",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "is far too large",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text; put it in quotes",
    "path_type": "must be a path",
    "list_type": "must be a list: [first, second]",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values; leave it out for the defaults",
    "model_attributes_type": "must be a mapping of keys to values; leave it out for the defaults",
    "literal_error": "must be one of {expected}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "string_too_short": "must have {min_length} characters or more",
    "string_too_long": "must have {max_length} characters or fewer",
    "too_short": "needs {min_length} or more entries",
}
_FALLBACK = "is not valid here"


def sentence(error: ErrorDetails) -> str:
    """What is wrong, for a person; `error` is one of `ValidationError.errors()` about a `GatewayConfig`."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(error["loc"])
    if kind == "string_pattern_mismatch":
        return _wrong_form(error["loc"])
    if kind == "value_error":  # raised by a validator of ours, in words of ours
        return str(context["error"])
    return _SENTENCES.get(kind, _FALLBACK).format(**context)


def _unknown_key(path: tuple[int | str, ...]) -> str:
    *parents, name = path
    near = get_close_matches(str(name), _keys_at(parents), n=1)
    return "unknown key" + (f"; did you mean `{near[0]}`?" if near else "")


def _wrong_form(path: tuple[int | str, ...]) -> str:
    if path[-1] == "[key]":
        return "this name may not stand in a URL: use letters, digits, `_` and `-`, at most 64, no `_` or `-` in front"
    *_, described = [node for node in _nodes(path) if "description" in node]
    return f"not in the right form; expected here: {described['description']}"


def _keys_at(path: list[int | str]) -> list[str]:
    *_, last = _nodes(path)
    return list(last.get("properties", {}))


def _nodes(path: tuple[int | str, ...] | list[int | str]) -> Iterator[dict[str, Any]]:
    """The JSON Schema nodes along `path`: one place that knows every key, alias and description."""
    node = _resolved(_schema())
    yield node
    for part in path:
        node = _resolved(_child(node, part))
        yield node


def _child(node: Mapping[str, Any], part: int | str) -> dict[str, Any]:
    nothing: dict[str, Any] = {}
    if isinstance(part, int):
        return node.get("items", nothing)
    named = node.get("properties", nothing).get(part)
    return named or next(iter(node.get("patternProperties", nothing).values()), nothing)


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    """`node` with its reference, or the one that is not null of its choices, laid under it."""
    for choice in node.get("anyOf", ()):
        if choice.get("type") != "null":
            return _resolved(choice) | node
    if "$ref" in node:
        return _resolved(_schema()["$defs"][node["$ref"].rpartition("/")[2]]) | node
    return node


@cache
def _schema() -> dict[str, Any]:
    return GatewayConfig.model_json_schema()

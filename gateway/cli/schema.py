"""`gateway schema`: the config model -> the JSON Schema that editors check `gateway.yaml` with.

It describes the file before interpolation: wherever not every text would do, a text with `${...}` is another choice.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from cyclopts import Parameter

_INTERPOLATED = r"\$\{"
_TEXT = {"type": "string", "pattern": _INTERPOLATED}
# YAML 1.2, which editors speak, reads 10_000_000 as text; pydantic takes it for the number that it looks like.
_NUMBER_AS_TEXT = {"type": "string", "pattern": rf"{_INTERPOLATED}|^[0-9]+(_[0-9]+)*$"}
_ANNOTATIONS = ("title", "description", "default")
_STRING_RULES = {"pattern", "minLength", "maxLength", "enum", "const"}


def schema(
    *, markdown: Annotated[bool, Parameter(help="Print the table of all options in Markdown instead.")] = False
) -> None:
    """Print the JSON Schema of gateway.yaml, for editors."""
    if markdown:
        from gateway.cli.reference import dumped_reference  # noqa: PLC0415 - only for the docs

        print(dumped_reference(), end="")
    else:
        print(dumped_schema(), end="")


def dumped_schema() -> str:
    """`json_schema()` as it is kept in `gateway.schema.json`."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `gateway.yaml`."""
    from gateway.config import GatewayConfig  # noqa: PLC0415 - `gateway --help` needs no models

    result = _relaxed(GatewayConfig.model_json_schema())
    _allow_bare_import_string(result["$defs"])
    result["properties"]["agents"]["additionalProperties"] = False  # names that do not match the pattern
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **result, "title": "gateway.yaml"}


def _allow_bare_import_string(definitions: dict[str, Any]) -> None:
    agent: dict[str, Any] = definitions["AgentSettings"]
    names = {name: agent.pop(name) for name in ("title", "description")}
    strings = [choice for choice in agent["properties"]["import"]["anyOf"] if choice["type"] == "string"]
    definitions["AgentSettings"] = {**names, "anyOf": [agent, *strings]}


def _relaxed(node: dict[str, Any]) -> dict[str, Any]:
    """`node` and all inside it, with a text as another choice wherever not every text would do."""
    node = {key: _relaxed_part(key, value) for key, value in node.items()}
    if not (text := _text_for(node)):
        return node
    annotations = {key: node.pop(key) for key in _ANNOTATIONS if key in node}
    return annotations | {"anyOf": [node, text]}


def _relaxed_part(key: str, value: Any) -> Any:
    match key:
        case "properties" | "patternProperties" | "$defs":
            return {name: _relaxed(inner) for name, inner in value.items()}
        case "items" | "additionalProperties" if isinstance(value, dict):
            return _relaxed(value)  # pyright: ignore[reportUnknownArgumentType]
        case "anyOf":
            return _flat([_relaxed(choice) for choice in value])
        case _:
            return value


def _flat(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [inner for choice in choices for inner in choice.get("anyOf", [choice])]


def _text_for(node: dict[str, Any]) -> dict[str, Any] | None:
    """The text that may stand in for what `node` describes; nothing when any text fits it, or none."""
    match node.get("type"):
        case "integer":
            return _NUMBER_AS_TEXT
        case "number" | "boolean":
            return _TEXT
        case "string" if _STRING_RULES & node.keys():
            return _TEXT
        case _:
            return None

"""The config model -> the table of all options in `docs/configuration.md`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """# Configuration

Every option of `gateway.yaml`, made by `gateway schema --markdown`. Unknown keys are errors. All errors of the file
are reported in one go; when there are none, all those of the agents; then those of the stores. In any value, `${VAR}`,
`${VAR:-default}`, `${VAR:?message}` and `${file:/run/secrets/x}` are filled in after the file is parsed, and `$${` is a
literal `${`. Inside `{}` and `[]` such a value has to be quoted.

The options of `server` are flags of `gateway serve` too, such as `--port 9000`, and go before what the file says.
`gateway serve --reload` starts again when a Python or YAML file in the config's folder changes.

`*` stands for each entry of a list or mapping.

| option | type | default | meaning |
| --- | --- | --- | --- |
"""


def dumped_reference() -> str:
    """The page, as it is kept in `docs/configuration.md`."""
    from gateway.config import GatewayConfig  # noqa: PLC0415 - `gateway --help` needs no models

    schema = GatewayConfig.model_json_schema()
    return _HEAD + "".join(_rows(schema, schema["$defs"], ""))


def _rows(node: dict[str, Any], models: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, field in node.get("properties", {}).items():
        key = f"{prefix}{name}"
        model, inner_prefix = _model(field, models, key)
        if model is None or inner_prefix != f"{key}.":
            yield _row(key, field, required=name in node.get("required", ()))
        if model is not None:
            yield from _rows(model, models, inner_prefix)


def _row(key: str, field: dict[str, Any], *, required: bool) -> str:
    default = "required" if required else _code(field.get("default"))
    meaning = " ".join(field.get("description", "").split()).replace("|", "\\|")
    return f"| `{key}` | {_type(field)} | {default} | {meaning} |\n"


def _model(field: dict[str, Any], models: dict[str, Any], key: str) -> tuple[dict[str, Any] | None, str]:
    """The model inside of a field, and the prefix of its keys."""
    for choice in (field, *field.get("anyOf", ())):
        if "$ref" in choice:
            return models[choice["$ref"].rpartition("/")[2]], f"{key}."
    entries = [field.get("items"), *field.get("patternProperties", {}).values()]
    for entry in entries:
        if entry and "$ref" in entry:
            return models[entry["$ref"].rpartition("/")[2]], f"{key}.*."
    return None, ""


def _type(field: dict[str, Any]) -> str:
    if choices := field.get("anyOf"):
        return " or ".join(_type(choice) for choice in choices if choice.get("type") != "null")
    if choices := field.get("enum"):
        return " or ".join(f"`{choice}`" for choice in choices)
    kind = "object" if "$ref" in field else str(field.get("type"))
    if kind == "array":
        return f"list of {_type(field.get('items', {}))}"
    return {"object": "mapping", "string": "text"}.get(kind, kind)


def _code(default: object) -> str:
    return "" if default is None else f"`{json.dumps(default)}`"

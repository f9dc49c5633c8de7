"""The document of a gateway's API, and whether an answer is what it says."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from serving import make_config

from gateway.app import create_app
from gateway.openapi.document import document

if TYPE_CHECKING:
    import httpx


@cache
def described() -> dict[str, Any]:
    """The document."""
    config = make_config()
    return document(create_app(config).routes, config.auth)


@cache
def _paths() -> list[tuple[re.Pattern[str], str]]:
    """Patterns of paths, those first that would be taken for another's parameter."""
    order = sorted(described()["paths"], key=lambda path: (path.count("{"), -len(path)))
    return [(re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)) + "/?"), path) for path in order]


def operation_of(request: httpx.Request) -> dict[str, Any]:
    """The operation that a request is for; empty for an address or a method that the gateway has not."""
    path = request.url.raw_path.decode().partition("?")[0]
    found = next((template for pattern, template in _paths() if pattern.fullmatch(path)), "")
    return described()["paths"].get(found, {}).get(request.method.lower(), {})


def closed(schema: Any) -> Any:
    """The schema without room for members that it does not name, unless it says that there is."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(schema, dict):
        return schema
    inner: dict[str, Any] = {key: closed(value) for key, value in schema.items()}  # pyright: ignore[reportUnknownVariableType]
    is_whole = "properties" in inner and "$ref" not in inner
    return {"additionalProperties": False, **inner} if is_whole else inner


@cache
def _components() -> dict[str, Any]:
    return closed(described()["components"])


def assert_fits(value: Any, schema: dict[str, Any]) -> None:
    """The value is what a schema of the document says, with no member that it does not name."""
    validator: Any = Draft202012Validator({**closed(schema), "components": _components()})
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
    assert not errors, errors


def assert_as_described(response: httpx.Response) -> None:
    """The answer has a status, headers, a media type and a body that the document has for its operation."""
    operation = operation_of(response.request)
    if not operation:
        return
    name = f"{operation['operationId']} answered {response.status_code}"
    assert str(response.status_code) in operation["responses"], f"{name}: {response.text}"
    said = operation["responses"][str(response.status_code)]
    needed = {header for header, about in said.get("headers", {}).items() if about.get("required")}
    assert needed <= response.headers.keys(), name
    media = response.headers.get("content-type", "").partition(";")[0]
    assert media in said.get("content", {"": {}}), f"{name} with {media}"
    if schema := said.get("content", {}).get(media, {}).get("schema"):
        assert_fits(response.json(), schema)

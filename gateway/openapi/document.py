"""Operations -> an OpenAPI 3.1 document. It names no agent: which there are is a matter of the caller's scopes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_ai.ui.vercel_ai import request_types
from starlette.routing import Mount, Route

import gateway
from gateway.errors import (
    BodyTooLarge,
    GatewayError,
    HostNotAllowed,
    LimitsUnavailable,
    MalformedBody,
    NotFound,
    RateLimited,
    RunError,
    Unauthenticated,
    UnsupportedMediaType,
)
from gateway.openapi import catalogue, chats, plain, runs, threads
from gateway.openapi.models import Problem
from gateway.openapi.operation import HEADERS, IN_PATH

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from starlette.routing import BaseRoute

    from gateway.config import AuthSettings
    from gateway.openapi.operation import Answer, Operation, Parameter

TABLES: dict[str, Mapping[str, Operation]] = {
    "Agents": catalogue.AGENTS,
    "Chat protocols": chats.OPERATIONS,
    "Plain streams": plain.OPERATIONS,
    "Runs": runs.OPERATIONS,
    "Threads": threads.OPERATIONS,
    "The process": catalogue.PROCESS,
}
"""What is said of each operation, by tag, method and path."""

OPERATIONS = {key: operation for table in TABLES.values() for key, operation in table.items()}

GUARDS = (HostNotAllowed, Unauthenticated, RateLimited, GatewayError, LimitsUnavailable)
"""What is refused around every operation that asks for credentials."""

BODY_ERRORS = (BodyTooLarge, UnsupportedMediaType, MalformedBody)

DISCRIMINATORS = ("type", "role", "state")

DESCRIPTION = (
    "pydantic-ai agents for browsers. Errors before the first event of a stream are problems (RFC 9457) with a stable "
    "`code`; behind it, the stream's own protocol tells them. Every response carries `x-request-id`."
)

SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a signed token (JWT)."},
    "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same, in another header."},
}


class _Schemas(GenerateJsonSchema):
    """Without a title for each field, which would only be its name once more."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


def operations_of(routes: Sequence[BaseRoute]) -> Iterator[str]:
    """The method and path of every operation that routes answer, as `OPERATIONS` has them.

    Without those of another project's private protocol, whose one client has no need of a document.
    """
    for route in routes:
        if isinstance(route, Mount):
            yield from operations_of(route.routes)
        elif isinstance(route, Route) and route.include_in_schema:
            yield from (f"{method} {route.path_format}" for method in sorted(route.methods or ()) if method != "HEAD")


def document(routes: Sequence[BaseRoute], auth: AuthSettings, root_path: str = "") -> dict[str, Any]:
    """The document of an app's routes.

    Args:
        routes: of the app.
        auth: says whether callers sign in.
        root_path: the path prefix of the app, which a proxy strips.
    """
    schemas, definitions = _schemas()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "agent-gateway",
            "version": gateway.__version__,
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": root_path or "/"}],
        "tags": [{"name": tag} for tag in TABLES],
        "paths": _paths(set(operations_of(routes)), auth, schemas),
        "components": {"schemas": definitions, **({"securitySchemes": SECURITY_SCHEMES} if auth.configured else {})},
    }


def _paths(served: Container[str], auth: AuthSettings, schemas: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What is said of the operations that there are, by path and method."""
    paths: dict[str, dict[str, Any]] = {}
    for tag, table in TABLES.items():
        for key in filter(served.__contains__, table):
            method, path = key.split()
            written = {"tags": [tag], **_operation(table[key], path, schemas)}
            secured = auth.configured and table[key].guards is None
            paths.setdefault(path, {})[method.lower()] = written | (_security(auth) if secured else {})
    return paths


def _security(auth: AuthSettings) -> dict[str, Any]:
    without: list[dict[str, Any]] = [{}] if auth.anonymous else []
    return {"security": [{name: []} for name in SECURITY_SCHEMES] + without}


def _schemas() -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of each model, by `str(model)`, and the definitions that they refer to."""
    said = OPERATIONS.values()
    models = {Problem, *(operation.body.model for operation in said if operation.body)}
    models |= {answer.model for operation in said for answer in operation.answers.values() if answer.model}
    found, rest = TypeAdapter.json_schemas(
        [(str(model), "validation", TypeAdapter(model)) for model in sorted(models, key=str)],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Schemas,
    )
    for name, definition in rest["$defs"].items():
        _require_discriminators(definition)
        if hasattr(request_types, name) and definition.get("additionalProperties") is False:
            # What the SDK adds from version to version is taken, whatever pydantic-ai's model of it says.
            definition["additionalProperties"] = True
    return {name: schema for (name, _), schema in found.items()}, rest["$defs"]


def _require_discriminators(definition: dict[str, Any]) -> None:
    """Which of several kinds a part or a message is must be said, whatever default the model has for making one."""
    for name, schema in definition.get("properties", {}).items():
        if name in DISCRIMINATORS and "const" in schema and schema.pop("default", None):
            definition["required"] = [name, *definition.get("required", ())]


def _operation(operation: Operation, path: str, schemas: Mapping[str, Any]) -> dict[str, Any]:
    guards = GUARDS if operation.guards is None else operation.guards
    in_path = [each for each in IN_PATH if f"{{{each.name}}}" in path]
    # A parameter with a slash in it, where none is taken, is another address.
    errors = (*operation.errors, *guards, *(BODY_ERRORS if operation.body else ()), *((NotFound,) if in_path else ()))
    written: dict[str, Any] = {"operationId": operation.id, "summary": operation.summary}
    if operation.description:
        written["description"] = operation.description
    if parameters := [_parameter(each) for each in (*in_path, *operation.parameters)]:
        written["parameters"] = parameters
    if body := operation.body:
        content = {"schema": schemas[str(body.model)], "example": body.example}
        written["requestBody"] = {"required": body.required, "content": {"application/json": content}}
    answers = {str(status): _answer(answer, schemas) for status, answer in operation.answers.items()}
    return {**written, "responses": {**answers, **_problems(errors, schemas)}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    about = {"name": parameter.name, "in": parameter.where, "required": parameter.required}
    return {**about, "description": parameter.description, "schema": dict(parameter.schema)}


def _answer(answer: Answer, schemas: Mapping[str, Any]) -> dict[str, Any]:
    written: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        written["headers"] = _headers(*answer.headers, required=answer.always)
    if answer.model is not None:
        written["content"] = {"application/json": {"schema": schemas[str(answer.model)]}}
    elif answer.media:
        # Without a schema: OpenAPI 3.1 has none for the events of a stream.
        written["content"] = {media: {} for media in answer.media}
    return written


def _headers(*names: str, required: bool = False) -> dict[str, Any]:
    about = {"required": True} if required else {}
    return {name: {"description": HEADERS[name], **about, "schema": {"type": "string"}} for name in names}


def _problems(errors: Sequence[type[GatewayError]], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The problems of an operation, by status: their codes, and what each means."""
    found: dict[int, list[type[GatewayError]]] = {}
    for error in sorted(set(errors), key=lambda each: (each.status, each.code)):
        found.setdefault(error.status, []).append(error)
    # Agents may raise errors of their own, with codes of their own.
    closed = RunError not in errors
    return {str(status): _problem(status, each, schemas, closed=closed) for status, each in found.items()}


def _problem(
    status: int, errors: Sequence[type[GatewayError]], schemas: Mapping[str, Any], *, closed: bool
) -> dict[str, Any]:
    codes = {"properties": {"code": {"enum": [error.code for error in errors]}}}
    schema = schemas[str(Problem)] | (codes if closed else {})
    written: dict[str, Any] = {
        "description": " ".join(f"`{error.code}`: {error.sentence}" for error in errors),
        "content": {"application/problem+json": {"schema": schema}},
    }
    names = {401: ("www-authenticate",), 429: ("retry-after",)}.get(status, ())
    return written | ({"headers": _headers(*names, required=True)} if names else {})

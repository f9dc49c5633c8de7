"""An OpenAPI document -> a page to read: no script, no other file, nothing from any other host.

Why it is not Swagger UI: ARCHITECTURE.md, "Decisions". This page asks a browser for nothing at all, and its
policy says so.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

STYLE = Path(__file__).with_name("page.css").read_text()
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Of the page's response."""

LIMITS = {
    "format": "{}",
    "minimum": "from {}",
    "maximum": "to {}",
    "minLength": "{} characters or more",
    "maxLength": "at most {} characters",
    "pattern": "matches {}",
    "default": "{} when left out",
}
"""Keywords of a schema that are worth a word, and the word."""


def page(document: Mapping[str, Any]) -> str:
    """The page of a document."""
    info, sections = document["info"], _by_tag(document)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style></head><body>"
        f"<nav>{''.join(_links(tag, found) for tag, found in sections.items())}"
        '<h2><a href="#schemas">Schemas</a></h2></nav>'
        f"<main><h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{_text(info['description'])}</p>"
        '<p>This page is made from <a href="openapi.json">openapi.json</a>, for generators of clients.</p>'
        f"{_sign_in(document)}{''.join(_section(tag, found, document) for tag, found in sections.items())}"
        f'<h2 id="schemas">Schemas</h2>{_schemas(document["components"]["schemas"])}</main></body></html>'
    )


def _by_tag(document: Mapping[str, Any]) -> dict[str, list[tuple[str, str, dict[str, Any]]]]:
    found: dict[str, list[tuple[str, str, dict[str, Any]]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            found[operation["tags"][0]].append((method.upper(), path, operation))
    return {tag: operations for tag, operations in found.items() if operations}


def _links(tag: str, operations: Iterable[tuple[str, str, dict[str, Any]]]) -> str:
    links = (f'<a href="#{each["operationId"]}">{method} {escape(path)}</a>' for method, path, each in operations)
    return f"<h2>{escape(tag)}</h2>{''.join(links)}"


def _sign_in(document: Mapping[str, Any]) -> str:
    schemes = document["components"].get("securitySchemes", {})
    rows = [[f"<code>{escape(_scheme(each))}</code>", _text(each["description"])] for each in schemes.values()]
    return f"<h2>Signing in</h2>{_table(('Header', ''), rows)}" if rows else ""


def _scheme(scheme: Mapping[str, Any]) -> str:
    return f"{scheme['name']}: ..." if scheme["type"] == "apiKey" else "authorization: Bearer ..."


def _section(tag: str, operations: Iterable[tuple[str, str, dict[str, Any]]], document: Mapping[str, Any]) -> str:
    return f"<h2>{escape(tag)}</h2>{''.join(_operation(*each, document) for each in operations)}"


def _operation(method: str, path: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    words = [operation["summary"], operation.get("description", "")]
    parts = [
        f"<h3>{method} {escape(path)}</h3>",
        *(f"<p>{_text(each)}</p>" for each in words if each),
        f"<pre>{escape(_curl(method, path, operation, document))}</pre>",
        _parameters(operation.get("parameters", ())),
        _body(operation.get("requestBody")),
        _answers(operation["responses"]),
    ]
    return f'<article id="{operation["operationId"]}">{"".join(parts)}</article>'


def _curl(method: str, path: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    root = document["servers"][0]["url"].rstrip("/")
    address = re.sub(r"\{(\w+)\}", lambda name: f"${name[1].upper()}", path)
    words = ["curl", *([] if method == "GET" else ["-X", method]), f'"$GATEWAY{root}{address}"']
    if operation.get("security"):
        words += ["-H", '"authorization: Bearer $KEY"']
    if body := operation.get("requestBody"):
        example = json.dumps(body["content"]["application/json"]["example"])
        words += ["-H", "'content-type: application/json'", "-d", shlex.quote(example)]
    return " ".join(words)


def _parameters(parameters: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        [f"<code>{escape(each['name'])}</code>", each["in"], _type(each["schema"]), _text(each["description"])]
        for each in parameters
    ]
    return f"<h4>Parameters</h4>{_table(('Name', 'In', 'Type', ''), rows)}" if rows else ""


def _body(body: Mapping[str, Any] | None) -> str:
    if body is None:
        return ""
    [(media, content)] = body["content"].items()
    needed = "" if body["required"] else ", may be left out"
    return f"<h4>Body</h4><p><code>{media}</code>{needed}: {_type(content['schema'])}</p>"


def _answers(responses: Mapping[str, Any]) -> str:
    rows = [
        [f"<code>{status}</code>", _content(each), _text(each["description"])] for status, each in responses.items()
    ]
    return f"<h4>Answers</h4>{_table(('Status', 'Body', ''), rows)}"


def _content(response: Mapping[str, Any]) -> str:
    found = response.get("content", {})
    return "<br>".join(
        _type(content["schema"]) if "schema" in content else f"<code>{media}</code>" for media, content in found.items()
    )


def _schemas(schemas: Mapping[str, Any]) -> str:
    return "".join(
        f'<article id="schema-{name}"><h3>{name}</h3>{_schema(schema)}</article>' for name, schema in schemas.items()
    )


def _schema(schema: Mapping[str, Any]) -> str:
    about = f"<p>{_text(schema['description'])}</p>" if "description" in schema else ""
    if "properties" not in schema:
        return f"{about}<p>{_type(schema)}</p>"
    needed = schema.get("required", ())
    rows = [
        [f"<code>{escape(name)}</code>{'' if name in needed else '?'}", _type(each), _text(each.get("description", ""))]
        for name, each in schema["properties"].items()
    ]
    return about + _table(("Field", "Type", ""), rows)


def _type(schema: Mapping[str, Any]) -> str:
    """What a value may be, in a few words."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f'<a href="#schema-{name}">{name}</a>'
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(choice) for choice in choices))
    if values := schema.get("enum") or [schema[name] for name in ("const",) if name in schema]:
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
    limits = [f"<small>{word}</small>" for word in _limits(schema)]
    return ", ".join([_plain_type(schema), *limits])


def _plain_type(schema: Mapping[str, Any]) -> str:
    kind: str = schema.get("type", "any JSON")
    inner = schema.get("items") if kind == "array" else schema.get("additionalProperties")
    if kind == "array":
        return f"list of {_type(inner)}" if inner else "list"
    if kind == "object" and isinstance(inner, dict):
        return f"map of {_type(inner)}"  # pyright: ignore[reportUnknownArgumentType]
    return kind


def _limits(schema: Mapping[str, Any]) -> Iterator[str]:
    for keyword, word in LIMITS.items():
        if keyword in schema and schema[keyword] is not None:
            value = schema[keyword]
            yield escape(word.format(value if isinstance(value, str) and keyword != "default" else json.dumps(value)))


def _text(text: str) -> str:
    """Words with `code` among them."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{each}</th>" for each in head)
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{_cells(row)}</tr>' for row in rows)}</table>"


def _cells(row: Iterable[str]) -> str:
    return "".join(f"<td>{each}</td>" for each in row)

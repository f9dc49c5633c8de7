"""The components that a page can draw (an A2UI v0.9 catalogue) -> what a model is told, and what is asked of each.

CopilotKit's page sends its catalogue with every run, as an item of `context` (`catalog-utils.ts` of
`@copilotkit/a2ui-renderer`): JSON Schemas, of which those of the basic catalogue alone take 50 kB. A model gets the
same as one line of types for each component.

The page's words are bounded, and stand in the description of a parameter, where the tools that a page brings along have
theirs, too.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - a field's type
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import from_json

from gateway.frontend.a2ui_types import BASIC_COMPONENTS, BASIC_REFERENCES, Budget, references, sketch

if TYPE_CHECKING:
    from gateway.frontend.client_input import ClientInput

BASIC = "https://a2ui.org/specification/v0_9/basic_catalog.json"
"""The id of the catalogue that every renderer knows."""

SCHEMA = (
    "A2UI Component Schema — available components for generating UI surfaces. Use these component names and "
    "properties when creating A2UI operations."
)
"""The description of the context item with the catalogue, which is how it is known; `@ag-ui/a2ui-middleware`."""

NAMES = "A2UI catalog capabilities"
"""How the description of another item begins, which has the catalogue's id even if the page leaves the schemas out."""

MAX_ITEMS = 1000
"""Items of a page's context among which it is looked for."""

MAX_SCHEMA = 500_000
"""Characters of a page's catalogue; a larger one is not looked at."""

MAX_TOLD = 30_000
"""Characters of what a model is told of the components; of the rest it gets the names."""

MAX_NAMES = 10_000
"""Characters in which the catalogue's id is looked for, of what says that."""

MAX_NAME = 200
"""Characters of a catalogue's id, and of a component's name."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What can be drawn."""

    id: str = ""
    """As the renderer knows it; empty if nobody said."""
    told: str = ""
    """What a model is told: a component in each line, its properties as types."""
    required: Mapping[str, frozenset[str]] | None = None
    """The properties that each component must have, by its name; none if the components are not known."""
    references: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """The properties with which a component refers to others, by its name, as far as its schema says so."""


BASIC_CATALOGUE = Catalogue(
    BASIC,
    "\n".join(f"{name}: {properties}" for name, properties in BASIC_COMPONENTS.items()),
    {name: frozenset[str]() for name in BASIC_COMPONENTS},
    BASIC_REFERENCES,
)


def catalogue_for(page: ClientInput, own: Mapping[str, Any] | None = None) -> Catalogue:
    """The catalogue of a run: the agent's own, or else the page's, or else the basic one."""
    if own is not None:
        return catalogue_of(own)
    items = page.context[:MAX_ITEMS]
    schema = next((item.value for item in items if item.description == SCHEMA), None)
    # A larger one is not even kept by `_read`.
    if schema is not None and len(schema) <= MAX_SCHEMA and (sent := _read(schema)) is not None:
        return sent
    named = next((item.value for item in items if item.description.startswith(NAMES)), "")
    return Catalogue(found) if (found := _first_id(named)) not in ("", BASIC) else BASIC_CATALOGUE


def catalogue_of(schema: Mapping[str, Any]) -> Catalogue:
    """`{"catalogId": ..., "components": {name: JSON Schema}}`, an inline catalogue of A2UI v0.9, as a `Catalogue`."""
    name: Any = schema.get("catalogId")
    catalogue_id = name if isinstance(name, str) and len(name) <= MAX_NAME else ""
    components = _schemas(schema.get("components"))
    if not components:
        return BASIC_CATALOGUE if catalogue_id in ("", BASIC) else Catalogue(catalogue_id)
    required = {name: _required(parts) for name, parts in components.items()}
    referring = {name: references(name, parts) for name, parts in components.items()}
    is_basic = catalogue_id == BASIC and components.keys() == BASIC_COMPONENTS.keys()
    told = BASIC_CATALOGUE.told if is_basic else _told(components, required)
    return Catalogue(catalogue_id, told, required, referring)


@lru_cache(maxsize=16)
def _read(schema: str) -> Catalogue | None:
    """A page's catalogue: the same text in every run of a page, and in those of its other visitors."""
    try:
        value: Any = from_json(schema)
    except ValueError:
        return None
    return catalogue_of(cast("Json", value)) if isinstance(value, dict) else None


def _first_id(text: str) -> str:
    """The id in the first line that has one."""
    lines = (line.removeprefix("- ").split() for line in text[:MAX_NAMES].splitlines() if line.startswith("- "))
    return next((words[0] for words in lines if words and len(words[0]) <= MAX_NAME), "")


def _schemas(components: Any) -> dict[str, list[Json]]:
    """By the name of each component, the parts of its schema."""
    if not isinstance(components, dict):
        return {}
    found: dict[str, list[Json]] = {}
    for name, schema in cast("dict[str, Any]", components).items():
        if isinstance(schema, dict) and 0 < len(name) <= MAX_NAME:
            held = cast("Json", schema)
            parts = [held, *(_list(held.get("allOf")))]
            found[name] = [cast("Json", part) for part in parts if isinstance(part, dict)]
    return found


def _required(parts: list[Json]) -> frozenset[str]:
    names = {name for part in parts for name in _list(part.get("required")) if isinstance(name, str)}
    return frozenset(names - {"id", "component"})


def _told(components: dict[str, list[Json]], required: Mapping[str, frozenset[str]]) -> str:
    lines: list[str] = []
    untold: list[str] = []
    left, budget = MAX_TOLD, Budget()
    for name, parts in components.items():
        line = f"{name}: {sketch(parts, required[name], budget)}" if left > 0 and budget.left > 0 else ""
        left -= len(line)
        if line and left >= 0:
            lines.append(line)
        else:
            untold.append(name)
    rest = ", ".join(untold)[:MAX_TOLD]
    return "\n".join([*lines, *([f"And, not described here: {rest}"] if rest else [])])


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []

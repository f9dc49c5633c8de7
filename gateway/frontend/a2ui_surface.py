"""Arguments of `render_a2ui` -> a surface that a renderer can draw, or what is wrong with them, for the model.

A renderer shows an error, or waits for ever, where a component refers to one that is not there; one that contains
itself keeps it busy until the page is closed. So what is checked here is checked before anything of a surface is shown.
Data may still be on its way then: components that refer to some that is not there yet are drawn when it has come.

Source: A2UI v0.9, as `@a2ui/web_core` 0.10 reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import from_json, to_json

from gateway.frontend.a2ui_catalogue import BASIC, MAX_NAME

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from gateway.frontend.a2ui_catalogue import Catalogue

    Json = dict[str, Any]

VERSION = "v0.9"
ROOT = "root"
"""The component at which renderers begin."""

OPERATIONS = "a2ui_operations"
"""The key of operations in an activity, and in a tool's result that is one or more surfaces."""

MAX_ID = 200
"""Characters of the id of a surface or a component."""

MAX_COMPONENTS = 1000
MAX_CHARS = 200_000
"""Characters of all arguments together."""

KINDS = ("createSurface", "updateComponents", "updateDataModel", "deleteSurface")


class Unfit(ValueError):
    """Arguments that are no surface; what is said is for the model."""


@dataclass(frozen=True, slots=True)
class Surface:
    """An interface, or as much of it as can be drawn."""

    id: str
    catalogue_id: str
    components: list[Any]
    data: Json | None = None

    def operations(self) -> list[Json]:
        """All of it, for a renderer that knows nothing of it yet."""
        made: list[Json] = [
            {"createSurface": {"surfaceId": self.id, "catalogId": self.catalogue_id}},
            {"updateComponents": {"surfaceId": self.id, "components": self.components}},
        ]
        if self.data:
            made.append({"updateDataModel": {"surfaceId": self.id, "path": "/", "value": self.data}})
        return [{"version": VERSION, **each} for each in made]


def whole_surface(arguments: Any, catalogue: Catalogue) -> Surface:
    """Arguments, or their text, as a surface. Raises `Unfit`."""
    if isinstance(arguments, str):
        try:
            arguments = from_json(arguments)
        except ValueError:
            msg = "The arguments are not JSON."
            raise Unfit(msg) from None
    _check_length(arguments)
    if not isinstance(arguments, dict):
        msg = "The arguments must be an object with `surfaceId` and `components`."
        raise Unfit(msg)
    return _surface(cast("Json", arguments), catalogue)


def begun_surface(text: str, catalogue: Catalogue) -> Surface | None:
    """What can be drawn of arguments that are still being written; none while that is nothing. Raises `Unfit`.

    All components are there, and of the data what is certain: members that another one follows, items likewise.
    """
    try:
        held: Any = from_json(text, allow_partial=True) if len(text) <= MAX_CHARS else None
    except ValueError:
        held = None  # the end of them will tell
    if not isinstance(held, dict):
        return None
    arguments = cast("Json", held)
    last = next(reversed(arguments), "")
    if "surfaceId" not in arguments or "components" not in arguments or last == "components":
        return None
    _check_length(arguments)
    if last == "data" and isinstance(data := arguments["data"], dict):
        arguments["data"] = _certain(cast("Json", data))
    return _surface(arguments, catalogue)


def _check_length(arguments: Any) -> None:
    """By what is said and not by how: the model's own text may have spaces, and be gone when its tool is called."""
    if len(to_json(arguments).decode()) > MAX_CHARS:
        msg = f"The arguments are too long: at most {MAX_CHARS} characters. Show less at once."
        raise Unfit(msg)


def surface_id_in(arguments: Any) -> str:
    """The id of the surface that arguments, or their text, are about; empty if they are about none."""
    if isinstance(arguments, str):
        try:
            arguments = from_json(arguments)
        except ValueError:
            return ""
    named: Any = cast("Json", arguments).get("surfaceId") if isinstance(arguments, dict) else None
    return named if isinstance(named, str) else ""


def _certain(data: Json) -> Json:
    """Of an object that is still being written, what will stay as it is."""
    last = next(reversed(data), "")
    certain = {name: value for name, value in data.items() if name != last}
    growing = data.get(last)
    if isinstance(growing, list):
        certain[last] = cast("list[Any]", growing)[:-1]
    elif isinstance(growing, dict) and (inner := _certain(cast("Json", growing))):
        certain[last] = inner
    return certain


def _surface(arguments: Json, catalogue: Catalogue) -> Surface:
    surface_id, data = arguments.get("surfaceId"), arguments.get("data")
    if not isinstance(surface_id, str) or not 0 < len(surface_id) <= MAX_ID:
        msg = f"`surfaceId` must be a string of 1 to {MAX_ID} characters."
        raise Unfit(msg)
    if data is not None and not isinstance(data, dict):
        msg = "`data` must be an object."
        raise Unfit(msg)
    components = _checked(arguments.get("components"), catalogue)
    return Surface(surface_id, _catalogue_id(arguments, catalogue), components, cast("Json | None", data))


def _catalogue_id(arguments: Json, catalogue: Catalogue) -> str:
    """The page's word counts before the model's, which knows `basic` from elsewhere."""
    asked = arguments.get("catalogId")
    is_one = isinstance(asked, str) and asked != "basic" and 0 < len(asked) <= MAX_NAME
    return catalogue.id or (str(asked) if is_one else BASIC)


def _checked(components: Any, catalogue: Catalogue) -> list[Any]:
    if not isinstance(components, list) or not 0 < len(cast("list[Any]", components)) <= MAX_COMPONENTS:
        msg = f"`components` must be a list of 1 to {MAX_COMPONENTS} components."
        raise Unfit(msg)
    held = cast("list[Any]", components)
    by_id: dict[str, Json] = {}
    for number, component in enumerate(held):
        part = _component(component, number, catalogue)
        if by_id.setdefault(part["id"], part) is not part:
            msg = f"There are two components with the id {_quoted(part['id'])}."
            raise Unfit(msg)
    if ROOT not in by_id:
        msg = f"One of the components must have the id {_quoted(ROOT)}: it holds all others."
        raise Unfit(msg)
    _check_tree(by_id, catalogue.references)
    return held


def _component(component: Any, number: int, catalogue: Catalogue) -> Json:
    part = cast("Json", component) if isinstance(component, dict) else {}
    for name in ("id", "component"):
        value = part.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
            msg = f"components[{number}] needs `{name}`, a string of 1 to {MAX_ID} characters."
            raise Unfit(msg)
    if catalogue.required is not None:
        _check_kind(part, catalogue.required)
    return part


def _check_kind(part: Json, required: Mapping[str, frozenset[str]]) -> None:
    kind = part["component"]
    if kind not in required:
        msg = f"There is no component {_quoted(kind)}. There are: {', '.join(required)[:2000]}."
        raise Unfit(msg)
    if missing := sorted(required[kind] - part.keys()):
        msg = f"Component {_quoted(part['id'])} ({kind}) needs `{'`, `'.join(missing)}`."
        raise Unfit(msg)


def _check_tree(by_id: Mapping[str, Json], references: Mapping[str, frozenset[str]]) -> None:
    """Every component that another one holds is there, and none holds itself."""
    held = {name: [*_held_by(part, references.get(part["component"], ()))] for name, part in by_id.items()}
    for name, inner in held.items():
        if missing := next((each for each in inner if each not in by_id), None):
            msg = f"Component {_quoted(name)} holds {_quoted(missing)}, but there is no component with that id."
            raise Unfit(msg)
    done: set[str] = set()
    for name in held:
        _check_loops(name, held, done)


def _check_loops(name: str, held: Mapping[str, list[str]], done: set[str]) -> None:
    way, open_ones = [(name, iter(held[name]))], {name}
    while way:
        at, rest = way[-1]
        inner = next(rest, None)
        if inner is None:
            way.pop()
            open_ones.discard(at)
            done.add(at)
        elif inner in open_ones:
            msg = f"Component {_quoted(inner)} holds itself."
            raise Unfit(msg)
        elif inner not in done:
            way.append((inner, iter(held[inner])))
            open_ones.add(inner)


def _held_by(part: Json, references: Container[str]) -> Iterator[str]:
    """The ids of what a component holds: in what refers to others, and in the `child` of each of its tabs, or the like.

    They come as they are written, so that the model is told the same of the same arguments by every process.

    Args:
        part: the component.
        references: its properties that refer to others, beside `child` and `children`.
    """
    for name, value in part.items():
        if name in ("child", "children") or name in references:
            yield from _referred(value)
        for item in cast("list[Any]", value) if isinstance(value, list) else ():
            yield from _named(cast("Json", item).get("child") if isinstance(item, dict) else None)


def _referred(value: Any) -> Iterator[str]:
    """The ids in a `ComponentId`, or in a `ChildList`."""
    for each in cast("list[Any]", value) if isinstance(value, list) else (value,):
        yield from _named(each)
    yield from _named(cast("Json", value).get("componentId") if isinstance(value, dict) else None)


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value


def operations_in(result: Any) -> dict[str, list[Json]]:
    """By surface, the operations in a tool's result: `{"a2ui_operations": [...]}`, or its text."""
    if isinstance(result, str):
        if OPERATIONS not in result:
            return {}
        try:
            result = from_json(result)
        except ValueError:
            return {}
    given: Any = cast("Json", result).get(OPERATIONS) if isinstance(result, dict) else None
    found: dict[str, list[Json]] = {}
    for operation in cast("list[Any]", given) if isinstance(given, list) else ():
        if isinstance(operation, dict):
            found.setdefault(_surface_id(cast("Json", operation)), []).append(cast("Json", operation))
    return found


def _surface_id(operation: Json) -> str:
    for kind in KINDS:
        meant = operation.get(kind)
        named: Any = cast("Json", meant).get("surfaceId") if isinstance(meant, dict) else None
        if isinstance(named, str) and named:
            return named
    return "default"


def _quoted(text: str) -> str:
    return to_json(text).decode()

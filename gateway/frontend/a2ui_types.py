"""JSON Schemas of components -> types in a notation that models read well, in a fraction of the characters."""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    Json = dict[str, Any]

COMMON_TYPES = """\
ComponentId = string, the id of another component of the list
ChildList = ComponentId[] | {componentId: ComponentId, path: string}
DataBinding = {path: string}
FunctionCall = {call: string, args: {[key]: any}}
DynamicString = string | DataBinding | FunctionCall (likewise DynamicNumber, DynamicBoolean, DynamicStringList)
DynamicValue = any of those
Action = {event: {name: string, context?: {[key]: DynamicValue}}} | {functionCall: FunctionCall}
CheckRule = {condition: DynamicBoolean, message: string}"""
"""`common_types.json` of A2UI v0.9."""

_NAMED = frozenset(re.findall(r"\b([A-Z]\w+)\b", COMMON_TYPES))

BASIC_COMPONENTS = {
    "Text": "{text: DynamicString, variant?: h1|h2|h3|h4|h5|caption|body}",
    "Image": (
        "{url: DynamicString, description?: DynamicString, fit?: contain|cover|fill|none|scaleDown, "
        "variant?: icon|avatar|smallFeature|mediumFeature|largeFeature|header}"
    ),
    "Icon": (
        "{name: accountCircle|add|arrowBack|arrowForward|attachFile|calendarToday|call|camera|check|close|delete|"
        "download|edit|event|error|fastForward|favorite|favoriteOff|folder|help|home|info|locationOn|lock|lockOpen|mail|"
        "menu|moreVert|moreHoriz|notificationsOff|notifications|pause|payment|person|phone|photo|play|print|refresh|"
        "rewind|search|send|settings|share|shoppingCart|skipNext|skipPrevious|star|starHalf|starOff|stop|upload|"
        "visibility|visibilityOff|volumeDown|volumeMute|volumeOff|volumeUp|warning | DataBinding}"
    ),
    "Video": "{url: DynamicString}",
    "AudioPlayer": "{url: DynamicString, description?: DynamicString}",
    "Row": (
        "{children: ChildList, justify?: start|center|end|spaceBetween|spaceAround|spaceEvenly|stretch, "
        "align?: start|center|end|stretch}"
    ),
    "Column": "{children: ChildList, justify?: as in Row, align?: as in Row}",
    "List": (
        "{children: ChildList, direction?: vertical|horizontal, align?: as in Row, listStyle?: ordered|unordered|none}"
    ),
    "Card": "{child: ComponentId}",
    "Tabs": "{tabs: {title: DynamicString, child: ComponentId}[]}",
    "Divider": "{axis?: horizontal|vertical}",
    "Modal": "{trigger: ComponentId, content: ComponentId}",
    "Button": "{child: ComponentId, action: Action, variant?: default|primary|borderless, checks?: CheckRule[]}",
    "TextField": (
        "{label: DynamicString, value?: DynamicString, variant?: longText|number|shortText|obscured, "
        "validationRegexp?: string, checks?: CheckRule[]}"
    ),
    "CheckBox": "{label: DynamicString, value: DynamicBoolean, checks?: CheckRule[]}",
    "ChoicePicker": (
        "{options: {label: DynamicString, value: string}[], value: DynamicStringList, label?: DynamicString, "
        "variant?: multipleSelection|mutuallyExclusive, displayStyle?: checkbox|chips, filterable?: boolean, "
        "checks?: CheckRule[]}"
    ),
    "Slider": "{value: DynamicNumber, max: number, min?: number, step?: number, label?: DynamicString}",
    "DateTimeInput": (
        "{value: DynamicString, enableDate?: boolean, enableTime?: boolean, min?: DynamicString, "
        "max?: DynamicString, label?: DynamicString}"
    ),
}
"""The basic catalogue of A2UI v0.9."""

COMMON_PROPERTIES = frozenset(("id", "component", "accessibility", "weight"))
"""Every component has them."""

MAX_DEPTH = 6
"""Of types in types."""

MAX_STEPS = 500
"""Types and literals in the schema of one component."""

MAX_ALL_STEPS = 10_000
"""The same of a catalogue: those of its last components are not described if that was not enough."""

MAX_OPTIONS = 80
"""Of one type; likewise its members."""

MAX_PARTS = 20
"""Schemas that a component is put together from."""

MAX_LOOKED_AT = 200
"""Characters of a name, of a reference, and of the description that says which common type it is."""

INDEX = re.compile("[0-9]{1,6}")
"""A place in a list, as a reference names it."""

MAX_BITS = 64
"""Of a number: of one with thousands of digits, each takes longer to write."""

SCALAR = (str, int, float, bool, type(None))
PLAIN = ("string", "number", "integer", "boolean", "null")
MAX_DESCRIPTION = 120
"""Characters."""

REFERENCES = ("ComponentId", "ChildList")
"""Types of properties that refer to other components."""

BASIC_REFERENCES = {"Modal": frozenset(("trigger", "content"))}
"""Such properties of the basic components, beside `child` and `children`, which always refer to others."""


def references(component: str, parts: list[Json]) -> frozenset[str]:
    """The properties with which a component refers to others, as far as its schema says so.

    Those of the basic ones are known by their names: they are described in words that leave the type out.
    """
    properties = {name: schema for part in parts for name, schema in _object(part.get("properties")).items()}
    said = {name for name, schema in properties.items() if _named(_object(schema)) in REFERENCES}
    basic = BASIC_REFERENCES.get(component, frozenset())
    if all(name in said or _object(properties.get(name)).get("type") == "string" for name in basic):
        said |= basic
    return frozenset(said - COMMON_PROPERTIES)


class Budget:
    """What may be looked at of one catalogue, in steps: its schemas may refer to themselves, in ever so many ways."""

    def __init__(self) -> None:
        self.left = MAX_ALL_STEPS


def sketch(parts: list[Json], required: AbstractSet[str], budget: Budget) -> str:
    """The properties of one component.

    Args:
        parts: of its schema: itself, and what it is put together from.
        required: the properties that it must have.
        budget: of its catalogue.
    """
    told: list[str] = []
    steps = left = min(MAX_STEPS, budget.left)
    for part in parts[:MAX_PARTS]:
        types = _Types(part, left)
        for name, schema in islice(_object(part.get("properties")).items(), MAX_STEPS):
            if name not in COMMON_PROPERTIES:
                mark, about = "" if name in required else "?", _about(schema)
                told.append(f"{name[:MAX_LOOKED_AT]}{mark}: {types.of(schema)}{f' /* {about} */' if about else ''}")
        left = types.left
    budget.left -= steps - max(left, 0)
    return f"{{{', '.join(told)}}}"


class _Types:
    """The types in one schema, which may refer to itself, and in so many ways that to follow them all takes for ever.

    Args:
        root: what its references begin at.
        left: steps, of which each type and each literal is one. When there are none left, every type is `any`.
    """

    def __init__(self, root: Json, left: int) -> None:
        self._root = root
        self.left = left

    def of(self, schema: Any, depth: int = 0) -> str:
        """The type that a schema in it describes."""
        self.left -= 1
        if not isinstance(schema, dict) or depth > MAX_DEPTH or self.left < 0:
            return "any"
        held = cast("Json", schema)
        return _named(held) or self._literals(held) or self._made_of_others(held, depth + 1)

    def _literals(self, schema: Json) -> str:
        values = ([schema["const"]] if "const" in schema else _list(schema.get("enum")))[:MAX_OPTIONS]
        self.left -= len(values)
        return "|".join(map(_literal, values))

    def _made_of_others(self, schema: Json, depth: int) -> str:
        choices = _list(schema.get("anyOf")) or _list(schema.get("oneOf"))
        if choices:
            return " | ".join(dict.fromkeys(self.of(choice, depth) for choice in choices[:MAX_OPTIONS]))
        match schema:
            case {"$ref": str(ref)}:
                return self.of(_at(ref, self._root), depth)
            case {"type": "array"}:
                items = self.of(schema.get("items"), depth)
                return f"({items})[]" if " | " in items else f"{items}[]"
            case {"type": "object"} | {"properties": dict()}:
                return self._members(schema, depth)
            case _:
                kind = schema.get("type")
                return kind if isinstance(kind, str) and kind in PLAIN else "any"

    def _members(self, schema: Json, depth: int) -> str:
        required = frozenset(name for name in _list(schema.get("required"))[:MAX_OPTIONS] if isinstance(name, str))
        members = [
            f"{name[:MAX_LOOKED_AT]}{'' if name in required else '?'}: {self.of(member, depth)}"
            for name, member in islice(_object(schema.get("properties")).items(), MAX_OPTIONS)
        ]
        if isinstance(more := schema.get("additionalProperties"), dict):
            members.append(f"[key]: {self.of(more, depth)}")
        return f"{{{', '.join(members)}}}"


def _named(schema: Json) -> str:
    """The name of a common type: `REF:common_types.json#/$defs/DynamicString|...` is what renderers make of it."""
    for text in (schema.get("description"), schema.get("$ref")):
        if isinstance(text, str) and "common_types.json#/$defs/" in (begun := text[:MAX_LOOKED_AT]):
            name = begun.partition("|")[0].rpartition("/")[2]
            if name in _NAMED:
                return name
    return ""


def _about(schema: Any) -> str:
    text: Any = cast("Json", schema).get("description") if isinstance(schema, dict) else None
    if not isinstance(text, str) or text.startswith("REF:"):
        return ""
    return " ".join(text[: 2 * MAX_DESCRIPTION].split())[:MAX_DESCRIPTION]


def _at(ref: str, root: Json) -> Any:
    """What a JSON Pointer within the component's schema points to."""
    value: Any = root
    if len(ref) > MAX_LOOKED_AT:
        return None
    for step in ref.removeprefix("#/").split("/"):
        if isinstance(value, dict):
            value = cast("Json", value).get(step)
        elif isinstance(value, list) and INDEX.fullmatch(step) and int(step) < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[int(step)]
        else:
            return None
    return value


def _literal(value: Any) -> str:
    if isinstance(value, str):
        value = value[:MAX_DESCRIPTION]
    if not isinstance(value, SCALAR) or (isinstance(value, int) and value.bit_length() > MAX_BITS):
        return "any"
    return json.dumps(value, ensure_ascii=False)[:MAX_DESCRIPTION]


def _object(value: Any) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []

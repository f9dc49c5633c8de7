"""What a model wrote of an output -> the same, by the names that the output has in JSON, for comparing the two.

A model writes the names that validation takes, in its own order, and things that validation drops.
"""

from __future__ import annotations

from dataclasses import is_dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    PlainValidator,
    RootModel,
    WrapValidator,
)

from gateway.wires.native.partial_types import KNOWN, unfilled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

UNFIT: Any = object()
"""In place of what belongs into the output and is not there (yet)."""

CHANGED: Any = object()
"""In place of what is there as something that cannot be compared: a set, a list that a validator may sort or filter."""

LEFT_OUT: Any = object()
"""In place of what the output never has: members that its type does not know, or does not show."""

_VALIDATORS = (AfterValidator, BeforeValidator, PlainValidator, WrapValidator)


def in_names_of(value: Any, written: Any) -> Any:
    """What was written of a validated value, as far as it has been, by the names of the value's JSON."""
    if isinstance(value, RootModel):
        return in_names_of(cast("Any", value.root), written)  # pyright: ignore[reportUnknownMemberType]
    if isinstance(written, dict):
        return _of_object(value, cast("dict[str, Any]", written))
    if isinstance(written, list):
        return _of_list(value, cast("list[Any]", written))
    return written


def _of_object(value: Any, written: dict[str, Any]) -> Any:
    if isinstance(value, BaseModel):
        return _of_model(value, written)
    if is_dataclass(value):
        value = vars(value)
    if not isinstance(value, dict):
        return CHANGED
    given = cast("dict[str, Any]", value)
    return {name: in_names_of(given[name], each) if name in given else UNFIT for name, each in written.items()}


def _of_list(value: Any, written: list[Any]) -> Any:
    if not isinstance(value, list | tuple):
        return CHANGED  # a set has its own order
    items = cast("list[Any]", value)
    if len(items) not in (len(written), len(written) - 1):
        return CHANGED
    return [in_names_of(*pair) for pair in zip(items, written, strict=False)] + [UNFIT] * (len(written) - len(items))


def _of_model(value: BaseModel, written: dict[str, Any]) -> dict[str, Any]:
    fields, set_fields = type(value).model_fields, value.model_fields_set
    missing = {name for name, field in fields.items() if field.default_factory is unfilled and name not in set_fields}
    named = {key: name for name, field in fields.items() for key in (name, *_keys(field))}
    shown = {_shown_as(fields[name], name): UNFIT for name in fields if name in missing}
    extra = value.model_extra or {}
    for key, each in written.items():
        name = named.get(key)
        if name is None:
            shown[key] = in_names_of(extra[key], each) if key in extra else LEFT_OUT
        elif fields[name].exclude:
            shown[key] = LEFT_OUT
        else:
            shown[_shown_as(fields[name], name)] = _of_field(value, name, each) if name in set_fields else UNFIT
    return shown


def _of_field(value: BaseModel, name: str, written: Any) -> Any:
    is_collection = isinstance(written, dict | list)
    return CHANGED if is_collection and _is_validated(type(value), name) else in_names_of(getattr(value, name), written)


@lru_cache(maxsize=KNOWN)
def _is_validated(kind: type[BaseModel], name: str) -> bool:
    """Whether the field has a validator of its author's."""
    decorated = (each.info.fields for each in kind.__pydantic_decorators__.field_validators.values())
    metadata = kind.model_fields[name].metadata
    return any({name, "*"} & {*names} for names in decorated) or any(isinstance(each, _VALIDATORS) for each in metadata)


def _shown_as(field: FieldInfo, name: str) -> str:
    return field.serialization_alias or name


def _keys(field: FieldInfo) -> Iterator[str]:
    """Other names that validation takes for a field."""
    alias = field.validation_alias
    for each in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        if isinstance(each, str):
            yield each

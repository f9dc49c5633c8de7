"""A type of output -> the same type for an output that is still being written: fields may be missing at any depth.

pydantic's own partial validation drops what is unfinished from lists and typed dictionaries; a model with a required
field it refuses until that field is there, which is the end of most models. Only ever used for what is shown on the
way: the final output is validated by the agent's own type.
"""

from __future__ import annotations

from copy import copy
from functools import lru_cache
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard, Union, cast, get_args, get_origin

from pydantic import BaseModel, ModelWrapValidatorHandler, RootModel, TypeAdapter, ValidationError, create_model
from pydantic import model_validator as validator

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

KNOWN = 256
"""Types that are kept."""

COLLECTIONS: frozenset[Any] = frozenset({list, set, frozenset, tuple, dict})


@lru_cache(maxsize=KNOWN)
def partial_adapter(kind: Any) -> TypeAdapter[Any]:
    """Validates outputs of that type which are still being written."""
    return TypeAdapter(_partial(kind, frozenset()))


def validated_so_far(kind: Any, value: Any) -> Any:
    """What there is of the output. Raises `ValidationError` where nothing of it fits."""
    return partial_adapter(kind).validate_python(value, experimental_allow_partial="trailing-strings")


def _partial(kind: Any, around: frozenset[Any]) -> Any:
    """The type, with models in it that may lack fields; `around` are the models that this one is part of."""
    if is_model(kind):
        return kind if kind in around else _partial_model(kind, around | {kind})
    generic: Any = get_origin(kind)
    arguments: Any = tuple(each if each is Ellipsis else _partial(each, around) for each in get_args(kind))
    if generic is Annotated:
        return Annotated[(arguments[0], *kind.__metadata__)]  # type: ignore[return-value]
    if generic in (Union, UnionType):
        return Union[arguments]  # noqa: UP007 - made of a tuple
    return generic[arguments] if generic in COLLECTIONS else kind


def is_model(kind: Any) -> TypeGuard[type[BaseModel]]:
    """Whether it is a model with fields."""
    return isinstance(kind, type) and issubclass(kind, BaseModel) and not issubclass(kind, cast("Any", RootModel))


def _partial_model(kind: type[BaseModel], around: frozenset[Any]) -> type[BaseModel]:
    fields: Any = {name: _optional(field, around) for name, field in kind.model_fields.items()}
    return create_model(kind.__name__, __base__=kind, __validators__={"lenient": _lenient()}, **fields)


def _optional(field: FieldInfo, around: frozenset[Any]) -> tuple[Any, FieldInfo]:
    optional = copy(field)
    if field.is_required():
        optional.default_factory = unfilled
    return _partial(field.annotation, around), optional


def unfilled() -> None:
    """The value of a required field that the model has not come to."""


def _lenient() -> Any:
    """Leaves out the fields that do not fit (yet): the beginning of an enum's value, say."""

    def lenient(cls: type[BaseModel], value: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:  # noqa: ARG001
        try:
            return handler(value)
        except ValidationError as error:
            if not isinstance(value, dict):
                raise
            unfit = {each["loc"][0] for each in error.errors(include_url=False) if each["loc"]}
            given = cast("dict[str, Any]", value)
            kept = {name: each for name, each in given.items() if name not in unfit}
            if len(kept) == len(given):
                raise
            return handler(kept)

    return validator(mode="wrap")(classmethod(lenient))  # pyright: ignore[reportArgumentType, reportUnknownVariableType, reportCallIssue]

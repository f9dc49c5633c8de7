"""JSON -> a type that the caller names: final outputs in full, partial ones as far as they are a value of that type."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from gateway.client.errors import InvalidOutput

T = TypeVar("T")

OutputType = type[T] | TypeAdapter[T]
"""A pydantic model, dataclass, TypedDict or anything else that pydantic validates; what is no class, in an adapter."""

ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
"""JSON data as it is."""


class Outputs(Generic[T]):
    """The outputs of one run."""

    def __init__(self, output_type: OutputType[T]) -> None:
        self._adapter = output_type if isinstance(output_type, TypeAdapter) else TypeAdapter(output_type)

    def final(self, data: Any) -> T:
        """The whole output. Raises `InvalidOutput`."""
        try:
            return self._adapter.validate_python(data)
        except ValidationError as error:
            raise InvalidOutput(data) from error

    def partial(self, data: Any) -> tuple[T, ...]:
        """The output so far, if it is a value of the type already.

        What is still being written is the last thing in it: pydantic forgives that one what it lacks, in lists and
        dictionaries; in a model, which must be whole, it is left out if it does not fit.
        """
        for each in (data, _without_the_last(data)):
            try:
                return (self._adapter.validate_python(each, experimental_allow_partial="trailing-strings"),)
            except ValidationError:
                continue
        return ()


def _without_the_last(data: Any) -> Any:
    """An object without the member that is being written."""
    return dict([*data.items()][:-1]) if isinstance(data, dict) else data  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType, reportUnknownMemberType]

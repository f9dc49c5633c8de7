"""Messages of the AI SDK 5, 6 and 7, and of later ones -> pydantic-ai's models of them.

Those are models of SDK 6.0.57 that refuse every other field, so that a chat would be stuck for good with the first
message that holds a newer one. Here what they do not know is dropped: fields, parts, states. What they know is theirs
to judge: its tables are made from the models. A value of the wrong type is refused with the name of its field.

One newer part is more than decoration: `steering-message` is what the user said in the middle of an answer. It becomes
a message of the user's, between two halves of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_ai.ui.vercel_ai.request_types import (
    FileUIPart,
    RegenerateMessage,
    SubmitMessage,
    ToolApprovalRequested,
    ToolApprovalResponded,
    UIMessage,
    UIMessagePart,
)
from pydantic_core import to_json

from gateway.errors import MalformedBody, first_problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic.fields import FieldInfo
    from pydantic_ai.ui.vercel_ai.request_types import RequestData

    Json = dict[str, Any]
    Place = tuple[str | int, ...]

Model = TypeVar("Model", bound=BaseModel)

STEERING = "steering-message"
FAMILIES = ("tool-", "data-")
"""Kinds of parts whose type goes on with a name."""
SAID_BY = {"user": ("text", "file", "data-"), "system": ("text",)}
"""Kinds of parts that pydantic-ai reads in messages of these roles; of others it would refuse the whole request."""
TRIGGERS: dict[Any, type[SubmitMessage | RegenerateMessage]] = {
    "submit-message": SubmitMessage,
    "regenerate-message": RegenerateMessage,
}


@dataclass(frozen=True, slots=True)
class _Field:
    """What is known of a field before its value is looked at."""

    name: str
    alias: str
    choices: frozenset[Any]
    """The values that it may have; empty for any."""
    is_payload: bool
    """Any JSON, and asked for: `undefined` is a value of the client's that JSON leaves out."""


def request_in(fields: Mapping[str, Any]) -> RequestData:
    """A body's fields but for its messages -> a request without any. Raises `MalformedBody`."""
    trigger: Any = fields.get("trigger") or "submit-message"
    kind = TRIGGERS.get(trigger) if isinstance(trigger, str) else None
    if kind is None:
        msg = f"trigger: Input should be {' or '.join(map(repr, TRIGGERS))}"
        raise MalformedBody(msg)
    return _valid(kind, {**fields, "trigger": trigger, "messages": []}, ())


def messages_in(message: Any, *place: str | int) -> list[UIMessage]:
    """One message, at that place of the body -> one, or several when it was steered. Raises `MalformedBody`."""
    known = _known(UIMessage, _object(message, place))
    parts: Any = known.get("parts")
    bare = _valid(UIMessage, {**known, "parts": []} if isinstance(parts, list) else known, place)
    given = [(_typed(part, at), at) for at, part in _placed(cast("list[Any]", parts), *place, "parts")]
    if bare.role == "assistant":
        return list(_steered(bare, given))
    return [_with(bare, [part for each, at in given if _kind(each) in SAID_BY[bare.role] for part in _part(each, at)])]


def _steered(answer: UIMessage, parts: Sequence[tuple[Json, Place]]) -> Iterator[UIMessage]:
    """An answer, in pieces where it was steered; the last piece is known by the answer's own id."""
    piece: list[UIMessagePart] = []
    for number, (part, at) in enumerate(parts):
        if part["type"] == STEERING:
            if piece:
                yield _with(answer.model_copy(update={"id": f"{answer.id}-{number}"}), piece)
            yield from messages_in({"id": part.get("id"), "role": "user", "parts": part.get("parts")}, *at)
            piece = []
        else:
            piece += _part(part, at)
    yield _with(answer, piece)


def _part(part: Json, place: Place) -> list[UIMessagePart]:
    """A part as pydantic-ai has it; nothing if it does not know of such."""
    states = _states().get(_kind(part))
    if states is None:
        return []
    state = part.get("state") if None not in states else None
    if None not in states and not isinstance(state, str):
        raise MalformedBody(f"{_dotted(*place, 'state')}: Field required")
    if state not in states:
        return []
    known = _known(states[state], part)
    if isinstance(approval := known.get("approval"), dict):
        known["approval"] = _approval(cast("Json", approval), (*place, "approval"))
    if "input" in known and not isinstance(known["input"], str | dict | None):
        # An object, or text that pydantic-ai tries to read as one: of a call that was stopped half-way, say.
        known["input"] = to_json(known["input"]).decode()
    return [cast("UIMessagePart", _valid(states[state], known, place))]


def _approval(approval: Json, place: Place) -> BaseModel:
    """Its own choice of the model: whether something was decided must not depend on which of two fits better."""
    kind = ToolApprovalRequested if approval.get("approved") is None else ToolApprovalResponded
    return _valid(kind, _known(kind, approval), place)


def _with(message: UIMessage, parts: Sequence[UIMessagePart]) -> UIMessage:
    """The message with these parts, which were validated."""
    # An answer's file that is not in the message itself cannot be read back, and the model has no need of it.
    is_answer = message.role == "assistant"
    message.parts = [part for part in parts if not (is_answer and isinstance(part, FileUIPart) and _is_elsewhere(part))]
    return message


def _is_elsewhere(file: FileUIPart) -> bool:
    return file.url[:5].lower() != "data:"


def _known(model: type[BaseModel], given: Json) -> Json:
    """The fields that the model knows, by the names of the wire."""
    known: Json = {}
    for field in _fields(model):
        value = given.get(field.alias, given.get(field.name))
        is_given = field.alias in given or field.name in given
        if is_given and not (field.choices and isinstance(value, str) and value not in field.choices):
            known[field.alias] = value
        elif field.is_payload:
            known[field.alias] = None
    return known


@cache
def _fields(model: type[BaseModel]) -> tuple[_Field, ...]:
    return tuple(
        _Field(
            name=name,
            alias=field.alias or name,
            # A choice that is asked for, such as a message's role, is no decoration.
            choices=frozenset() if field.is_required() else _choices(field.annotation),
            is_payload=field.is_required() and field.annotation is Any,
        )
        for name, field in model.model_fields.items()
    )


def _choices(annotation: Any) -> frozenset[Any]:
    options = [annotation, *get_args(annotation)]
    return frozenset(value for option in options if get_origin(option) is Literal for value in get_args(option))


@cache
def _states() -> dict[str, dict[str | None, type[BaseModel]]]:
    """Kind of part -> its model by state; by None where the state does not matter."""
    table: dict[str, dict[str | None, type[BaseModel]]] = {}
    for model in get_args(UIMessagePart):
        fields = cast("type[BaseModel]", model).model_fields
        state = fields["state"].default if "state" in fields else None
        table.setdefault(_kind_of(fields["type"]), {})[state] = model
    return table


def _kind_of(field: FieldInfo) -> str:
    """The type that a model is for; of a family what all its types begin with."""
    patterns = [pattern for each in field.metadata if (pattern := getattr(each, "pattern", None))]
    return str(patterns[0]).removeprefix("^") if patterns else field.default


def _kind(part: Json) -> str:
    name: str = part["type"]
    return next((family for family in FAMILIES if name.startswith(family)), name)


def _valid(model: type[Model], fields: Mapping[str, Any], place: Place) -> Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise MalformedBody(first_problem(error, *map(str, place))) from error


def _typed(part: Any, place: Place) -> Json:
    fields = _object(part, place)
    if not isinstance(fields.get("type"), str):
        raise MalformedBody(f"{_dotted(*place, 'type')}: Field required")
    return fields


def _object(value: Any, place: Place) -> Json:
    if not isinstance(value, dict):
        raise MalformedBody(f"{_dotted(*place)}: Input should be an object")
    return cast("Json", value)


def _placed(items: list[Any], *place: str | int) -> Iterator[tuple[Place, Any]]:
    return (((*place, index), item) for index, item in enumerate(items))


def _dotted(*place: str | int) -> str:
    return ".".join(map(str, place))

"""Models and agents for tests of object streams: what each is given to write, it writes in pieces."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AliasChoices, AnyUrl, BaseModel, ConfigDict, Field, RootModel, computed_field, field_validator
from pydantic import model_validator as checked
from pydantic.alias_generators import to_camel
from pydantic_ai import Agent, DeferredToolRequests, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.messages import UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from typing_extensions import TypedDict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic_ai.messages import ModelMessage

attempts: list[list[str]] = []
"""What the models here write, in pieces, at each attempt; the last one again when there are no more."""


asked: list[str] = []
"""What the user said."""


async def _writes(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
    asked.extend(str(part.content) for part in messages[0].parts if isinstance(part, UserPromptPart))
    pieces = attempts[min(len(messages) // 2, len(attempts) - 1)]
    if not info.output_tools:
        for piece in pieces:
            yield piece
        return
    yield {0: DeltaToolCall(info.output_tools[0].name, tool_call_id=f"call-{len(messages)}")}
    for piece in pieces:
        yield {0: DeltaToolCall(json_args=piece)}


def agent(output: Any, **options: Any) -> Agent[None, Any]:
    """An agent with that output."""
    written: Any = Agent(FunctionModel(stream_function=_writes), name="writing", output_type=output, **options)
    return written


class Mood(StrEnum):
    """Values that begin alike."""

    GOOD = "good"
    GOODISH = "goodish"
    BAD = "bad"


class Place(BaseModel):
    """Nested, with defaults of its own."""

    street: str
    zip: int = 1
    tags: list[str] = ["home"]


class Cat(BaseModel):
    """One of two."""

    kind: Literal["cat"] = "cat"
    lives: int
    name: str = "Tom"


class Dog(BaseModel):
    """The other one."""

    kind: Literal["dog"]
    name: str


class Person(BaseModel):
    """All kinds of fields."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)

    full_name: str
    age: int | None = None
    height: float = 1.5
    mood: Mood = Mood.GOOD
    home_place: Place = Field(default_factory=lambda: Place(street="none"))
    other_places: list[Place] = []
    pets: list[Cat | Dog] = []
    notes: dict[str, str] = {}
    is_nice: bool = True
    hidden: str = Field(default="", exclude=True)

    @computed_field
    @property
    def initial(self) -> str:
        """Is not written by the model."""
        return (self.full_name or "?")[:1]


class Changed(BaseModel):
    """Fields of which validation makes something else."""

    at: datetime
    link: AnyUrl
    words: set[str] = set()
    names: list[str] = []
    title: str = Field(default="", validation_alias=AliasChoices("title", "heading"), serialization_alias="shownTitle")
    total: int = 0

    @field_validator("names")
    @classmethod
    def _sorted(cls, names: list[str]) -> list[str]:
        return sorted({name.strip().lower() for name in names if name.strip()})

    @field_validator("title")
    @classmethod
    def _tidy(cls, title: str) -> str:
        return " ".join(title.split()).title()

    @checked(mode="after")
    def _counted(self) -> Changed:
        self.total = len(self.names)
        return self


class Tree(BaseModel):
    """A model of itself."""

    label: str
    children: list[Tree] = []


class Draft(TypedDict, total=False):
    """A typed dictionary."""

    title: str
    pages: list[int]


@dataclass
class Point:
    """A dataclass."""

    x: float
    y: float
    label: str = "origin"


class Names(RootModel[list[str]]):
    """A model with nothing but a list."""


class Team(BaseModel):
    """Models without fields in one with some."""

    names: Names
    leads: dict[str, Place] = {}
    size: tuple[int, int] = (0, 1)


OUTPUTS: dict[str, Any] = {
    "person": Person,
    "changed": Changed,
    "tree": Tree,
    "draft": Draft,
    "point": Point,
    "team": Team,
    "places": list[Place],
    "numbers": list[float],
    "any": dict[str, Any],
    "pet": Cat | Dog,
}

agents = {name: agent(output, retries=3) for name, output in OUTPUTS.items()}
"""By name, with tool output."""

made: list[Any] = []


def make(place: Place) -> Place:
    """An output function; must not be called with half of a place."""
    made.append(place)
    return place


native = agent(NativeOutput(Person), retries=3)
native_of_two = agent(NativeOutput([Cat, Place]), retries=3)
prompted = agent(PromptedOutput(Person), retries=3)
named = agent(ToolOutput(Person, name="person"), retries=3)
making = agent(make)
asking = agent([Place, DeferredToolRequests])
either = agent([str, Place])
for _name, _agent in agents.items():
    globals()[f"agent_{_name}"] = _agent


def in_pieces(text: str, ends: list[int]) -> list[str]:
    """The text, cut at those places."""
    places = sorted({0, len(text), *(end % (len(text) + 1) for end in ends)})
    return [text[start:end] for start, end in pairwise(places)]


def write(*values: Any, ends: list[int] | None = None) -> None:
    """Have the models write these values (or texts of JSON), one at each attempt; letter by letter unless told."""
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    attempts[:] = [in_pieces(text, [*range(len(text))] if ends is None else ends) for text in texts]

"""What a person may change of a thread: its title, whether lists show it, and that there is one. For every surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from gateway.errors import NotFound
from gateway.surfaces.thread_requests import own_thread, view_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request

    from gateway.surfaces.endpoint import Services

MAX_TITLE = 200
"""Characters."""

Title = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_TITLE, pattern=r"^[^\x00]*$")]


def unsaid() -> None:
    """A default that is in no schema: to leave a title out is not what sending null is."""


class ThreadChange(BaseModel):
    """What a person says of a thread. At least one of these; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, json_schema_extra={"minProperties": 1})

    nothing: ClassVar[str] = "`title` or `archived` is required"

    title: Title | None = Field(default_factory=unsaid)
    """What to call it; null or an empty one takes the given name away."""
    archived: StrictBool = Field(default_factory=bool)
    """Whether lists leave it out."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("nothing", "{said}", {"said": self.nothing})
        return self

    @property
    def marks(self) -> dict[str, Any]:
        """What was said, as `ThreadView.mark` takes it."""
        said = {"title": self.title or "", "archived": self.archived}
        return {name: said[name] for name in self.model_fields_set}


async def change_thread(
    request: Request, services: Services, change: ThreadChange, agents: Collection[str] | None = None
) -> None:
    """Mark the thread that the path names, also while a run goes on on it. `agents`: see `own_thread`.

    Raises `NotFound`.
    """
    thread = await own_thread(request, services, agents)
    if not await view_of(request, services).mark(thread.id, **change.marks):
        raise NotFound


async def delete_thread(request: Request, services: Services, agents: Collection[str] | None = None) -> None:
    """Delete the thread that the path names. `agents`: see `own_thread`.

    Raises `NotFound`, and `RunConflict` while a run goes on on it that somebody reads.
    """
    thread = await own_thread(request, services, agents)
    async with services.runs.locks.held(request.user.scope, thread.id, by_its_owner=True):
        await view_of(request, services).delete(thread.id)

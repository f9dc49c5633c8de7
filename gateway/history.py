"""What is kept of a thread: pydantic-ai's record and entries, and beside them what those have no field for.

A thread is a line of entries, each with one message, from the first one to the head. Edits and regenerated answers
leave branches: other lines that share its beginning. Whenever a head is saved, a `TurnRecord` is saved with it, in the
same step, so that a line falls into the turns that it grew by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - fields' types
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord  # noqa: TC002 - as above

Archived = Literal["exclude", "include", "only"]
"""What a list does with archived threads."""

RUNNING, FINISHED, CANCELLED = "running", "finished", "cancelled"
"""Outcomes of a run; every other one is the `code` of an error. A run that is `running` and holds no lease was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    """What is known of the run that saved the head `entry_id`.

    A turn saves two heads: the user's message before anything runs (`running`), and the last message of the answer.
    """

    entry_id: str
    """The head it was saved with."""
    run_id: str
    agent: str
    surface: str
    outcome: str = RUNNING
    """How the run stood when this was saved: `running`, `finished`, `cancelled`, or the code of an error."""
    title: str = ""
    """What the thread is called with this head: the beginning of the first message, unless it was renamed."""
    state: dict[str, Any] | None = None
    """The state that the agent shares with its front end, after the turn. JSON."""
    wire_ids: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Ids of messages by which clients know them. JSON: `user` holds those of the user's messages in this turn, in
    order; each other key is a surface, and its value is that wire's own note of the ids that it streamed."""
    answers: Mapping[str, Any] | None = None
    """Answers to the requests at this head, or to those that stood open when its message came, as far as they are in.
    JSON of `DeferredToolResults`."""
    answered_run: str = ""
    """The run that took those answers; empty while one is missing."""
    expires_at: datetime | None = None
    """When the turn's open requests can no longer be approved."""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A thread as it stands, without its messages."""

    record: ConversationRecord
    turn: TurnRecord | None
    """Of the head; none for a thread that was saved through pydantic-ai's interface alone."""
    renamed: str = ""
    """The title that a person gave it."""
    archived: bool = False
    """Whether a person put it away: lists leave it out unless asked for it. A turn on it does not change that."""
    created_at: datetime

    @property
    def id(self) -> str:
        """The thread id."""
        return self.record.conversation_id

    @property
    def title(self) -> str:
        """What to call the thread."""
        return self.renamed or (self.turn.title if self.turn else "")

    @property
    def revision(self) -> str:
        """Changes with every save."""
        return self.record.revision

    @property
    def agent(self) -> str:
        """The agent that spoke last."""
        return self.turn.agent if self.turn else ""


@dataclass(frozen=True, slots=True)
class Line:
    """The way from a thread's first message to a head, oldest first."""

    entries: Sequence[ConversationEntry] = ()
    turns: Mapping[str, TurnRecord] = field(default_factory=dict[str, TurnRecord])
    """By the entry that each was saved with; entries in between have none."""

    def segments(self) -> list[tuple[list[ConversationEntry], TurnRecord | None]]:
        """The entries by the save that added them; the last of each has the turn's record."""
        segments: list[tuple[list[ConversationEntry], TurnRecord | None]] = []
        current: list[ConversationEntry] = []
        for entry in self.entries:
            current.append(entry)
            if turn := self.turns.get(entry.id):
                segments.append((current, turn))
                current = []
        return [*segments, (current, None)] if current else segments

"""Lines and files that were read or written not long ago, within a bound of bytes.

Entries are never changed, so a line is known for as long as its head is. Its turns may change: a family's edition says
whether they did. Every look at a thread brings the current edition with it, so a line from here is never older than the
last look at one of its family's threads through the same store.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from gateway.history import Line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic_ai.conversation_store import ConversationEntry

    from gateway.history import TurnRecord

LINE_BYTES = 32_000_000
"""Bytes of JSON of the lines that are kept. As messages they take about twice as much memory."""
FILE_BYTES = 32_000_000
"""Bytes of the files that are kept beside them."""

_OUTDATED = -1
"""No edition: the turns of such a line are read again. Its entries are as good as ever."""

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """What was used last, as long as it fits.

    Args:
        max_bytes: what all values may weigh together; one that weighs more alone is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._room = max_bytes
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        return key in self._kept

    def get(self, key: K) -> V | None:
        """The value, which is now the one used last."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def put(self, key: K, value: V, size: int) -> list[V]:
        """Keep the value. What had to go for it."""
        self.drop(key)
        self._kept[key] = value, size
        self._room -= size
        gone: list[V] = []
        while self._room < 0:
            gone.append(self.drop(next(iter(self._kept))))  # pyright: ignore[reportArgumentType] - it is there
        return gone

    def drop(self, key: K) -> V | None:
        """Let go of it, if it is there."""
        value, size = self._kept.pop(key, (None, 0))
        self._room += size
        return value


@dataclass(frozen=True, slots=True)
class KnownLine:
    """A line, and what it takes to know whether it still holds."""

    line: Line
    scope: str
    family: str
    edition: int
    size: int
    """Bytes of JSON."""

    @property
    def head_id(self) -> str:
        """The last entry's."""
        return self.line.entries[-1].id

    def grown(
        self, entries: Sequence[ConversationEntry], turns: Mapping[str, TurnRecord], edition: int, size: int
    ) -> KnownLine:
        """The line with more entries behind it, or with another turn at its head."""
        line = Line([*self.line.entries, *entries], {**self.line.turns, **turns})
        return KnownLine(line, self.scope, self.family, edition, self.size + size)


class Lines:
    """Known lines by owner and head."""

    def __init__(self, max_bytes: int = LINE_BYTES) -> None:
        self._lines: Recent[tuple[str, str], KnownLine] = Recent(max_bytes)
        self._heads: dict[tuple[str, str], set[str]] = {}
        """By family: its known lines."""
        self._editions: dict[tuple[str, str], int] = {}
        """Of the same families."""

    def get(self, scope: str, head_id: str) -> KnownLine | None:
        """The line up to that head, when it is known and holds."""
        known = self._lines.get((scope, head_id))
        return known if known and known.edition == self._editions[scope, known.family] else None

    def put(self, known: KnownLine) -> None:
        """Keep a line as it was just written."""
        family = known.scope, known.family
        self._editions[family] = known.edition
        self._heads.setdefault(family, set()).add(known.head_id)
        for gone in self._lines.put((known.scope, known.head_id), known, known.size):
            self._forget_head(gone)

    def offer(self, known: KnownLine) -> None:
        """Keep a line as it was read, unless something else was heard of its family meanwhile."""
        if self._editions.get((known.scope, known.family), known.edition) == known.edition:
            self.put(known)

    def drop(self, scope: str, head_id: str) -> None:
        """Let go of a line, because a longer one has its entries."""
        if gone := self._lines.drop((scope, head_id)):
            self._forget_head(gone)

    def seen(self, scope: str, family: str, edition: int, head_id: str | None) -> None:
        """What family a head is of, and its edition, as the database says. Lines of another one hold no longer."""
        if head_id is not None and (known := self._lines.get((scope, head_id))) and known.family != family:
            self.forget(scope, known.family)
        if self._editions.get((scope, family), edition) == edition:
            return
        self._editions[scope, family] = edition
        for known in [*self._of(scope, family)]:
            self._lines.put((scope, known.head_id), replace(known, edition=_OUTDATED), known.size)

    def forget(self, scope: str, family: str) -> None:
        """Let go of a family: entries of it were deleted."""
        for head_id in self._heads.pop((scope, family), ()):
            self._lines.drop((scope, head_id))
        self._editions.pop((scope, family), None)

    def shared(self, scope: str, family: str, ids: Sequence[str]) -> Sequence[ConversationEntry]:
        """As many of the entries with those ids, from the first one on, as some line of the family has."""
        lines = [known.line.entries for known in self._of(scope, family)]
        return max((entries[: _common(entries, ids)] for entries in lines), key=len, default=())

    def _of(self, scope: str, family: str) -> Iterator[KnownLine]:
        for head_id in self._heads.get((scope, family), ()):
            if known := self._lines.get((scope, head_id)):
                yield known

    def _forget_head(self, gone: KnownLine) -> None:
        family = gone.scope, gone.family
        heads = self._heads.get(family, set())
        heads.discard(gone.head_id)
        if not heads:
            self._heads.pop(family, None)
            self._editions.pop(family, None)


def _common(entries: Sequence[ConversationEntry], ids: Sequence[str]) -> int:
    """How many entries two lines share. What comes before a shared entry is shared."""
    both = range(min(len(entries), len(ids)))
    return bisect_left(both, 1, key=lambda index: int(entries[index].id != ids[index]))

"""The React hooks of the AI SDK as Python objects: each is on a page of its own in one Node process."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clients_driver import Json, Node


class Page:
    """A page with one component that calls one hook: `chat`, `completion`, `object`, or `other` of some module."""

    def __init__(self, node: Node, hook: str, **options: Any) -> None:
        self._node, self._key = node, str(uuid.uuid4())
        self._node.call("open", key=self._key, hook=hook, options=options)

    def call(self, method: str, *args: Any) -> Json:
        """Call a function that the hook gave, and tell how things stand when all that it set off has come to rest."""
        return self._quiet(self._node.call("call", key=self._key, method=method, args=args))

    def begin(self, method: str, *args: Any) -> None:
        """Call one, and wait for nothing."""
        self._node.call("begin", key=self._key, method=method, args=args)

    def until(self, seen: str) -> Json:
        """What is shown as soon as that is on the page."""
        return self._node.call("until", key=self._key, seen=seen)

    def rest(self) -> Json:
        """How things stand when nothing is under way any more."""
        return self._quiet(self._node.call("rest", key=self._key))

    def close(self) -> None:
        """Leave the page."""
        self._node.call("close", key=self._key)

    def _quiet(self, raw: Json) -> Json:
        assert raw["error"] or not raw["printed"], raw["printed"]
        return raw


def noted(raw: Json, kind: str) -> list[Any]:
    """What the page's callbacks were told: `data`, or `finish`."""
    return [each["value"] for each in raw["noted"] if each["kind"] == kind]

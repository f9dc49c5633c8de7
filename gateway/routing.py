"""What Starlette's routing leaves open: paths with a line break, and the methods of a route before a mount."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.routing import Match, Mount, Route

from gateway.errors import MethodNotAllowed, problem

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


class Around(Mount):
    """Routes with middleware around them, at the root. It takes every path.

    Starlette's own does not take those with a line break in them, which would be answered in plain text, outside of
    its middleware.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("", **options)
        self.path_regex = re.compile("^/(?P<path>.*)$", re.DOTALL)


class Before(Route):
    """A route that stands before an `Around`, and answers the methods that it does not have itself."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See `Route`."""
        match, child = super().matches(scope)
        return (Match.NONE if match is Match.NONE else Match.FULL), child

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `Route`."""
        methods = self.methods or set()
        if scope["method"] in methods:
            await super().handle(scope, receive, send)
            return
        refusal = MethodNotAllowed(headers={"Allow": ", ".join(sorted(methods))})
        await problem(refusal, scope["state"].get("request_id"))(scope, receive, send)

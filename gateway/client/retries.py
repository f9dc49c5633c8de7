"""What went wrong -> how long to wait before it is tried again, or that it is not. Nothing here waits itself."""

from __future__ import annotations

import random

from gateway.client.errors import ClientError, RateLimited, Unavailable, UnexpectedAnswer, Unreachable

FIRST_CONTACT = 2
"""Most retries of a request that has not got through yet: whoever forgot to start the gateway wants to know soon."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds; each pause is twice the one before, less up to a half, so that clients do not come back all at once."""

LONGEST_RETRY_AFTER = 30.0
"""Seconds for which a gateway's `Retry-After` is waited; a longer one is the caller's to decide on."""

PROXY_STATUSES = {502, 503, 504}
"""What a proxy says while no gateway stands behind it."""


class Attempts:
    """The tries at one thing, bounded; something that was achieved in between starts the count anew."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failed = 0

    def achieved(self) -> None:
        """It has got on."""
        self._failed = 0

    def failed(self, error: ClientError, *, repeatable: bool = True, begun: bool = False) -> float:
        """Seconds to wait before the next try; raises the error when there is to be none.

        Args:
            error: why the last try failed.
            repeatable: whether a request that may have arrived may be sent again.
            begun: a run is under way, which is worth more patience than a first contact.
        """
        limit = self._limit if begun else min(self._limit, FIRST_CONTACT)
        asked = getattr(error, "retry_after", None) or 0.0
        if self._failed >= limit or asked > LONGEST_RETRY_AFTER or not _passes(error, repeatable, begun):
            raise error
        self._failed += 1
        return max(asked, self._pause(at_once=begun))

    def _pause(self, *, at_once: bool) -> float:
        if at_once and self._failed == 1:  # a gateway that cuts long streams is there to be asked again
            return 0.0
        longest = min(FIRST_PAUSE * 2 ** (self._failed - 1), LONGEST_PAUSE)
        return longest * (1 - random.random() / 2)  # noqa: S311 - no secret


def _passes(error: ClientError, repeatable: bool, begun: bool) -> bool:
    """Whether the next try may go better."""
    if isinstance(error, Unreachable):
        return repeatable or not error.sent
    if isinstance(error, UnexpectedAnswer):
        return repeatable and error.status in PROXY_STATUSES
    if isinstance(error, RateLimited):
        return begun
    return isinstance(error, Unavailable) and error.code == "draining"

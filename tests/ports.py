"""Ports for processes that have to be told one: free, and given out once."""

from __future__ import annotations

import socket

_given: set[int] = set()


def free_port() -> int:
    """A port on which nothing listens, and for which nobody else in this process has asked.

    Between this and the moment in which it is taken there may be more who ask, and the system gives one again.
    """
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port

"""The gateway's log lines, as the standard library gets them."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

_STANDARD = {*logging.makeLogRecord({}).__dict__, "message"}


@contextmanager
def capture_logs() -> Generator[list[dict[str, Any]]]:
    """Everything that is logged inside the block: each line's `event`, `log_level` and fields."""
    lines: list[dict[str, Any]] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            fields = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
            error = record.exc_info[1] if record.exc_info else None
            known = {"event": record.getMessage(), "log_level": record.levelname.lower(), "exc_info": error}
            lines.append(known | fields)

    logger, collector = logging.getLogger("gateway"), Collector()
    level = logger.level
    logger.addHandler(collector)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.removeHandler(collector)
        logger.setLevel(level)

"""Log events out, as lines for a person or JSON for a machine.

Prompts, answers, query strings, keys and tokens are never logged; exception texts are, because they go nowhere else.
Everything goes to stderr through the standard library, so that uvicorn's and other libraries' records look the same.
"""

from __future__ import annotations

import logging
import sys
import warnings
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger
    from structlog.typing import Processor

    from gateway.config import ServerSettings


def get_logger(name: str) -> BoundLogger:
    """A structlog logger over the standard library's logger of that name.

    It needs nothing to be configured and touches no global configuration: in a host's process its lines are the
    host's, with the fields as `extra`, and tracebacks are plain. (structlog's default prints local variables, and those
    hold prompts.)
    """
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def configure_logging(settings: ServerSettings) -> None:
    """Send this process's logs to stderr in the configured format. Called by the server, never on import."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso"),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(settings.log_format)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name in ("alembic.runtime.plugins", "httpx", "httpx2", "httpcore", "openai", "uvicorn.error", "watchfiles"):
        # Their INFO lines name a URL for each call to a provider, or say what our own lines say.
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error"):
        # A `uvicorn.Config` that an agent's module made for itself would have given them handlers of its own.
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    logging.captureWarnings(capture=True)
    # What pydantic-ai's adapters leave out of a request they say with the client's own words (law 7); and Python keeps
    # each distinct text that it has shown.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(pydantic_ai\.ui|gateway)\.")


def _is_news(record: logging.LogRecord) -> bool:
    """Not what uvicorn says of a response without its last chunk: that is how a stream is broken off (DESIGN law 1)."""
    return record.msg != "ASGI callable returned without completing response."


def _renderers(log_format: str) -> list[Processor]:
    interactive = sys.stderr.isatty()
    if log_format == "console" or (log_format == "auto" and interactive):
        # `plain_traceback` because the rich one prints local variables, and those hold prompts.
        return [
            structlog.dev.ConsoleRenderer(
                colors=interactive, exception_formatter=structlog.dev.plain_traceback, pad_event_to=24
            )
        ]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]

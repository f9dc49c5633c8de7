"""The command line: one file per command, imported when it is called.

A user's mistake ends with a sentence on stderr and exit code 1 (2 for a wrong command line), never with a traceback.
"""

from __future__ import annotations

import os
import sys

from cyclopts import App, CycloptsError, Parameter, ValidationError

from gateway import __version__

_COMMANDS = {
    "serve": "Serve the agents of the config file.",
    "check": "Validate the config, build every agent, and say what would be served and what is unsafe.",
    "agents": "List the agents with their tools and URLs.",
    "schema": "Print the JSON Schema of gateway.yaml, for editors.",
    "keys": "Make API keys.",
    "db": "Look at the schema of the conversation store, and upgrade it.",
    "threads": "Export or delete all conversations of a person.",
}
"""Said here and not beside the commands, so that `gateway --help` need not import them."""


def _build() -> App:
    app = App(
        name="gateway",
        help="Serve pydantic-ai agents to browsers, from one gateway.yaml.",
        version=f"gateway {__version__}",
        help_format="markdown",
        default_parameter=Parameter(negative=()),
        error_formatter=_usage_error,
    )
    for command, says in _COMMANDS.items():
        app.command(f"gateway.cli.{command}:{command}", name=command, help=says)
    return app


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit code."""
    from gateway.errors import ConfigError  # noqa: PLC0415 - `gateway --version` needs no Starlette

    try:
        _build()()
    except ConfigError as error:
        from gateway.cli.console import show_errors  # noqa: PLC0415 - rich, only when there is something to show

        show_errors(error.problems)
        sys.exit(1)
    except BrokenPipeError:
        # Whoever reads the output has had enough. What is still in the buffer would fail once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(130)


def _usage_error(error: CycloptsError) -> object:
    from gateway.cli.console import labelled  # noqa: PLC0415 - as above

    return labelled("error", _flag_problems(error) or [error])


def _flag_problems(error: CycloptsError) -> list[str]:
    """What the config model says about the flags of `serve`, in the words that it has for the file."""
    from pydantic import ValidationError as ModelError  # noqa: PLC0415 - only `serve` has such flags

    from gateway.configerrors import sentence  # noqa: PLC0415 - as above

    cause = error.__cause__
    if not (isinstance(error, ValidationError) and isinstance(cause, ModelError)):
        return []
    found = cause.errors(include_url=False, include_input=False)
    return [_flag(each["loc"]) + sentence({**each, "loc": ("server", *each["loc"])}) for each in found]


def _flag(path: tuple[int | str, ...]) -> str:
    return f"--{str(path[0]).replace('_', '-')}: " if path else ""

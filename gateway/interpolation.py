"""`${...}` in the strings of the config -> text from the environment and from files.

One pass over one string: what is filled in is never read again, so that a secret may hold `${`. A message names the
variable or the file and never shows a value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_EXPRESSION = re.compile(
    r"""
    (?P<literal> \$\$\{ )
    | \$\{ (?P<name> [A-Za-z_][A-Za-z0-9_]* ) (?: (?P<operator> :- | :\? ) (?P<word> (?: (?!\$\{) [^}] )* ) )? \}
    | \$\{ file: (?P<file> (?: (?!\$\{) [^}] )+ ) \}
    | (?P<malformed> \$\{ )
    """,
    re.VERBOSE,
)


class Unresolved(ValueError):
    """The string holds something that cannot be filled in; the text says what, without any value."""


def interpolate(text: str, environ: Mapping[str, str], folder: Path) -> str:
    """`text` with its `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `${file:path}` filled in.

    As in a shell, the forms with `:` treat an empty variable like an unset one. Relative paths start at `folder`, and
    the line end at the end of a file is dropped. `$${` is a literal `${`.

    Raises:
        Unresolved: a variable is not set, a file cannot be read, or the expression is malformed.
    """
    if "${" not in text:
        return text
    return _EXPRESSION.sub(lambda match: _replacement(match, environ, folder), text)


def _replacement(match: re.Match[str], environ: Mapping[str, str], folder: Path) -> str:
    if match["literal"]:
        return "${"
    if match["file"]:
        return _file(match["file"], folder)
    if match["name"]:
        return _variable(match, environ)
    raise Unresolved(
        "`${` starts an expression here that cannot be read: write ${VAR}, ${VAR:-default}, ${VAR:?message} or "
        "${file:path}, not nested, or `$${` for a literal `${`"
    )


def _variable(match: re.Match[str], environ: Mapping[str, str]) -> str:
    name, operator, word = match["name"], match["operator"], match["word"]
    value = environ.get(name)
    if value or (value is not None and not operator):
        return value
    if operator == ":-":
        return word
    if operator == ":?" and word:
        raise Unresolved(f"the environment variable {name} is needed: {word}")
    raise Unresolved(f"the environment variable {name} is not set; write ${{{name}:-default}} to do without it")


def _file(name: str, folder: Path) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise Unresolved(f"the file {name} cannot be read: {error.strerror or 'it cannot be opened'}") from None
    except ValueError:  # not UTF-8, or a NUL in the name
        raise Unresolved(f"the file {name} cannot be read: it is not UTF-8 text") from None

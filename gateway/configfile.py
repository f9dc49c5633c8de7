"""`gateway.yaml` and the environment -> `GatewayConfig`, or a `ConfigError` with everything that is wrong.

The only module that reads the config, the environment and secrets; below it there is nothing but typed settings. Every
problem is reported in one go, with file, line and key, and no message ever shows a value.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from gateway.config import GatewayConfig
from gateway.configerrors import sentence
from gateway.errors import ConfigError, ConfigProblem
from gateway.interpolation import Unresolved, interpolate
from gateway.yamldoc import BROKEN, Document, KeyPath, read_yaml

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pydantic_core import ErrorDetails


_UNSAID = "the sections do not fit together, and which key is to blame cannot be said: compare them with the options"
"""Whatever is wrong, something is said."""


def load(
    path: Path | str, overrides: Mapping[str, object] | None = None, environ: Mapping[str, str] = os.environ
) -> GatewayConfig:
    """The config in the file at `path`; its relative paths and import strings start at the file's folder.

    Args:
        path: a YAML file.
        overrides: values that go before those in `server:`, such as flags of the command line.
        environ: what `${VAR}` reads.

    Raises:
        ConfigError: with every problem of the file.
    """
    path = Path(path)
    document = read_yaml(_text(path), path)
    _require_mapping(document)
    flags = dict(overrides or {})
    given = _server_keys(_mapping(document.data), drop=flags)  # first, so that what is overridden may be unset
    data = _mapping(_Interpolation(document, environ).walk(given, ()))
    return _validated(document, _server_keys(data, add=flags), set(flags)).located(path.parent)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        message = "there is no such file; write one, or name another with --config"
    except OSError as error:
        message = f"the file cannot be read: {error.strerror or 'it cannot be opened'}"
    except ValueError:
        message = "the file is not UTF-8 text"
    raise ConfigError([ConfigProblem(message, file=path)])


def _require_mapping(document: Document) -> None:
    """Without a mapping at the top there is nothing to look at any further."""
    if isinstance(document.data, Mapping):
        return
    if not document.problems:
        empty = document.data is None
        message = "the file is empty: it needs at least `agents:`" if empty else "the file must be a mapping of keys"
        document.problems.append(ConfigProblem(message, file=document.file))
    raise ConfigError(document.problems)


def _mapping(data: object) -> dict[str, object]:
    return dict(cast("Mapping[str, object]", data))


def _server_keys(
    data: dict[str, object], *, drop: Collection[str] = (), add: Mapping[str, object] | None = None
) -> dict[str, object]:
    server: object = data.get("server") or {}
    if not isinstance(server, Mapping) or not (drop or add):
        return data
    kept = {name: value for name, value in _mapping(cast("object", server)).items() if name not in drop}
    return data | {"server": kept | dict(add or {})}


class _Interpolation:
    """One walk over the data; what cannot be filled in becomes `BROKEN` and a problem of the document."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document = document
        self._environ = environ

    def walk(self, value: object, path: KeyPath) -> object:
        match value:
            case str():
                return self._string(value, path)
            case dict():
                entries = cast("dict[str, object]", value)
                return {key: self.walk(inner, (*path, key)) for key, inner in entries.items()}
            case list():
                return [self.walk(inner, (*path, index)) for index, inner in enumerate(cast("list[object]", value))]
            case _:
                return value

    def _string(self, text: str, path: KeyPath) -> object:
        try:
            return interpolate(text, self._environ, self._document.file.parent)
        except Unresolved as unresolved:
            self._document.problems.append(self._document.problem(path, str(unresolved)))
            self._document.broken.add(path)
            return BROKEN


def _validated(document: Document, data: dict[str, object], overridden: set[str]) -> GatewayConfig:
    try:
        config = GatewayConfig.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        document.problems += _field_problems(document, found)
        document.problems += _refusals(document, data, found, overridden)
        if not document.problems:
            document.problems.append(ConfigProblem(_UNSAID, file=document.file))
    else:
        if not document.problems:
            return config
    raise ConfigError(sorted(document.problems, key=lambda problem: problem.line or 0))


def _field_problems(document: Document, found: Sequence[ErrorDetails]) -> Iterator[ConfigProblem]:
    for error in found:
        path = error["loc"]
        # An unknown key is still one when its value is broken; everything else is a consequence.
        if path and (path not in document.broken or error["type"] == "extra_forbidden"):
            yield document.problem(tuple(part for part in path if part != "[key]"), sentence(error))


def _refusals(
    document: Document, data: Mapping[str, Any], found: Sequence[ErrorDetails], overridden: set[str]
) -> Iterator[ConfigProblem]:
    """What cannot be served though each field is valid, as far as it can be said beside the fields that failed."""
    refusals = _refusals_among(found)
    if not refusals:
        try:
            GatewayConfig.model_validate(_presumed_innocent(data, {error["loc"] for error in found}))
        except ValidationError as error:
            refusals = _refusals_among(error.errors())
    for key, why in refusals.items():
        path = tuple(int(part) if part.isdecimal() else part for part in key.split("."))
        given_on_command_line = path[0] == "server" and path[1] in overridden
        yield ConfigProblem(why, key) if given_on_command_line else document.problem(path, why)


def _refusals_among(found: Sequence[ErrorDetails]) -> dict[str, str]:
    refusals: dict[str, str] = {}
    for error in found:
        refusals |= error.get("ctx", {}).get("refusals", {})
    return refusals


def _presumed_innocent(data: Mapping[str, Any], failed: set[tuple[int | str, ...]]) -> dict[str, Any]:
    """The sections that are looked at together, with harmless values where the given ones failed: no false alarms."""
    sections = {path[0] for path in failed if path}
    keys = {path[:2] for path in failed}
    given: Mapping[str, Any] = data.get("server", {}) if ("server",) not in keys else {}
    server = {name: value for name, value in given.items() if ("server", name) not in keys}
    if "stores" in sections:
        server.pop("workers", None)
    agents: object = data.get("agents")
    given_names = _mapping(cast("object", agents)) if isinstance(agents, Mapping) else {}
    names = [name for name in given_names if ("agents", name, "[key]") not in failed]
    presumed: dict[str, Any] = {"server": server, "agents": dict.fromkeys(names or ["any"], "any:agent")}
    if not names:
        sections.add("copilotkit")  # it says which of them it offers
    if "auth" in sections:
        presumed["auth"] = {"anonymous": True}
    kept = [name for name in ("auth", "copilotkit", "stores") if name in data and name not in sections]
    return presumed | {name: data[name] for name in kept}

"""YAML text -> plain data and the line of every key.

What YAML leaves open is decided here, strictly: keys are text and stand once, tags are refused, and what YAML 1.1 would
take for a date or a base-60 number stays text. A message never repeats a value, because values may be secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import yaml
from yaml.constructor import SafeConstructor

from gateway.errors import ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the root, such as `("limits", 0, "requests")`."""

BROKEN: Final = object()
"""Stands for a value that could not be read; its problem is already known. No option accepts it."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader, where PyYAML was built with it
_compose = cast("Any", yaml).compose  # its stub leaves out the result
_TAG = "tag:yaml.org,2002:"
_SCALARS = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float")}
_TEXTS = {f"{_TAG}{name}" for name in ("str", "timestamp", "value")}
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|(?<!\S)#.*""")


@dataclass(slots=True)
class Document:
    """What stands in one file, and where."""

    file: Path
    data: object = None
    lines: dict[KeyPath, int] = field(default_factory=dict[KeyPath, int])
    problems: list[ConfigProblem] = field(default_factory=list[ConfigProblem])
    broken: set[KeyPath] = field(default_factory=set[KeyPath])
    """Paths of the values that are `BROKEN`."""

    def line_of(self, path: KeyPath) -> int | None:
        """The line of that key, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def problem(self, path: KeyPath, message: str) -> ConfigProblem:
        """Something wrong at that key."""
        return ConfigProblem(message, dotted(path), self.file, self.line_of(path))


def dotted(path: KeyPath) -> str:
    """`("limits", 0, "per")` -> `limits.0.per`."""
    return ".".join(map(str, path))


def read_yaml(text: str, file: Path) -> Document:
    """The document in `text`; what is wrong with it is in `.problems`, syntax errors too."""
    document = Document(file)
    try:
        node = cast("yaml.Node | None", _compose(text, Loader=_Loader))
    except yaml.YAMLError as error:
        document.problems.append(_syntax_problem(error, text, file))
    else:
        document.data = _Reader(document).value(node, ()) if node is not None else None
    return document


def _syntax_problem(error: yaml.YAMLError, text: str, file: Path) -> ConfigProblem:
    mark: yaml.Mark | None = getattr(error, "problem_mark", None)
    if mark is None:  # a ReaderError: its text would repeat what it read
        return ConfigProblem("not valid YAML: there is a character that YAML does not allow", file=file)
    line = "".join(text.splitlines()[mark.line : mark.line + 1])
    # "found undefined alias 'x'": what follows may be the start of a password that was not quoted.
    problem = re.sub(r"(undefined alias|undefined tag handle).*", r"\1", str(getattr(error, "problem", "")))
    message = f"not valid YAML: {problem or 'the text breaks off here'}"
    if "${" in _QUOTED.sub("", line):
        message += '; a value with `${...}` has to be quoted here: "${...}"'
    return ConfigProblem(message, file=file, line=mark.line + 1)


class _Reader:
    """One walk over the nodes, filling in the document's lines and problems."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._scalars = SafeConstructor()
        self._open: list[yaml.Node] = []

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        if any(node is parent for parent in self._open):
            return self._refuse(path, "an alias may not stand inside of what it repeats")
        self._open.append(node)
        try:
            return self._content(node, path)
        finally:
            self._open.pop()

    def _content(self, node: yaml.Node, path: KeyPath) -> object:
        match node:
            case yaml.MappingNode(tag=tag) if tag == f"{_TAG}map":
                return self._mapping(node, path)
            case yaml.SequenceNode(tag=tag) if tag == f"{_TAG}seq":
                return [self.value(item, (*path, index)) for index, item in enumerate(_items(node))]
            case yaml.ScalarNode():
                return self._scalar(node, path)
            case _:
                return self._refuse(path, "YAML tags (`!...`) are not supported")

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> object:
        base_60 = ":" in node.value
        if node.tag in _TEXTS or (node.tag in _SCALARS and base_60):
            return node.value
        if node.tag in _SCALARS:
            try:
                return cast("object", self._scalars.construct_object(node))  # pyright: ignore[reportUnknownMemberType]
            except ValueError:  # `!!int x`
                return self._refuse(path, "the value does not fit its YAML tag")
        return self._refuse(path, "YAML tags (`!...`) are not supported")

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        merged: dict[str, object] = {}
        for key, value in _pairs(node):
            if key.tag == f"{_TAG}merge":
                merged = self._merged(value, path) | merged
        own: dict[str, object] = {}  # after what is merged in, so that its lines win too
        for key, value in _pairs(node):
            if not isinstance(key, yaml.ScalarNode):
                self._document.problems.append(self._document.problem(path, "a key must be plain text"))
            elif key.tag != f"{_TAG}merge":
                self._entry(own, key, value, path)
        return merged | own

    def _entry(self, own: dict[str, object], key: yaml.ScalarNode, value: yaml.Node, path: KeyPath) -> None:
        inner, line = (*path, key.value), key.start_mark.line + 1
        if key.value in own:
            message = f"this key stands twice; the first is on line {self._document.lines[inner]}"
            self._document.problems.append(ConfigProblem(message, dotted(inner), self._document.file, line))
            return
        self._document.lines[inner] = line
        own[key.value] = self.value(value, inner)

    def _merged(self, node: yaml.Node, path: KeyPath) -> dict[str, object]:
        """What `<<` brings in: of several mappings the first wins, and the mapping's own keys win over all."""
        result: dict[str, object] = {}
        for source in _items(node) if isinstance(node, yaml.SequenceNode) else [node]:
            value = self.value(source, path)
            if isinstance(value, Mapping):
                result = cast("dict[str, object]", value) | result
            else:
                self._document.problems.append(self._document.problem(path, "`<<` must name a mapping"))
        return result

    def _refuse(self, path: KeyPath, message: str) -> object:
        self._document.problems.append(self._document.problem(path, message))
        self._document.broken.add(path)
        return BROKEN


def _items(node: yaml.SequenceNode) -> Sequence[yaml.Node]:
    return cast("Sequence[yaml.Node]", node.value)


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    yield from cast("Sequence[tuple[yaml.Node, yaml.Node]]", node.value)

"""Values that fill in -> one JSON text that only grows: parsed half way, it is the beginning of the last value.

`useObject` of the AI SDK reads one text and parses what has come of it. What was said cannot be taken back, so only
that is said which holds: a number or a word when something follows it; a string as far as it goes, if validation left
it as the model wrote it (half a date or URL becomes another one than the whole); items of a list likewise, because
validators sort lists and filter them. An object is closed with the fields that nobody has set, as the whole value will
have them. The rest comes with the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic_core import to_json

from gateway.wires.native.written import LEFT_OUT, UNFIT

if TYPE_CHECKING:
    from collections.abc import Iterable

_MISSING: Any = object()


class Contradiction(Exception):
    """A value that does not begin like what was said of it before, or is not fit to be said yet."""


class GrowingJson:
    """The text of one value."""

    def __init__(self) -> None:
        self._said: Any = _MISSING

    def grow(self, filled: Any, whole: Any, written: Any) -> str:
        """What to add to the text now.

        Args:
            filled: the value, in JSON: of its objects, the fields that are set.
            whole: the same with all fields.
            written: what the model wrote of it, by the names of the value (`in_names_of`).

        Raises:
            Contradiction: there is no text for it now.
        """
        text, self._said = _extended(self._said, (filled, whole, written), closed=False)
        return text

    def finish(self, whole: Any) -> str:
        """What is missing of the value to its end. Raises `Contradiction`: the text cannot be that of this value."""
        text, self._said = _extended(self._said, (whole, whole, whole), closed=True)
        return text


class _Closed:
    """A value that was said to its end."""

    def __init__(self, value: Any) -> None:
        self.value = value


_Part = tuple[Any, Any, Any]
"""A part of a value: filled, whole, written; see `GrowingJson.grow`."""

_Members = list[tuple[Any, _Part, bool]]
"""Of an object or an array: name or index, part, and whether nothing of it is still to come."""


def _extended(said: Any, part: _Part, *, closed: bool) -> tuple[str, Any]:
    """The text that is missing, and what is said then: `_Closed`, or the open value with its parts."""
    filled, whole, written = part
    if isinstance(said, _Closed):
        if not _same(said.value, whole):
            raise Contradiction
        return "", said
    if isinstance(filled, str):
        return _string(said, filled, written, closed=closed)
    if isinstance(filled, dict | list):
        kind: Any = dict if isinstance(filled, dict) else list
        if not isinstance(written, kind):  # its type has a serializer of its own
            written = whole if closed else kind()
        return (_object if kind is dict else _array)(said, (cast("Any", filled), whole, written), closed=closed)
    if said is not _MISSING:
        raise Contradiction
    # Nobody knows whether 1 is the beginning of 12.
    return (_json(whole), _Closed(whole)) if closed else ("", _MISSING)


def _string(said: Any, text: str, written: Any, *, closed: bool) -> tuple[str, Any]:
    if not closed and text != written:
        return "", said
    before = "" if said is _MISSING else said
    if not isinstance(before, str) or not text.startswith(before):
        raise Contradiction
    new = ('"' if said is _MISSING else "") + _json(text[len(before) :])[1:-1]
    return (f'{new}"', _Closed(text)) if closed else (new, text)


def _object(said: Any, part: tuple[Any, Any, Any], *, closed: bool) -> tuple[str, Any]:
    filled, whole, written = part
    members: Any = {} if said is _MISSING else said
    if not isinstance(members, dict) or cast("Any", members).keys() - filled.keys():
        raise Contradiction
    if closed and any(each is UNFIT for each in written.values()):
        raise Contradiction
    names = [*cast("Any", members), *(name for name in written if name in filled and name not in members)]
    last = next(reversed(written), None)
    parts = [(name, (filled[name], whole[name], written.get(name)), closed or name != last) for name in names]
    if closed:  # with what nobody has set
        parts += [(name, (whole[name],) * 3, True) for name in whole if name not in names]
    text, members = _said("{" if said is _MISSING else "", cast("Any", members), parts)
    return (f"{text}}}", _Closed(whole)) if closed else (text, members)


def _array(said: Any, part: tuple[Any, Any, Any], *, closed: bool) -> tuple[str, Any]:
    filled, whole, written = part
    items: Any = [] if said is _MISSING else said
    if not isinstance(items, list) or len(cast("Any", items)) > len(filled):
        raise Contradiction
    if closed and any(each is UNFIT for each in written):
        raise Contradiction
    if closed and len(written) < len(filled):
        written = whole
    parts = [
        (index, each, closed or (index < len(written) - 1 and _is_as_written(each[0], each[2])))
        for index, each in enumerate(zip(filled, whole, written, strict=False))
    ]
    open_items: dict[Any, Any] = dict(enumerate(cast("list[Any]", items)))
    text, members = _said("[" if said is _MISSING else "", open_items, parts)
    return (f"{text}]", _Closed(whole)) if closed else (text, [*members.values()])


def _said(text: str, said: dict[Any, Any], members: Iterable[tuple[Any, _Part, bool]]) -> tuple[str, dict[Any, Any]]:
    """The text with what is missing of the members; the last one may be left open."""
    then = dict(said)
    for key, part, is_over in members:
        new, value = _extended(said.get(key, _MISSING), part, closed=is_over)
        if value is _MISSING:
            break
        if key not in said:
            new = ("," if then else "") + (f"{_json(key)}:{new}" if isinstance(key, str) else new)
        text += new
        then[key] = value
        if not isinstance(value, _Closed):
            break
    return text, then


def _is_as_written(filled: Any, written: Any) -> bool:
    """Whether validation has left it as the model wrote it."""
    if isinstance(filled, dict) and isinstance(written, dict):
        given, wrote = cast("dict[str, Any]", filled), cast("dict[str, Any]", written)
        names = {name for name, each in wrote.items() if each is not LEFT_OUT}
        return given.keys() == names and all(_is_as_written(given[name], wrote[name]) for name in names)
    if isinstance(filled, list) and isinstance(written, list):
        items, wrote_items = cast("list[Any]", filled), cast("list[Any]", written)
        return len(items) == len(wrote_items) and all(map(_is_as_written, items, wrote_items))
    return bool(filled == written)


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) or _json(one) == _json(other)  # NaN is not NaN


def _json(value: Any) -> str:
    return to_json(value, inf_nan_mode="null").decode()

"""Files in a message's JSON <-> a mark in their place, and their bytes by SHA-256.

A file is stored once for each owner, however many messages hold it, and is not read with every history. What is taken
out is text between two quotes, and the same text is put back before anybody parses it: nothing has to be known about
where in a message files can be, and what cannot be put back byte for byte stays where it is. The mark is chosen after
the message is known, so no text that anybody writes can be one.
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGE = 1_024
"""Bytes from which on a file is worth a row of its own."""

_KEY = '"data":"'
"""What stands before the bytes of every kind of file in pydantic-ai's JSON; in base64 with the URL alphabet."""
_LARGE_TEXT = LARGE * 4 // 3


@dataclass(frozen=True, slots=True)
class Packed:
    """A message's JSON without its files."""

    text: str
    files: str | None = None
    """JSON: the mark, and then the hashes in the order of their numbers behind it. None for a message without files."""
    blobs: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """By hash."""


def take_out(text: str) -> Packed:
    """JSON -> the same without the files in it."""
    if _KEY not in text:
        return Packed(text)
    mark = _new_mark(text)
    pieces: list[str] = []
    blobs: dict[str, bytes] = {}
    done = position = 0
    while (found := text.find(_KEY, position)) >= 0:
        start = found + len(_KEY)
        position = text.find('"', start)
        if position - start >= _LARGE_TEXT and (data := _decoded(text[start:position])) is not None:
            name = sha256(data).hexdigest()
            blobs.setdefault(name, data)
            pieces += (text[done:start], f"{mark}:{list(blobs).index(name)}")
            done = position
    return Packed("".join([*pieces, text[done:]]), json.dumps([mark, *blobs]), blobs) if blobs else Packed(text)


def hashes(files: str) -> list[str]:
    """`Packed.files` -> which files a message needs."""
    return json.loads(files)[1:]


def put_back(text: str, files: str, blobs: Mapping[str, bytes]) -> str:
    """The JSON that `take_out` was given."""
    mark, *names = json.loads(files)
    for number, name in enumerate(names):
        text = text.replace(f'"{mark}:{number}"', f'"{urlsafe_b64encode(blobs[name]).decode()}"')
    return text


def _new_mark(text: str) -> str:
    while (mark := secrets.token_hex(8)) in text:
        pass
    return mark


def _decoded(text: str) -> bytes | None:
    try:
        data = urlsafe_b64decode(text)
    except (Error, ValueError):
        return None
    return data if urlsafe_b64encode(data).decode() == text else None

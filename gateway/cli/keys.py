"""`gateway keys ...`: API keys. A key is shown once; the config holds only its hash, and nothing is written."""

from __future__ import annotations

import json
import secrets
from hashlib import sha256
from typing import Annotated

from cyclopts import App, Parameter

keys = App(name="keys")


def _printable(_: type, value: str) -> None:
    if not (value.isprintable() and 0 < len(value) <= 64):  # noqa: PLR2004 - as `ApiKeySettings.id`
        raise ValueError("Use 1 to 64 printable characters.")


@keys.command
def new(*, key_id: Annotated[str, Parameter(name="--id", validator=_printable)] = "web") -> None:
    """Make an API key and the config line for it. The key is printed once and kept nowhere.

    Args:
        key_id: The key's name in logs.
    """
    key = f"gw_{secrets.token_urlsafe(32)}"
    digest = sha256(key.encode()).hexdigest()
    print("The key, for whoever calls (shown only now):\n")
    print(f"  {key}\n")
    print("The line for gateway.yaml, under `auth:` and `api_keys:`:\n")
    # JSON strings are YAML strings, whatever is in them.
    print(f'  - {{id: {json.dumps(key_id)}, sha256: "{digest}", scopes: ["agents:*"]}}')

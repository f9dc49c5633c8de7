"""Which of an agent's dependencies is state that its front end shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic_ai.ui import StateDeps
from thread_probes import Notes

from gateway.state import state_of


@dataclass
class Anything:
    """Dependencies with a state of any kind."""

    state: Any


@pytest.mark.parametrize(
    ("deps", "state"),
    [
        (StateDeps(Notes(items=["milk"])), {"items": ["milk"]}),
        (Anything({"items": {1}}), {"items": [1]}),
        (Anything({}), {}),
        (Anything(["a list"]), None),
        (Anything({"lock": object()}), None),
        ("no state", None),
        (None, None),
    ],
)
def test_state_is_what_is_an_object_in_json(deps: Any, state: Any) -> None:
    assert state_of(deps) == state

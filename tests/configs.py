"""A config file in a folder of its own, and what loading it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.configfile import load
from gateway.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.config import GatewayConfig

AGENTS = "agents: {one: 'agents.one:agent'}\n"
"""The least that a config needs."""

SECRET = "hunter2-hunter2"
"""Never to be seen in a message."""


class ConfigFile:
    """`gateway.yaml` in some folder; `environ` is the whole environment."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gateway.yaml"

    def write(self, text: str) -> ConfigFile:
        self.path.write_text(text, encoding="utf-8")
        return self

    def load(self, environ: Mapping[str, str] | None = None, **overrides: object) -> GatewayConfig:
        return load(self.path, overrides, environ or {})

    def problems(self, environ: Mapping[str, str] | None = None, **overrides: object) -> list[ConfigProblem]:
        with pytest.raises(ConfigError) as caught:
            self.load(environ, **overrides)
        return list(caught.value.problems)

    def problem(self, environ: Mapping[str, str] | None = None) -> ConfigProblem:
        (only,) = self.problems(environ)
        return only

"""Options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

ConfigFile = Annotated[Path, Parameter(name=("--config", "-c"), help="The config file.")]
"""Where the config is read from."""

CONFIG_FILE = Path("gateway.yaml")
"""What `--config` is when it is left out."""

"""Serve pydantic-ai agents to browsers: AG-UI, the Vercel AI SDK and plain streams behind one safe, typed gateway.

The names in `__all__` are the public interface; everything else may change. They are imported when first used, so that
commands which need no agent (`gateway --help`, `gateway schema`) start at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.app import create_app
    from gateway.auth import Principal
    from gateway.config import GatewayConfig
    from gateway.configfile import load
    from gateway.errors import ConfigError, GatewayError, RunError
    from gateway.frontend.a2ui import A2ui
    from gateway.frontend.client_input import ClientInput, ContextInstructions, ContextItem, client_input
    from gateway.frontend.predicted_state import PredictState
    from gateway.stores import open_store
    from gateway.surfaces.ag_ui import to_ag_ui
    from gateway.surfaces.vercel_ai import to_vercel_ai

__version__ = "0.1.0"

__all__ = [
    "A2ui",
    "ClientInput",
    "ConfigError",
    "ContextInstructions",
    "ContextItem",
    "GatewayConfig",
    "GatewayError",
    "PredictState",
    "Principal",
    "RunError",
    "client_input",
    "create_app",
    "load",
    "open_store",
    "to_ag_ui",
    "to_vercel_ai",
]

_MODULES = {
    "A2ui": "gateway.frontend.a2ui",
    "ClientInput": "gateway.frontend.client_input",
    "ConfigError": "gateway.errors",
    "ContextInstructions": "gateway.frontend.client_input",
    "ContextItem": "gateway.frontend.client_input",
    "GatewayConfig": "gateway.config",
    "GatewayError": "gateway.errors",
    "PredictState": "gateway.frontend.predicted_state",
    "Principal": "gateway.auth",
    "RunError": "gateway.errors",
    "client_input": "gateway.frontend.client_input",
    "create_app": "gateway.app",
    "load": "gateway.configfile",
    "open_store": "gateway.stores",
    "to_ag_ui": "gateway.surfaces.ag_ui",
    "to_vercel_ai": "gateway.surfaces.vercel_ai",
}


def __getattr__(name: str) -> object:
    if module := _MODULES.get(name):
        return getattr(import_module(module), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)

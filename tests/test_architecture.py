"""Laws of the code itself: who may import whom, what stands in which order, and what is public."""

from __future__ import annotations

import ast
import importlib
import re
from typing import TYPE_CHECKING, Any

import pytest
from serving import ROOT, make_config
from starlette.routing import Mount

import gateway
from gateway.app import create_app
from gateway.errors import GatewayError, all_errors

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = ROOT / "gateway"

ORDER = [
    "errors ids",
    "settings",
    "access process",
    "config",
    "interpolation yamldoc configerrors",
    "configfile",
    "telemetry sse",
    "failures history state",
    "frontend",
    "wires",
    "lifetime redisconn mcp_servers",
    "auth stores limits coordination streams speech",
    "registry",
    "mcp_calls",
    "mcp_apps",
    "middleware routing capabilities calls locks stops answers replay",
    "turns",
    "openturn",
    "threads",
    "storing",
    "runs",
    "orphans",
    "manager",
    "retention",
    "surfaces",
    "openapi",
    "app",
    "server workers",
    "client",
    "cli",
    "__main__",
]
"""The files and folders of the package; each line may import from itself and from the lines before it."""

LEVEL = {name: level for level, names in enumerate(ORDER) for name in names.split()}
MAY_READ_THE_ENVIRONMENT = {"configfile", "cli"}
MAX_LINES = 300
LONGER = {"errors.py": 450}  # every error, with its sentence for the user, stands in one file


def files() -> dict[str, tuple[str, Path, ast.Module]]:
    """Path in the package -> the part that it belongs to, its path, its code."""
    found: dict[str, tuple[str, Path, ast.Module]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        part = inside.parts[0].removesuffix(".py")
        found[str(inside)] = (part, path, ast.parse(path.read_text()))
    return found


FILES = files()


def imported_parts(tree: ast.Module) -> set[str]:
    """The parts of the package that a file imports, for its types alone included."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "gateway":
                names |= {alias.name for alias in node.names}
            elif (node.module or "").startswith("gateway."):
                names.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("gateway.")}
    return names


def test_every_file_has_its_place_in_the_order() -> None:
    assert {part for part, _, _ in FILES.values()} == LEVEL.keys() | {"__init__"}


@pytest.mark.parametrize("name", [name for name, (part, _, _) in FILES.items() if part != "__init__"])
def test_no_file_imports_upward(name: str) -> None:
    part, _, tree = FILES[name]
    upward = {other for other in imported_parts(tree) if LEVEL.get(other, -1) > LEVEL[part]}
    assert not upward, f"{name} imports {upward}"


SURFACES = ["ag_ui", "vercel_ai", "agents", "health", "runs"]


@pytest.mark.parametrize("surface", SURFACES)
def test_surfaces_do_not_use_each_others_routes(surface: str) -> None:
    _, _, tree = FILES[f"surfaces/{surface}.py"]
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    others = set(SURFACES) - {surface}
    assert not modules & {f"gateway.surfaces.{other}" for other in others}


@pytest.mark.parametrize("name", FILES)
def test_nothing_below_the_config_reads_the_environment(name: str) -> None:
    part, path, _ = FILES[name]
    if part not in MAY_READ_THE_ENVIRONMENT:
        assert not re.search(r"\bos\.environ|\bgetenv\b", path.read_text())


@pytest.mark.parametrize("name", FILES)
def test_middleware_is_pure_asgi(name: str) -> None:
    """One `BaseHTTPMiddleware` costs 35 to 57 microseconds for each streamed event."""
    assert "BaseHTTPMiddleware" not in FILES[name][1].read_text()


@pytest.mark.parametrize("name", [name for name, (part, _, _) in FILES.items() if part in ("wires", "sse", "errors")])
def test_protocol_code_does_no_io(name: str) -> None:
    _, _, tree = FILES[name]
    roots = {
        (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom | ast.Import)
        for alias in node.names
    }
    assert not roots & {"socket", "httpx", "os", "redis", "subprocess", "sqlite3"}
    if name.startswith("wires/"):
        assert "starlette" not in roots, "nothing below the surfaces sees a Request"


@pytest.mark.parametrize("name", FILES)
def test_files_are_short_and_say_what_they_do(name: str) -> None:
    _, path, tree = FILES[name]
    assert len(path.read_text().splitlines()) <= LONGER.get(name, MAX_LINES)
    if path.read_text():
        assert ast.get_docstring(tree), "the law of a file stands at its head"


def names_of(chain: Any) -> list[str]:
    """The classes of a stack of ASGI middleware, outermost first."""
    names: list[str] = []
    while chain is not None and type(chain).__name__ != "Router":
        names.append(type(chain).__name__)
        chain = getattr(chain, "app", None)
    return names


def test_the_layers_stand_in_the_order_that_their_duties_ask_for() -> None:
    app = create_app(make_config(agents={"plain": "probes:plain"}))
    observers = [getattr(middleware.cls, "__name__", "") for middleware in app.user_middleware]
    assert observers == ["ProxyHeadersMiddleware", "RequestId", "AccessLog"]
    *probes, guarded = app.routes
    assert [getattr(route, "path", None) for route in probes] == ["/healthz", "/readyz"]
    assert isinstance(guarded, Mount)
    assert names_of(guarded.app) == [
        "TrustedHosts",
        "Origins",
        "Problems",
        "AddressLimit",
    ]
    *document, signed_in = guarded.routes
    assert [getattr(route, "path", None) for route in document] == ["/", "/openapi.json", "/docs"]
    assert isinstance(signed_in, Mount)
    assert names_of(signed_in.app) == ["BodyLimit", "AuthenticationMiddleware", "PrincipalLimit"]


def test_the_public_names_are_these() -> None:
    assert gateway.__all__ == [
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


@pytest.mark.parametrize("name", gateway.__all__)
def test_each_public_name_is_there_and_documented(name: str) -> None:
    public = getattr(gateway, name)
    assert public.__name__ == name
    assert public.__doc__
    assert getattr(importlib.import_module(public.__module__), name) is public


def test_another_name_is_an_error_of_the_usual_kind() -> None:
    with pytest.raises(AttributeError, match="no attribute 'serve'"):
        getattr(gateway, "serve")  # noqa: B009 - the module's own `__getattr__` is what is tested


ERRORS: list[type[GatewayError]] = [error for error in all_errors() if error.__module__ == "gateway.errors"]
ROW = re.compile(r"^\| `(?P<code>\w+)` \| (?P<status>\d{3}) \| (?P<meaning>.+) \|$", re.MULTILINE)
SENTENCE = re.compile(r"^`(?P<code>\w+)` \((?P<status>\d{3})\)", re.MULTILINE)


def test_every_error_code_is_documented_with_its_status_and_no_other_is() -> None:
    text = (ROOT / "docs" / "errors.md").read_text()
    documented = {(match["code"], int(match["status"])) for row in (ROW, SENTENCE) for match in row.finditer(text)}
    own = {(error.code, error.status) for error in ERRORS}
    assert documented == own
    assert len(ROW.findall(text)) == len({row[0] for row in ROW.findall(text)}), "each code stands there once"


def test_every_error_has_a_code_of_its_own_and_a_sentence_to_show() -> None:
    assert len({error.code for error in ERRORS}) == len(ERRORS)
    for error in ERRORS:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
        assert re.fullmatch(r"[A-Z].{10,100}\.", error.sentence)
        assert 400 <= error.status < 600

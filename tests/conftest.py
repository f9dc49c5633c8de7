"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import httpx
import pytest
from clients_driver import Node
from reading import client_for
from serving import make_config, serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator


# Before any test module imports the demo agents: they choose their model then.
os.environ.pop("GATEWAY_MODEL", None)
os.environ["GATEWAY_DEMO_PAUSE"] = "0"

# Nor may the machine decide what a terminal is, or who stands between a test and its server. Only pip has to get out.
for _name in ("FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
    os.environ.pop(_name, None)
for _name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
    _proxies = os.environ.pop(_name, None), os.environ.pop(_name.lower(), None)
    if _proxy := next(filter(None, _proxies), None):
        os.environ.setdefault("PIP_PROXY", _proxy)
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true nothing may be missing: what would be skipped fails, with the same reason."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} must not be skipped in CI: {report.longrepr}"
    return report


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def demo_url() -> Iterator[str]:
    """The demo agents, open to everybody, on a real socket."""
    with serving(make_config()) as url:
        yield url


@pytest.fixture
def demo(demo_url: str) -> Iterator[httpx.Client]:
    """A plain HTTP client for the demo gateway."""
    with httpx.Client(base_url=demo_url, timeout=15) as client:
        yield client


@pytest.fixture
async def ada(url: str) -> AsyncGenerator[httpx.AsyncClient]:
    """Ada, at the gateway that her test's module serves as `url`."""
    async with client_for(url) as client:
        yield client


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A process with `@copilotkit/core`, for apps of any gateway."""
    node = Node("copilotkit.mjs", "")
    yield node
    node.close()

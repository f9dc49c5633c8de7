"""The same CopilotKit app on the gateway, on CopilotKit's Node runtime, and on Node in front of the gateway.

What passes on Node passes on the gateway. What a runtime does not do has a word in the table, and a test fails when it
has learned it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import copilotkit_cases
import copilotkit_cases_runtimes
import copilotkit_cases_threads
import pytest
from copilotkit_columns import GATEWAY, NODE, Case, Table, columns
from node_runtime import needs_node_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients_driver import Node
    from copilotkit_columns import Column

pytestmark = needs_node_runtime

CASES = [*copilotkit_cases_runtimes.case.rows, *copilotkit_cases.case.rows, *copilotkit_cases_threads.case.rows]


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Column]]:
    with columns(tmp_path_factory.mktemp("columns")) as found:
        yield found


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Table:
    table = Table()
    request.config.pluginmanager.register(table)
    return table


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_what_passes_on_node_passes_here(case: Case, runtimes: list[Column], node: Node, table: Table) -> None:
    failures = {column.name: case.failure_on(column, node) for column in runtimes}
    table.rows[case.title] = [case.known.get(name, "NO") if failures[name] else "yes" for name in failures]
    assert failures[NODE] or not failures[GATEWAY], failures[GATEWAY]
    assert {name for name in failures if failures[name]} == set(case.known), failures

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import httpx
import pytest
from serving import make_config, running
from talking import WIRES, error_of, run_url, turn

from gateway import telemetry
from gateway.config import ServerSettings
from gateway.server import make_server

if TYPE_CHECKING:
    from collections.abc import Iterator

UNFINISHED = "ASGI callable returned without completing response."


@pytest.mark.parametrize("wire", WIRES)
def test_a_server_that_is_told_to_exit_ends_its_runs_and_tells_their_readers(wire: str) -> None:
    server = make_server(make_config(agents={"hanging": "probes:hanging"}, server={"drain_timeout": 3600}))
    with running(server) as url, httpx.stream("POST", url + run_url(wire, "hanging"), json=turn(wire)) as response:
        chunks = response.iter_text()
        body = next(chunks)
        server.should_exit = True
        body += "".join(chunks)
    assert error_of(wire, body)[0] == "run_interrupted"


@pytest.fixture
def uvicorn_log() -> Iterator[logging.Logger]:
    """The logger of uvicorn, and the root as it was."""
    root, logger = logging.getLogger(), logging.getLogger("uvicorn.error")
    before = root.handlers[:], root.level, logger.filters[:], logger.level
    yield logger
    root.handlers[:], root.level, logger.filters[:], logger.level = before
    logging.captureWarnings(capture=False)


def test_uvicorns_line_about_an_unfinished_response_is_not_logged_and_every_other_is(
    uvicorn_log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        telemetry.configure_logging(ServerSettings(log_format="json"))
    uvicorn_log.error(UNFINISHED)
    uvicorn_log.error("ASGI callable returned without starting response.")
    said = capsys.readouterr().err
    assert UNFINISHED not in said
    assert said.count("without starting response") == 1

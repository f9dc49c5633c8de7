"""schemathesis against a running gateway: what it sends by the document, and against it, is answered as documented."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx
import hypothesis
import pytest
import requests
import schemathesis
from schemathesis.config import SchemathesisConfig
from serving import make_config, serving
from talking import run_url, turn

from gateway.app import create_app
from gateway.openapi.document import document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from schemathesis import Case

AGENTS = {"plain": "probes:plain", "extractor": "agents.extractor:agent"}
KEY = "k"
THREAD, RUN = "t", "known-run"


def without(check: str, path: str) -> dict[str, Any]:
    """Operations that a check does not fit."""
    return {"include-path-regex": path, "checks": {check: {"enabled": False}}}


OPERATIONS = [
    # An id may hold slashes as they are, so another method of `/threads/a/fork` is one of the thread `a/fork`.
    without("unsupported_method", "^/threads/"),
    # What fits the schema may still not fit the conversation or the agent, or be no cursor of a page.
    without("positive_data_acceptance", "^/agents/.*/(ag-ui|vercel-ai|stream/.*|run|chat|object|completion)$"),
    without("positive_data_acceptance", "^/threads$"),
    # One of `after` and `Last-Event-ID` counts.
    without("negative_data_rejection", "^/runs/{run_id}/stream$"),
    # Where a reader goes on, nothing but that counts.
    without("negative_data_rejection", "^/agents/{agent}/stream/{form}$"),
    {"include-path": "/agents/{agent}/object", "parameters": {"path.agent": "extractor"}},
    {
        # What a client repeats of the conversation is cut off before anybody looks whether it is valid.
        **without("negative_data_rejection", "^/agents/{agent}/(ag-ui|vercel-ai)$"),
        # One request for each rule of each part of each message would be thousands.
        "phases": {"coverage": {"enabled": False}},
        "generation": {"max-examples": 60},
    },
]

KEYS = [{"id": "k", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}]
CONFIG = make_config(agents=AGENTS, auth={"api_keys": KEYS})
DOCUMENT = document(create_app(CONFIG).routes, CONFIG.auth)


def settings() -> SchemathesisConfig:
    """The same requests each time, and not many; mostly for what is there."""
    known = {"id": [THREAD], "chat_id": [THREAD], "entry": [THREAD]}
    configuration: Any = SchemathesisConfig
    return configuration.from_dict(
        {
            "seed": 1,
            "auth": {"openapi": {"api_key": {"api_key": KEY}, "bearer": {"bearer": KEY}}},
            "dictionaries": {name: {"values": values} for name, values in known.items()},
            "parameters": {
                "path.agent": "plain",
                "path.run_id": RUN,
                **{f"path.{name}": {"dictionary": name, "probability": 0.8} for name in known},
            },
            "generation": {
                "deterministic": True,
                "max-examples": 15,
                "database": "none",
                "no-shrink": True,
                "with-security-parameters": False,  # or nearly all would be answered with 401
            },
            "phases": {"coverage": {"unexpected-methods": ["DELETE", "PUT"]}},
            "operations": [*OPERATIONS],
        }
    )


schema: Any = schemathesis.openapi.from_dict(DOCUMENT, config=settings())
every_operation: Callable[[Callable[..., None]], Callable[..., None]] = schema.parametrize()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(CONFIG) as url:
        yield url


@cache
def run_for(_operation: str, url: str) -> str:
    """A run that has ended, on the thread that there is: begun anew for each operation, since one deletes it."""
    begun = httpx.post(url + run_url("ag-ui", "plain"), json=turn("ag-ui", thread=THREAD), headers={"x-api-key": KEY})
    return begun.headers["x-run-id"]


def test_what_is_tested_is_the_document_that_is_served(url: str) -> None:
    assert httpx.get(f"{url}/openapi.json").json() == DOCUMENT


@every_operation
def test_every_operation_answers_as_documented(case: Case[Any], url: str) -> None:
    run_id = run_for(f"{case.method} {case.path}", url)
    if case.path_parameters.get("run_id") == RUN:
        case.path_parameters["run_id"] = run_id
    try:
        case.call_and_validate(  # pyright: ignore[reportUnknownMemberType]
            base_url=url, timeout=10
        )
    except requests.exceptions.ChunkedEncodingError:
        # A text that grows has no other words for a failure.
        assert case.query.get("protocol") == "text" or case.path.endswith("/object")


def test_requests_that_follow_from_answers_are_answered_as_documented(url: str) -> None:
    machine: Any = schema.exclude(path="/agents/{agent}/vercel-ai", method="POST").as_state_machine()

    class Following(machine):
        def get_call_kwargs(self, _case: object) -> dict[str, Any]:
            return {"base_url": url, "timeout": 10}

    Following.run(
        settings=hypothesis.settings(
            max_examples=25, stateful_step_count=6, derandomize=True, database=None, deadline=None
        )
    )

"""What somebody meets who tries the gateway: its address in a browser, and a key where none is needed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from logs import capture_logs
from serving import make_config
from starlette.testclient import TestClient

from gateway.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "gw_a-key-of-the-tests"
AUTH = {"api_keys": [{"id": "web", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}]}
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def calling(root_path: str = "", **sections: Any) -> TestClient:
    app = create_app(make_config(agents={"plain": "probes:plain"}, **sections))
    return TestClient(app, base_url="http://localhost", root_path=root_path, follow_redirects=False)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with calling() as client:
        yield client


@pytest.mark.parametrize("root_path", ["", "/ai"])
def test_a_browser_is_sent_from_the_address_to_the_page_of_the_api(root_path: str) -> None:
    with calling(root_path) as client:
        answer = client.get("/", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (307, f"{root_path}/docs")
    assert "accept" in answer.headers["vary"].lower()


def test_the_address_is_open_where_the_page_is() -> None:
    with calling(auth=AUTH) as client:
        assert client.get("/", headers=HTML).status_code == 307


def test_the_page_is_there(client: TestClient) -> None:
    answer = client.get("/", headers=HTML, follow_redirects=True)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_others_are_told_as_before_that_there_is_nothing(client: TestClient, accept: str) -> None:
    answer = client.get("/", headers={"accept": accept})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


SENT = [
    {"authorization": "Bearer undefined"},
    {"authorization": "Bearer "},
    {"authorization": f"Basic {KEY}"},
    {"x-api-key": KEY},
]


@pytest.mark.parametrize("headers", SENT)
def test_credentials_where_none_are_configured_are_refused_and_the_log_says_why(headers: dict[str, str]) -> None:
    with capture_logs() as logs, calling() as client:
        for _ in range(3):
            assert client.get("/agents", headers=headers).status_code == 401
        assert client.get("/agents").status_code == 200
    (line,) = [line for line in logs if line["event"] == "credentials_without_auth"]
    assert line["log_level"] == "warning"
    assert "send none" in line["hint"]
    assert not any(part in str(logs) for part in (KEY, "undefined", "Bearer"))


@pytest.mark.parametrize("auth", [AUTH, {**AUTH, "anonymous": True}])
def test_wrong_credentials_are_nothing_to_explain_where_some_are_configured(auth: dict[str, Any]) -> None:
    with capture_logs() as logs, calling(auth=auth) as client:
        assert client.get("/agents", headers={"x-api-key": "wrong"}).status_code == 401
    assert not [line for line in logs if line["event"] == "credentials_without_auth"]

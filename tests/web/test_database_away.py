"""What is answered while the database is away: a page that tries again, a problem, a word."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from tests.apps import load

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """The whole application; nobody listens where its database should be."""
    return create_app(load(NOWHERE, tmp_path_factory.mktemp("instance"), {}))


@pytest.fixture
def client(away: Flask) -> FlaskClient:
    return away.test_client()


@pytest.mark.parametrize("path", ["/", "/runs", "/markets", "/markets/BTC-USD"])
def test_page_is_plain_and_tries_again_by_itself(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert 'http-equiv="refresh"' in answer.text
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["/api/runs", "/api/schedule", "/api/snapshots/latest"])
def test_api_answers_a_problem_that_says_when_to_try_again(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert answer.json["code"] == "unavailable"
    assert int(answer.headers["Retry-After"]) > 0


def test_starting_a_run_is_refused_in_the_same_way(client: FlaskClient) -> None:
    assert client.post("/api/ingest").status_code == 503


def test_readiness_says_what_is_missing_and_liveness_stays(client: FlaskClient) -> None:
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json["parts"]["database"]) == (503, "unreachable")
    assert client.get("/healthz").status_code == 200


def test_refusal_of_the_watch_is_told_as_unavailable(away: Flask, client: FlaskClient) -> None:
    watch = away.extensions["tapedeck_database"].watch
    watch._is_silent = True
    try:
        assert client.get("/api/runs").status_code == 503
        assert client.get("/", headers={"Accept": "text/html"}).status_code == 503
    finally:
        watch._is_silent = False

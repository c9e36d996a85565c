"""Whether the process lives and whether it can serve."""

from datetime import datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from app import create_app
from app.extensions import db
from tests.apps import load
from tests.web.deck import Markup

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def lonely_client(tmp_path: Path) -> FlaskClient:
    """A client of an application whose database does not exist."""
    return create_app(load(NOWHERE, tmp_path, {}, operator_token="t" * 16)).test_client()


def test_the_process_is_alive_without_a_database(lonely_client: FlaskClient) -> None:
    for headers in ({}, {"Host": "10.0.0.7:8000"}, {"Host": "evil.example"}):
        response = lonely_client.get("/healthz", headers=headers)
        assert (response.status_code, response.json) == (200, {"status": "ok"})


def test_without_a_database_it_is_not_ready_and_says_why(lonely_client: FlaskClient) -> None:
    response = lonely_client.get("/readyz")
    assert response.status_code == 503
    assert response.json["status"] == "not_ready"
    assert response.json["parts"]["database"] == "unreachable"
    assert "nobody" not in response.text


def test_without_a_database_the_api_says_when_to_come_back(lonely_client: FlaskClient) -> None:
    headers = {"Authorization": "Bearer " + "t" * 16}
    for method, path in (("GET", "/api/runs"), ("POST", "/api/ingest"), ("GET", "/api/metrics")):
        response = lonely_client.open(path, method=method, headers=headers)
        assert (response.status_code, response.json["code"]) == (503, "unavailable")
        assert response.headers["Retry-After"] == "5"
        assert "nobody" not in response.text


def test_with_its_schema_it_is_ready(client: FlaskClient) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json["status"] == "ready"


def test_it_says_what_the_cache_is_and_since_when(client: FlaskClient) -> None:
    parts = client.get("/readyz").json["parts"]
    state = client.application.extensions["tapedeck"].cache_state()
    assert parts["cache"] == state.mode.value == "memory"
    assert datetime.fromisoformat(parts["cache_since"]) == state.since.replace(microsecond=0)
    shown = Markup(client.get("/fragments/state").text)
    drawn = {datetime.fromisoformat(tag["datetime"]) for tag in shown.all("time")}
    assert state.since.replace(microsecond=0) in {at.replace(microsecond=0) for at in drawn}


def test_with_another_schema_it_is_not_ready(client: FlaskClient) -> None:
    with client.application.app_context(), db.engine.begin() as connection:
        held = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(text("UPDATE alembic_version SET version_num = 'other'"))
    try:
        response = client.get("/readyz")
    finally:
        with client.application.app_context(), db.engine.begin() as connection:
            restore = text("UPDATE alembic_version SET version_num = :held")
            connection.execute(restore, {"held": held})
    assert (response.status_code, response.json["parts"]["migrations"]) == (503, "pending")

"""The door for an external cron."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.extensions import db
from tests.apps import bare_app
from tests.web.real_app import count_rows, empty_tables, real_app

SECRET = "only-for-the-cron-door-0123456789"
OPERATOR = "only-for-the-operator-0123456789"
BEARER = {"Authorization": f"Bearer {SECRET}"}


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> Iterator[Flask]:
    """The whole application with both keys set."""
    keys = {"cron_secret": SECRET, "operator_token": OPERATOR}
    # Due once a day, so that no test runs across a tick.
    with real_app(database_url, tmp_path, ingestion_cron_expression="@daily", **keys) as app:
        yield app


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_secret_runs_the_due_tick_and_tells_what_became_of_it(
    client: FlaskClient, method: str
) -> None:
    response = client.open("/api/cron", method=method, headers=BEARER)
    assert response.status_code == 200
    answer = response.json
    assert (answer["outcome"], answer["status"]) == ("started", "succeeded")
    assert answer["result"]["trigger"] == "cron"
    assert answer["dueAt"].endswith("T00:00:00Z")
    assert response.headers["Location"] == f"/api/runs/{answer['runId']}"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("hours", [1, -1])
def test_what_is_due_is_judged_by_the_clock_of_the_database(database_url: str, hours: int) -> None:
    def full_hour() -> str:
        return f"{datetime.now(UTC):%Y-%m-%dT%H:00:00Z}"

    values = {"cron_secret": SECRET, "ingestion_cron_expression": "@hourly"}
    wrong = timedelta(hours=hours)
    with bare_app(database_url, clock=lambda: datetime.now(UTC) + wrong, **values) as app:
        empty_tables(app)
        around = {full_hour()}
        answer = app.test_client().get("/api/cron", headers=BEARER).json
        around.add(full_hour())
    assert answer["outcome"] == "started"
    assert answer["dueAt"] in around


def test_a_second_call_for_the_tick_starts_nothing_and_names_the_same_run(
    app: Flask, client: FlaskClient
) -> None:
    first = client.get("/api/cron", headers=BEARER).json
    second = client.post("/api/cron", headers=BEARER).json
    assert second["outcome"] == "already_ran"
    assert (second["runId"], second["result"]) == (first["runId"], first["result"])
    assert count_rows(app, "ingestion_run") == 1


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        f"Basic {SECRET}",
        f"bearer{SECRET}",
        f"Bearer {SECRET}x",
        f"Bearer {SECRET}, Bearer {SECRET}",
        "Bearer \u00e9",
        "Bearer " + "x" * 8000,
        f"Bearer {OPERATOR}",
    ],
)
def test_anything_else_is_refused_and_starts_nothing(
    app: Flask, client: FlaskClient, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = client.get(f"/api/cron?secret={SECRET}&token={SECRET}", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert response.headers["Cache-Control"] == "no-store"
    assert count_rows(app, "ingestion_run") == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/ingest"), ("GET", "/api/runs"), ("GET", "/api/metrics"), ("GET", "/")],
)
def test_the_cron_secret_opens_no_other_door(client: FlaskClient, method: str, path: str) -> None:
    assert client.open(path, method=method, headers=BEARER).status_code in (401, 303)


def test_without_a_secret_the_door_is_shut(database_url: str, tmp_path: Path) -> None:
    with real_app(database_url, tmp_path) as app:
        for headers in ({}, BEARER, {"Authorization": "Bearer "}):
            response = app.test_client().get("/api/cron", headers=headers)
            assert response.status_code == 503
            assert response.json["code"] == "not_configured"


def test_head_is_refused_and_starts_nothing(app: Flask, client: FlaskClient) -> None:
    response = client.head("/api/cron", headers=BEARER)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, POST"
    assert count_rows(app, "ingestion_run") == 0


@pytest.mark.parametrize(
    "headers", [{"Sec-Purpose": "prefetch;prerender"}, {"Purpose": "prefetch"}]
)
def test_a_prefetch_is_refused_and_starts_nothing(
    app: Flask, client: FlaskClient, headers: dict[str, str]
) -> None:
    response = client.get("/api/cron", headers=BEARER | headers)
    assert (response.status_code, response.json["code"]) == (403, "prefetch")
    assert count_rows(app, "ingestion_run") == 0


def test_who_does_not_wait_gets_the_address_of_the_run(client: FlaskClient) -> None:
    response = client.get("/api/cron", headers=BEARER | {"Prefer": "respond-async"})
    assert response.status_code in (200, 202)
    assert response.headers["Location"] == f"/api/runs/{response.json['runId']}"


def test_an_active_run_is_named_and_the_tick_counts_as_skipped(
    database_url: str, tmp_path: Path
) -> None:
    slow = {"delay_seconds": 30}
    with real_app(database_url, tmp_path, mock=slow, cron_secret=SECRET) as app:
        client = app.test_client()
        active = client.post("/api/ingest", headers={"Prefer": "respond-async"}).json["runId"]
        first = client.get("/api/cron", headers=BEARER)
        again = client.get("/api/cron", headers=BEARER)
    assert (first.status_code, first.json["runId"]) == (409, active)
    assert (again.status_code, again.json["outcome"]) == (200, "skipped")
    assert (again.json["runId"], again.json["status"]) == (None, None)


def test_many_calls_at_once_come_to_one_run_and_all_tell_of_it(app: Flask) -> None:
    with ThreadPoolExecutor(12) as pool:
        calls = [pool.submit(app.test_client().get, "/api/cron", headers=BEARER) for _ in range(12)]
        answers = [call.result().json for call in calls]
    assert sorted(answer["outcome"] for answer in answers) == ["already_ran"] * 11 + ["started"]
    assert len({answer["runId"] for answer in answers}) == 1
    assert count_rows(app, "ingestion_run") == 1


def test_a_claim_that_never_becomes_a_run_is_told_as_such(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.api.cron.CLAIM_PATIENCE_SECONDS", 0.1)
    client.get("/api/cron", headers=BEARER)
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text("UPDATE schedule_tick SET status = 'claimed', run_id = NULL"))
    response = client.get("/api/cron", headers=BEARER)
    assert (response.status_code, response.json["outcome"]) == (202, "claimed")

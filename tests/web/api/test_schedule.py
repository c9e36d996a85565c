"""The schedule over JSON: shown, tried out, paused and resumed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.web.real_app import real_app

SOON = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}T00:00:00"


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> Iterator[Flask]:
    with real_app(database_url, tmp_path, ingestion_cron_expression="@daily") as app:
        yield app


def test_schedule_tells_its_next_ticks_and_jobs(client: FlaskClient) -> None:
    answer = client.get("/api/schedule").json
    assert (answer["expression"], answer["isEnabled"], answer["pause"]) == ("@daily", False, None)
    assert all(due.endswith("T00:00:00Z") for due in answer["nextTicks"])
    assert {job["name"] for job in answer["jobs"]} >= {"ingest", "reaper", "alerts"}


def test_paused_schedule_says_so_until_it_is_resumed(client: FlaskClient) -> None:
    pause = {"reason": "moving", "author": "ops", "until": f"{SOON}Z"}
    paused = client.post("/api/schedule/pause", json=pause)
    assert (paused.status_code, paused.json["isPaused"]) == (200, True)
    assert paused.json["pause"]["pausedBy"] == "ops"
    assert paused.json["pause"]["untilAt"] == f"{SOON}Z"
    assert not client.post("/api/schedule/resume").json["isPaused"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"reason": ""}, 400),
        ({"reason": " "}, 422),
        ({"reason": "x", "until": "2001-01-01T00:00:00Z"}, 422),
        ({"reason": "x", "until": SOON}, 422),
        ({"reason": "x", "until": "9999-01-01T00:00:00Z"}, 422),
        ({"reason": "x", "for": "ever"}, 400),
    ],
)
def test_pause_that_makes_no_sense_is_refused(
    client: FlaskClient, body: dict[str, str], status: int
) -> None:
    assert client.post("/api/schedule/pause", json=body).status_code == status
    assert not client.get("/api/schedule").json["isPaused"]


def test_another_expression_can_be_tried(client: FlaskClient) -> None:
    query = {"expression": "0 9 * * mon-fri", "timezone": "Europe/Berlin"}
    answer = client.get("/api/schedule/preview", query_string=query).json
    assert (len(answer["nextTicks"]), answer["timezone"]) == (5, "Europe/Berlin")
    refused = client.get("/api/schedule/preview", query_string={"expression": "0 0 31 2 *"})
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_request")

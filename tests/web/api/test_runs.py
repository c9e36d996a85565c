"""Runs over JSON."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.web.real_app import real_app

ASYNC = {"Prefer": "respond-async"}
NOBODY = "00000000-0000-0000-0000-000000000000"


def test_runs_are_listed_newest_first_and_page_by_page(client: FlaskClient) -> None:
    ids = [client.post("/api/ingest").json["runId"] for _ in range(3)]
    first = client.get("/api/runs?limit=2").json
    second = client.get("/api/runs", query_string={"limit": 2, "cursor": first["nextCursor"]}).json
    assert [run["id"] for run in first["runs"] + second["runs"]] == ids[::-1]
    assert second["nextCursor"] is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=succeeded", 1),
        ("status=failed", 0),
        ("trigger=manual", 1),
        ("trigger=cron", 0),
        ("provider=mock", 1),
        ("provider=other", 0),
        ("status=succeeded&trigger=manual&provider=mock", 1),
    ],
)
def test_runs_are_narrowed_by_every_filter(client: FlaskClient, query: str, found: int) -> None:
    client.post("/api/ingest")
    assert len(client.get(f"/api/runs?{query}").json["runs"]) == found


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=251",
        "limit=1e9",
        "page=-1",
        "status=great",
        "trigger=luck",
        "cursor=x",
        "cursor=",
        "cursor=WyJhIl0",
        "cursor=%C3%A9",
        "provider=%01",
        "status=failed&status=failed",
    ],
)
def test_a_wrong_query_is_refused(client: FlaskClient, query: str) -> None:
    response = client.get(f"/api/runs?{query}")
    assert (response.status_code, response.json["code"]) == (422, "invalid_request")


def test_a_run_is_shown_with_its_stages_in_order(client: FlaskClient) -> None:
    run_id = client.post("/api/ingest").json["runId"]
    run = client.get(f"/api/runs/{run_id}").json
    assert (run["id"], run["status"], run["requestedBy"]) == (run_id, "succeeded", "api")
    assert run["stages"][0]["name"] == "fetch"
    assert {stage["status"] for stage in run["stages"]} == {"succeeded"}
    assert run["stages"][0]["counts"]["fetched"] > 0
    assert (run["problems"], run["rejectedRows"]) == ([], [])


def test_rejected_rows_are_shown_with_their_reason(database_url: str, tmp_path: Path) -> None:
    with real_app(database_url, tmp_path, mock={"bad_rows": 1}) as app:
        client = app.test_client()
        run_id = client.post("/api/ingest").json["runId"]
        run = client.get(f"/api/runs/{run_id}").json
    assert 0 < len(run["rejectedRows"]) <= run["counts"]["rejected"]
    assert {"reason", "raw", "symbol", "kind"} <= set(run["rejectedRows"][0])


@pytest.mark.parametrize("run_id", [NOBODY, "42", "%27", "x" * 500, "\u00e9"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_run_is_not_found(client: FlaskClient, run_id: str, method: str) -> None:
    path = f"/api/runs/{run_id}" + ("/cancel" if method == "POST" else "")
    response = client.open(path, method=method)
    assert (response.status_code, response.json["code"]) == (404, "not_found")


def test_a_running_run_is_asked_to_stop(slow_client: FlaskClient) -> None:
    run_id = slow_client.post("/api/ingest", headers=ASYNC).json["runId"]
    response = slow_client.post(f"/api/runs/{run_id}/cancel")
    assert response.status_code in (200, 202)
    assert response.json["cancelRequestedAt"] is not None
    assert response.headers["Location"] == f"/api/runs/{run_id}"
    slow_client.application.extensions["tapedeck"].runner.wait(run_id, timeout_seconds=20)
    assert slow_client.get(f"/api/runs/{run_id}").json["status"] == "cancelled"


def test_stopping_a_finished_run_changes_nothing(client: FlaskClient) -> None:
    run_id = client.post("/api/ingest").json["runId"]
    response = client.post(f"/api/runs/{run_id}/cancel")
    assert (response.status_code, response.json["status"]) == (200, "succeeded")

"""Starting a run by hand over JSON."""

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.web.real_app import count_rows, real_app

ASYNC = {"Prefer": "respond-async"}


def test_an_empty_post_ingests_every_market_and_tells_what_it_did(
    app: Flask, client: FlaskClient
) -> None:
    response = client.post("/api/ingest")
    assert response.status_code == 200
    answer = response.json
    result = answer["result"]
    assert (answer["status"], answer["error"]) == ("succeeded", None)
    assert (result["marketsIngested"], result["snapshotsIngested"]) == (3, 3)
    assert result["aggregatesIngested"] == count_rows(app, "market_aggregate") > 0
    assert result["comparisonsIngested"] == count_rows(app, "market_comparison") == 2
    assert result["roiStatsIngested"] == count_rows(app, "market_roi_statistic") == 12
    assert result["trigger"] == "manual"
    assert result["startedAt"] <= result["completedAt"]
    assert result["runId"] == answer["runId"]
    assert response.headers["Location"] == f"/api/runs/{answer['runId']}"


def test_named_symbols_are_the_only_ones_ingested(client: FlaskClient) -> None:
    body = {"symbols": ["eth-usd", "ETH-USD", " SPX "]}
    answer = client.post("/api/ingest", json=body).json
    assert (answer["status"], answer["result"]["marketsIngested"]) == ("succeeded", 2)
    run = client.get(f"/api/runs/{answer['runId']}").json
    assert run["symbols"] == ["ETH-USD", "SPX"]


@pytest.mark.parametrize(
    ("symbols", "details"),
    [
        ([], ["symbols: 0 given"]),
        (["BTC-USD"] * 1001, ["symbols: 1001 given"]),
        (["B T C"], ["'B T C' is not a market symbol"]),
        (["*"], ["'*' is not a market symbol"]),
        (["X" * 300], [f"'{'X' * 40}' is not a market symbol"]),
        (["\u0391BC"], ["'\u0391BC' is not a market symbol"]),
        (["BTC-USD", "NO-SUCH"], ["NO-SUCH is not followed."]),
    ],
)
def test_symbols_that_cannot_be_ingested_are_named_and_nothing_starts(
    app: Flask, client: FlaskClient, symbols: list[str], details: list[str]
) -> None:
    response = client.post("/api/ingest", json={"symbols": symbols})
    assert response.status_code == 422
    assert response.json["details"] == details
    assert count_rows(app, "ingestion_run") == 0


def test_at_most_ten_wrong_symbols_are_named(client: FlaskClient) -> None:
    for wrong in (["!"] * 20, [f"NO-{number}" for number in range(20)]):
        response = client.post("/api/ingest", json={"symbols": wrong})
        assert (response.status_code, len(response.json["details"])) == (422, 10)


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'"BTC"', b'{"symbols": null}', b'{"symbols": "*"}', b'{"symbols": [null]}',
     b'{"symbols": [1]}', b'{"symbols": ["SPX"], "provider": "mock"}'],
)  # fmt: skip
def test_a_malformed_body_starts_nothing(app: Flask, client: FlaskClient, body: bytes) -> None:
    response = client.post("/api/ingest", data=body, content_type="application/json")
    assert response.status_code == 400
    assert count_rows(app, "ingestion_run") == 0


def test_a_list_of_ten_thousand_is_too_large(client: FlaskClient) -> None:
    body = {"symbols": ["BTC-USD"] * 10_000}
    assert client.post("/api/ingest", json=body).status_code == 413


def test_a_form_is_not_json(client: FlaskClient) -> None:
    assert client.post("/api/ingest", data={"symbols": "BTC-USD"}).status_code == 415


def test_a_failed_run_is_told_as_such(database_url: str, tmp_path: Path) -> None:
    with real_app(database_url, tmp_path, mock={"fail": "permanent"}) as app:
        response = app.test_client().post("/api/ingest")
    assert response.status_code == 200
    assert response.json["status"] == "failed"
    assert response.json["error"]["class"] == "PermanentProviderError"
    assert "told to refuse" in response.json["error"]["message"]
    assert response.json["result"]["snapshotsIngested"] == 0


def test_a_partial_run_names_the_markets_that_failed(database_url: str, tmp_path: Path) -> None:
    mock = {"fail": "market", "fail_markets": "ETH-USD"}
    with real_app(database_url, tmp_path, mock=mock) as app:
        answer = app.test_client().post("/api/ingest").json
    assert answer["status"] == "partial"
    assert answer["result"]["marketsIngested"] == 2
    assert [problem["symbol"] for problem in answer["result"]["problems"]] == ["ETH-USD"]


def test_who_would_rather_not_wait_gets_the_address_of_the_run(slow_client: FlaskClient) -> None:
    response = slow_client.post("/api/ingest", headers=ASYNC)
    assert response.status_code == 202
    assert response.json["status"] == "running"
    assert response.json["result"] is None
    assert response.headers["Location"] == f"/api/runs/{response.json['runId']}"
    run = slow_client.get(response.headers["Location"]).json
    assert (run["status"], run["completedAt"]) == ("running", None)


def test_patience_that_ends_before_the_run_gets_the_address_too(slow_client: FlaskClient) -> None:
    response = slow_client.post("/api/ingest", headers={"Prefer": "wait=0"})
    assert response.status_code == 202


def test_a_second_start_is_told_which_run_is_active(slow_client: FlaskClient) -> None:
    first = slow_client.post("/api/ingest", headers=ASYNC).json["runId"]
    response = slow_client.post("/api/ingest")
    assert response.status_code == 409
    assert response.json["runId"] == first
    assert response.headers["Location"] == f"/api/runs/{first}"
    assert response.json["code"] == "run_already_active"

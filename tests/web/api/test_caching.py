"""Answers that are kept until the data changes."""

import gzip

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from app.extensions import db

HOT = ["/api/snapshots/latest", "/api/markets", "/api/markets/BTC-USD"]


def forget_snapshots(client: FlaskClient) -> None:
    """So that the next run, perhaps within the same second, has something to store."""
    with client.application.app_context(), db.engine.begin() as connection:
        connection.execute(text("DELETE FROM market_snapshot"))


@pytest.mark.parametrize("path", HOT)
def test_answer_is_not_sent_again_while_the_data_is_the_same(
    full_client: FlaskClient, path: str
) -> None:
    first = full_client.get(path)
    again = full_client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("path", HOT)
def test_answer_changes_with_the_data(full_client: FlaskClient, path: str) -> None:
    first = full_client.get(path)
    forget_snapshots(full_client)
    assert full_client.post("/api/ingest").get_json()["status"] == "succeeded"
    again = full_client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 200
    assert again.headers["ETag"] != first.headers["ETag"]


def test_compressed_answer_says_the_same(full_client: FlaskClient) -> None:
    path = "/api/snapshots/latest"
    plain = full_client.get(path, headers={"Accept-Encoding": "identity"})
    packed = full_client.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert "Accept-Encoding" in packed.headers["Vary"]


def test_answers_of_different_queries_are_kept_apart(full_client: FlaskClient) -> None:
    one = full_client.get("/api/snapshots/latest?limit=1").get_json()
    two = full_client.get("/api/snapshots/latest?limit=2").get_json()
    assert [len(page["snapshots"]) for page in (one, two)] == [1, 2]


def test_unknown_market_is_not_found_every_time(full_client: FlaskClient) -> None:
    statuses = [full_client.get("/api/markets/NOPE-USD").status_code for _ in range(2)]
    assert statuses == [404, 404]

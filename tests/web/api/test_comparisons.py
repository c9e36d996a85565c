"""Comparisons, series, correlations and exports over JSON and CSV."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from app.extensions import db
from app.web.api import exports
from tests.web.deck import counted_queries
from tests.web.real_app import real_app

MONTH = {"ingestion_lookback_days": 40, "ingestion_markets": "BTC-USD,ETH-USD,SPX,SOL-USD"}
PAIR = "/api/comparisons/series?market=ETH-USD&against=BTC-USD"
PLAIN = re.compile(r"-?\d+(\.\d+)?")
SQL_QUERIES = 2  # and the closes, which come by COPY


@pytest.fixture(scope="module")
def client(
    fresh_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FlaskClient]:
    """A client of an application that ingested a month of four markets."""
    with real_app(fresh_database_url, tmp_path_factory.mktemp("instance"), **MONTH) as app:
        client = app.test_client()
        assert client.post("/api/ingest").json["status"] == "succeeded"
        yield client


def stored(client: FlaskClient, statement: str) -> list[Any]:
    with client.application.app_context(), db.engine.connect() as connection:
        return list(connection.execute(text(statement)))


def test_configured_pairs_have_the_figures_that_the_run_stored(client: FlaskClient) -> None:
    answer = client.get("/api/comparisons?markets=BTC-USD,ETH-USD,SPX,SOL-USD").json
    names = {"priceRatio": "price_ratio", "roiSpread30d": "roi_spread_30d"}
    names |= {"volumeRatio": "volume_ratio", "correlation30d": "correlation_30d"}
    names |= {"beta30d": "beta_30d", "sampleCount": "sample_count"}
    rows = stored(
        client,
        "SELECT m.symbol, c.* FROM market_comparison c JOIN market m ON m.id = c.market_id",
    )
    expected = {row.symbol: row for row in rows}
    assert [item["symbol"] for item in answer["comparisons"]] == ["ETH-USD", "SPX", "SOL-USD"]
    for item in answer["comparisons"]:
        row = expected[item["symbol"]]
        for name, column in names.items():
            value = getattr(row, column)
            assert item[name] == (format(value, "f") if isinstance(value, Decimal) else value)
        assert item["nullReasons"] == row.null_reasons


def test_a_pair_turned_round_has_the_ratio_turned_round(client: FlaskClient) -> None:
    there = client.get("/api/comparisons?markets=BTC-USD,ETH-USD").json["comparisons"][0]
    back = client.get("/api/comparisons?markets=eth-usd,btc-usd").json["comparisons"][0]
    assert (back["symbol"], back["againstSymbol"]) == ("BTC-USD", "ETH-USD")
    product = Decimal(there["priceRatio"]) * Decimal(back["priceRatio"])
    assert abs(product - 1) < Decimal("1e-26")
    assert Decimal(there["roiSpread7d"]) == -Decimal(back["roiSpread7d"])
    assert there["correlation30d"] == back["correlation30d"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/comparisons", 422),
        ("/api/comparisons?markets=BTC-USD", 422),
        ("/api/comparisons?markets=BTC-USD,btc-usd", 422),
        ("/api/comparisons?markets=A,B,C,D,E,F", 422),
        ("/api/comparisons?markets=BTC-USD,NO-SUCH", 404),
        ("/api/comparisons?markets=BTC-USD,%27;--", 404),
        (f"/api/comparisons?markets=BTC-USD,{'x' * 500}", 404),
        ("/api/comparisons/series?market=BTC-USD&against=BTC-USD", 422),
        ("/api/comparisons/series?market=BTC-USD", 422),
        ("/api/comparisons/series?market=BTC-USD&against=NO-SUCH", 404),
        (f"{PAIR}&window=2h", 422),
        (f"{PAIR}&start=2026-01-02&end=2026-01-01", 422),
        (f"{PAIR}&start=2199-01-01", 422),
        (f"{PAIR}&start=2020-01-01&window=1h", 422),
        (f"/api/correlations?markets={','.join(f'C{n}' for n in range(51))}", 422),
        ("/api/correlations?markets=,,", 422),
    ],
)
def test_what_cannot_be_compared_is_refused(client: FlaskClient, path: str, status: int) -> None:
    response = client.get(path)
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"


@pytest.mark.parametrize(
    "path",
    [
        "/api/comparisons?markets=BTC-USD,ETH-USD,SPX",
        PAIR,
        "/api/correlations?markets=BTC-USD,ETH-USD,SPX",
    ],
)
def test_an_answer_is_kept_until_the_data_changes_and_costs_few_queries(
    client: FlaskClient, path: str
) -> None:
    with counted_queries(client.application) as statements:
        first = client.get(path)
    with counted_queries(client.application) as again:
        second = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        third = client.get(path)
    assert len([sql for sql in statements if "data_version" not in sql]) <= SQL_QUERIES
    assert (second.status_code, third.data == first.data) == (304, True)
    assert not [sql for sql in again if "market" in sql]


def test_series_ends_with_the_newest_observation_and_starts_thirty_days_before(
    client: FlaskClient,
) -> None:
    answer = client.get(PAIR).json
    points = answer["points"]
    first, last = (datetime.fromisoformat(points[place]["observedAt"]) for place in (0, -1))
    assert answer["grid"] == "hourly"
    assert answer["pointCount"] == len(points) >= 719
    assert timedelta(days=29, hours=22) < last - first <= timedelta(days=30)
    assert points[0]["roiSpread"] == "0"
    assert all(PLAIN.fullmatch(point["priceRatio"]) for point in points)


def test_points_are_ratios_of_closes_of_one_hour(client: FlaskClient) -> None:
    rows = stored(
        client,
        "SELECT a.opened_at + interval '1 hour' AS at, a.close / b.close AS ratio "
        "FROM market_aggregate a JOIN market m ON m.id = a.market_id AND m.symbol = 'ETH-USD' "
        "JOIN market_aggregate b ON b.opened_at = a.opened_at AND b.granularity = 'hourly' "
        "JOIN market n ON n.id = b.market_id AND n.symbol = 'BTC-USD' "
        "WHERE a.granularity = 'hourly' AND a.is_final",
    )
    expected = {row.at: row.ratio for row in rows}
    points = client.get(PAIR).json["points"]
    shared = [point for point in points if datetime.fromisoformat(point["observedAt"]) in expected]
    assert len(shared) >= 719
    for point in shared:
        ratio = expected[datetime.fromisoformat(point["observedAt"])]
        assert abs(Decimal(point["priceRatio"]) - ratio) < Decimal("1e-15")


def test_window_gives_the_spread_over_it_from_before_the_range_on(client: FlaskClient) -> None:
    newest = client.get(PAIR).json["points"][-1]["observedAt"]
    start = (datetime.fromisoformat(newest) - timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = client.get(f"{PAIR}&window=24h&start={start}").json
    assert answer["window"] == "24h"
    assert all(point["roiSpread"] is not None for point in answer["points"])
    assert all(point["observedAt"] >= start for point in answer["points"])


def test_long_ranges_are_made_of_days_and_of_at_most_800_points(client: FlaskClient) -> None:
    answer = client.get(f"{PAIR}&start=2000-01-01").json
    assert answer["grid"] == "daily"
    assert 40 <= answer["pointCount"] == len(answer["points"]) <= 42
    hourly = client.get(f"{PAIR}&start={(datetime.now(UTC) - timedelta(days=91)):%Y-%m-%d}").json
    assert hourly["grid"] == "hourly"
    assert hourly["pointCount"] > len(hourly["points"]) >= 400


def test_matrix_is_symmetric_and_says_on_what_it_rests(client: FlaskClient) -> None:
    answer = client.get("/api/correlations?markets=SOL-USD,BTC-USD,ETH-USD").json
    matrix = answer["correlations"]
    assert answer["symbols"] == ["SOL-USD", "BTC-USD", "ETH-USD"]
    assert [matrix[n][n] for n in range(3)] == ["1", "1", "1"]
    assert all(matrix[a][b] == matrix[b][a] for a in range(3) for b in range(3))
    assert (answer["steps"], answer["needed"]) == (720, 576)
    assert all(576 <= count <= 720 for row in answer["sampleCounts"] for count in row)
    pair = client.get("/api/comparisons?markets=BTC-USD,ETH-USD").json["comparisons"][0]
    assert matrix[1][2] == pair["correlation30d"]


def rows_of(client: FlaskClient, path: str) -> list[dict[str, str]]:
    response = client.get(f"/api/exports/{path}")
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text, newline="")))


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("snapshots", "market_snapshot"),
        ("candles", "market_aggregate"),
        ("roi-statistics", "market_roi_statistic"),
        ("comparisons", "market_comparison"),
        ("runs", "ingestion_run"),
        ("rejected-rows", "rejected_row"),
    ],
)
def test_every_kind_is_exported_whole(client: FlaskClient, kind: str, table: str) -> None:
    response = client.get(f"/api/exports/{kind}.csv")
    rows = rows_of(client, f"{kind}.csv")
    assert len(rows) == stored(client, f"SELECT count(*) FROM {table}")[0][0]
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert f"tapedeck-{kind}.csv" in response.headers["Content-Disposition"]
    assert response.headers["Cache-Control"] == "no-store"


def test_candles_are_narrowed_by_market_granularity_and_time(client: FlaskClient) -> None:
    days = rows_of(client, "candles.csv?market=eth-usd&granularity=daily")
    assert {(row["symbol"], row["granularity"]) for row in days} == {("ETH-USD", "daily")}
    start, end = days[3]["opened_at"], days[6]["opened_at"]
    part = rows_of(client, f"candles.csv?market=ETH-USD&granularity=daily&start={start}&end={end}")
    assert part == days[3:6]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("passwords.csv", 404),
        ("snapshots.csv?market=NO-SUCH", 404),
        ("runs.csv?market=BTC-USD", 422),
        ("snapshots.csv?granularity=daily", 422),
        ("candles.csv?granularity=yearly", 422),
        ("candles.csv?start=2026-02-01&end=2026-01-01", 422),
        ("candles.csv?columns=price", 422),
        ("rejected-rows.csv?run=x", 422),
        ("candles.csv?run=00000000-0000-0000-0000-000000000001", 422),
    ],
)
def test_an_export_that_does_not_exist_is_refused(
    client: FlaskClient, path: str, status: int
) -> None:
    response = client.get(f"/api/exports/{path}")
    assert response.status_code == status
    assert response.content_type == "application/problem+json"


def test_a_third_export_at_a_time_is_asked_to_wait(client: FlaskClient) -> None:
    path = "/api/exports/candles.csv"
    running = [client.get(path, buffered=False) for _ in range(exports.MOST_AT_ONCE)]
    refused = client.get(path)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
    for response in running:
        response.close()
    assert client.get(path).status_code == 200


def test_asking_for_the_head_of_an_export_holds_no_place(client: FlaskClient) -> None:
    for _ in range(exports.MOST_AT_ONCE + 1):
        assert client.head("/api/exports/candles.csv").status_code == 200

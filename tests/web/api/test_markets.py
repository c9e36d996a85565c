"""Markets over JSON."""

import re

import pytest
from flask.testing import FlaskClient

PLAIN = re.compile(r"-?\d+(\.\d+)?")


def test_markets_are_listed_by_symbol_and_page_by_page(full_client: FlaskClient) -> None:
    first = full_client.get("/api/markets?limit=2").json
    second = full_client.get(
        "/api/markets", query_string={"limit": 2, "cursor": first["nextCursor"]}
    ).json
    symbols = [market["symbol"] for market in first["markets"] + second["markets"]]
    assert symbols == ["BTC-USD", "ETH-USD", "SPX"]
    assert second["nextCursor"] is None
    assert first["markets"][0]["listings"][0]["provider"] == "mock"


def test_markets_are_found_by_part_of_their_symbol(full_client: FlaskClient) -> None:
    found = full_client.get("/api/markets?search=eth").json["markets"]
    assert [market["symbol"] for market in found] == ["ETH-USD"]
    assert full_client.get("/api/markets?search=%25").json["markets"] == []


def test_a_market_is_shown_with_all_that_is_known(full_client: FlaskClient) -> None:
    detail = full_client.get("/api/markets/eth-usd").json
    assert detail["market"]["symbol"] == "ETH-USD"
    assert PLAIN.fullmatch(detail["snapshots"][0]["price"])
    assert [item["window"] for item in detail["roiStatistics"]] == ["1h", "24h", "7d", "30d"]
    assert detail["comparisons"][0]["againstSymbol"] == "BTC-USD"
    assert "roiSpread24h" in detail["comparisons"][0]


@pytest.mark.parametrize("path", ["", "/candles", "/chart"])
@pytest.mark.parametrize("symbol", ["NO-SUCH", "%27;--", "x" * 500, "\u4e2d"])
def test_an_unknown_market_is_not_found(full_client: FlaskClient, symbol: str, path: str) -> None:
    response = full_client.get(f"/api/markets/{symbol}{path}")
    assert (response.status_code, response.json["code"]) == (404, "not_found")


def test_candles_are_listed_oldest_first(full_client: FlaskClient) -> None:
    answer = full_client.get("/api/markets/BTC-USD/candles?granularity=hourly&limit=5").json
    opened = [candle["openedAt"] for candle in answer["candles"]]
    assert answer["granularity"] == "hourly"
    assert len(opened) == 5
    assert opened == sorted(opened)
    assert all(PLAIN.fullmatch(candle["close"]) for candle in answer["candles"])


def test_candles_lie_in_the_half_open_interval_asked_for(full_client: FlaskClient) -> None:
    path = "/api/markets/BTC-USD/candles"
    newest = full_client.get(f"{path}?granularity=hourly&limit=4").json["candles"]
    query = {
        "granularity": "hourly",
        "start": newest[1]["openedAt"],
        "end": newest[3]["openedAt"],
    }
    found = full_client.get(path, query_string=query).json["candles"]
    assert found == newest[1:3]


def test_a_date_is_its_midnight_in_utc(full_client: FlaskClient) -> None:
    path = "/api/markets/BTC-USD/candles?granularity=daily"
    candles = full_client.get(path).json["candles"]
    day = candles[-1]["openedAt"][:10]
    assert full_client.get(f"{path}&start={day}").json["candles"] == candles[-1:]


@pytest.mark.parametrize(
    "query",
    [
        "granularity=yearly",
        "limit=0",
        "limit=1001",
        "start=yesterday",
        "start=1700000000",
        "start=2026-01-01T00:00:00",
        "start=2026-13-01",
        "start=1969-12-31",
        "end=9999-12-31",
        "start=2026-01-02&end=2026-01-01",
        "start=2026-01-01&end=2026-01-01",
        "from=2026-01-01",
    ],
)
def test_a_wrong_query_for_candles_is_refused(full_client: FlaskClient, query: str) -> None:
    response = full_client.get(f"/api/markets/BTC-USD/candles?{query}")
    assert (response.status_code, response.json["code"]) == (422, "invalid_request")


def test_a_chart_has_at_most_the_points_asked_for_and_says_how_long_a_candle_is(
    full_client: FlaskClient,
) -> None:
    path = "/api/markets/BTC-USD/chart?granularity=hourly"
    whole = full_client.get(path).json
    assert (whole["granularity"], whole["widthHours"], whole["hasOlder"]) == ("hourly", 1, False)
    few = full_client.get(f"{path}&points=9").json
    assert 3 < len(few["candles"]) <= 9
    assert few["widthHours"] > 1
    parts = sum(candle["candleCount"] for candle in few["candles"])
    assert parts == len(whole["candles"])
    assert few["candles"][0]["open"] == whole["candles"][0]["open"]
    assert few["candles"][-1]["close"] == whole["candles"][-1]["close"]
    assert all(PLAIN.fullmatch(candle["high"]) for candle in few["candles"])


def test_a_chart_goes_on_to_the_left_with_candles_of_the_same_length(
    full_client: FlaskClient,
) -> None:
    path = "/api/markets/BTC-USD/chart"
    query: dict[str, object] = {"granularity": "hourly", "points": 5, "width_hours": 2}
    newest = full_client.get(path, query_string=query).json
    query["end"] = newest["candles"][0]["openedAt"]
    older = full_client.get(path, query_string=query).json
    assert newest["hasOlder"]
    assert {newest["widthHours"], older["widthHours"]} == {2}
    assert len(newest["candles"]) == len(older["candles"]) == 5
    assert older["candles"][-1]["openedAt"] < newest["candles"][0]["openedAt"]
    assert older["candles"][-1]["close"] == newest["candles"][0]["open"]


def test_a_chart_is_answered_with_304_while_the_data_stays(full_client: FlaskClient) -> None:
    path = "/api/markets/BTC-USD/chart?granularity=hourly&points=7"
    tag = full_client.get(path).headers["ETag"]
    again = full_client.get(path, headers={"If-None-Match": tag})
    other = full_client.get(f"{path[:-1]}8", headers={"If-None-Match": tag})
    assert (again.status_code, other.status_code) == (304, 200)


@pytest.mark.parametrize(
    "query",
    [
        "points=1",
        "points=801",
        "limit=5",
        "width_hours=0",
        "width_hours=172033",
        "granularity=daily&width_hours=36",
        "start=2026-01-02&end=2026-01-01",
    ],
)
def test_a_wrong_query_for_a_chart_is_refused(full_client: FlaskClient, query: str) -> None:
    response = full_client.get(f"/api/markets/BTC-USD/chart?{query}")
    assert (response.status_code, response.json["code"]) == (422, "invalid_request")


def test_the_description_explains_how_a_chart_is_thinned_out(full_client: FlaskClient) -> None:
    paths = full_client.get("/api/openapi.json").json["paths"]
    described = paths["/api/markets/{symbol}/chart"]["get"]
    by_name = {item["name"]: item for item in described["parameters"]}
    assert by_name["points"]["schema"]["maximum"] == 800
    assert "merged" in by_name["points"]["schema"]["description"]
    assert "lowest low" in described["description"]


@pytest.mark.parametrize(
    "query", ["limit=251", "search=" + "x" * 101, "search=%07", "cursor=nonsense", "sort=symbol"]
)
def test_a_wrong_query_for_markets_is_refused(full_client: FlaskClient, query: str) -> None:
    assert full_client.get(f"/api/markets?{query}").status_code == 422

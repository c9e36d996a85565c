"""The newest observations over JSON."""

import base64
import json

import pytest
from flask.testing import FlaskClient

SORTS = ["rank", "symbol", "price", "volume", "roi_1h", "roi_24h", "roi_7d", "roi_30d", "age"]


def test_every_market_has_its_newest_snapshot(full_client: FlaskClient) -> None:
    answer = full_client.get("/api/snapshots/latest").json
    assert {row["symbol"] for row in answer["snapshots"]} == {"BTC-USD", "ETH-USD", "SPX"}
    assert answer["nextCursor"] is None
    row = answer["snapshots"][0]
    assert row["observedAt"].endswith("Z")
    assert {"marketCap", "roi24hPct", "storedAt", "runId", "derived", "flags"} <= set(row)


@pytest.mark.parametrize("sort", [sign + name for name in SORTS for sign in ("", "-")])
def test_every_order_pages_through_all_markets_once(full_client: FlaskClient, sort: str) -> None:
    seen, cursor = [], None
    while cursor is not None or not seen:
        query = {"sort": sort, "limit": 1} | ({"cursor": cursor} if cursor else {})
        page = full_client.get("/api/snapshots/latest", query_string=query).json
        seen += [row["symbol"] for row in page["snapshots"]]
        cursor = page["nextCursor"]
    assert sorted(seen) == ["BTC-USD", "ETH-USD", "SPX"]
    whole = full_client.get("/api/snapshots/latest", query_string={"sort": sort}).json["snapshots"]
    assert seen == [row["symbol"] for row in whole]


@pytest.mark.parametrize(
    "query", ["sort=luck", "sort=", "sort=--price", "limit=0", "limit=300", "cursor=x", "page=2"]
)
def test_a_wrong_query_is_refused(full_client: FlaskClient, query: str) -> None:
    response = full_client.get(f"/api/snapshots/latest?{query}")
    assert (response.status_code, response.json["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("sort", ["price", "symbol", "-roi_24h"])
@pytest.mark.parametrize(
    "values",
    [
        [],
        ["1"],
        ["1", "2", "3"],
        ["abc", "BTC-USD"],
        ["1_000", "BTC-USD"],
        ["1e999999", "BTC-USD"],
        ["inf", "BTC-USD"],
        ["nan", "BTC-USD"],
        ["1", "a\0b"],
        ["1\0", "a"],
        [1, 2],
        [None, None],
        [["1"], {}],
        ["\u0661", "a"],
        ["0x10", "a"],
        [" 1 ", "a"],
        ["1", "\ud800"],
    ],
)
def test_a_forged_cursor_never_breaks_anything(
    full_client: FlaskClient, values: list[object], sort: str
) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")
    query = {"cursor": cursor, "sort": sort} if cursor else {"sort": sort}
    assert full_client.get("/api/snapshots/latest", query_string=query).status_code in (200, 422)

"""The candles of a market on its page: what the address chooses, and that everything follows it."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.domain import Granularity
from app.errors import InvalidRequest
from app.extensions import db
from app.web.candle_query import RANGES, CandleQuery, CandleRange
from app.web.words import length_words
from tests.web.real_app import real_app

PARTS = ("/markets/{}", "/fragments/markets/{}/candles")
SEED = """
    INSERT INTO market (id, symbol, name, asset_type, quote)
    VALUES (1, 'LONG-USD', 'Long', 'crypto', 'USD'), (2, 'ONE-USD', 'One', 'crypto', 'USD'),
           (3, 'NONE-USD', 'None', 'crypto', 'USD');
    INSERT INTO listing (market_id, provider, provider_id, quote, provider_symbol, name, chosen_by,
                         seen_at)
    SELECT id, 'mock', symbol, 'USD', symbol, name, 'provider', now() FROM market;
    INSERT INTO market_aggregate (market_id, provider, granularity, opened_at, open, high, low,
                                  close, volume, sample_count, is_final, basis, run_id)
    SELECT CASE h WHEN -1 THEN 2 ELSE 1 END, 'mock', 'hourly',
           timestamptz '2026-01-01 00:00Z' - h * interval '1 hour', 100 + h % 9, 110, 90,
           100 + h % 7, 2, 60, true, 'provider', gen_random_uuid()
    FROM generate_series(-1, 26280) h
"""


@pytest.fixture(scope="module")
def client(
    fresh_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FlaskClient]:
    """Markets with three years of hours, with one candle and with none; for reading only."""
    with real_app(fresh_database_url, tmp_path_factory.mktemp("instance")) as app:
        seed(app)
        yield app.test_client()


def seed(app: Flask) -> None:
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text(SEED))


def rows_of(html: str) -> list[str]:
    table = html.split('aria-labelledby="candles-caption"')[1].split("</table>")[0]
    return re.findall(r"<tr><th.*?</tr>", table, re.DOTALL)


def lines_of(html: str) -> list[str]:
    return re.findall(r'<path d="([^"]*)"', html.split('id="candles"')[1])[:2]


def points_of(line: str) -> int:
    """How many closes a line goes through."""
    return len(re.findall(r"-?\d+", line.partition("l")[2].partition("h")[0])) // 2 + 1


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("query", "count", "words"),
    [
        ("", 168, "newest 7 days: 168 candles)"),
        ("?range=1d", 24, "newest day: 24 candles)"),
        ("?range=30d", 361, "newest 30 days: 361 candles of 2 hours)"),
        ("?range=1y", 366, "newest year: 366 candles of 1 day)"),
        ("?range=all", 366, "whole history: 366 candles of 3 days)"),
    ],
)
def test_lines_and_table_show_the_range_of_the_address(
    client: FlaskClient, part: str, query: str, count: int, words: str
) -> None:
    html = client.get(part.format("LONG-USD") + query).text
    assert words in html
    assert len(rows_of(html)) == 24
    assert [points_of(line) for line in lines_of(html)] == [count, count]


@pytest.mark.parametrize("part", PARTS)
def test_all_candles_of_the_time_are_in_the_table_on_request(
    client: FlaskClient, part: str
) -> None:
    html = client.get(part.format("LONG-USD") + "?range=30d").text
    query = "granularity=hourly&amp;range=30d&amp;table=all"
    assert f'href="/markets/LONG-USD?{query}#candle-table"' in html
    assert f'hx-get="/fragments/markets/LONG-USD/candles?{query}"' in html
    whole = client.get(part.format("LONG-USD") + "?range=30d&table=all").text
    assert len(rows_of(whole)) == 361
    assert '<details class="candle-table" id="candle-table" open>' in whole
    assert "List all" not in whole
    assert "List all" not in client.get(part.format("LONG-USD") + "?range=1d").text


@pytest.mark.parametrize("query", ["range=7d", "from=2025-12-01&to=2025-12-08", "range=all"])
def test_the_stored_candles_of_the_time_are_a_file(client: FlaskClient, query: str) -> None:
    html = client.get(f"/markets/LONG-USD?{query}").text
    address = re.findall(r'href="(/api/exports/candles.csv[^"]*)" download', html)[0]
    lines = client.get(unescape(address)).text.splitlines()
    assert len(lines) - 1 == {"range=all": 26281}.get(query, 168)


@pytest.mark.parametrize("part", PARTS)
def test_a_time_of_the_address_is_drawn_and_listed(client: FlaskClient, part: str) -> None:
    query = "?granularity=hourly&range=1y&from=2025-06-01T12:00Z&to=2025-06-02T12:00:59%2B00:00"
    html = client.get(part.format("LONG-USD") + query).text
    assert "(2025-06-01 12:00 to 2025-06-02 12:00 UTC: 24 candles)" in html
    assert "2025-06-02 11:00" in rows_of(html)[0]
    assert "2025-06-01 12:00" in rows_of(html)[-1]
    assert [points_of(line) for line in lines_of(html)] == [24, 24]
    marked = re.findall(r'<a id="candles-(\w+)"[^>]*aria-current="true"', html)
    assert marked == ["hourly"]


def test_another_granularity_keeps_the_time_of_the_address(client: FlaskClient) -> None:
    html = client.get("/markets/LONG-USD?from=2025-06-01&to=2025-06-09").text
    times = "from=2025-06-01T00:00Z&amp;to=2025-06-09T00:00Z"
    assert f'href="/markets/LONG-USD?granularity=daily&amp;{times}#candles"' in html
    assert f'hx-get="/fragments/markets/LONG-USD/candles?granularity=hourly&amp;{times}"' in html


def test_a_time_without_candles_leaves_ranges_to_choose_from(client: FlaskClient) -> None:
    html = client.get("/markets/LONG-USD?from=2001-01-01&to=2001-01-02").text
    assert "No hourly candle in this time, 2001-01-01 00:00 to 2001-01-02 00:00 UTC." in html
    assert 'aria-label="Range"' in html


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "query",
    [
        "from=soon&to=2026-01-01",
        "from=2026-01-01",
        "to=2026-01-01",
        "from=2026-01-01&to=2026-01-01",
        "from=2026-01-01T00:00:10Z&to=2026-01-01T00:00:50Z",
        "from=2025-02-29&to=2026-01-01",
        "from=0001-01-01T00:00%2B14:00&to=2026-01-01",
        "from=%00&to=2026-01-01",
    ],
)
def test_a_time_that_is_none_is_refused(client: FlaskClient, part: str, query: str) -> None:
    assert client.get(f"{part.format('LONG-USD')}?{query}").status_code in (400, 422)


def test_all_the_time_there_is_can_be_asked_for(client: FlaskClient) -> None:
    html = client.get("/markets/LONG-USD?from=0001-01-01&to=9999-12-31").text
    assert "366 candles of 3 days" in html


@pytest.mark.parametrize("part", PARTS)
def test_the_chosen_range_and_granularity_are_marked(client: FlaskClient, part: str) -> None:
    html = client.get(part.format("LONG-USD") + "?granularity=hourly&range=90d").text
    chosen = re.findall(r'<a id="candles-(\w+)"[^>]*aria-current="true"', html)
    assert chosen == ["90d", "hourly"]


def test_the_other_ranges_are_plain_links_that_scripts_may_follow_in_place(
    client: FlaskClient,
) -> None:
    html = client.get("/markets/LONG-USD?range=1y").text
    query = "granularity=hourly&amp;range=30d"
    assert f'href="/markets/LONG-USD?{query}#candles"' in html
    assert f'hx-get="/fragments/markets/LONG-USD/candles?{query}"' in html
    assert f'hx-replace-url="/markets/LONG-USD?{query}"' in html
    assert 'href="/markets/LONG-USD?granularity=daily&amp;range=1y#candles"' in html


def test_a_part_that_draws_itself_anew_keeps_the_range(client: FlaskClient) -> None:
    html = client.get("/fragments/markets/LONG-USD/candles?range=90d").text
    own = html.split("<header")[0]
    assert 'hx-get="/fragments/markets/LONG-USD/candles?granularity=hourly&amp;range=90d"' in own


def test_stored_candles_name_their_run_and_merged_ones_how_many_they_are(
    client: FlaskClient,
) -> None:
    stored = client.get("/fragments/markets/LONG-USD/candles?range=7d").text
    merged = client.get("/fragments/markets/LONG-USD/candles?range=1y").text
    assert all('href="/runs/' in row for row in rows_of(stored))
    assert "Stored candles</th>" in merged
    assert '<td class="num">24</td>' in rows_of(merged)[1]
    assert "/runs/" not in merged


def test_one_candle_is_in_an_open_table_instead_of_a_line(client: FlaskClient) -> None:
    html = client.get("/markets/ONE-USD").text
    assert "A line needs two candles" in html
    assert '<details class="candle-table" id="candle-table" open>' in html
    assert len(rows_of(html)) == 1
    assert "Drawdown" not in html


def test_a_market_without_candles_has_granularities_to_choose_from_but_no_range(
    client: FlaskClient,
) -> None:
    html = client.get("/markets/NONE-USD").text
    assert "No hourly candles of this market yet." in html
    assert 'aria-label="Granularity"' in html
    assert 'aria-label="Range"' not in html


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("query", ["range=2d", "range=10y", "granularity=weekly&range=1d"])
def test_a_range_that_a_granularity_does_not_have_is_refused(
    client: FlaskClient, part: str, query: str
) -> None:
    assert client.get(f"{part.format('LONG-USD')}?{query}").status_code == 422


def test_an_address_is_read_back_as_it_was_written() -> None:
    for granularity, ranges in RANGES.items():
        for item in ranges:
            query = CandleQuery(granularity, item)
            assert CandleQuery.read(query.address) == query
    given = CandleRange.between(datetime(987, 6, 5, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=UTC))
    query = CandleQuery(Granularity.WEEKLY, given, is_whole=True)
    assert CandleQuery.read(query.address) == query


def test_a_granularity_takes_over_a_range_only_where_it_has_it() -> None:
    query = CandleQuery.read({"granularity": "daily", "range": "30d"})
    assert query.of_granularity(Granularity.HOURLY) == {"granularity": "hourly", "range": "30d"}
    assert query.of_granularity(Granularity.WEEKLY) == {"granularity": "weekly"}


def test_a_refusal_names_what_there_is() -> None:
    with pytest.raises(InvalidRequest, match="weekly candles must be one of 1y, 3y, 10y, all"):
        CandleQuery.read({"granularity": "weekly", "range": "7d"})


def test_lengths_are_told_in_the_largest_unit_they_are_whole_in() -> None:
    hours = (1, 6, 24, 48, 72, 168, 336)
    step = Granularity.HOURLY.step
    assert [length_words(count * step) for count in hours] == [
        "1 hour", "6 hours", "1 day", "2 days", "3 days", "1 week", "2 weeks",
    ]  # fmt: skip

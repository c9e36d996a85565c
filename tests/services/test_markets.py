"""Latest snapshots and markets: sorted, searched and paged without losing or repeating one."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain import Granularity
from app.errors import InvalidRequest, NotFound
from app.extensions import db
from app.services.markets import (
    load_candles,
    load_latest_snapshots,
    load_market,
    load_markets,
)
from app.services.paging import LARGEST_PAGE, write_cursor
from app.services.snapshot_order import SORTS
from app.services.views import LatestSnapshot
from tests.services.seeding import NOW, add_markets, execute, seeded_app

SYMBOLS = [f"M{n:02}-USD" for n in range(40)]
FIELDS = {
    "price": "price",
    "volume": "volume",
    "roi_1h": "roi_1h_pct",
    "roi_24h": "roi_24h_pct",
    "roi_7d": "roi_7d_pct",
    "roi_30d": "roi_30d_pct",
}
EVERY_SORT = [f"{sign}{name}" for name in (*SORTS, "symbol") for sign in ("", "-")]


@pytest.fixture(scope="module")
def app(fresh_database_url: str) -> Iterator[Flask]:
    """Forty markets with ties and gaps in every field, and one of an odd name."""
    with seeded_app(fresh_database_url) as app:
        add_markets(SYMBOLS, hours=30)
        execute("UPDATE market SET name = '100%_\\sure' WHERE symbol = 'M01-USD'")
        execute("UPDATE market SET former_symbols = '{OLD-USD}' WHERE symbol = 'M02-USD'")
        yield app


def walk(sort: str, limit: int = 7, **values: Any) -> list[LatestSnapshot]:
    """All pages of a sort, one after the other."""
    rows: list[LatestSnapshot] = []
    cursor = None
    for _ in range(100):
        page = load_latest_snapshots(
            db.session, provider="mock", sort=sort, cursor=cursor, limit=limit, **values
        )
        rows += page.rows
        cursor = page.next_cursor
        if cursor is None:
            return rows
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("sort", EVERY_SORT)
@pytest.mark.parametrize("limit", [1, 7, 40])
def test_every_sort_shows_each_market_exactly_once(app: Flask, sort: str, limit: int) -> None:
    symbols = [row.symbol for row in walk(sort, limit)]
    assert sorted(symbols) == SYMBOLS


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_sorts_by_its_value_then_symbol_and_its_absence_comes_last(
    app: Flask, name: str, sign: str
) -> None:
    def key(row: LatestSnapshot) -> tuple[bool, Decimal, str]:
        value = getattr(row, FIELDS[name])
        number = value if value is not None else Decimal(0)
        return (value is None, -number if sign else number, row.symbol)

    rows = walk(f"{sign}{name}")
    assert rows == sorted(rows, key=key)


def test_symbols_sort_in_both_directions(app: Flask) -> None:
    assert [row.symbol for row in walk("symbol")] == SYMBOLS
    assert [row.symbol for row in walk("-symbol")] == SYMBOLS[::-1]


def test_the_youngest_observation_comes_first_by_age(app: Flask) -> None:
    instants = [row.observed_at for row in walk("age")]
    assert instants == sorted(instants, reverse=True)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("m0", [f"M{n:02}-USD" for n in range(10)]),
        ("  M13-usd ", ["M13-USD"]),
        ("100%", ["M01-USD"]),
        ("%", ["M01-USD"]),
        ("_", ["M01-USD"]),
        ("\\", ["M01-USD"]),
        ("%_\\s", ["M01-USD"]),
        ("old-", ["M02-USD"]),
        ("name of m39", ["M39-USD"]),
        ("nothing like it", []),
        ("'; DROP TABLE market; --", []),
        ("\0M13\0", ["M13-USD"]),
        ("\ud800", []),
        ("x" * 10_000, []),
    ],
)
def test_a_search_means_what_was_typed(app: Flask, search: str, found: list[str]) -> None:
    assert [row.symbol for row in walk("symbol", search=search)] == found
    page = load_markets(db.session, search=search)
    assert [market.symbol for market in page.markets] == found


def test_a_search_is_paged_too(app: Flask) -> None:
    assert [row.symbol for row in walk("symbol", 3, search="M0")] == SYMBOLS[:10]


def test_markets_are_paged_by_symbol(app: Flask) -> None:
    symbols: list[str] = []
    cursor = None
    for _ in range(6):
        page = load_markets(db.session, cursor=cursor, limit=7)
        symbols += [market.symbol for market in page.markets]
        cursor = page.next_cursor
    assert (symbols, cursor) == (SYMBOLS, None)


@pytest.mark.parametrize("limit", [0, -1, LARGEST_PAGE + 1, 10**9])
def test_a_page_size_out_of_range_is_refused(app: Flask, limit: int) -> None:
    with pytest.raises(InvalidRequest, match="limit is"):
        load_latest_snapshots(db.session, provider="mock", limit=limit)
    with pytest.raises(InvalidRequest, match="limit is"):
        load_markets(db.session, limit=limit)


@pytest.mark.parametrize("sort", ["", "--price", "price ", "name", "price; DROP TABLE market"])
def test_an_unknown_sort_is_refused(app: Flask, sort: str) -> None:
    with pytest.raises(InvalidRequest, match="sort is"):
        load_latest_snapshots(db.session, provider="mock", sort=sort)


CURSORS = st.one_of(
    st.text(),
    st.lists(st.one_of(st.none(), st.text(), st.integers(), st.floats()), max_size=3).map(
        write_cursor
    ),
    st.from_regex(r"-?[0-9]{1,300}(\.[0-9]{0,20})?(E[+-]?[0-9]{1,5})?", fullmatch=True).map(
        lambda number: write_cursor([number, "M01-USD"])
    ),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cursor=CURSORS, sort=st.sampled_from(EVERY_SORT))
def test_a_cursor_of_ones_own_making_is_a_page_or_refused(
    app: Flask, cursor: str, sort: str
) -> None:
    for read in (
        lambda: load_latest_snapshots(db.session, provider="mock", sort=sort, cursor=cursor),
        lambda: load_markets(db.session, cursor=cursor),
    ):
        with suppress(InvalidRequest):
            read()


def test_a_market_is_found_by_any_of_its_names(app: Flask) -> None:
    for name in ("M02-USD", " m02-usd ", "OLD-USD", "old-usd"):
        assert load_market(db.session, name).market.symbol == "M02-USD"


@pytest.mark.parametrize("name", ["", "NOPE", "%", "M0", "\0", "\ud800", "x" * 5000])
def test_an_unknown_market_is_not_found(app: Flask, name: str) -> None:
    with pytest.raises(NotFound):
        load_market(db.session, name)
    with pytest.raises(NotFound):
        load_candles(db.session, name, granularity=Granularity.HOURLY)


def test_a_market_shows_its_newest_snapshot_with_a_sparkline(app: Flask) -> None:
    (snapshot,) = load_market(db.session, "M05-USD").snapshots
    assert snapshot.observed_at == NOW - timedelta(minutes=1)
    assert len(snapshot.sparkline) >= 8
    (listed,) = walk("symbol", search="M05-USD")
    assert listed.sparkline == snapshot.sparkline


def test_candles_come_oldest_first_within_the_range_asked_for(app: Flask) -> None:
    rows = load_candles(db.session, "M05-USD", granularity=Granularity.HOURLY, limit=5)
    assert [row.opened_at for row in rows] == sorted(row.opened_at for row in rows)
    assert rows[-1].opened_at == NOW.replace(minute=0) - timedelta(hours=1)
    start, end = rows[1].opened_at, rows[3].opened_at
    part = load_candles(db.session, "M05-USD", granularity=Granularity.HOURLY, start=start, end=end)
    assert [row.opened_at for row in part] == [rows[1].opened_at, rows[2].opened_at]


def test_a_market_without_candles_has_none(app: Flask) -> None:
    assert load_candles(db.session, "M05-USD", granularity=Granularity.WEEKLY) == ()


@pytest.mark.parametrize("limit", [0, -5, 5001])
def test_a_number_of_candles_out_of_range_is_refused(app: Flask, limit: int) -> None:
    with pytest.raises(InvalidRequest, match="limit is"):
        load_candles(db.session, "M05-USD", granularity=Granularity.HOURLY, limit=limit)


@pytest.mark.parametrize("value", ["-1", "1.5", "", "9" * 11, str(2**31), "1E3", "x"])
def test_a_cursor_by_rank_holds_a_rank(app: Flask, value: str) -> None:
    for sort in ("rank", "-rank"):
        with pytest.raises(InvalidRequest, match="cursor"):
            load_latest_snapshots(
                db.session, provider="mock", sort=sort, cursor=write_cursor([value, "M01-USD"])
            )


def test_ranks_sort_in_both_directions_those_without_one_last_and_first(app: Flask) -> None:
    def key(row: LatestSnapshot) -> int:
        return (row.market_id % 50) if row.market_id % 50 != 7 else 1_000_000 + row.market_id

    rows = walk("rank")
    assert [row.symbol for row in rows] == [row.symbol for row in sorted(rows, key=key)]
    assert [row.symbol for row in walk("-rank")] == [row.symbol for row in reversed(rows)]

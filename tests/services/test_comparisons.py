"""Comparisons of chosen markets, computed from stored rows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from app.domain import Granularity, Window
from app.errors import InvalidRequest, NotFound
from app.extensions import db
from app.services.chosen_markets import choose_markets
from app.services.compare import ChartRange, load_compared
from app.services.comparisons import (
    load_comparison_series,
    load_comparisons,
    load_correlations,
)
from tests.apps import bare_app
from tests.web.real_app import empty_tables

RUN = "00000000-0000-0000-0000-000000000001"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MARKETS = """
    INSERT INTO market (symbol, asset_type, quote, former_symbols) VALUES
    ('A-USD', 'crypto', 'USD', '{OLD-USD}'), ('B-USD', 'crypto', 'USD', '{A-USD}'),
    ('C-USD', 'crypto', 'USD', '{}'), ('D-USD', 'crypto', 'USD', '{}')
"""
CANDLE = """
    INSERT INTO market_aggregate (market_id, provider, granularity, opened_at, open, high, low,
                                  close, sample_count, is_final, basis, run_id)
    SELECT :market, 'mock', :granularity, opened_at, price, price, price, price, 1, true,
           'provider', :run
    FROM unnest(CAST(:opened AS timestamptz[]), CAST(:prices AS numeric[])) AS n(opened_at, price)
"""
SNAPSHOT = """
    INSERT INTO market_snapshot
        (market_id, provider, observed_at, price, volume, roi_1h_pct, run_id)
    VALUES (:market, 'mock', :at, :price, :volume, :roi, :run)
"""


@pytest.fixture(scope="module")
def app(fresh_database_url: str) -> Iterator[Flask]:
    with bare_app(fresh_database_url) as app:
        yield app


@pytest.fixture(autouse=True)
def tables(app: Flask) -> None:
    db.session.remove()
    empty_tables(app)
    execute(MARKETS)


def execute(statement: str, **values: Any) -> None:
    with db.engine.begin() as connection:
        connection.execute(text(statement), values)


def observe(market: int, price: object, *, at: datetime = NOON, volume: object = 10) -> None:
    execute(SNAPSHOT, market=market, at=at, price=price, volume=volume, roi=price, run=RUN)


def record(
    market: int, prices: list[Any], *, end: datetime = NOON, granularity: str = "hourly"
) -> None:
    """Candles of which the last closes at `end`."""
    step = Granularity(granularity).step
    opened = [end - (len(prices) - place) * step for place in range(len(prices))]
    values = {"market": market, "opened": opened, "prices": prices, "granularity": granularity}
    execute(CANDLE, **values, run=RUN)


def series(market: str = "A-USD", against: str = "B-USD", **options: Any) -> Any:
    return load_comparison_series(db.session, market, against, provider="mock", **options)


def test_who_bears_a_symbol_now_goes_before_who_bore_it_once() -> None:
    chosen = choose_markets(db.session, [" old-usd", "A-USD", "b-usd"], least=1, most=5)
    assert [market.symbol for market in chosen] == ["A-USD", "B-USD"]
    with pytest.raises(InvalidRequest, match="2 to 5 different"):
        choose_markets(db.session, ["A-USD", "OLD-USD"], least=2, most=5)
    with pytest.raises(NotFound, match=r"E-USD, \x27\."):
        choose_markets(db.session, ["A-USD", "E-USD", "'"], least=2, most=5)


def test_every_market_is_held_against_the_first() -> None:
    for market, price in ((1, 10), (2, 5), (3, 1)):
        observe(market, price)
    found = load_comparisons(db.session, ["B-USD", "A-USD", "D-USD", "C-USD"], provider="mock")
    pairs = [(item.symbol, item.against_symbol, item.price_ratio) for item in found.comparisons]
    assert pairs == [("A-USD", "B-USD", 2), ("C-USD", "B-USD", Decimal("0.2"))]
    assert found.comparisons[0].roi_spread_1h == 5
    assert found.without_data == ("D-USD",)


def test_the_rows_of_another_provider_are_not_mixed_in() -> None:
    observe(1, 10)
    observe(2, 5)
    found = load_comparisons(db.session, ["A-USD", "B-USD"], provider="coingecko")
    assert (found.comparisons, found.without_data) == ((), ("A-USD", "B-USD"))
    matrix = load_correlations(db.session, ["A-USD", "B-USD"], provider="coingecko")
    assert matrix.as_of is None
    assert matrix.correlations == ((None, None), (None, None))
    assert set(matrix.null_reasons[0]) == {"insufficient_samples"}


def test_series_without_data_is_empty() -> None:
    found = series()
    assert (found.points, found.start, found.end, found.point_count) == ((), None, None, 0)


def test_a_range_is_half_open_and_an_open_one_ends_with_the_newest_observation() -> None:
    record(1, [10, 20, 30, 40])
    record(2, [10, 10, 10, 10])
    observe(1, 55, at=NOON + timedelta(minutes=20))
    observe(2, 10, at=NOON + timedelta(minutes=10))
    whole = series()
    assert [point.price_ratio for point in whole.points] == [1, 2, 3, 4, Decimal("5.5")]
    assert whole.points[-1].observed_at == NOON + timedelta(minutes=20)
    assert [point.roi_spread for point in whole.points] == [0, 100, 200, 300, 450]
    part = series(start=NOON - 2 * HOUR, end=NOON)
    assert [point.price_ratio for point in part.points] == [2, 3]


def test_a_window_finds_its_base_before_the_range() -> None:
    record(1, [100 + place for place in range(60)])
    record(2, [100] * 60)
    observe(1, 160)
    observe(2, 100)
    points = series(window=Window.H24, start=NOON - 2 * HOUR, end=NOON + HOUR).points
    assert len(points) == 3
    before, after = 135, 159
    assert abs(float(points[-1].roi_spread) - 100 * (after / before - 1)) < 1e-9


def test_long_ranges_are_made_of_days() -> None:
    midnight = NOON.replace(hour=0)
    record(1, list(range(1, 1501)), end=midnight, granularity="daily")
    record(2, [1] * 1500, end=midnight, granularity="daily")
    observe(1, 1500, at=midnight)
    observe(2, 1, at=midnight)
    found = series(start=midnight - timedelta(days=1400))
    assert (found.grid, found.point_count) == (Granularity.DAILY, 1401)
    assert len(found.points) <= 800
    assert (found.points[0].price_ratio, found.points[-1].price_ratio) == (100, 1500)
    with pytest.raises(InvalidRequest, match="at most 92 days"):
        series(window=Window.H1, start=midnight - timedelta(days=93))


def test_correlation_needs_moving_prices_and_says_so() -> None:
    record(1, [100 + place % 3 for place in range(730)])
    record(2, [200 + 2 * (place % 3) for place in range(730)])
    record(3, [7] * 730)
    record(4, [100 + place % 3 for place in range(100)])
    for market, price in ((1, 100), (2, 200), (3, 7), (4, 100)):
        observe(market, price)
    found = load_correlations(db.session, ["A-USD", "B-USD", "C-USD", "D-USD"], provider="mock")
    assert abs(float(found.correlations[0][1] or 0) - 1) < 1e-9
    assert found.null_reasons[0][2:] == ("zero_variance", "insufficient_samples")
    assert (found.sample_counts[0][1], found.sample_counts[0][3]) == (720, 99)


def test_lines_share_one_base_within_the_range() -> None:
    record(1, [50] * 100 + [100] * 70)
    record(2, [10] * 60 + [20] * 10)
    for market, price in ((1, 100), (2, 20)):
        observe(market, price)
    found = load_compared(
        db.session, ["A-USD", "B-USD", "C-USD"], span=ChartRange.D7, provider="mock"
    )
    assert found.base_at == NOON - 69 * HOUR
    assert [course.change_pct for course in found.courses] == [0, 100, None]
    assert found.courses[0].rebased[0][1] == 50
    assert [len(pair.points) for pair in found.pairs] == [70, 0]
    assert found.start == NOON - timedelta(days=7)

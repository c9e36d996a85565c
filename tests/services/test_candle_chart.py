"""Charts of long times: few candles, the same extremes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session

from app.domain import Granularity
from app.errors import InvalidRequest, NotFound
from app.services.candle_chart import ChartCandle, load_candle_chart

HOURS = 5000
START = datetime(2025, 1, 6, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
SEED = """
    TRUNCATE market CASCADE;
    INSERT INTO market (id, symbol, name, asset_type, quote, former_symbols)
    VALUES (1, 'RENDER-USD', 'Render', 'crypto', 'USD', '{RNDR-USD}'),
           (2, 'NEW-USD', 'New', 'crypto', 'USD', '{}');
    INSERT INTO listing (market_id, provider, provider_id, quote, provider_symbol, name, chosen_by,
                         seen_at)
    VALUES (1, 'old', 'render', 'USD', 'render', 'Render', 'provider', '2024-01-01'),
           (1, 'mock', 'render', 'USD', 'render', 'Render', 'provider', '2025-01-01');
    INSERT INTO market_aggregate (market_id, provider, granularity, opened_at, open, high, low,
                                  close, volume, sample_count, is_final, basis, run_id)
    SELECT 1, 'mock', 'hourly', :start + h * interval '1 hour', 1000 + h, 1001.5 + h,
           CASE h WHEN 1234 THEN 0.5 ELSE 999.5 + h END, 1001 + h,
           CASE WHEN h <> 4321 THEN 2 END, 1, h < :hours - 1, 'provider', gen_random_uuid()
    FROM generate_series(0, :hours - 1) h;
"""


@pytest.fixture(scope="module")
def engine(fresh_database_url: str) -> Iterator[Engine]:
    engine = create_engine(fresh_database_url, connect_args={"options": "-c timezone=UTC"})
    with engine.begin() as connection:
        connection.execute(text(SEED), {"start": START, "hours": HOURS})
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


@pytest.mark.parametrize("points", [2, 3, 7, 100, 799, 800, 4999])
def test_a_long_time_fits_into_the_points(session: Session, points: int) -> None:
    chart = load_candle_chart(session, "RENDER-USD", granularity=Granularity.HOURLY, points=points)
    assert points / 2 < len(chart.candles) <= points
    assert sum(candle.candle_count for candle in chart.candles) == HOURS
    assert chart.width % HOUR == timedelta(0)


def test_extremes_and_ends_are_kept(session: Session) -> None:
    candles = load_candle_chart(session, "RENDER-USD", granularity=Granularity.HOURLY).candles
    assert candles[0].open == 1000
    assert candles[-1].close == 1000 + HOURS
    assert max(candle.high for candle in candles) == Decimal("1000.5") + HOURS
    assert min(candle.low for candle in candles) == Decimal("0.5")
    assert [candle.is_final for candle in candles].index(False) == len(candles) - 1


def test_volume_is_the_sum_unless_a_part_is_missing(session: Session) -> None:
    candles = load_candle_chart(session, "RENDER-USD", granularity=Granularity.HOURLY).candles
    gaps = [candle for candle in candles if candle.volume is None]
    assert len(gaps) == 1
    assert gaps[0].opened_at <= START + 4321 * HOUR
    assert all(item.volume == 2 * item.candle_count for item in candles if item not in gaps)


def test_a_short_time_is_shown_candle_by_candle(session: Session) -> None:
    chart = load_candle_chart(
        session,
        "RENDER-USD",
        granularity=Granularity.HOURLY,
        start=START + 10 * HOUR,
        end=START + 12 * HOUR,
    )
    assert chart.width == HOUR
    assert chart.candles[0] == ChartCandle(
        START + 10 * HOUR, Decimal(1010), Decimal("1011.5"), Decimal("1009.5"), Decimal(1011),
        Decimal(2), True, 1,
    )  # fmt: skip
    assert len(chart.candles) == 2


def test_a_former_symbol_finds_the_market(session: Session) -> None:
    chart = load_candle_chart(session, "rndr-usd", granularity=Granularity.HOURLY, points=10)
    assert len(chart.candles) > 5


def test_a_market_without_candles_has_an_empty_chart(session: Session) -> None:
    assert not load_candle_chart(session, "NEW-USD", granularity=Granularity.HOURLY).candles
    assert not load_candle_chart(session, "RENDER-USD", granularity=Granularity.DAILY).candles


def test_an_unknown_market_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        load_candle_chart(session, "NONE-USD", granularity=Granularity.HOURLY)


def test_one_point_is_refused(session: Session) -> None:
    with pytest.raises(InvalidRequest):
        load_candle_chart(session, "RENDER-USD", granularity=Granularity.HOURLY, points=1)

"""Charts of long times: few candles, the same extremes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, create_engine, event, text
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
           CASE WHEN h <> 4321 THEN 2 END, 60, h < :hours - 1, 'provider', gen_random_uuid()
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
    # No usual width is more than two and a half times the one before.
    assert points / 3 < len(chart.candles) <= points
    assert sum(candle.candle_count for candle in chart.candles) == HOURS
    assert not chart.has_older


@pytest.mark.parametrize(
    ("points", "hours"),
    [(5000, 1), (4999, 2), (800, 8), (500, 12), (211, 24), (209, 48), (20, 336)],
)
def test_candles_have_a_width_that_people_count_in_and_begin_at_its_marks(
    session: Session, points: int, hours: int
) -> None:
    chart = load_candle_chart(session, "RENDER-USD", granularity=Granularity.HOURLY, points=points)
    assert chart.width_hours == hours
    monday = datetime(2025, 1, 6, tzinfo=UTC)
    assert {(candle.opened_at - monday) % chart.width for candle in chart.candles} == {0 * HOUR}


def test_a_merged_candle_is_that_of_the_longer_interval(session: Session) -> None:
    chart = load_candle_chart(session, "RENDER-USD", granularity=Granularity.HOURLY, width_hours=6)
    hours = load_candle_chart(
        session, "RENDER-USD", granularity=Granularity.HOURLY, points=HOURS
    ).candles
    for candle in chart.candles:
        parts = [
            each for each in hours if timedelta(0) <= each.opened_at - candle.opened_at < 6 * HOUR
        ]
        assert (candle.open, candle.close) == (parts[0].open, parts[-1].close)
        assert candle.high == max(each.high for each in parts)
        assert candle.low == min(each.low for each in parts)
        assert candle.candle_count == len(parts)


def test_the_ends_of_the_time_are_moved_outward_to_whole_candles(session: Session) -> None:
    chart = load_candle_chart(
        session,
        "RENDER-USD",
        granularity=Granularity.HOURLY,
        start=START + 11 * HOUR,
        end=START + 57 * HOUR,
        points=20,
    )
    assert chart.width_hours == 3
    assert (START + 10 * HOUR).hour % 3 == 0
    assert {candle.candle_count for candle in chart.candles} == {3}
    assert (len(chart.candles), chart.candles[0].opened_at) == (16, START + 10 * HOUR)
    assert chart.has_older


def test_older_candles_go_on_with_the_same_width_to_the_beginning(session: Session) -> None:
    whole = load_candle_chart(session, "RENDER-USD", granularity=Granularity.HOURLY, width_hours=8)
    found: list[ChartCandle] = []
    has_older, end = True, None
    while has_older:
        chart = load_candle_chart(
            session, "RENDER-USD", granularity=Granularity.HOURLY, width_hours=8, points=100,
            end=end,
        )  # fmt: skip
        assert len(chart.candles) <= 100
        found = [*chart.candles, *found]
        has_older, end = chart.has_older, chart.candles[0].opened_at
    assert tuple(found) == whole.candles
    assert len(found) == HOURS // 8 + 1


@pytest.mark.parametrize(
    ("granularity", "width_hours"),
    [(Granularity.DAILY, 12), (Granularity.WEEKLY, 24), (Granularity.HOURLY, 0)],
)
def test_a_width_that_no_candles_fill_is_refused(
    session: Session, granularity: Granularity, width_hours: int
) -> None:
    with pytest.raises(InvalidRequest):
        load_candle_chart(session, "RENDER-USD", granularity=granularity, width_hours=width_hours)


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
    assert chart.has_older
    assert chart.candles[0] == ChartCandle(
        START + 10 * HOUR, Decimal(1010), Decimal("1011.5"), Decimal("1009.5"), Decimal(1011),
        Decimal(2), True, 1, 60, "provider", chart.candles[0].run_id,
    )  # fmt: skip
    assert len(chart.candles) == 2


def test_a_stored_candle_names_its_run_and_a_merged_one_none(session: Session) -> None:
    stored = load_candle_chart(session, "RENDER-USD", granularity=Granularity.HOURLY, points=HOURS)
    merged = load_candle_chart(session, "RENDER-USD", granularity=Granularity.HOURLY, points=1000)
    assert (stored.is_merged, merged.is_merged) == (False, True)
    assert len({candle.run_id for candle in stored.candles}) == HOURS
    assert {candle.run_id for candle in merged.candles if candle.candle_count > 1} == {None}
    assert sum(candle.sample_count for candle in merged.candles) == 60 * HOURS


def test_a_change_is_that_from_open_to_close(session: Session) -> None:
    chart = load_candle_chart(session, "RENDER-USD", granularity=Granularity.HOURLY, points=HOURS)
    assert chart.candles[0].change_pct == Decimal("0.1")


@pytest.mark.parametrize("hours", [1, 24, 700, 9000])
def test_a_span_reaches_back_from_the_newest_candle(session: Session, hours: int) -> None:
    chart = load_candle_chart(
        session, "RENDER-USD", granularity=Granularity.HOURLY, span=hours * HOUR
    )
    newest = START + (HOURS - 1) * HOUR
    assert (chart.newest_at, chart.asked_from) == (newest, newest + HOUR - hours * HOUR)
    held = sum(candle.candle_count for candle in chart.candles)
    assert min(hours, HOURS) <= held < min(hours, HOURS) + 2 * chart.width_hours
    assert chart.has_older is (hours < HOURS)


def test_a_chart_takes_one_query(engine: Engine) -> None:
    asked: list[str] = []
    with Session(engine) as session:
        event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        load_candle_chart(session, "RENDER-USD", granularity=Granularity.HOURLY)
    assert len(asked) == 1


def test_a_former_symbol_finds_the_market(session: Session) -> None:
    chart = load_candle_chart(session, "rndr-usd", granularity=Granularity.HOURLY, points=10)
    assert len(chart.candles) > 5


def test_a_market_without_candles_has_an_empty_chart(session: Session) -> None:
    assert not load_candle_chart(session, "NEW-USD", granularity=Granularity.HOURLY).candles
    assert not load_candle_chart(session, "RENDER-USD", granularity=Granularity.DAILY).candles


def test_a_time_before_all_candles_is_empty_and_has_none_before_it(session: Session) -> None:
    early = load_candle_chart(
        session, "RENDER-USD", granularity=Granularity.HOURLY, end=START - HOUR
    )
    late = load_candle_chart(
        session, "RENDER-USD", granularity=Granularity.HOURLY, start=START + HOURS * HOUR
    )
    assert (early.candles, early.has_older) == ((), False)
    assert (late.candles, late.has_older) == ((), True)


def test_an_unknown_market_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        load_candle_chart(session, "NONE-USD", granularity=Granularity.HOURLY)


def test_one_point_is_refused(session: Session) -> None:
    with pytest.raises(InvalidRequest):
        load_candle_chart(session, "RENDER-USD", granularity=Granularity.HOURLY, points=1)

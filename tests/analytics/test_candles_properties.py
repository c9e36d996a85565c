"""What holds for every set of observations: order, scale, time zones, and hours against days."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from statistics import stdev
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analytics.candles import DerivedCandle, Observation, derive_candles, merge_candles
from app.domain import CandleBasis, Granularity

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HOURLY, DAILY, WEEKLY = Granularity.HOURLY, Granularity.DAILY, Granularity.WEEKLY
# Leap day, both changes of the clock in Berlin and New York, year ends, week ends.
EDGES = [
    datetime(2024, 2, 28, 20, tzinfo=UTC),
    datetime(2025, 3, 29, 22, tzinfo=UTC),
    datetime(2025, 10, 25, 22, tzinfo=UTC),
    datetime(2025, 3, 9, 4, tzinfo=UTC),
    datetime(2024, 12, 31, 20, tzinfo=UTC),
    datetime(2025, 3, 2, 20, tzinfo=UTC),
]

prices = st.decimals(
    min_value=Decimal("1E-12"), max_value=Decimal("1E6"), allow_nan=False, places=12
).filter(lambda price: price > 0)


@st.composite
def observations(draw: st.DrawFn) -> list[Observation]:
    """Up to 60 observations of two markets within 30 hours of an edge, each instant once."""
    start = draw(st.sampled_from(EDGES))
    keys = draw(
        st.lists(
            st.tuples(st.integers(1, 2), st.integers(0, 30 * 3600)),
            min_size=1,
            max_size=60,
            unique=True,
        )
    )
    return [(market, start + timedelta(seconds=second), draw(prices)) for market, second in keys]


def core(candle: DerivedCandle) -> tuple[object, ...]:
    """What must not depend on whether a candle was derived directly."""
    return (
        candle.market_id,
        candle.opened_at,
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.average,
        candle.change_pct,
        candle.sample_count,
        candle.first_observed_at,
        candle.last_observed_at,
        candle.is_final,
    )


@given(observations())
def test_day_merged_from_hours_is_the_day_derived_directly(given_rows: list[Observation]) -> None:
    hours = derive_candles(given_rows, HOURLY, now=NOW)
    for granularity in (DAILY, WEEKLY):
        merged = merge_candles(hours, granularity, now=NOW)
        direct = derive_candles(given_rows, granularity, now=NOW)
        assert list(map(core, merged)) == list(map(core, direct))
        assert {candle.basis for candle in merged} == {CandleBasis.FINER}


@given(observations())
def test_week_of_days_is_the_week_of_hours(given_rows: list[Observation]) -> None:
    hours = derive_candles(given_rows, HOURLY, now=NOW)
    days = merge_candles(hours, DAILY, now=NOW)
    by_days = merge_candles(days, WEEKLY, now=NOW)
    by_hours = merge_candles(hours, WEEKLY, now=NOW)
    assert list(map(core, by_days)) == list(map(core, by_hours))


@given(observations(), st.randoms(use_true_random=False))
def test_order_of_arrival_changes_nothing(given_rows: list[Observation], random: object) -> None:
    shuffled = list(given_rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    hours = derive_candles(given_rows, HOURLY, now=NOW)
    assert derive_candles(shuffled, HOURLY, now=NOW) == hours
    mixed = list(hours)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert merge_candles(mixed, DAILY, now=NOW) == merge_candles(hours, DAILY, now=NOW)


@given(observations(), st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata"]))
def test_time_zone_of_the_observations_changes_nothing(
    given_rows: list[Observation], zone: str
) -> None:
    moved = [(market, at.astimezone(ZoneInfo(zone)), price) for market, at, price in given_rows]
    for granularity in Granularity:
        assert derive_candles(moved, granularity, now=NOW) == derive_candles(
            given_rows, granularity, now=NOW
        )


@given(observations(), st.integers(-9, 9))
def test_scaling_prices_by_a_power_of_ten_changes_no_ratio(
    given_rows: list[Observation], power: int
) -> None:
    scaled = [(market, at, price.scaleb(power)) for market, at, price in given_rows]
    plain, moved = (
        derive_candles(given_rows, DAILY, now=NOW),
        derive_candles(scaled, DAILY, now=NOW),
    )
    for before, after in zip(plain, moved, strict=True):
        assert after.close == before.close.scaleb(power)
        assert after.average == before.average.scaleb(power)
        assert after.change_pct == before.change_pct
        assert (after.volatility is None) == (before.volatility is None)
        if before.volatility is not None and after.volatility is not None:
            assert float(after.volatility) == pytest.approx(float(before.volatility), rel=1e-9)


@given(observations())
def test_candle_says_what_a_plain_loop_over_its_observations_says(
    given_rows: list[Observation],
) -> None:
    for candle in derive_candles(given_rows, HOURLY, now=NOW):
        inside = sorted(
            (at, price)
            for market, at, price in given_rows
            if market == candle.market_id and candle.opened_at <= at < candle.closed_at
        )
        values = [price for _, price in inside]
        assert (candle.open, candle.close) == (values[0], values[-1])
        assert (candle.high, candle.low) == (max(values), min(values))
        assert (candle.first_observed_at, candle.last_observed_at) == (inside[0][0], inside[-1][0])
        assert candle.average is not None
        assert candle.low <= candle.average <= candle.high
        check_volatility(candle, values)


def check_volatility(candle: DerivedCandle, values: Sequence[Decimal]) -> None:
    floats = [float(value) for value in values]
    returns = [after / before - 1 for before, after in pairwise(floats)]
    if len(returns) < 2:
        assert candle.volatility is None
    else:
        expected = stdev(returns)
        assert float(candle.volatility or 0) == pytest.approx(expected, rel=1e-9, abs=1e-11)

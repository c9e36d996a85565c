"""Candles from observations and from finer candles: hand-made cases."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from app.analytics.candles import (
    Observation,
    complete_candle,
    derive_candles,
    expected_finer_count,
    merge_candles,
)
from app.domain import Candle, CandleBasis, Granularity, Listing
from tests.analytics.making import LATER, START, candle, hours

DAILY, HOURLY, WEEKLY = Granularity.DAILY, Granularity.HOURLY, Granularity.WEEKLY


def observed(*points: tuple[float, str], market_id: int = 1) -> list[Observation]:
    """Observations at minutes after the start."""
    return [
        (market_id, START + timedelta(minutes=minute), Decimal(price)) for minute, price in points
    ]


def test_candle_holds_first_extremes_last_and_mean_of_its_observations() -> None:
    points = observed((0, "10"), (15, "12.5"), (30, "9"), (45, "11"))
    [hour] = derive_candles(points, HOURLY, now=LATER)
    assert (hour.open, hour.high, hour.low, hour.close) == (10, Decimal("12.5"), 9, 11)
    assert hour.average == Decimal("10.625")
    assert hour.change_pct == 10
    assert hour.volume is None
    assert (hour.market_id, hour.granularity, hour.basis) == (1, HOURLY, CandleBasis.SNAPSHOTS)
    assert (hour.opened_at, hour.closed_at, hour.sample_count) == (START, hours(1), 4)
    assert (hour.first_observed_at, hour.last_observed_at) == (START, hours(0.75))


def test_volatility_is_sample_deviation_of_returns_between_observations() -> None:
    # Returns 0.1, -0.1 and 0.1: mean 1/30, deviation sqrt((2 (1/15)**2 + (2/15)**2) / 2).
    points = observed((0, "100"), (15, "110"), (30, "99"), (45, "108.9"))
    [hour] = derive_candles(points, HOURLY, now=LATER)
    assert hour.volatility == Decimal("0.115470053838")
    [two] = derive_candles(points[:2], HOURLY, now=LATER)
    assert two.volatility is None


def test_interval_is_half_open() -> None:
    points = observed((59.999, "1"), (60, "2"), (119.999, "3"))
    first, second = derive_candles(points, HOURLY, now=LATER)
    assert (first.close, second.open, second.close) == (1, 2, 3)
    assert second.opened_at == first.closed_at == hours(1)


def test_last_given_of_two_observations_at_one_instant_counts() -> None:
    [hour] = derive_candles(observed((5, "7"), (0, "1"), (5, "8")), HOURLY, now=LATER)
    assert (hour.close, hour.high, hour.sample_count) == (8, 8, 2)


def test_markets_do_not_mix() -> None:
    points = [*observed((0, "1"), (10, "2")), *observed((5, "50"), market_id=2)]
    first, second = derive_candles(points, DAILY, now=LATER)
    assert (first.market_id, first.close, first.sample_count) == (1, 2, 2)
    assert (second.market_id, second.close, second.volatility) == (2, 50, None)


def test_candle_is_final_when_its_interval_has_ended() -> None:
    points = observed((30, "1"))
    [before] = derive_candles(points, HOURLY, now=hours(1) - timedelta(microseconds=1))
    [after] = derive_candles(points, HOURLY, now=hours(1))
    assert (before.is_final, after.is_final) == (False, True)


def test_late_observation_changes_its_interval_only() -> None:
    points = observed((0, "1"), (30, "2"), (60, "3"), (90, "4"))
    early = derive_candles(points, HOURLY, now=LATER)
    late = derive_candles([*points, *observed((45, "9"))], HOURLY, now=LATER)
    assert late[1] == early[1]
    assert (late[0].high, late[0].close, late[0].sample_count) == (9, 9, 3)
    touched = derive_candles(observed((45, "9"), (30, "2"), (0, "1")), HOURLY, now=LATER)
    assert touched == late[:1]


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity"])
def test_unusable_price_is_left_out(price: str) -> None:
    [hour] = derive_candles(observed((0, "2"), (1, price), (2, "4")), HOURLY, now=LATER)
    assert (hour.low, hour.sample_count, hour.average) == (2, 2, 3)
    assert derive_candles(observed((0, price)), HOURLY, now=LATER) == []


def test_forty_digit_price_stays_exact() -> None:
    price = "1234567890123456789012.123456789012345678"
    [hour] = derive_candles(observed((0, price), (1, price)), HOURLY, now=LATER)
    assert str(hour.close) == price
    assert str(hour.average) == "1234567890123456789012.123457"
    tiny = derive_candles(observed((0, "1E-40"), (1, "3E-40"), (2, "1E+40")), HOURLY, now=LATER)
    assert (tiny[0].low, tiny[0].high) == (Decimal("1E-40"), Decimal("1E+40"))
    assert tiny[0].average == Decimal("3333333333333333333333333333000000000000")
    assert "E" not in str(tiny[0].average)


def test_weeks_start_on_monday_across_the_year_end() -> None:
    sunday = datetime(2024, 12, 29, 23, 59, tzinfo=UTC)
    points = [(1, sunday + timedelta(minutes=step), Decimal(1)) for step in (0, 1, 4320)]
    openings = [week.opened_at for week in derive_candles(points, WEEKLY, now=LATER)]
    assert openings == [datetime(2024, 12, 23, tzinfo=UTC), datetime(2024, 12, 30, tzinfo=UTC)]


def test_leap_day_and_clock_changes_are_days_of_24_hours() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    leap = datetime(2024, 2, 29, 12, tzinfo=UTC)
    spring = datetime(2025, 3, 30, 1, 30, tzinfo=UTC)
    for instant in (leap, spring):
        [day] = derive_candles([(1, instant.astimezone(berlin), Decimal(1))], DAILY, now=LATER)
        assert day.opened_at == instant.replace(hour=0, minute=0)
        assert day.closed_at - day.opened_at == timedelta(hours=24)


def test_hour_that_a_zone_repeats_is_told_in_utc() -> None:
    twice = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)  # 02:30 in Berlin, as is an hour later
    in_berlin = twice.astimezone(ZoneInfo("Europe/Berlin"))
    [hour] = derive_candles([(1, in_berlin, Decimal(1))], HOURLY, now=LATER + timedelta(days=400))
    assert (hour.first_observed_at, hour.last_observed_at) == (twice, twice)


def test_instant_without_time_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        derive_candles([(1, datetime(2025, 1, 1), Decimal(1))], HOURLY, now=LATER)  # noqa: DTZ001


def test_nothing_gives_nothing() -> None:
    assert derive_candles([], HOURLY, now=LATER) == []
    assert merge_candles([], DAILY, now=LATER) == []


def test_day_is_merged_from_its_hours() -> None:
    parts = [
        candle(hours(1), "11 15 10 12", volume=Decimal("0.5"), average=Decimal(12)),
        candle(hours(0), "10 12 9 11", volume=Decimal("1.25"), average=Decimal(10)),
        candle(hours(24), "12 13 1 12", volume=None),
    ]
    first, second = merge_candles(parts, DAILY, now=hours(30))
    assert (first.open, first.high, first.low, first.close) == (10, 15, 9, 12)
    assert (first.volume, first.average, first.change_pct) == (Decimal("1.75"), 11, 20)
    assert (first.sample_count, first.is_final, first.basis) == (2, True, CandleBasis.FINER)
    assert (second.volume, second.is_final, second.opened_at) == (None, False, hours(24))


def test_volume_is_unknown_when_one_part_has_none() -> None:
    parts = [candle(hours(0), "1 1 1 1", volume=Decimal(3)), candle(hours(1), "1 1 1 1")]
    [day] = merge_candles(parts, DAILY, now=LATER)
    assert day.volume is None


def test_average_weighs_parts_by_their_samples() -> None:
    parts = [
        candle(hours(0), "1 1 1 1", average=Decimal(1), sample_count=3),
        candle(hours(1), "5 5 5 5", average=Decimal(5), sample_count=1),
    ]
    [day] = merge_candles(parts, DAILY, now=LATER)
    assert (day.average, day.sample_count) == (2, 4)


def test_merged_volatility_rests_on_closes_of_adjacent_hours() -> None:
    prices = ["1 1 1 100", "1 1 1 110", "1 1 1 99", "1 1 1 500", "1 1 1 550"]
    whole = [candle(hours(step), row) for step, row in enumerate(prices[:3])]
    [day] = merge_candles(whole, DAILY, now=LATER)
    assert day.volatility == Decimal("0.141421356237")
    # After a hole of one hour: returns 0.1, -0.1 and 0.1, none from 99 to 500.
    broken = [*whole, candle(hours(4), prices[3]), candle(hours(5), prices[4])]
    [day] = merge_candles(broken, DAILY, now=LATER)
    assert day.volatility == Decimal("0.115470053838")


def test_better_basis_wins_then_the_last_given() -> None:
    own = candle(hours(0), "1 1 1 1", basis=CandleBasis.PROVIDER)
    derived = candle(hours(0), "2 2 2 2", basis=CandleBasis.SNAPSHOTS)
    later = candle(hours(0), "3 3 3 3", basis=CandleBasis.PROVIDER)
    assert merge_candles([own, derived], DAILY, now=LATER)[0].close == 1
    assert merge_candles([own, later, derived], DAILY, now=LATER)[0].close == 3


def test_candles_can_only_be_merged_into_coarser_ones() -> None:
    day = candle(START, "1 1 1 1", granularity=DAILY)
    with pytest.raises(ValueError, match="not finer"):
        merge_candles([day], DAILY, now=LATER)
    with pytest.raises(ValueError, match="several"):
        merge_candles([day, candle(START, "1 1 1 1")], WEEKLY, now=LATER)


def test_expected_parts_of_a_day_and_a_week() -> None:
    assert expected_finer_count(DAILY, HOURLY) == 24
    assert expected_finer_count(WEEKLY, DAILY) == 7
    assert expected_finer_count(WEEKLY, HOURLY) == 168


def test_provider_candle_is_completed_with_change_and_middle() -> None:
    given = Candle(
        Listing("files", "x", "X-USD"), DAILY, START, Decimal(4), Decimal(8), Decimal(2), Decimal(5)
    )
    complete = complete_candle(7, given)
    assert (complete.market_id, complete.change_pct, complete.average) == (7, 25, Decimal("4.75"))
    assert (complete.basis, complete.volume, complete.volatility) == (given.basis, None, None)


def test_million_observations_make_one_candle() -> None:
    step = timedelta(milliseconds=600)
    points = [(1, START + number * step, Decimal(1 + number % 2)) for number in range(1_000_000)]
    [week] = derive_candles(points, WEEKLY, now=LATER)
    assert (week.sample_count, week.average) == (1_000_000, Decimal("1.5"))
    assert week.volatility == Decimal("0.750000375")

"""Which weeks are made of days, and with which weight."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.analytics.candles import DerivedCandle, complete_candle, merge_candles
from app.domain import DAY, HOUR, CandleBasis, Granularity
from app.ingestion.weeks import days_of, week_of, weeks_of_days
from tests.ingestion.making import NOW, build_candle

MONDAY = Granularity.WEEKLY.floor(NOW) - 7 * DAY
LATER = MONDAY + 30 * DAY


def day(number: int, **values: Any) -> DerivedCandle:
    given = {"granularity": Granularity.DAILY} | values
    return complete_candle(1, build_candle(MONDAY + number * DAY, **given))


def hours(numbers: Iterable[int]) -> list[DerivedCandle]:
    return [complete_candle(1, build_candle(MONDAY + number * HOUR)) for number in numbers]


def made_of_days(*given: DerivedCandle, having: Iterable[int], after: timedelta) -> bool:
    return bool(weeks_of_days(given, hours(having), now=MONDAY + after))


def test_a_week_is_made_of_days_where_hours_of_a_given_day_are_missing() -> None:
    assert made_of_days(day(0), having=[], after=30 * DAY)
    assert made_of_days(day(0), having=range(23), after=30 * DAY)
    assert made_of_days(day(0), day(1), having=range(24), after=30 * DAY)


def test_a_week_is_made_of_hours_where_they_fill_the_given_days() -> None:
    assert not made_of_days(day(0), having=range(24), after=30 * DAY)
    assert not made_of_days(day(0, basis=CandleBasis.FINER), having=range(5), after=30 * DAY)
    assert not made_of_days(having=range(5), after=30 * DAY)


def test_a_given_day_that_is_not_over_decides_nothing() -> None:
    assert not made_of_days(day(0), having=range(5), after=DAY - HOUR)
    assert made_of_days(day(0), having=range(5), after=DAY)


@given(st.lists(st.integers(0, 20), unique=True), st.sets(st.integers(0, 3 * 168 - 1)))
def test_every_week_is_made_of_one_kind_and_of_all_there_is_of_it(
    given_days: list[int], stored_hours: set[int]
) -> None:
    days, finer = [day(number) for number in given_days], hours(sorted(stored_hours))
    chosen = weeks_of_days(days, finer, now=LATER)
    from_days = {
        candle.opened_at: candle.sample_count
        for candle in merge_candles(days_of(days, chosen), Granularity.WEEKLY, now=LATER)
    }
    rest = [hour for hour in finer if week_of(hour) not in chosen]
    from_hours = {
        candle.opened_at: candle.sample_count
        for candle in merge_candles(rest, Granularity.WEEKLY, now=LATER)
    }
    assert not from_days.keys() & from_hours.keys()
    touched = {week_of(each)[1] for each in (*days, *finer)}
    assert touched == from_days.keys() | from_hours.keys()
    for week, count in from_days.items():
        assert count == sum(MONDAY + number * DAY - week in _WEEK for number in given_days)


class _Week:
    def __contains__(self, span: timedelta) -> bool:
        return timedelta(0) <= span < 7 * DAY


_WEEK = _Week()


def test_days_of_a_week_weigh_the_same_whatever_they_were_made_of() -> None:
    thin = day(0)
    thick = day(1, last="200", basis=CandleBasis.FINER, sample_count=24)
    [week] = merge_candles(days_of([thin, thick], {week_of(thin)}), Granularity.WEEKLY, now=LATER)
    assert (week.sample_count, week.average) == (2, 125)

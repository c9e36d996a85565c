"""What a week is made of: its hours, or its days where hours of the days that were given miss."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from app.analytics.candles import DerivedCandle, expected_finer_count
from app.domain import CandleBasis, Granularity

Week = tuple[int, datetime]
"""A market and the opening of one of its weeks."""


def weeks_of_days(
    days: Iterable[DerivedCandle], hours: Iterable[DerivedCandle], *, now: datetime
) -> set[Week]:
    """The weeks with a day that is over, that the provider gave, and of which hours are missing."""
    stored = Counter((hour.market_id, Granularity.DAILY.floor(hour.opened_at)) for hour in hours)
    whole = expected_finer_count(Granularity.DAILY, Granularity.HOURLY)
    return {
        week_of(day)
        for day in days
        if day.basis is CandleBasis.PROVIDER
        and day.closed_at <= now
        and stored[day.market_id, day.opened_at] < whole
    }


def days_of(days: Iterable[DerivedCandle], weeks: set[Week]) -> list[DerivedCandle]:
    """The days of those weeks, each with the weight of one sample.

    One that was made of hours would else weigh as much as 24 of those beside it.
    """
    return [replace(day, sample_count=1) for day in days if week_of(day) in weeks]


def week_of(candle: DerivedCandle) -> Week:
    """The week that a candle lies in."""
    return candle.market_id, Granularity.WEEKLY.floor(candle.opened_at)

"""Holes, staleness and jumps."""

from datetime import timedelta
from decimal import Decimal

import pytest

from app.analytics.quality import find_gaps, is_suspect_jump, judge_freshness
from app.domain import DAY, Granularity
from tests.analytics.making import START, hours

HOURLY = Granularity.HOURLY


def gap_hours(
    present: list[float], *, start: float = 0, end: float = 6
) -> list[tuple[float, float, int]]:
    found = find_gaps(map(hours, present), HOURLY, start=hours(start), end=hours(end))
    hour = timedelta(hours=1)
    return [
        ((g.start_at - START) / hour, (g.end_at - START) / hour, g.missing_count)
        for g in found.gaps
    ]


def test_runs_of_missing_candles_are_found_at_both_ends_and_between() -> None:
    assert gap_hours([0, 1, 2, 3, 4, 5]) == []
    assert gap_hours([4, 1]) == [(0, 1, 1), (2, 4, 2), (5, 6, 1)]
    assert gap_hours([]) == [(0, 6, 6)]


def test_only_whole_intervals_inside_the_span_are_expected() -> None:
    assert gap_hours([], start=0.5, end=3.5) == [(1, 3, 2)]
    assert gap_hours([], start=2, end=2.5) == []
    assert gap_hours([], start=3, end=1) == []


def test_candles_outside_the_span_and_off_the_grid_are_not_counted() -> None:
    openings = [*map(hours, (-1, 0, 0, 0.5, 2, 6))]
    found = find_gaps(openings, HOURLY, start=START, end=hours(3))
    assert (found.expected_count, found.present_count, found.missing_count) == (3, 2, 1)
    assert not found.is_complete
    assert find_gaps([START], Granularity.DAILY, start=START, end=START + DAY).is_complete


def test_freshness_is_age_against_limit() -> None:
    limit = timedelta(minutes=30)
    fresh = judge_freshness(START, now=START + limit, limit=limit)
    assert (fresh.age, fresh.is_fresh) == (limit, True)
    assert not judge_freshness(START, now=START + 2 * limit, limit=limit).is_fresh
    future = judge_freshness(hours(1), now=START, limit=limit)
    assert (future.age, future.is_fresh) == (timedelta(0), True)
    never = judge_freshness(None, now=START, limit=limit)
    assert (never.age, never.is_fresh) == (None, False)


@pytest.mark.parametrize(
    ("last", "price", "suspect"),
    [
        ("6.29", "0.808", True),  # a true crash is flagged too, and kept
        ("1", "2", True),
        ("2", "1", True),
        ("1", "1.999999", False),
        ("1", "0", True),
        ("2.8E-9", "5.6E-9", True),
        (None, "5", False),
        ("0", "5", False),
    ],
)
def test_jump_by_the_factor_is_suspect(last: str | None, price: str, suspect: bool) -> None:
    before = None if last is None else Decimal(last)
    assert is_suspect_jump(before, Decimal(price), factor=Decimal(2)) is suspect


def test_factor_not_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match="not above 1"):
        is_suspect_jump(Decimal(1), Decimal(1), factor=Decimal(1))

"""Courses rebased to 100 on a common base, and thinned without losing what stands out."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analytics.courses import build_courses, thin
from tests.analytics.making import hours

VALUES = st.floats(-1e9, 1e9)


def points(*prices: object, start: int = 0) -> list[tuple]:
    return [(hours(start + n), Decimal(str(price))) for n, price in enumerate(prices)]


def test_lines_stand_at_100_at_the_first_moment_that_all_have() -> None:
    courses = build_courses({1: points(50, 80, 100, 120), 2: points(3, 6, start=2)})
    assert courses[1].base == (hours(2), Decimal(100))
    assert [value for _, value in courses[1].rebased] == [50, 80, 100, 120]
    assert [value for _, value in courses[2].rebased] == [100, 200]
    assert (courses[1].change_pct, courses[2].change_pct) == (20, 100)


def test_a_hole_at_the_base_takes_the_last_close_before() -> None:
    holed = [*points(10), *points(40, start=5)]
    courses = build_courses({1: holed, 2: points(1, 1, 1, start=3)})
    assert courses[1].base == (hours(0), Decimal(10))
    assert courses[1].change_pct == 300


def test_order_and_unusable_prices_change_nothing() -> None:
    tidy = points(10, 20, 30)
    wild = [*reversed(tidy), (hours(1.5), Decimal(0)), (hours(1.6), Decimal("NaN"))]
    assert build_courses({1: wild}) == build_courses({1: tidy})


def test_a_market_without_closes_has_an_empty_course_and_holds_nobody_back() -> None:
    courses = build_courses({1: [], 2: points(5, 10)})
    assert (courses[1].points, courses[1].base, courses[1].change_pct) == ((), None, None)
    assert courses[2].change_pct == 100
    assert build_courses({}) == {}


@given(st.lists(st.tuples(VALUES, VALUES), max_size=300), st.integers(6, 60))
def test_thinning_keeps_ends_and_extremes_within_the_limit(
    rows: list[tuple[float, float]], limit: int
) -> None:
    columns = [[row[0] for row in rows], [row[1] for row in rows]]
    kept = thin(columns, limit)
    assert kept == sorted(set(kept))
    assert len(kept) <= limit
    if rows:
        assert (kept[0], kept[-1]) == (0, len(rows) - 1)
        for column in columns:
            assert {min(column), max(column)} <= {column[place] for place in kept}


def test_missing_values_are_passed_over() -> None:
    column = [None] * 10 + [1.0, 9.0, 2.0] + [None] * 10
    assert {0, 22, 11} <= set(thin([column], 8))
    assert thin([[None] * 50], 8) == [0, 49]
    assert thin([], 8) == []


def test_too_tight_a_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        thin([[1.0] * 9, [1.0] * 9], 5)

"""Correlation and beta of returns on common slots."""

from decimal import Decimal
from statistics import correlation, linear_regression

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analytics.closes import CloseSeries
from app.analytics.correlations import (
    ReturnTable,
    build_return_table,
    correlation_matrix,
    join_return_tables,
    measure_pairs,
)
from app.domain import Window
from tests.analytics.making import HOUR, START, hours, series

changes = st.lists(st.floats(-0.2, 0.2, allow_subnormal=False), min_size=20, max_size=20)


def table(*rows: list[float]) -> ReturnTable:
    """Markets 1, 2, ... with these returns."""
    return ReturnTable(np.arange(1, len(rows) + 1), np.asarray(rows, np.float64))


def pair(returns: ReturnTable, first: int = 0, second: int = 1) -> tuple[int, float, float]:
    figures = measure_pairs(returns, np.asarray([first]), np.asarray([second]))
    return int(figures.count[0]), float(figures.correlation[0]), float(figures.beta[0])


def test_twice_the_movement_is_beta_two_and_correlation_one() -> None:
    base = [0.01, -0.02, 0.03, 0.005]
    count, rho, beta = pair(table([2 * value for value in base], base))
    assert (count, rho, beta) == (4, pytest.approx(1.0), pytest.approx(2.0))
    assert rho <= 1.0
    assert pair(table([-value for value in base], base))[1:] == pytest.approx((-1.0, -1.0))


@given(changes, changes)
def test_figures_are_those_of_the_standard_library(first: list[float], second: list[float]) -> None:
    if max(first) - min(first) < 1e-3 or max(second) - min(second) < 1e-3:
        return
    _, rho, beta = pair(table(first, second))
    assert rho == pytest.approx(correlation(first, second), abs=1e-9)
    assert beta == pytest.approx(linear_regression(second, first).slope, abs=1e-9)


@given(changes, st.floats(0.01, 100))
def test_correlation_never_leaves_its_range(returns: list[float], factor: float) -> None:
    _, rho, _ = pair(table(returns, [value * factor for value in returns]))
    assert np.isnan(rho) or 1 - 1e-9 <= rho <= 1


def test_only_steps_on_which_both_have_a_return_count() -> None:
    nan = float("nan")
    first, second = [0.01, 0.02, nan, 0.5, 0.03], [0.01, 0.02, 0.4, 0.1, 0.03]
    count, rho, _ = pair(table(first, second))
    assert count == 4
    assert rho == pytest.approx(correlation([0.01, 0.02, 0.5, 0.03], [0.01, 0.02, 0.1, 0.03]))
    sparse = [nan, nan, 0.1, 0.2, 0.3]
    assert pair(table(sparse, second)) == (
        3,
        pytest.approx(nan, nan_ok=True),
        pytest.approx(nan, nan_ok=True),
    )


def test_market_that_does_not_move_has_no_correlation() -> None:
    flat, moving = [0.0] * 5, [0.1, -0.1, 0.2, 0.0, 0.1]
    _, rho, beta = pair(table(flat, moving))
    assert np.isnan(rho)
    assert beta == 0.0
    assert all(np.isnan(pair(table(moving, flat))[1:]))


def test_table_holds_the_returns_of_common_slots() -> None:
    rows = [(1, hours(h), Decimal(2**h)) for h in range(6)]
    rows += [(2, hours(h), Decimal(3**h)) for h in (0, 1, 3, 4, 4.5)]
    built = build_return_table(CloseSeries.from_rows(rows), as_of=hours(4.7), length=4 * HOUR)
    assert built.market_ids.tolist() == [1, 2]
    assert built.returns[0].tolist() == [1.0, 1.0, 1.0, 1.0]
    assert built.returns[1].tolist() == pytest.approx([2.0, np.nan, np.nan, 2.0], nan_ok=True)


def test_tables_of_blocks_join_to_the_table_of_all() -> None:
    rows = [(m, hours(h), Decimal(1 + (h * m) % 7)) for m in range(1, 6) for h in range(50)]
    closes = CloseSeries.from_rows(rows)
    whole = build_return_table(closes, as_of=hours(49))
    parts = [build_return_table(block, as_of=hours(49)) for block in closes.blocks(markets=2)]
    joined = join_return_tables(parts)
    assert joined.market_ids.tolist() == whole.market_ids.tolist()
    assert np.array_equal(joined.returns, whole.returns, equal_nan=True)
    assert whole.needed == 576
    assert join_return_tables([]).rows_of([1]).tolist() == [-1]


def test_matrix_is_symmetric_with_ones_and_says_what_is_missing() -> None:
    closes = CloseSeries.from_rows(
        [
            (m, START + h * HOUR, Decimal(100 + (h * m) % 7 + h % m))
            for m in (1, 2, 3)
            for h in range(721)
        ]
    )
    matrix = correlation_matrix(build_return_table(closes, as_of=hours(720)), [3, 9, 1, 2])
    assert matrix.market_ids == (3, 9, 1, 2)
    values = matrix.correlations
    assert [values[place][place] for place in range(4)] == [1, None, 1, 1]
    assert all(values[a][b] == values[b][a] for a in range(4) for b in range(4))
    assert values[1] == (None,) * 4
    assert matrix.sample_counts[0] == (720, 0, 720, 720)
    assert Window.D30.length / HOUR == 720


def test_matrix_is_bounded_and_may_be_empty() -> None:
    empty = build_return_table(series([1]), as_of=START)
    assert correlation_matrix(empty, []).correlations == ()
    assert correlation_matrix(join_return_tables([]), [1]).correlations == ((None,),)
    with pytest.raises(ValueError, match="more than 50"):
        correlation_matrix(empty, list(range(51)))

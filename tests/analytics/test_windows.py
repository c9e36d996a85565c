"""The figures of one window for the markets of a matrix."""

from datetime import timedelta

import numpy as np
import pytest

from app.analytics.closes import CloseMatrix, lay_out
from app.analytics.ratios import chain_returns
from app.analytics.windows import (
    COLUMNS_BEFORE,
    WindowFigures,
    YearRates,
    measure_window,
    steps_in,
    steps_per_year,
)
from app.domain import Granularity
from tests.analytics.making import LATER, series


def figures(matrix: CloseMatrix, steps: int) -> WindowFigures:
    markets = len(matrix.market_ids)
    rates = YearRates(np.full(markets, 365.0), np.zeros(markets), np.zeros(markets))
    return measure_window(matrix, chain_returns(matrix.prices), steps=steps, rates=rates)


def test_golden_vector_comes_out_of_the_matrix_to_nine_decimals() -> None:
    closes = series([100, 110, 99, 121, 115, 130], grid=Granularity.DAILY)
    golden = figures(lay_out(closes, as_of=LATER, slots=5 + COLUMNS_BEFORE), 5)
    assert golden.returns.mean == pytest.approx(0.060614046, abs=1e-9)
    assert golden.returns.deviation == pytest.approx(0.132744571, abs=1e-9)
    assert golden.returns.sharpe == pytest.approx(0.456621655, abs=1e-9)
    assert golden.returns.sortino == pytest.approx(1.214281343, abs=1e-9)
    assert golden.max_drawdown == pytest.approx(-0.10, abs=1e-9)
    assert golden.base_positions.tolist() == [0]


def test_base_before_the_start_counts_for_drawdown() -> None:
    # The close at the start is missing: the one a step older is the base and the peak.
    closes = series([200, None, 100, 150])
    window = figures(lay_out(closes, as_of=LATER, slots=2 + COLUMNS_BEFORE), 2)
    assert window.base_positions.tolist() == [0]
    assert window.max_drawdown.tolist() == [-0.5]
    assert window.returns.count.tolist() == [1]


def test_windows_are_whole_numbers_of_steps() -> None:
    assert steps_in(timedelta(days=30), Granularity.HOURLY) == 720
    assert steps_in(timedelta(days=245), Granularity.DAILY) == 245
    for length in (timedelta(minutes=90), timedelta(minutes=15), timedelta(0)):
        with pytest.raises(ValueError, match="no whole number"):
            steps_in(length, Granularity.HOURLY)


def test_year_has_as_many_steps_as_its_days_hold() -> None:
    assert steps_per_year(365, Granularity.HOURLY) == 8760
    assert steps_per_year(365, Granularity.DAILY) == 365
    assert steps_per_year(252, Granularity.DAILY) == 252
    assert steps_per_year(365, Granularity.WEEKLY) == 52

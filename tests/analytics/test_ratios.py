"""The formulas of the risk statistics against answers worked out by hand."""

from decimal import Decimal

import numpy as np
import pytest

from app.analytics.ratios import (
    annualise,
    calmar,
    max_drawdown,
    measure_calmar,
    measure_drawdowns,
    per_step_rate,
    sharpe,
    simple_returns,
    sortino,
    volatility,
    win_rate,
)

GOLDEN = [100, 110, 99, 121, 115, 130]


def near(value: float) -> object:
    return pytest.approx(value, abs=1e-9, rel=0)


def test_golden_vector_comes_out_to_nine_decimals() -> None:
    returns = simple_returns(GOLDEN)
    per_step, downside = sharpe(returns), sortino(returns)
    assert per_step is not None
    assert downside is not None
    assert sum(value for value in returns if value is not None) / 5 == near(0.060614046)
    assert volatility(returns) == near(0.132744571)
    assert per_step == near(0.456621655)
    assert downside == near(1.214281343)
    assert annualise(per_step, 365) == near(8.723744462)
    assert annualise(downside, 365) == near(23.198812476)
    assert max_drawdown(GOLDEN) == near(-0.10)
    assert win_rate(returns) == 0.6


def test_risk_free_rate_is_annual_and_compounds_to_the_step() -> None:
    rate = per_step_rate(Decimal("0.05"), 365)
    per_step = sharpe(simple_returns(GOLDEN), risk_free=rate)
    assert per_step is not None
    assert annualise(per_step, 365) == near(8.704504771)
    assert (1 + rate) ** 365 == near(1.05)


@pytest.mark.parametrize(
    ("case", "returns", "ratio", "downside_ratio"),
    [
        ("constant rise of 0.1 %", [0.001] * 30, None, None),
        ("constant rise, as closes", simple_returns([1.001**n for n in range(30)]), None, None),
        ("constant fall of 0.1 %", [-0.001] * 30, None, -1.0),
        ("all zero", [0.0] * 30, None, None),
        ("all positive, varying", [0.01, 0.02, 0.03], 2.0, None),
        ("one return", [0.01], None, None),
        ("one loss", [-0.01], None, None),
        ("empty", [], None, None),
        ("only missing", [None, None], None, None),
    ],
)
def test_where_libraries_disagree_ours_is_a_number_or_none(
    case: str, returns: list[float | None], ratio: float | None, downside_ratio: float | None
) -> None:
    assert sharpe(returns) == (None if ratio is None else near(ratio)), case
    assert sortino(returns) == (None if downside_ratio is None else near(downside_ratio)), case


def test_total_loss_and_recovery_gives_no_infinite_return() -> None:
    returns = simple_returns([100, 0, 50, 60])
    assert returns == [None, None, near(0.2)]
    assert max_drawdown([100, 0, 50, 60]) == near(-0.5)
    assert sharpe([-1.0, 0.5, 0.25]) is not None


@pytest.mark.parametrize("bad", [None, 0, -3, Decimal("NaN"), Decimal("Infinity"), 1e300, 1e-300])
def test_unusable_close_breaks_the_chain_on_both_sides(bad: float | None) -> None:
    assert simple_returns([10, bad, 11, 22]) == [None, None, near(1.0)]
    assert max_drawdown([10, bad, 5]) == near(-0.5)
    assert calmar([10, 11, bad], steps_per_year=365) is None


def test_minimum_acceptable_return_moves_numerator_and_shortfall() -> None:
    # (0.01 - 0.02) / sqrt((0.03**2 + 0.01**2) / 3)
    assert sortino([0.03, -0.01, 0.01], acceptable=0.02) == near(-0.01 / (0.001 / 3) ** 0.5)


def test_calmar_compounds_the_whole_span_to_a_year() -> None:
    assert calmar([100, 80, 110], steps_per_year=2) == near(0.1 / 0.2)
    assert calmar([100, 80, 110], steps_per_year=4) == near((1.1**2 - 1) / 0.2)
    assert calmar([100, 110], steps_per_year=365) is None
    assert calmar([100], steps_per_year=365) is None
    assert calmar([1, 0.5, 1e6], steps_per_year=8760) is None
    steep = measure_calmar(np.asarray([1e6]), 1e-3, np.asarray([-0.5]))
    assert np.isnan(steep).all()


def test_drawdown_measures_from_the_peak_before_the_fall() -> None:
    assert max_drawdown([50, 100, 60, 90, 45, 200]) == near(-0.55)
    assert max_drawdown([1, 2, 3]) == 0.0
    assert max_drawdown([1]) is None
    assert max_drawdown([]) is None
    assert measure_drawdowns(np.empty((2, 0))).tolist() != [0.0, 0.0]


def test_rate_of_total_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to compound"):
        per_step_rate(Decimal(-1), 365)


def test_million_returns_are_measured_without_a_loop() -> None:
    returns = np.tile([0.01, -0.01, 0.02, -0.005], 250_000).tolist()
    assert sharpe(returns) == near(0.00375 / (1.421875e-4 * 1_000_000 / 999_999) ** 0.5)

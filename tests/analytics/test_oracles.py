"""The figures against other people's: frozen answers of two libraries, and published tables."""

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.analytics.closes import lay_out
from app.analytics.ratios import (
    annualise,
    calmar,
    chain_returns,
    max_drawdown,
    measure_drawdowns,
    measure_returns,
    per_step_rate,
    sharpe,
    simple_returns,
    sortino,
    volatility,
    win_rate,
)
from app.analytics.returns import build_roi_statistics
from app.analytics.rounding import change_pct
from app.domain import Granularity, Window
from tests.analytics.making import LATER, daily_closes, read_rows, series

ORACLES = Path(__file__).parent / "oracles"
RECORDED = json.loads((ORACLES / "recorded.json").read_text())["series"]
HANDMADE = json.loads((ORACLES / "handmade.json").read_text())["series"]
WINDOWS = ("7", "30", "90", "245")


def close_to(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-9)


def figures_of(closes: Sequence[Decimal], year: int) -> dict[str, float | None]:
    """The scalar figures of closes without a hole, under the oracle's names."""
    returns = simple_returns(closes)
    rate = per_step_rate(0.05, year)
    per_step = {
        "sharpe_annualised": sharpe(returns),
        "sharpe_rf5_annualised": sharpe(returns, risk_free=rate),
        "sortino_annualised": sortino(returns),
        "volatility_annualised": volatility(returns),
    }
    return {
        "roi_pct": float(change_pct(closes[0], closes[-1])),
        "max_drawdown": max_drawdown(closes),
        "calmar": calmar(closes, steps_per_year=year),
        "win_rate": win_rate(returns),
        **{name: value and annualise(value, year) for name, value in per_step.items()},
    }


@pytest.mark.parametrize("name", HANDMADE)
def test_handmade_series_agree_with_both_libraries(name: str) -> None:
    case = HANDMADE[name]
    ours = figures_of([Decimal(text) for text in case["closes"]], case["periods_per_year"])
    assert len(case["figures"]) == 8
    for figure, expected in case["figures"].items():
        assert ours[figure] == close_to(expected), figure


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("window", WINDOWS)
def test_recorded_daily_series_agree_with_both_libraries(
    name: str, window: str, recordings: Path
) -> None:
    oracle, year = RECORDED[name]["windows"][window], RECORDED[name]["periods_per_year"]
    closes = daily_closes(recordings / name)[-oracle["closes"] :]
    ours = figures_of([close for close in closes if close is not None], year)
    assert oracle.keys() - {"closes"} <= ours.keys()
    for figure, expected in oracle.items():
        assert figure == "closes" or ours[figure] == close_to(expected), figure


@pytest.mark.parametrize("name", [name for name in RECORDED if "2025" in name])
@pytest.mark.parametrize("window", [Window.D7, Window.D30])
def test_stored_statistics_agree_with_both_libraries(
    name: str, window: Window, recordings: Path
) -> None:
    oracle = RECORDED[name]["windows"][str(window.length.days)]
    closes = series(daily_closes(recordings / name), grid=Granularity.DAILY)
    [statistic] = build_roi_statistics(closes, as_of=LATER, windows=[window])
    assert (statistic.sample_count, statistic.periods_per_year) == (window.length.days, 365)
    for figure in oracle.keys() - {"closes", "sharpe_rf5_annualised"}:
        assert float(getattr(statistic, figure)) == close_to(oracle[figure]), figure


def test_all_recorded_series_measured_in_one_matrix_agree_with_both_libraries(
    recordings: Path,
) -> None:
    names = [name for name in RECORDED if "2025" in name]
    for name in names:
        oracle = RECORDED[name]["windows"]["90"]
        closes = series(daily_closes(recordings / name), grid=Granularity.DAILY)
        matrix = lay_out(closes, as_of=LATER, slots=91)
        figures = measure_returns(chain_returns(matrix.prices), risk_free=0.0, acceptable=0.0)
        assert annualise(float(figures.sharpe[0]), 365) == close_to(oracle["sharpe_annualised"])
        assert annualise(float(figures.sortino[0]), 365) == close_to(oracle["sortino_annualised"])
        assert float(measure_drawdowns(matrix.prices)[0]) == close_to(oracle["max_drawdown"])


def managers(recordings: Path) -> dict[str, list[float]]:
    rows = read_rows(recordings / "risk-reference" / "managers.csv")
    names = [name for name in rows[0] if name]
    return {name: [float(row[name]) for row in rows if row[name]] for name in names}


def wealth(returns: Sequence[float]) -> list[float]:
    """What 1 becomes; the start counts as a peak."""
    return list(accumulate(returns, lambda value, change: value * (1 + change), initial=1.0))


PUBLISHED: dict[str, Callable[[Sequence[float]], float | None]] = {
    "cumulative_return": lambda r: wealth(r)[-1] - 1,
    "annualized_stddev_sample_sqrt12": lambda r: annualise(volatility(r) or 0, 12),
    "sharpe_per_month_rf_3.5pct_div_12": lambda r: sharpe(r, risk_free=0.035 / 12),
    "sortino_per_month_mar0_full_n_denominator": sortino,
    "max_drawdown": lambda r: -(max_drawdown(wealth(r)) or 0.0),
    "calmar": lambda r: calmar(wealth(r), steps_per_year=12),
}


@pytest.mark.parametrize("figure", PUBLISHED)
def test_published_figures_of_managers_come_out_to_their_printed_digits(
    figure: str, recordings: Path
) -> None:
    path = recordings / "risk-reference" / "expected-performanceanalytics.json"
    expected = json.loads(path.read_text())["managers"][figure]
    returns = managers(recordings)
    assert len(expected) >= 6
    for name, printed in expected.items():
        # Some are cut, not rounded, to four decimals.
        assert PUBLISHED[figure](returns[name]) == pytest.approx(printed, abs=1e-4), name


def test_published_sharpe_over_the_bill_series_comes_out(recordings: Path) -> None:
    path = recordings / "risk-reference" / "expected-performanceanalytics.json"
    expected = json.loads(path.read_text())["managers"]["sharpe_per_month_rf_US3mTR_series"]
    rows = read_rows(recordings / "risk-reference" / "managers.csv")
    for name, printed in expected.items():
        excess = [float(row[name]) - float(row["US 3m TR"]) for row in rows if row[name]]
        assert sharpe(excess) == pytest.approx(printed, abs=1e-4), name


def test_published_downside_figures_follow_from_our_sortino(recordings: Path) -> None:
    path = recordings / "risk-reference" / "expected-performanceanalytics.json"
    published = json.loads(path.read_text())
    for name, printed in published["managers"]["downside_deviation_mar_4pct_div_12"].items():
        returns, mar = np.asarray(managers(recordings)[name]), 0.04 / 12
        ratio = sortino(returns.tolist(), acceptable=mar)
        assert ratio is not None
        assert (returns.mean() - mar) / ratio == pytest.approx(printed, abs=1e-4), name
    rows = read_rows(recordings / "risk-reference" / "portfolio_bacon.csv")
    bacon = [float(row["portfolio monthly return (%)"]) for row in rows]
    excess = (np.mean(bacon) - 0.005) / (sortino(bacon, acceptable=0.005) or 1.0)
    assert excess == pytest.approx(
        published["portfolio_bacon"]["downside_deviation_mar_0.5pct"], abs=1e-4
    )


def test_small_daily_tables_come_out_to_eight_decimals(recordings: Path) -> None:
    path = recordings / "risk-reference" / "expected-empyrical-daily.json"
    tables = json.loads(path.read_text())
    percents = tables["series_percent"]

    def returns_less(name: str, base: Any) -> list[float | None]:
        other = percents[base] if isinstance(base, str) else [base] * len(percents[name])
        pairs = zip(percents[name], other, strict=True)
        return [None if value is None else value / 100 - less / 100 for value, less in pairs]

    for table, ours in (("sharpe_daily", sharpe), ("sortino_daily", sortino)):
        for name, base, expected in tables[table]:
            ratio = ours(returns_less(name, base))
            if isinstance(expected, str):  # nan and inf: no number of ours
                assert ratio is None, (table, name)
            else:
                assert ratio is not None
                assert annualise(ratio, 252) == pytest.approx(expected, abs=1e-8), (table, name)

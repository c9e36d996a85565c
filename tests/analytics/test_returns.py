"""ROI statistics: the rules on windows, bases, gaps, samples and reasons."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from math import isfinite

import numpy as np
import pytest

from app.analytics.closes import CloseSeries
from app.analytics.returns import Conventions, build_roi_statistics, minimum_samples
from app.domain import AssetType, Granularity, NullReason, RoiStatistic, Window
from tests.analytics.making import LATER, START, hours, series

NUMBERS = (
    "roi_pct",
    "sharpe",
    "sortino",
    "max_drawdown",
    "volatility",
    "calmar",
    "win_rate",
    "sharpe_annualised",
    "sortino_annualised",
    "volatility_annualised",
)


def waves(count: int) -> list[Decimal]:
    """Closes that rise and fall."""
    return [Decimal(100 + (7 * step) % 11 + step % 5) for step in range(count)]


def statistic(closes: CloseSeries, window: Window, **options: object) -> RoiStatistic:
    """The one statistic of a single market."""
    [only] = build_roi_statistics(closes, as_of=LATER, windows=[window], **options)  # type: ignore[arg-type]
    return only


def check_reasons(row: RoiStatistic) -> None:
    """Exactly the missing numbers have a reason, and every number is finite."""
    missing = {name for name in NUMBERS if getattr(row, name) is None}
    assert set(row.null_reasons) == missing
    assert set(row.null_reasons.values()) <= {reason.value for reason in NullReason}
    for name in set(NUMBERS) - missing:
        assert isfinite(getattr(row, name))
        assert "E+" not in str(getattr(row, name))


def test_hourly_window_has_roi_and_drawdown_only() -> None:
    row = statistic(series(["100", "110", "99"]), Window.H1)
    assert (row.roi_pct, row.max_drawdown) == (-10, Decimal("-0.1"))
    assert (row.sample_count, row.expected_count) == (1, 1)
    assert set(row.null_reasons.values()) == {"window_too_short"}
    assert set(row.null_reasons) == set(NUMBERS) - {"roi_pct", "max_drawdown"}


def test_day_has_ratios_per_step_and_nothing_annual() -> None:
    row = statistic(series(waves(30)), Window.H24)
    assert None not in (row.sharpe, row.sortino, row.volatility, row.win_rate, row.roi_pct)
    assert row.sample_count == 24
    annual = {"calmar", "sharpe_annualised", "sortino_annualised", "volatility_annualised"}
    assert row.null_reasons == dict.fromkeys(annual, "window_too_short")


def test_day_with_a_missing_hour_has_no_ratios() -> None:
    closes: list[object] = [*waves(30)]
    closes[20] = None
    row = statistic(series(closes), Window.H24)
    assert row.sample_count == 22
    assert row.null_reasons["sharpe"] == row.null_reasons["win_rate"] == "insufficient_samples"
    assert row.roi_pct is not None
    check_reasons(row)


@pytest.mark.parametrize(
    ("window", "steps", "needed"), [(Window.D7, 168, 135), (Window.D30, 720, 576)]
)
def test_ratios_need_four_fifths_of_the_expected_returns(
    window: Window, steps: int, needed: int
) -> None:
    assert minimum_samples(window, steps) == needed
    enough = statistic(series(waves(needed + 1)), window)
    assert enough.sample_count == needed
    assert enough.sharpe is not None
    assert enough.sharpe_annualised is not None
    assert enough.null_reasons == {
        "roi_pct": "insufficient_samples",
        "calmar": "insufficient_samples",
    }
    one_less = statistic(series(waves(needed)), window)
    assert one_less.null_reasons["sharpe_annualised"] == "insufficient_samples"


def test_annual_ratios_are_root_of_the_year_times_those_per_step() -> None:
    row = statistic(series(waves(169)), Window.D7)
    assert row.periods_per_year == 8760
    for name in ("sharpe", "sortino", "volatility"):
        per_step, annual = getattr(row, name), getattr(row, f"{name}_annualised")
        assert float(annual) == pytest.approx(float(per_step) * 8760**0.5, rel=1e-11)
    assert row.null_reasons == {}


def test_year_follows_the_asset_type_and_can_be_set() -> None:
    closes = series(waves(169))
    share = statistic(closes, Window.D7, asset_types={1: AssetType.EQUITY})
    assert share.periods_per_year == 252 * 24
    short_year = Conventions(days_per_year=dict.fromkeys(AssetType, 100))
    assert statistic(closes, Window.D7, conventions=short_year).periods_per_year == 2400
    daily = series(waves(31), grid=Granularity.DAILY)
    assert statistic(daily, Window.D30).periods_per_year == 365


def test_annual_rates_are_kept_and_taken_per_step() -> None:
    closes = series(waves(169))
    rules = Conventions(risk_free_rate=Decimal("0.05"), minimum_acceptable_return=Decimal("0.02"))
    row, plain = statistic(closes, Window.D7, conventions=rules), statistic(closes, Window.D7)
    assert (row.risk_free_rate, row.minimum_acceptable_return) == (
        Decimal("0.05"),
        Decimal("0.02"),
    )
    assert row.sharpe is not None
    assert plain.sharpe is not None
    assert row.volatility is not None
    shift = 1.05 ** (1 / 8760) - 1
    assert float(plain.sharpe - row.sharpe) == pytest.approx(
        shift / float(row.volatility), rel=1e-6
    )
    assert row.sortino != plain.sortino


def test_present_price_counts_for_roi_and_drawdown_but_gives_no_return() -> None:
    closed = series([*waves(29), 100])
    open_hour = closed.with_present({1: (hours(29.4), Decimal(50))})
    before, after = statistic(closed, Window.H24), statistic(open_hour, Window.H24)
    assert after.sample_count == before.sample_count == 24
    assert (after.sharpe, after.volatility) == (before.sharpe, before.volatility)
    assert after.roi_pct == Decimal("-50.98039215686275")
    assert after.last_at == hours(29.4)
    assert after.first_at == hours(5)
    assert after.max_drawdown is not None
    assert before.max_drawdown is not None
    assert after.max_drawdown < Decimal("-0.5") < before.max_drawdown


@pytest.mark.parametrize(
    ("last_at", "hours_with_close", "roi", "reason"),
    [
        (10.5, [9], 100, None),  # 09:30 back: the close of 09:00
        (10.5, [8], None, "stale_base"),  # 1.5 hours before the start
        (10, [9], 100, None),
        (10, [8], 100, None),  # exactly one step before the start
        (10.5, [10], None, "insufficient_samples"),
        (10, [], None, "insufficient_samples"),
    ],
)
def test_base_is_the_last_close_by_the_start_no_older_than_a_step(
    last_at: float, hours_with_close: Sequence[int], roi: int | None, reason: str | None
) -> None:
    rows = [(1, hours(hour), Decimal(5)) for hour in hours_with_close]
    row = statistic(CloseSeries.from_rows([*rows, (1, hours(last_at), Decimal(10))]), Window.H1)
    assert row.roi_pct == roi
    assert row.null_reasons.get("roi_pct") == reason
    check_reasons(row)


def test_no_return_reaches_across_a_hole() -> None:
    closes: list[object] = [*waves(169)]
    closes[100] = None
    closes[120] = 0
    row = statistic(series(closes), Window.D7)
    assert row.sample_count == 164
    jump = [*closes]
    jump[100], jump[120] = 10**6, 1
    assert statistic(series(jump), Window.D7).volatility != row.volatility


def test_window_ends_at_the_markets_own_last_close() -> None:
    rows = [(1, hours(h), Decimal(h + 1)) for h in range(10)]
    rows += [(2, hours(h), Decimal(h + 1)) for h in range(5)]
    statistics = build_roi_statistics(
        CloseSeries.from_rows(rows), as_of=hours(8.5), windows=[Window.H1]
    )
    assert [row.last_at for row in statistics] == [hours(8), hours(4)]
    assert [row.roi_pct for row in statistics] == [Decimal("12.5"), 25]


def test_constant_series_has_zero_volatility_and_reasons() -> None:
    row = statistic(series([5] * 169), Window.D7)
    assert (row.roi_pct, row.volatility, row.max_drawdown, row.win_rate) == (0, 0, 0, 0)
    assert row.null_reasons == {
        "sharpe": "zero_variance",
        "sortino": "no_downside",
        "sharpe_annualised": "zero_variance",
        "sortino_annualised": "no_downside",
        "calmar": "no_drawdown",
    }


def test_steady_growth_is_no_giant_ratio() -> None:
    row = statistic(series([Decimal("1.001") ** n for n in range(169)]), Window.D7)
    assert row.null_reasons["sharpe"] == "zero_variance"
    assert row.null_reasons["sortino"] == "no_downside"
    assert row.win_rate == 1
    check_reasons(row)


@pytest.mark.parametrize(
    "closes",
    [
        [1],
        [0],
        [None],
        [0, 0, 0],
        [100, 0, 100],
        ["1E-12", "1E+30", "1E-12"] * 300,
        ["1E-74", "1E+74"] * 400,
        ["1E-400", "1E+400", "1"] * 300,
        ["1234567890123456789012.123456789012345678"] * 800,
        ["NaN", "Infinity", "-1", "2", "3"],
        [1, *["0.0000001"] * 300, *["1E+9"] * 500],
    ],
)
def test_odd_series_give_finite_numbers_or_reasons(closes: Sequence[object]) -> None:
    for row in build_roi_statistics(series(closes), as_of=LATER):
        check_reasons(row)


def test_market_without_usable_close_has_no_statistic() -> None:
    assert build_roi_statistics(series([0, None, -1]), as_of=LATER) == []
    assert build_roi_statistics(series([1]), as_of=START - timedelta(seconds=1)) == []
    assert build_roi_statistics([], as_of=LATER) == []


def test_single_sample_has_no_number_at_all() -> None:
    for row in build_roi_statistics(series(["42"]), as_of=LATER):
        assert all(getattr(row, name) is None for name in NUMBERS)
        assert (row.sample_count, row.first_at, row.last_at) == (0, START, START)
        check_reasons(row)


def test_window_that_does_not_fit_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="no whole number"):
        build_roi_statistics(series([1], grid=Granularity.WEEKLY), as_of=LATER)


def test_days_tell_what_fits_them_and_why_the_rest_is_missing() -> None:
    days = series(waves(31), grid=Granularity.DAILY)
    rows = {row.window: row for row in build_roi_statistics(days, as_of=LATER)}
    hour, day, week, month = (rows[window] for window in Window)
    assert set(hour.null_reasons.values()) == {"window_too_short"}
    assert (hour.sample_count, hour.expected_count, hour.first_at) == (0, 0, None)
    assert set(hour.null_reasons) == set(NUMBERS)
    assert set(NUMBERS) - set(day.null_reasons) == {"roi_pct", "max_drawdown"}
    assert set(day.null_reasons.values()) == {"window_too_short"}
    assert (week.sample_count, week.expected_count, week.null_reasons) == (7, 7, {})
    assert (month.sample_count, month.expected_count, month.null_reasons) == (30, 30, {})


def test_million_closes_of_one_market_are_measured_over_the_last_window() -> None:
    instants = series([1]).instants[0] + np.arange(1_000_000) * 3_600_000_000
    closes = CloseSeries.from_columns(
        np.ones(1_000_000, np.int64), instants, [Decimal(1), Decimal(2)] * 500_000
    )
    [row] = build_roi_statistics(closes, as_of=hours(10**6), windows=[Window.D30])
    assert (row.sample_count, row.roi_pct, row.win_rate) == (720, 0, Decimal("0.5"))
    check_reasons(row)


def test_roi_is_exact_where_floats_are_not() -> None:
    row = statistic(series(["0.1", "0.3"]), Window.H1)
    assert row.roi_pct == 200
    long = statistic(
        series(
            ["1234567890123456789012345678901234567890", "1234567890123456789012345678901234567891"]
        ),
        Window.H1,
    )
    assert long.roi_pct == Decimal("8.100000072900001E-38")

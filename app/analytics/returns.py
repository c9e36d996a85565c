"""ROI statistics of many markets over several windows, in one pass over blocks of markets.

The definitions. Closes p0 ... pN lie on an equal grid, returns are simple. A window reaches back
from a market's last close at or before `as_of`; p0 is the last close at or before its start, no
older than one grid step. The last close may lie between two slots (the present price): it counts
for ROI, drawdown and Calmar, while returns are whole grid steps only, so that all of them measure
the same span. A missing close, or one that is not above zero, takes the returns on both its sides
away. Every figure that does not exist is None with its `NullReason`:

- 1h, and 24h on a daily grid: ROI and drawdown only, the rest is `window_too_short`; of a window
  shorter than a step (1h of days) everything is.
- 24h: ratios per step from 24 returns on (an hourly grid without a hole), never annualised.
- 7d and 30d: ratios per step and annualised, from 80 % of the expected returns on.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from math import sqrt
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from app.analytics.closes import CloseMatrix, CloseSeries, as_blocks, lay_out
from app.analytics.instants import IntArray, from_micros
from app.analytics.ratios import chain_returns, per_step_rate
from app.analytics.rounding import change_pct, to_ratio
from app.analytics.windows import (
    COLUMNS_BEFORE,
    WindowFigures,
    YearRates,
    measure_window,
    steps_in,
    steps_per_year,
)
from app.domain import WEEK, AssetType, Granularity, NullReason, RoiStatistic, Window

DAYS_PER_YEAR: Mapping[AssetType, int] = MappingProxyType(
    {AssetType.CRYPTO: 365, AssetType.INDEX: 252, AssetType.EQUITY: 252}
)
# Below a week a statistic scaled to a year says nothing (facts: median |Sharpe| of pure noise 71).
SHORTEST_ANNUALISED = WEEK
_SAMPLES_FOR_A_DAY = 24

_PER_STEP = ("sharpe", "sortino", "volatility", "win_rate")
_ANNUALISED = ("sharpe_annualised", "sortino_annualised", "volatility_annualised")


@dataclass(frozen=True, slots=True)
class Conventions:
    """Annual risk-free rate and MAR as fractions, and the days in a year by asset type."""

    risk_free_rate: Decimal = Decimal(0)
    minimum_acceptable_return: Decimal = Decimal(0)
    days_per_year: Mapping[AssetType, int] = field(default_factory=lambda: DAYS_PER_YEAR)


def build_roi_statistics(
    closes: CloseSeries | Iterable[CloseSeries],
    *,
    as_of: datetime,
    windows: Sequence[Window] = tuple(Window),
    asset_types: Mapping[int, AssetType] | None = None,
    conventions: Conventions | None = None,
) -> list[RoiStatistic]:
    """One statistic a market and window, for every market with a usable close by `as_of`.

    `closes` reach back the longest window and three grid steps; they are one series or blocks of
    whole markets, of which one is held at a time. A market missing from `asset_types` is crypto.
    ROI is exact to 16 significant digits, ratios carry 12. Raises `ValueError` for a window that
    is longer than a grid step but no whole number of them and for an annual rate of -100 % or less.
    """
    rules = conventions or Conventions()
    types = asset_types or {}
    statistics: list[RoiStatistic] = []
    for block in as_blocks(closes):
        statistics.extend(_statistics_of_block(block, as_of, windows, types, rules))
    return statistics


def minimum_samples(window: Window, steps: int) -> int | None:
    """The returns a window needs for its ratios; None where it is too short to have any."""
    if window is Window.H24:
        return _SAMPLES_FOR_A_DAY if steps >= _SAMPLES_FOR_A_DAY else None
    return None if window is Window.H1 else max(2, -(-steps * 4 // 5))


def exact_roi_pct(matrix: CloseMatrix, bases: IntArray) -> list[Decimal | None]:
    """(pN / p0 - 1) * 100 of each market from the exact decimals; None without p0."""
    exact = matrix.series.exact
    return [
        None if base < 0 else _roi_pct(exact[base], exact[last])
        for base, last in zip(bases.tolist(), matrix.last_positions.tolist(), strict=True)
    ]


def _roi_pct(before: Decimal | None, after: Decimal | None) -> Decimal | None:
    return None if before is None or after is None else change_pct(before, after)


def _statistics_of_block(
    block: CloseSeries,
    as_of: datetime,
    windows: Sequence[Window],
    types: Mapping[int, AssetType],
    rules: Conventions,
) -> Iterator[RoiStatistic]:
    fitting = [window for window in windows if window.length >= block.grid.step]
    steps = {window: steps_in(window.length, block.grid) for window in fitting}
    matrix = lay_out(block, as_of=as_of, slots=max(steps.values(), default=1) + COLUMNS_BEFORE)
    years, rates = _rates(matrix, types, rules)
    returns = chain_returns(matrix.prices)
    for window in windows:
        if window not in steps:
            yield from _too_short(matrix, window, years, rules)
            continue
        figures = measure_window(matrix, returns, steps=steps[window], rates=rates)
        yield from _statistics_of_window(matrix, figures, window, years, rules)


def _too_short(
    matrix: CloseMatrix, window: Window, years: Sequence[int], rules: Conventions
) -> Iterator[RoiStatistic]:
    """A window shorter than a step of the grid, of which nothing can be said."""
    names = ("roi_pct", "max_drawdown", *_PER_STEP, *_ANNUALISED, "calmar")
    for market_id, year, last_at in zip(
        matrix.market_ids.tolist(), years, matrix.last_at.tolist(), strict=True
    ):
        yield RoiStatistic(
            market_id=market_id,
            window=window,
            grid=matrix.series.grid,
            sample_count=0,
            expected_count=0,
            first_at=None,
            last_at=from_micros(last_at),
            periods_per_year=year,
            risk_free_rate=rules.risk_free_rate,
            minimum_acceptable_return=rules.minimum_acceptable_return,
            null_reasons=dict.fromkeys(names, NullReason.WINDOW_TOO_SHORT.value),
        )


def _rates(
    matrix: CloseMatrix, types: Mapping[int, AssetType], rules: Conventions
) -> tuple[list[int], YearRates]:
    grid = matrix.series.grid
    by_type = {kind.value: steps_per_year(days, grid) for kind, days in rules.days_per_year.items()}
    years = [
        by_type[types.get(market_id, AssetType.CRYPTO).value]
        for market_id in matrix.market_ids.tolist()
    ]
    risk_free = {year: per_step_rate(rules.risk_free_rate, year) for year in by_type.values()}
    acceptable = {
        year: per_step_rate(rules.minimum_acceptable_return, year) for year in by_type.values()
    }
    return years, YearRates(
        np.asarray(years, np.float64),
        np.asarray([risk_free[year] for year in years], np.float64),
        np.asarray([acceptable[year] for year in years], np.float64),
    )


def _statistics_of_window(
    matrix: CloseMatrix,
    figures: WindowFigures,
    window: Window,
    years: Sequence[int],
    rules: Conventions,
) -> Iterator[RoiStatistic]:
    """Turn the arrays of one window into values, market by market."""
    returns, grid = figures.returns, matrix.series.grid
    rows = map(
        _Row,
        matrix.market_ids.tolist(),
        years,
        exact_roi_pct(matrix, figures.base_positions),
        (matrix.first_at <= figures.start_at).tolist(),
        figures.first_at.tolist(),
        matrix.last_at.tolist(),
        returns.count.tolist(),
        returns.sharpe.tolist(),
        returns.sortino.tolist(),
        returns.deviation.tolist(),
        returns.win_rate.tolist(),
        figures.max_drawdown.tolist(),
        figures.calmar.tolist(),
    )
    return (_statistic(row, window, figures.steps, grid, rules) for row in rows)


class _Row(NamedTuple):
    """The numbers of one market and window; NaN where one does not exist."""

    market_id: int
    steps_per_year: int
    roi_pct: Decimal | None
    reaches_back: bool
    first_at: int
    last_at: int
    sample_count: int
    sharpe: float
    sortino: float
    volatility: float
    win_rate: float
    max_drawdown: float
    calmar: float


def _statistic(
    row: _Row, window: Window, steps: int, grid: Granularity, rules: Conventions
) -> RoiStatistic:
    needed = minimum_samples(window, steps)
    values = _values(
        row,
        has_ratios=needed is not None and row.sample_count >= needed,
        is_annualised=window.length >= SHORTEST_ANNUALISED,
    )
    has_gaps = None in values.values()
    return RoiStatistic(
        market_id=row.market_id,
        window=window,
        grid=grid,
        sample_count=row.sample_count,
        expected_count=steps,
        first_at=None if row.first_at < 0 else from_micros(row.first_at),
        last_at=from_micros(row.last_at),
        periods_per_year=row.steps_per_year,
        risk_free_rate=rules.risk_free_rate,
        minimum_acceptable_return=rules.minimum_acceptable_return,
        null_reasons=_null_reasons(row, values, window, needed) if has_gaps else {},
        **values,
    )


def _values(row: _Row, *, has_ratios: bool, is_annualised: bool) -> dict[str, Decimal | None]:
    """The figures of a row that may be shown, rounded; the others as None."""
    values = dict.fromkeys((*_PER_STEP, *_ANNUALISED, "calmar"), None) | {
        "roi_pct": row.roi_pct,
        "max_drawdown": to_ratio(row.max_drawdown),
    }
    if has_ratios:
        values |= {name: to_ratio(getattr(row, name)) for name in _PER_STEP}
    if has_ratios and is_annualised:
        root = sqrt(row.steps_per_year)
        values["sharpe_annualised"] = to_ratio(row.sharpe * root)
        values["sortino_annualised"] = to_ratio(row.sortino * root)
        values["volatility_annualised"] = to_ratio(row.volatility * root)
        values["calmar"] = to_ratio(row.calmar)
    return values


def _null_reasons(
    row: _Row, values: Mapping[str, Decimal | None], window: Window, needed: int | None
) -> dict[str, str]:
    """Why each figure that is None is so; the first reason that holds."""
    no_base = NullReason.STALE_BASE if row.reaches_back else NullReason.INSUFFICIENT_SAMPLES
    blocked = _blocked(row, needed)
    blocked_annual = NullReason.WINDOW_TOO_SHORT if window.length < SHORTEST_ANNUALISED else blocked
    reasons = {
        "roi_pct": no_base,
        "max_drawdown": NullReason.INSUFFICIENT_SAMPLES,
        "sharpe": blocked or NullReason.ZERO_VARIANCE,
        "sortino": blocked or NullReason.NO_DOWNSIDE,
        "volatility": blocked,
        "win_rate": blocked,
        "sharpe_annualised": blocked_annual or NullReason.ZERO_VARIANCE,
        "sortino_annualised": blocked_annual or NullReason.NO_DOWNSIDE,
        "volatility_annualised": blocked_annual,
        "calmar": blocked_annual or (no_base if row.roi_pct is None else _no_calmar(row)),
    }
    return {
        name: (reasons[name] or NullReason.INSUFFICIENT_SAMPLES).value
        for name, value in values.items()
        if value is None
    }


def _blocked(row: _Row, needed: int | None) -> NullReason | None:
    if needed is None:
        return NullReason.WINDOW_TOO_SHORT
    return NullReason.INSUFFICIENT_SAMPLES if row.sample_count < needed else None


def _no_calmar(row: _Row) -> NullReason:
    # A rise so steep that its annual power leaves the float range is a window too short to scale.
    return NullReason.NO_DRAWDOWN if row.max_drawdown == 0 else NullReason.WINDOW_TOO_SHORT

"""The formulas of the risk statistics, once: over the rows of a matrix, and for one series.

Rows are series, NaN marks a missing return. A figure that does not exist is NaN in the matrix
functions and None in the scalar ones; the scalar ones are the matrix ones with a single row.

Sources: Sharpe, "The Sharpe Ratio" (1994); Sortino and Price, "Performance Measurement in
a Downside Risk Framework" (1994), with all observations in the denominator; Young, "Calmar Ratio"
(1991); Bacon, "Practical Portfolio Performance Measurement and Attribution". All take simple
returns p[i] / p[i-1] - 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite, sqrt

import numpy as np

from app.analytics.instants import BoolArray, FloatArray, IntArray

# Deviations below this share of max(1, |mean|) are rounding noise of the floats, not movement.
NOISE = 1e-12
# A price outside takes no part in ratios: squares of its returns would leave the float range.
LEAST_PRICE, GREATEST_PRICE = 1e-75, 1e75

Number = float | Decimal


@dataclass(frozen=True, slots=True)
class ReturnFigures:
    """What a matrix of returns says, row by row; every array has the shape (rows,).

    `deviation` is the sample standard deviation (n - 1). `has_variance` and `has_downside` tell why
    `sharpe` or `sortino` is NaN where `count` alone does not.
    """

    count: IntArray
    mean: FloatArray
    deviation: FloatArray
    sharpe: FloatArray
    sortino: FloatArray
    win_rate: FloatArray
    has_variance: BoolArray
    has_downside: BoolArray


def is_flat(deviations: FloatArray, means: FloatArray) -> BoolArray:
    """True where a deviation is nothing but the noise of float arithmetic; False for NaN."""
    return np.asarray(deviations <= NOISE * np.maximum(1.0, np.abs(means)), np.bool_)


def measure_returns(
    returns: FloatArray, *, risk_free: FloatArray | float, acceptable: FloatArray | float
) -> ReturnFigures:
    """Sharpe, Sortino, deviation and win rate of each row of `returns`, shape (rows, steps).

    `risk_free` and `acceptable` are rates per step, one for all or one a row.
    """
    is_present = np.isfinite(returns)
    count = is_present.sum(axis=1)
    with np.errstate(all="ignore"):
        mean = np.where(is_present, returns, 0.0).sum(axis=1) / count
        deviation = _deviation(returns, is_present, mean, count)
        downside = _downside_deviation(returns, is_present, acceptable, count)
        has_variance = (deviation > 0.0) & ~is_flat(deviation, mean)
        has_downside = (downside > 0.0) & ~is_flat(downside, mean)
        return ReturnFigures(
            count=count.astype(np.int64),
            mean=mean,
            deviation=np.where(is_flat(deviation, mean), 0.0, deviation),
            sharpe=np.where(has_variance, (mean - risk_free) / deviation, np.nan),
            sortino=np.where(has_downside, (mean - acceptable) / downside, np.nan),
            win_rate=(returns > 0.0).sum(axis=1) / count,
            has_variance=has_variance,
            has_downside=has_downside,
        )


def measure_drawdowns(prices: FloatArray) -> FloatArray:
    """The deepest fall below the peak so far of each row of prices, in [-1, 0]; NaN below two.

    min over i of p[i] / max(p[0..i]) - 1 (Bacon). NaN prices are passed over.
    """
    peaks = np.fmax.accumulate(prices, axis=1)
    with np.errstate(all="ignore"):
        falls = np.where(np.isfinite(prices), prices / peaks - 1.0, 0.0)
    enough = np.isfinite(prices).sum(axis=1) > 1
    return np.where(enough, falls.min(axis=1, initial=0.0), np.nan)


def measure_calmar(
    growth: FloatArray, years: FloatArray | float, max_drawdown: FloatArray
) -> FloatArray:
    """(growth ** (1 / years) - 1) / |max drawdown| of each row; NaN without a drawdown.

    `growth` is last price over first, `years` the time between them. Young's ratio with the
    geometric return over the whole span; NaN as well where the power leaves the float range.
    """
    with np.errstate(all="ignore"):
        ratio = (growth ** (1.0 / years) - 1.0) / -max_drawdown
    return np.where((max_drawdown < 0.0) & np.isfinite(ratio), ratio, np.nan)


def per_step_rate(annual_rate: Number, steps_per_year: float) -> float:
    """The rate per step that compounds to `annual_rate`: (1 + rate) ** (1 / steps) - 1.

    Raises `ValueError` for a rate of -100 % or less.
    """
    if annual_rate <= -1:
        raise ValueError(f"an annual rate of {annual_rate} leaves nothing to compound")
    return float((1.0 + float(annual_rate)) ** (1.0 / steps_per_year) - 1.0)


def annualise(ratio_or_deviation: float, steps_per_year: float) -> float:
    """A ratio or deviation per step times the root of the steps in a year."""
    return ratio_or_deviation * sqrt(steps_per_year)


def simple_returns(closes: Sequence[Number | None]) -> list[float | None]:
    """p[i] / p[i-1] - 1 of neighbours on an equal grid; None on both sides of an unusable price."""
    prices = usable_prices(closes)
    return [value if isfinite(value) else None for value in chain_returns(prices[None, :])[0]]


def usable_prices(closes: Sequence[Number | None]) -> FloatArray:
    """The closes as floats, NaN for what is missing, not above zero or out of range."""
    numbers = [np.nan if close is None else float(close) for close in closes]
    prices = np.asarray(numbers, np.float64)
    return np.where((prices >= LEAST_PRICE) & (prices <= GREATEST_PRICE), prices, np.nan)


def chain_returns(prices: FloatArray) -> FloatArray:
    """Simple returns along the rows of `prices`, (rows, n) to (rows, n - 1); NaN breaks a chain."""
    with np.errstate(all="ignore"):
        return np.asarray(prices[:, 1:] / prices[:, :-1] - 1.0, np.float64)


def sharpe(returns: Sequence[Number | None], *, risk_free: float = 0.0) -> float | None:
    """(mean(r) - risk free) / s per step, s the sample deviation (Sharpe 1994).

    `risk_free` is per step. None below two returns or without variance.
    """
    figures = measure_returns(_row(returns), risk_free=risk_free, acceptable=0.0)
    return _number(figures.sharpe)


def sortino(returns: Sequence[Number | None], *, acceptable: float = 0.0) -> float | None:
    """(mean(r) - MAR) / sqrt(sum(min(r - MAR, 0) ** 2) / n) per step, n all returns (Sortino 1994).

    `acceptable` (MAR) is per step. None below two returns or where none falls short of it.
    """
    figures = measure_returns(_row(returns), risk_free=0.0, acceptable=acceptable)
    return _number(figures.sortino) if figures.count[0] > 1 else None


def volatility(returns: Sequence[Number | None]) -> float | None:
    """The sample standard deviation (n - 1) of the returns; None below two."""
    return _number(measure_returns(_row(returns), risk_free=0.0, acceptable=0.0).deviation)


def win_rate(returns: Sequence[Number | None]) -> float | None:
    """The share of returns above zero among all, in [0, 1]; a flat step is no win. None if none."""
    return _number(measure_returns(_row(returns), risk_free=0.0, acceptable=0.0).win_rate)


def max_drawdown(closes: Sequence[Number | None]) -> float | None:
    """The deepest fall below the peak so far, in [-1, 0] (Bacon); None below two usable closes."""
    return _number(measure_drawdowns(usable_prices(closes)[None, :]))


def calmar(closes: Sequence[Number | None], *, steps_per_year: float) -> float | None:
    """Annualised geometric return over |max drawdown| of closes one step apart (Young 1991).

    None where the first or last close is unusable or there is no drawdown.
    """
    prices = usable_prices(closes)[None, :]
    if prices.shape[1] < 2:
        return None
    years = (prices.shape[1] - 1) / steps_per_year
    return _number(measure_calmar(prices[:, -1] / prices[:, 0], years, measure_drawdowns(prices)))


def _deviation(
    returns: FloatArray, is_present: BoolArray, mean: FloatArray, count: IntArray
) -> FloatArray:
    squares = np.where(is_present, (returns - mean[:, None]) ** 2, 0.0).sum(axis=1)
    return np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)


def _downside_deviation(
    returns: FloatArray,
    is_present: BoolArray,
    acceptable: FloatArray | float,
    count: IntArray,
) -> FloatArray:
    floor = np.reshape(np.asarray(acceptable, np.float64), (-1, 1))
    shortfalls = np.where(is_present, np.minimum(returns - floor, 0.0), 0.0)
    return np.asarray(np.sqrt((shortfalls**2).sum(axis=1) / count), np.float64)


def _row(returns: Sequence[Number | None]) -> FloatArray:
    numbers = [np.nan if value is None else float(value) for value in returns]
    return np.asarray(numbers, np.float64)[None, :]


def _number(row: FloatArray) -> float | None:
    value = float(row[0])
    return value if isfinite(value) else None

"""What the closes of one look-back window say, for the markets of a matrix at once."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from app.analytics.closes import CloseMatrix
from app.analytics.instants import FloatArray, IntArray, step_micros
from app.analytics.ratios import (
    ReturnFigures,
    measure_calmar,
    measure_drawdowns,
    measure_returns,
)
from app.domain import DAY, Granularity

# Two columns more than steps: the close at the window's start and the one step older.
COLUMNS_BEFORE = 2


@dataclass(frozen=True, slots=True, eq=False)
class WindowFigures:
    """One window of every market of a matrix; all arrays have the shape (markets,).

    `base_positions` points to p0 in the series (-1: none in tolerance), `start_at` is where the
    window starts, `first_at` the instant of the first close that took part (-1: none).
    `max_drawdown` and `calmar` are NaN where they do not exist.
    """

    steps: int
    returns: ReturnFigures
    base_positions: IntArray
    start_at: IntArray
    first_at: IntArray
    max_drawdown: FloatArray
    calmar: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class YearRates:
    """Per market of a matrix: steps in a year, risk-free rate and MAR per step, each (markets,)."""

    steps_per_year: FloatArray
    risk_free: FloatArray
    acceptable: FloatArray


def steps_in(length: timedelta, grid: Granularity) -> int:
    """The grid steps of a window; `ValueError` when it is not a whole number of at least one."""
    steps, rest = divmod(length, grid.step)
    if steps < 1 or rest:
        raise ValueError(f"a window of {length} is no whole number of {grid} steps")
    return steps


def steps_per_year(days: int, grid: Granularity) -> int:
    """Grid steps in a year of so many days: 365 days are 8 760 hourly steps."""
    return round(days * (DAY / grid.step))


def find_bases(matrix: CloseMatrix, steps: int) -> IntArray:
    """Where p0 of each market's window stands in the series, -1 where there is none.

    p0 is the last usable close at or before the window's start, no older than one grid step. The
    window reaches back from the market's last close, so its start lies in the slot `steps` before
    the last; the slot before that is exactly one step old only when the start lies on the grid.
    """
    newest = matrix.positions[:, -1 - steps]
    older = matrix.positions[:, -2 - steps]
    is_on_grid = matrix.last_at == matrix.last_slot_at
    return np.where((newest < 0) & is_on_grid, older, newest)


def measure_window(
    matrix: CloseMatrix, returns: FloatArray, *, steps: int, rates: YearRates
) -> WindowFigures:
    """Figures of the last `steps` grid steps before each market's last close.

    `returns` are those of the matrix's columns (`chain_returns`): one for every two neighbouring
    slots that both have a close, so none reaches across a gap. A last close between two slots
    counts for drawdown and Calmar, but gives no return: its step is not a whole one.
    """
    series = matrix.series
    bases = find_bases(matrix, steps)
    positions = matrix.positions[:, -1 - steps :].copy()
    positions[:, 0] = bases
    drawdowns = measure_drawdowns(_prices_with_last(matrix, positions))
    base_at = np.where(bases >= 0, series.instants[bases], -1)
    base_prices = np.where(bases >= 0, series.closes[bases], np.nan)
    elapsed_steps = (matrix.last_at - base_at) / step_micros(series.grid)
    return WindowFigures(
        steps=steps,
        returns=measure_returns(
            returns[:, -steps:], risk_free=rates.risk_free, acceptable=rates.acceptable
        ),
        base_positions=bases,
        start_at=matrix.last_at - steps * step_micros(series.grid),
        first_at=_first_instants(matrix, positions),
        max_drawdown=drawdowns,
        calmar=measure_calmar(
            matrix.last_prices / base_prices, elapsed_steps / rates.steps_per_year, drawdowns
        ),
    )


def _prices_with_last(matrix: CloseMatrix, positions: IntArray) -> FloatArray:
    """The window's prices, and the last close once more where it lies between two slots."""
    prices = np.where(positions >= 0, matrix.series.closes[positions], np.nan)
    is_on_grid = matrix.last_at == matrix.last_slot_at
    between = np.where(is_on_grid, np.nan, matrix.last_prices)
    return np.concatenate((prices, between[:, None]), axis=1)


def _first_instants(matrix: CloseMatrix, positions: IntArray) -> IntArray:
    first_column = (positions >= 0).argmax(axis=1)
    first = positions[np.arange(len(positions)), first_column]
    return np.where(first >= 0, matrix.series.instants[first], -1)

"""How the returns of markets move together: correlation and beta of pairs, and a whole matrix."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import combinations_with_replacement

import numpy as np

from app.analytics.closes import CloseSeries, as_blocks, lay_out_until
from app.analytics.instants import BoolArray, FloatArray, IntArray
from app.analytics.ratios import chain_returns, is_flat
from app.analytics.rounding import to_ratio
from app.analytics.windows import steps_in
from app.domain import Granularity, Window

MOST_MARKETS = 50
_PAIRS_PER_BLOCK = 64


@dataclass(frozen=True, slots=True, eq=False)
class ReturnTable:
    """Simple returns (markets, steps) of every market on the same grid slots, NaN for a hole.

    The last column ends at the slot of the instant the table was built for.
    """

    market_ids: IntArray
    returns: FloatArray
    grid: Granularity = Granularity.HOURLY

    @property
    def needed(self) -> int:
        """The joint returns a correlation needs: 80 % of the steps, at least two."""
        steps: int = self.returns.shape[1]
        return max(2, -(-steps * 4 // 5))

    def rows_of(self, market_ids: Sequence[int]) -> IntArray:
        """The row of each market, -1 for one that has no closes."""
        row_of = {market_id: row for row, market_id in enumerate(self.market_ids.tolist())}
        return np.asarray([row_of.get(market_id, -1) for market_id in market_ids], np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class PairFigures:
    """Correlation and beta of pairs, NaN where there is none; every array has shape (pairs,).

    `count` is the number of steps on which both markets have a return.
    """

    count: IntArray
    correlation: FloatArray
    beta: FloatArray


@dataclass(frozen=True, slots=True)
class CorrelationMatrix:
    """Correlations in [-1, 1] in the order of `market_ids`; None where there is no number.

    `sample_counts` are the joint returns behind each.
    """

    market_ids: tuple[int, ...]
    correlations: tuple[tuple[Decimal | None, ...], ...]
    sample_counts: tuple[tuple[int, ...], ...]


def build_return_table(
    closes: CloseSeries | Iterable[CloseSeries],
    *,
    as_of: datetime,
    length: timedelta = Window.D30.length,
) -> ReturnTable:
    """The returns of the grid steps within `length` before the slot of `as_of`.

    Give the latest observation's instant as `as_of`, not the clock: then the same data give the
    same table. Only closes on the grid count; no return reaches across a missing one.
    """
    return join_return_tables(
        [_table_of_block(block, as_of=as_of, length=length) for block in as_blocks(closes)]
    )


def join_return_tables(tables: Sequence[ReturnTable]) -> ReturnTable:
    """One table of tables built for the same instant and length from different markets."""
    if not tables:
        return ReturnTable(np.empty(0, np.int64), np.empty((0, 0)))
    return ReturnTable(
        np.concatenate([table.market_ids for table in tables]),
        np.concatenate([table.returns for table in tables]),
        tables[0].grid,
    )


def measure_pairs(table: ReturnTable, firsts: IntArray, seconds: IntArray) -> PairFigures:
    """Pearson's correlation and beta (of the first on the second) of pairs of rows of the table.

    correlation = cov(a, b) / (s(a) s(b)), beta = cov(a, b) / s(b)**2, both over the steps on which
    both have a return. NaN below `table.needed` of them or without variance; row -1 is an unknown
    market.
    """
    parts = [
        _measure_block(table, firsts[start : start + _PAIRS_PER_BLOCK], seconds[start:])
        for start in range(0, len(firsts), _PAIRS_PER_BLOCK)
    ]
    if not parts:
        return PairFigures(np.empty(0, np.int64), np.empty(0), np.empty(0))
    return PairFigures(
        np.concatenate([part.count for part in parts]),
        np.concatenate([part.correlation for part in parts]),
        np.concatenate([part.beta for part in parts]),
    )


def correlation_matrix(table: ReturnTable, market_ids: Sequence[int]) -> CorrelationMatrix:
    """The correlations of up to 50 markets with each other; `ValueError` for more."""
    if len(market_ids) > MOST_MARKETS:
        raise ValueError(f"{len(market_ids)} markets are more than {MOST_MARKETS}")
    size = len(market_ids)
    pairs = list(combinations_with_replacement(range(size), 2))
    rows = table.rows_of(market_ids)
    upper = np.asarray(pairs, np.int64).reshape(-1, 2)
    figures = measure_pairs(table, rows[upper[:, 0]], rows[upper[:, 1]])
    values: list[list[Decimal | None]] = [[None] * size for _ in range(size)]
    counts = [[0] * size for _ in range(size)]
    for (first, second), value, count in zip(
        pairs, figures.correlation.tolist(), figures.count.tolist(), strict=True
    ):
        values[first][second] = values[second][first] = to_ratio(value)
        counts[first][second] = counts[second][first] = count
    return CorrelationMatrix(
        tuple(market_ids), tuple(map(tuple, values)), tuple(map(tuple, counts))
    )


def _table_of_block(block: CloseSeries, *, as_of: datetime, length: timedelta) -> ReturnTable:
    steps = steps_in(length, block.grid)
    market_ids, prices = lay_out_until(block, as_of=as_of, slots=steps + 1)
    return ReturnTable(market_ids, chain_returns(prices), block.grid)


def _measure_block(table: ReturnTable, firsts: IntArray, seconds: IntArray) -> PairFigures:
    seconds = seconds[: len(firsts)]
    if not table.returns.size:
        nothing = np.full(len(firsts), np.nan)
        return PairFigures(np.zeros(len(firsts), np.int64), nothing, nothing)
    first, second = table.returns[firsts], table.returns[seconds]
    known = (firsts >= 0) & (seconds >= 0)
    joint = np.isfinite(first) & np.isfinite(second) & known[:, None]
    count = joint.sum(axis=1)
    with np.errstate(all="ignore"):
        first, first_mean = _centred(first, joint, count)
        second, second_mean = _centred(second, joint, count)
        first_deviation = np.sqrt((first**2).sum(axis=1) / (count - 1))
        second_deviation = np.sqrt((second**2).sum(axis=1) / (count - 1))
        covariance = (first * second).sum(axis=1) / (count - 1)
        correlation = covariance / first_deviation / second_deviation
        beta = covariance / second_deviation**2
    second_moves = (count >= table.needed) & ~is_flat(second_deviation, second_mean)
    both_move = second_moves & ~is_flat(first_deviation, first_mean)
    return PairFigures(
        count.astype(np.int64),
        np.where(both_move, np.clip(correlation, -1.0, 1.0), np.nan),
        np.where(second_moves, beta, np.nan),
    )


def _centred(
    returns: FloatArray, joint: BoolArray, count: IntArray
) -> tuple[FloatArray, FloatArray]:
    """The joint returns less their mean (zero elsewhere), and the mean."""
    mean = np.where(joint, returns, 0.0).sum(axis=1) / count
    return np.where(joint, returns - mean[:, None], 0.0), mean

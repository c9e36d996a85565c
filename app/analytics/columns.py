"""Sorted columns of observations or finer candles, cut into the groups that become one candle."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TypeVar

import numpy as np

from app.analytics.instants import BoolArray, FloatArray, IntArray, slots_of
from app.analytics.ratios import is_flat
from app.analytics.rounding import divide
from app.domain import Granularity

Value = TypeVar("Value")

_ZERO = Decimal(0)
# An average has 28 digits; times its sample count, rounded to 26, it is the exact sum again
# wherever the sum has no more digits than that.
_SUM_CONTEXT = Context(prec=26, rounding=ROUND_HALF_EVEN, Emax=999_999, Emin=-999_999)


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows `[starts, ends)` of one market and one interval each; arrays of shape (groups,)."""

    market_ids: IntArray
    slots: IntArray
    starts: IntArray
    ends: IntArray


@dataclass(frozen=True, slots=True)
class CandleColumns:
    """The rows behind the candles, sorted by market and time; `is_adjacent` has one less.

    `sums` are the sums of the samples of each row, `counts` their number. `is_adjacent` says of
    each neighbouring pair whether a return may be taken between its closes. No `volumes` at all
    stand for none known. The sums are exact in a decimal context that is wide enough (`WIDE`).
    """

    opens: Sequence[Decimal]
    highs: Sequence[Decimal]
    lows: Sequence[Decimal]
    closes: Sequence[Decimal]
    sums: Sequence[Decimal]
    counts: Sequence[int]
    volumes: Sequence[Decimal | None]
    first_observed: Sequence[datetime | None]
    last_observed: Sequence[datetime | None]
    is_adjacent: BoolArray

    def volume_of(self, rows: slice) -> Decimal | None:
        """The exact sum of the volumes; None when one of them is missing."""
        if not self.volumes:
            return None
        present = [volume for volume in self.volumes[rows] if volume is not None]
        return sum(present, _ZERO) if len(present) == rows.stop - rows.start else None

    def average_of(self, rows: slice, sample_count: int) -> Decimal:
        """The mean of the samples behind the rows, to 28 significant digits."""
        return divide(sum(self.sums[rows], _ZERO), Decimal(sample_count))

    def first_observed_of(self, rows: slice) -> datetime | None:
        """The earliest known observation of the rows."""
        return _first_present(self.first_observed[rows])

    def last_observed_of(self, rows: slice) -> datetime | None:
        """The latest known observation of the rows."""
        return _first_present(self.last_observed[rows][::-1])


def arrange(market_ids: IntArray, instants: IntArray, ranks: IntArray | None = None) -> IntArray:
    """The positions of the rows by market and instant, one an instant.

    Of several rows of one market and instant the one with the least rank stays, the last given
    among equals.
    """
    keys = (instants, market_ids) if ranks is None else (-ranks, instants, market_ids)
    order = np.asarray(np.lexsort(keys), np.int64)
    if not len(order):
        return order
    same = np.diff(market_ids[order]) == 0
    same &= np.diff(instants[order]) == 0
    is_last = np.append(~same, np.True_)
    return np.asarray(order[is_last], np.int64)


def pick(values: Sequence[Value], order: IntArray) -> list[Value]:
    """The values at the positions in `order`."""
    return [values[position] for position in order.tolist()]


def group_rows(market_ids: IntArray, instants: IntArray, granularity: Granularity) -> Groups:
    """Cut sorted rows wherever the market or the interval changes."""
    slots = slots_of(instants, granularity)
    changes = (np.diff(market_ids) != 0) | (np.diff(slots) != 0)
    cuts = np.flatnonzero(changes) + 1
    starts = np.concatenate(([0], cuts)) if len(slots) else cuts
    ends = np.append(cuts, len(slots)) if len(slots) else cuts
    return Groups(market_ids[starts], slots[starts], starts, ends)


def group_deviations(values: FloatArray, group_of_value: IntArray, groups: int) -> FloatArray:
    """The sample standard deviation (n - 1) of each group's values; NaN below two values."""
    counts = np.bincount(group_of_value, minlength=groups)
    with np.errstate(all="ignore"):
        means = np.bincount(group_of_value, values, minlength=groups) / counts
        squares = (values - means[group_of_value]) ** 2
        variances = np.bincount(group_of_value, squares, minlength=groups) / (counts - 1)
    deviations = np.where(counts > 1, np.sqrt(variances), np.nan)
    return np.where(is_flat(deviations, means), 0.0, deviations)


def sums_of_parts(averages: Iterable[Decimal], counts: Iterable[int]) -> list[Decimal]:
    """The sums of the samples behind averages of 28 digits, exact up to 26 digits."""
    multiply = _SUM_CONTEXT.multiply
    return [
        average if count == 1 else multiply(average, count)
        for average, count in zip(averages, counts, strict=True)
    ]


def _first_present(instants: Sequence[datetime | None]) -> datetime | None:
    # In UTC, because instants of a zone that repeats an hour do not even equal themselves abroad.
    found = next((instant for instant in instants if instant is not None), None)
    return found if found is None or found.tzinfo is UTC else found.astimezone(UTC)

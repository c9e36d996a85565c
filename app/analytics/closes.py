"""Closes of many markets on an equal grid: the columns they come in, and the matrix they become."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import overload

import numpy as np

from app.analytics.columns import arrange, pick
from app.analytics.instants import (
    FloatArray,
    IntArray,
    micros_of,
    slot_openings,
    slots_of,
    to_micros,
)
from app.analytics.ratios import GREATEST_PRICE, LEAST_PRICE
from app.domain import Granularity

MARKETS_PER_BLOCK = 64

CloseRow = tuple[int, datetime, Decimal | None]


class _Picked(Sequence[Decimal | None]):
    """Closes at some positions of a sequence and what was added after it, read when asked for."""

    def __init__(
        self, given: Sequence[Decimal | None], added: Sequence[Decimal], positions: IntArray
    ) -> None:
        self._given, self._added, self._positions = given, added, positions

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> Decimal | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Decimal | None]: ...
    def __getitem__(self, index: int | slice) -> Decimal | Sequence[Decimal | None] | None:
        if isinstance(index, slice):
            return _Picked(self._given, self._added, self._positions[index])
        position = int(self._positions[index])
        beyond = position - len(self._given)
        return self._given[position] if beyond < 0 else self._added[beyond]


@dataclass(frozen=True, slots=True, eq=False)
class CloseSeries:
    """Closes of whole markets as columns of equal length, sorted by market and instant.

    `instants` are microseconds since 1970 at which each close held: the end of its candle, or for
    an open candle the instant of its last observation. `closes` are the prices as floats (NaN:
    none), `exact` the same as decimals, of which only the first and last of a window are read, so
    that it may be any lazy sequence. A market's closes lie on the grid (multiples of its step), but
    for the last, which may be younger: the present price.
    """

    market_ids: IntArray
    instants: IntArray
    closes: FloatArray
    exact: Sequence[Decimal | None]
    grid: Granularity = Granularity.HOURLY

    def __len__(self) -> int:
        """The number of closes."""
        return len(self.market_ids)

    @staticmethod
    def from_rows(
        rows: Iterable[CloseRow], *, grid: Granularity = Granularity.HOURLY
    ) -> "CloseSeries":
        """The series of (market id, instant, close) rows in any order.

        Of several closes at one instant the last given counts. Raises `TypeError` for an instant
        without a time zone.
        """
        given = list(rows)
        market_ids = np.fromiter((row[0] for row in given), np.int64, len(given))
        instants = micros_of((row[1] for row in given), len(given))
        return CloseSeries.from_columns(market_ids, instants, [row[2] for row in given], grid=grid)

    @staticmethod
    def from_columns(
        market_ids: IntArray,
        instants: IntArray,
        exact: Sequence[Decimal | None],
        *,
        grid: Granularity = Granularity.HOURLY,
    ) -> "CloseSeries":
        """The series of three columns in any order; `instants` in microseconds since 1970."""
        closes = _floats(exact)
        order = arrange(market_ids, instants)
        if _is_identity(order, len(exact)):
            return CloseSeries(market_ids, instants, closes, exact, grid)
        return CloseSeries(
            market_ids[order], instants[order], closes[order], pick(exact, order), grid
        )

    def with_present(self, present: Mapping[int, tuple[datetime, Decimal]]) -> "CloseSeries":
        """The series ending with each market's present (instant, price).

        Closes at or after a market's present instant are left out, markets without a present price
        stay as they are, markets without closes come in with this one.
        """
        if not present:
            return self
        ids = np.fromiter(present, np.int64, len(present))
        instants = micros_of((instant for instant, _ in present.values()), len(present))
        kept = np.flatnonzero(self.instants < _bounds(self.market_ids, ids, instants))
        prices = [price for _, price in present.values()]
        all_ids = np.concatenate((self.market_ids[kept], ids))
        all_instants = np.concatenate((self.instants[kept], instants))
        all_closes = np.concatenate((self.closes[kept], _floats(prices)))
        order = arrange(all_ids, all_instants)
        sources = np.concatenate((kept, np.arange(len(prices)) + len(self)))[order]
        return CloseSeries(
            all_ids[order],
            all_instants[order],
            all_closes[order],
            _Picked(self.exact, prices, sources),
            self.grid,
        )

    def blocks(self, markets: int = MARKETS_PER_BLOCK) -> Iterator["CloseSeries"]:
        """The same closes, so many markets at a time: what fits the processor's cache is faster."""
        starts = np.flatnonzero(np.diff(self.market_ids, prepend=-1) != 0)
        if not len(self):
            return
        cuts = [*starts[::markets].tolist(), len(self)]
        for start, end in pairwise(cuts):
            part = slice(start, end)
            yield CloseSeries(
                self.market_ids[part],
                self.instants[part],
                self.closes[part],
                self.exact[part],
                self.grid,
            )


def as_blocks(closes: CloseSeries | Iterable[CloseSeries]) -> Iterator[CloseSeries]:
    """Blocks of a few markets each, whichever way the closes were given."""
    given = (closes,) if isinstance(closes, CloseSeries) else closes
    for series in given:
        yield from series.blocks()


@dataclass(frozen=True, slots=True, eq=False)
class CloseMatrix:
    """Closes of some markets side by side, the last grid slot of each market in the last column.

    `positions` (markets, slots) points into the series, -1 where there is no usable close;
    `prices` are the closes there, NaN where there is none. `last_positions` points to each market's
    last usable close and `last_prices` holds it: it may lie between two slots. `first_at` and
    `last_at` are the instants of the first and last usable close.
    """

    series: CloseSeries
    market_ids: IntArray
    positions: IntArray
    prices: FloatArray
    last_positions: IntArray
    last_prices: FloatArray
    first_at: IntArray
    last_at: IntArray

    @property
    def last_slot_at(self) -> IntArray:
        """The instant of each market's last column."""
        grid = self.series.grid
        return slot_openings(slots_of(self.last_at, grid), grid)


def lay_out(series: CloseSeries, *, as_of: datetime, slots: int) -> CloseMatrix:
    """The last `slots` grid slots of every market that has a usable close at or before `as_of`.

    A close is usable when it is there, above zero and within the range of the ratios. Closes
    between two slots are left out, except each market's last.
    """
    rows, market_ids, counts = _usable_rows(series, as_of)
    ends = np.cumsum(counts)
    last_positions, first_positions = rows[ends - 1], rows[ends - counts]
    last_at = series.instants[last_positions]
    last_slots = slots_of(last_at, series.grid)
    positions = _place(series, rows, counts, last_slots, slots)
    prices = np.where(positions >= 0, series.closes[positions], np.nan)
    return CloseMatrix(
        series=series,
        market_ids=market_ids,
        positions=positions,
        prices=prices,
        last_positions=last_positions,
        last_prices=series.closes[last_positions],
        first_at=series.instants[first_positions],
        last_at=last_at,
    )


def lay_out_until(
    series: CloseSeries, *, as_of: datetime, slots: int
) -> tuple[IntArray, FloatArray]:
    """Market ids and their prices (markets, slots); the last column is the slot of `as_of` for all.

    NaN where a market has no usable close on that slot.
    """
    rows, market_ids, counts = _usable_rows(series, as_of)
    last_slots = np.full(len(market_ids), slots_of(np.asarray([to_micros(as_of)]), series.grid)[0])
    positions = _place(series, rows, counts, last_slots, slots)
    return market_ids, np.where(positions >= 0, series.closes[positions], np.nan)


def _usable_rows(series: CloseSeries, as_of: datetime) -> tuple[IntArray, IntArray, IntArray]:
    """Positions of the usable closes by `as_of`, the markets that have one, and how many each."""
    usable = (series.closes >= LEAST_PRICE) & (series.closes <= GREATEST_PRICE)
    rows = np.flatnonzero(usable & (series.instants <= to_micros(as_of)))
    market_ids, counts = np.unique(series.market_ids[rows], return_counts=True)
    return rows, market_ids, counts


def _place(
    series: CloseSeries, rows: IntArray, counts: IntArray, last_slots: IntArray, width: int
) -> IntArray:
    """Positions (markets, width) of the rows that lie on the grid, -1 elsewhere.

    `rows` hold `counts` rows of each market in turn; a market's `last_slots` is its last column.
    """
    positions = np.full((len(counts), width), -1, np.int64)
    market_of_row = np.repeat(np.arange(len(counts)), counts)
    instants = series.instants[rows]
    slots = slots_of(instants, series.grid)
    age = last_slots[market_of_row] - slots
    fits = (age >= 0) & (age < width) & (slot_openings(slots, series.grid) == instants)
    positions[market_of_row[fits], width - 1 - age[fits]] = rows[fits]
    return positions


def _floats(exact: Sequence[Decimal | None]) -> FloatArray:
    floats = (np.nan if close is None else float(close) for close in exact)
    return np.fromiter(floats, np.float64, len(exact))


def _bounds(market_ids: IntArray, bounded_ids: IntArray, bounds: IntArray) -> IntArray:
    """The bound of each row's market, the end of time for a market without one."""
    order = np.argsort(bounded_ids)
    places = np.searchsorted(bounded_ids, market_ids, sorter=order)
    nearest = order[np.minimum(places, len(order) - 1)]
    is_bounded = bounded_ids[nearest] == market_ids
    return np.where(is_bounded, bounds[nearest], np.iinfo(np.int64).max)


def _is_identity(order: IntArray, count: int) -> bool:
    return len(order) == count and bool(np.all(np.diff(order) == 1))

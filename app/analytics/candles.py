"""Candles of many markets at once: from observations, and coarser ones from finer ones.

Everything is a function of the values given: the order of arrival changes nothing, and deriving
again what was touched by a late observation gives what deriving it in the first place would have.
A candle is derived from all observations of its interval, so the caller hands over whole intervals.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext

import numpy as np

from app.analytics.columns import (
    CandleColumns,
    Groups,
    arrange,
    group_deviations,
    group_rows,
    pick,
    sums_of_parts,
)
from app.analytics.instants import (
    FloatArray,
    IntArray,
    from_micros,
    micros_of,
    slot_openings,
    step_micros,
)
from app.analytics.rounding import WIDE, change_pct, divide, is_usable, to_ratio
from app.domain import Candle, CandleBasis, Granularity

Observation = tuple[int, datetime, Decimal]


@dataclass(frozen=True, slots=True)
class DerivedCandle:
    """One candle of one market, money in the quote currency, complete as it is stored.

    `average` is the mean of the samples (28 significant digits), `volatility` a fraction (12
    digits), `change_pct` close against open in per cent (16 digits); open, high, low, close and
    volume are exact. `first_observed_at` and `last_observed_at` bound the samples inside.
    """

    market_id: int
    granularity: Granularity
    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    average: Decimal | None
    volatility: Decimal | None
    change_pct: Decimal | None
    sample_count: int
    first_observed_at: datetime | None
    last_observed_at: datetime | None
    is_final: bool
    basis: CandleBasis

    @property
    def closed_at(self) -> datetime:
        """The end of the interval, exclusive."""
        return self.opened_at + self.granularity.step


def derive_candles(
    observations: Iterable[Observation], granularity: Granularity, *, now: datetime
) -> list[DerivedCandle]:
    """Candles of the intervals that hold an observation, by market, then opening.

    `observations` are (market id, observed at, price) in any order; of several at one instant the
    last given counts. A price that is not finite or not above zero is left out. Open and close are
    the first and last observation inside `[opened_at, closed_at)`, high and low the extremes (the
    open is not carried over from the candle before). `volume` is None: a snapshot's volume is
    a rolling 24 h sum, and adding those up would count every trade many times. `volatility` is the
    sample standard deviation (n - 1) of the simple returns between consecutive observations, None
    below two returns. `is_final` when `now` has reached the end of the interval.
    Raises `TypeError` for an instant without a time zone.
    """
    rows = [row for row in observations if is_usable(row[2])]
    columns, groups = _columns_of_observations(rows, granularity)
    return _build(columns, groups, granularity, now=now, basis=CandleBasis.SNAPSHOTS)


def merge_candles(
    finer: Iterable[DerivedCandle], granularity: Granularity, *, now: datetime
) -> list[DerivedCandle]:
    """Coarser candles (hour to day or week, day to week) from finer ones of one granularity.

    `finer` come in any order; of two for one interval the better basis counts, then the last given.
    Open is the first open, close the last close, high and low the extremes, `sample_count` the sum.
    `volume` is the sum, and None as soon as one part has none: a part sum would pass for a whole.
    `average` weighs each part's average by its sample count; the parts' sample sums are read back
    from the averages at 26 significant digits, so it equals the direct average to the last digit
    while the sums have no more digits than that. A part without average counts as the mean of its
    open, high, low and close. `volatility` is the sample standard deviation (n - 1) of the simple
    returns between closes of adjacent finer candles inside the interval (no return across a hole),
    None below two returns; it is per finer step, so it differs from that of the samples.
    A missing finer candle is no error: the candle rests on those present. Against
    `expected_finer_count` the reader can tell how complete it is. `is_final` says only that the
    interval is over by `now`. Raises `ValueError` when `finer` is mixed or not finer.
    """
    parts = list(finer)
    if not parts:
        return []
    part_granularity = _common_granularity(parts, granularity)
    columns, groups = _columns_of_candles(parts, part_granularity, granularity)
    return _build(columns, groups, granularity, now=now, basis=CandleBasis.FINER)


def expected_finer_count(granularity: Granularity, finer: Granularity) -> int:
    """How many finer candles fill one interval: 24 hours a day, 7 days or 168 hours a week."""
    return granularity.step // finer.step


def complete_candle(market_id: int, candle: Candle) -> DerivedCandle:
    """A provider's candle with what can be said of it: change, and an average if it gave none."""
    return DerivedCandle(
        market_id=market_id,
        granularity=candle.granularity,
        opened_at=candle.opened_at,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        average=candle.average if candle.average is not None else _middle(candle),
        volatility=candle.volatility,
        change_pct=_change(candle.open, candle.close),
        sample_count=candle.sample_count,
        first_observed_at=candle.first_observed_at,
        last_observed_at=candle.last_observed_at,
        is_final=candle.is_final,
        basis=candle.basis,
    )


def _common_granularity(parts: Sequence[DerivedCandle], granularity: Granularity) -> Granularity:
    finer = parts[0].granularity
    if any(part.granularity is not finer for part in parts):
        raise ValueError("candles of several granularities can't be merged together")
    if finer.step >= granularity.step:
        raise ValueError(f"{finer} candles are not finer than {granularity}")
    return finer


def _columns_of_observations(
    rows: Sequence[Observation], granularity: Granularity
) -> tuple[CandleColumns, Groups]:
    market_ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    instants = micros_of((row[1] for row in rows), len(rows))
    order = arrange(market_ids, instants)
    prices = pick([row[2] for row in rows], order)
    observed = pick([row[1] for row in rows], order)
    columns = CandleColumns(
        opens=prices,
        highs=prices,
        lows=prices,
        closes=prices,
        sums=prices,
        counts=[1] * len(prices),
        volumes=(),
        first_observed=observed,
        last_observed=observed,
        is_adjacent=np.ones(max(len(prices) - 1, 0), np.bool_),
    )
    return columns, group_rows(market_ids[order], instants[order], granularity)


def _columns_of_candles(
    parts: Sequence[DerivedCandle], finer: Granularity, granularity: Granularity
) -> tuple[CandleColumns, Groups]:
    market_ids = np.fromiter((part.market_id for part in parts), np.int64, len(parts))
    openings = micros_of((part.opened_at for part in parts), len(parts))
    order = arrange(market_ids, openings, _ranks(parts))
    market_ids, openings = market_ids[order], openings[order]
    ordered = pick(parts, order)
    counts = [part.sample_count for part in ordered]
    columns = CandleColumns(
        opens=[part.open for part in ordered],
        highs=[part.high for part in ordered],
        lows=[part.low for part in ordered],
        closes=[part.close for part in ordered],
        sums=sums_of_parts(
            [_middle(part) if part.average is None else part.average for part in ordered], counts
        ),
        counts=counts,
        volumes=[part.volume for part in ordered],
        first_observed=[part.first_observed_at for part in ordered],
        last_observed=[part.last_observed_at for part in ordered],
        is_adjacent=np.diff(openings) == step_micros(finer),
    )
    return columns, group_rows(market_ids, openings, granularity)


def _ranks(parts: Sequence[DerivedCandle]) -> IntArray:
    # Compared by identity: looking an enum member up in a mapping costs as much as all the rest.
    best, middle, worst = CandleBasis.PROVIDER, CandleBasis.FINER, CandleBasis.SNAPSHOTS
    first, second, third = best.rank, middle.rank, worst.rank
    return np.fromiter(
        (
            first if part.basis is best else second if part.basis is middle else third
            for part in parts
        ),
        np.int64,
        len(parts),
    )


def _middle(candle: Candle | DerivedCandle) -> Decimal:
    total = WIDE.add(WIDE.add(candle.open, candle.high), WIDE.add(candle.low, candle.close))
    return divide(total, Decimal(4))


def _change(opening: Decimal, closing: Decimal) -> Decimal | None:
    if not (is_usable(opening) and closing.is_finite()):
        return None
    return change_pct(opening, closing)


def _build(
    columns: CandleColumns,
    groups: Groups,
    granularity: Granularity,
    *,
    now: datetime,
    basis: CandleBasis,
) -> list[DerivedCandle]:
    """One candle a group; the rows of a group are `columns[start:end]` in order of time."""
    openings = map(from_micros, slot_openings(groups.slots, granularity).tolist())
    latest_final = now - granularity.step
    with localcontext(WIDE):  # once for all: the sums of volumes and samples are exact
        return [
            _candle(
                columns,
                slice(start, end),
                market_id=market_id,
                granularity=granularity,
                opened_at=opened_at,
                volatility=to_ratio(deviation),
                is_final=opened_at <= latest_final,
                basis=basis,
            )
            for market_id, opened_at, deviation, start, end in zip(
                groups.market_ids.tolist(),
                openings,
                _deviations(columns, groups).tolist(),
                groups.starts.tolist(),
                groups.ends.tolist(),
                strict=True,
            )
        ]


def _candle(
    columns: CandleColumns,
    rows: slice,
    *,
    market_id: int,
    granularity: Granularity,
    opened_at: datetime,
    volatility: Decimal | None,
    is_final: bool,
    basis: CandleBasis,
) -> DerivedCandle:
    opening, closing = columns.opens[rows.start], columns.closes[rows.stop - 1]
    sample_count = sum(columns.counts[rows])
    return DerivedCandle(
        market_id=market_id,
        granularity=granularity,
        opened_at=opened_at,
        open=opening,
        high=max(columns.highs[rows]),
        low=min(columns.lows[rows]),
        close=closing,
        volume=columns.volume_of(rows),
        average=columns.average_of(rows, sample_count),
        volatility=volatility,
        change_pct=_change(opening, closing),
        sample_count=sample_count,
        first_observed_at=columns.first_observed_of(rows),
        last_observed_at=columns.last_observed_of(rows),
        is_final=is_final,
        basis=basis,
    )


def _deviations(columns: CandleColumns, groups: Groups) -> FloatArray:
    """Sample deviation of the returns between adjacent rows of each group; NaN below two."""
    prices = np.fromiter(map(float, columns.closes), np.float64, len(columns.closes))
    group_of_row = np.repeat(np.arange(len(groups.slots)), groups.ends - groups.starts)
    chained = (group_of_row[1:] == group_of_row[:-1]) & columns.is_adjacent
    with np.errstate(all="ignore"):
        returns = prices[1:] / prices[:-1] - 1
    chained &= np.isfinite(returns) & (np.abs(returns) < 1e150)
    return group_deviations(returns[chained], group_of_row[1:][chained], len(groups.slots))

"""Stored closes on their way into the statistics, a block of markets at a time."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import overload

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from app.analytics.closes import CloseSeries
from app.database.bulk import read_columns
from app.domain import Granularity

MARKETS_PER_READ = 100
# Closes of so many markets are kept for the next stage: 30 days of 2,000 are about 60 MB.
MOST_MARKETS_KEPT = 2_000
WIDEST_TEXT = 40
_CLOSES = """
    SELECT market_id,
           (extract(epoch FROM CASE WHEN is_final THEN opened_at + %(step)s
                                    ELSE last_observed_at END) * 1000000)::bigint,
           close
    FROM market_aggregate
    WHERE provider = %(provider)s AND granularity = %(granularity)s
      AND market_id = ANY(%(market_ids)s)
      AND opened_at >= %(start)s AND opened_at < %(end)s
      AND (is_final OR last_observed_at IS NOT NULL)
    ORDER BY market_id, opened_at
"""

Texts = NDArray[np.bytes_]
Key = tuple[str, tuple[int, ...], datetime, datetime, Granularity]


class DecimalTexts(Sequence[Decimal | None]):
    """Decimals that are made from their texts only when they are read."""

    def __init__(self, texts: Sequence[bytes] | Texts) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, index: int) -> Decimal | None: ...
    @overload
    def __getitem__(self, index: slice) -> "DecimalTexts": ...
    def __getitem__(self, index: int | slice) -> "Decimal | DecimalTexts | None":
        if isinstance(index, slice):
            return DecimalTexts(self._texts[index])
        return Decimal(self._texts[index].decode())


def load_close_blocks(
    connection: Connection,
    *,
    provider: str,
    market_ids: Sequence[int],
    start: datetime,
    end: datetime,
    grid: Granularity = Granularity.HOURLY,
) -> Iterator[CloseSeries]:
    """Closes of the candles that opened in `[start, end)`, some hundred markets at a time.

    A close holds at the end of its candle; that of an open candle at its last observation.
    """
    ordered = sorted(market_ids)
    for first in range(0, len(ordered), MARKETS_PER_READ):
        block = ordered[first : first + MARKETS_PER_READ]
        values = {"provider": provider, "market_ids": block, "start": start, "end": end}
        values |= {"granularity": grid.value, "step": grid.step}
        columns = read_columns(connection, _CLOSES, values)
        if columns:
            yield _series(columns, grid)


class CloseShelf:
    """Blocks of closes that several stages of one run read from the database once.

    Whoever stores a candle after the first read has to `forget`.
    """

    def __init__(self) -> None:
        self._kept: dict[Key, list[CloseSeries]] = {}

    def read(
        self,
        connection: Connection,
        *,
        provider: str,
        market_ids: Sequence[int],
        start: datetime,
        end: datetime,
        grid: Granularity = Granularity.HOURLY,
    ) -> Iterator[CloseSeries]:
        """Like `load_close_blocks`; what was read to its end is at hand the next time."""
        key = (provider, tuple(sorted(market_ids)), start, end, grid)
        if key in self._kept:
            yield from self._kept[key]
            return
        blocks = load_close_blocks(
            connection, provider=provider, market_ids=key[1], start=start, end=end, grid=grid
        )
        is_small = sum(len(other[1]) for other in self._kept) + len(key[1]) <= MOST_MARKETS_KEPT
        kept = []
        for block in blocks:
            yield block
            if is_small:
                kept.append(block)
        if is_small:
            self._kept[key] = kept

    def forget(self) -> None:
        """Drop everything, because a candle has changed."""
        self._kept.clear()


def _series(columns: Sequence[list[bytes]], grid: Granularity) -> CloseSeries:
    texts: Texts = np.array(columns[2])
    return CloseSeries(
        market_ids=np.array(columns[0]).astype(np.int64),
        instants=np.array(columns[1]).astype(np.int64),
        closes=texts.astype(np.float64),
        # An array takes a fifth of the memory, unless one long text makes all of them long.
        exact=DecimalTexts(texts if texts.itemsize <= WIDEST_TEXT else columns[2]),
        grid=grid,
    )

"""The mock provider's hourly candles: a sequence that is worked out while it is read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import overload

import numpy as np

from app.domain import HOUR, Candle, Granularity
from app.providers.mock_paths import HOURS_PER_CELL, LEAVES_PER_HOUR, Floats
from app.providers.mock_tape import (
    VOLATILITY_PLACES,
    Market,
    Tape,
    Ticks,
    between,
    exact,
    hour_of,
    leaf_at,
    opening_of,
    scaled_prices,
    volatility_ticks,
    whole,
)

# So many hours of market are worked out at a time, which bounds the memory to some 20 MB.
_HOURS_TOGETHER = 8 * HOURS_PER_CELL


@dataclass(frozen=True, slots=True)
class _Columns:
    """The numbers of candles in units of their market; a row a market, a column an hour."""

    open: Ticks
    high: Ticks
    low: Ticks
    close: Ticks
    average: Ticks
    volatility: Ticks
    volume: Ticks

    def row(self, number: int) -> list[tuple[int, ...]]:
        """The candles of one market as plain integers."""
        fields = (self.open, self.high, self.low, self.close)
        others = (self.average, self.volatility, self.volume)
        return list(zip(*(field[number].tolist() for field in (*fields, *others)), strict=True))


class CandleRows(Sequence[Candle]):
    """Candles of `markets` over `hours` hours from `first_hour`: all of the first market, then on.

    A candle is made of the 16 samples in its hour and the one that closes it; its open is the close
    before it. An hour that `now` lies in is sampled up to `now` and is not final. `spoil` may
    replace a candle by a bad one.
    """

    def __init__(
        self,
        tape: Tape,
        markets: Sequence[Market],
        *,
        first_hour: int,
        hours: int,
        now: datetime,
        spoil: Callable[[Candle], Candle],
    ) -> None:
        self._tape = tape
        self._markets = markets
        self._first_hour = first_hour
        self._hours = max(0, hours)
        self._now = now
        self._spoil = spoil

    def __len__(self) -> int:
        return len(self._markets) * self._hours

    def __iter__(self) -> Iterator[Candle]:
        together = max(1, _HOURS_TOGETHER // max(1, self._hours))
        if self._hours:
            for start in range(0, len(self._markets), together):
                yield from self._candles(self._markets[start : start + together])

    @overload
    def __getitem__(self, index: int) -> Candle: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Candle]: ...
    def __getitem__(self, index: int | slice) -> Candle | Sequence[Candle]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        row, column = divmod(range(len(self))[index], self._hours)
        market, hour = self._markets[row], self._first_hour + column
        columns = self._columns([market], hour, 1)
        return self._candle(market, hour, columns.row(0)[0])

    def _candles(self, markets: Sequence[Market]) -> Iterator[Candle]:
        """All candles of a few markets, or of a single one piece by piece."""
        if len(markets) == 1:
            yield from self._pieces(markets[0])
            return
        columns = self._columns(markets, self._first_hour, self._hours)
        for row, market in enumerate(markets):
            for hour, numbers in enumerate(columns.row(row), self._first_hour):
                yield self._candle(market, hour, numbers)

    def _pieces(self, market: Market) -> Iterator[Candle]:
        end = self._first_hour + self._hours
        for first in range(self._first_hour, end, HOURS_PER_CELL):
            columns = self._columns([market], first, min(HOURS_PER_CELL, end - first))
            for hour, numbers in enumerate(columns.row(0), first):
                yield self._candle(market, hour, numbers)

    def _columns(self, markets: Sequence[Market], first_hour: int, hours: int) -> _Columns:
        window = self._tape.window(markets, first_hour, hours)
        columns = _columns_of(_by_hour(window.log_prices), window.volumes, markets)
        if first_hour + hours - 1 == hour_of(self._now):
            logs = window.log_prices[:, -LEAVES_PER_HOUR - 1 :]
            self._close_at_now(columns, logs, markets)
        return columns

    def _close_at_now(self, columns: _Columns, logs: Floats, markets: Sequence[Market]) -> None:
        """Rebuild the last hour from what has happened of it."""
        leaf, fraction = leaf_at(self._now)
        present = between(logs[:, leaf], logs[:, leaf + 1], fraction)
        so_far = np.concatenate([logs[:, : leaf + 1], present[:, None]], axis=1)[:, None, :]
        elapsed = (leaf + fraction) / LEAVES_PER_HOUR
        volumes = np.rint(columns.volume[:, -1:] * elapsed).astype(np.int64)
        partial = _columns_of(so_far, volumes, markets)
        for name in ("open", "high", "low", "close", "average", "volatility", "volume"):
            getattr(columns, name)[:, -1:] = getattr(partial, name)

    def _candle(self, market: Market, hour: int, numbers: tuple[int, ...]) -> Candle:
        first, high, low, last, average, volatility, volume = numbers
        unit = market.price_unit
        opened_at = opening_of(hour)
        is_final = opened_at + HOUR <= self._now
        candle = Candle(
            market.listing,
            Granularity.HOURLY,
            opened_at,
            exact(first, unit),
            exact(high, unit),
            exact(low, unit),
            exact(last, unit),
            volume=exact(volume, market.volume_places),
            average=exact(average, unit),
            volatility=exact(volatility, VOLATILITY_PLACES) if volatility >= 0 else None,
            sample_count=LEAVES_PER_HOUR if is_final else leaf_at(self._now)[0] + 1,
            is_final=is_final,
        )
        return self._spoil(candle)


def _by_hour(log_prices: Floats) -> Floats:
    """The samples of each hour with the one that closes it, as a view: market, hour, sample."""
    windows = np.lib.stride_tricks.sliding_window_view(log_prices, LEAVES_PER_HOUR + 1, axis=1)
    return windows[:, ::LEAVES_PER_HOUR]


def _columns_of(log_prices: Floats, volumes: Ticks, markets: Sequence[Market]) -> _Columns:
    """Candles from the samples of each hour, the closing one last."""
    prices = scaled_prices(log_prices, markets)
    samples = [prices[..., number] for number in range(prices.shape[-1])]
    return _Columns(
        open=whole(samples[0]),
        high=whole(reduce(np.maximum, samples)),
        low=whole(reduce(np.minimum, samples)),
        close=whole(samples[-1]),
        average=whole(sum(samples[1:-1], samples[0]) / (len(samples) - 1)),
        volatility=volatility_ticks(prices),
        volume=volumes,
    )

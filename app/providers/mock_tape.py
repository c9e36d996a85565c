"""The mock provider's tape: unit paths weighted into exact prices and volumes of markets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from app.domain import HOUR, Listing
from app.providers.mock_assets import SECTORS, Asset, asset_of, is_index, quote_of
from app.providers.mock_paths import (
    LEAF_MICROSECONDS,
    LEAVES_PER_HOUR,
    Floats,
    Keys,
    series_key,
    uniform,
    unit_paths,
)

Ticks = NDArray[np.int64]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
PRICE_DIGITS = 6
VOLATILITY_PLACES = 10
# The rhythm of a day: more is traded around 15 UTC than around 3 UTC.
_DAILY_RHYTHM = np.array([1 + 0.25 * math.sin(2 * math.pi * (hour - 9) / 24) for hour in range(24)])
_OBSERVED_TOGETHER = 256


@dataclass(frozen=True, slots=True)
class Market:
    """A listing with what it trades; prices are whole numbers of 10 ** -price_places."""

    listing: Listing
    base: Asset
    quote: Asset
    price_places: int
    volume_places: int
    tiny_shift: int = 0

    @property
    def price_unit(self) -> int:
        """How many places the price's last digit stands behind the point, once made tiny."""
        return self.price_places + self.tiny_shift

    def market_cap(self, ticks: int) -> Decimal | None:
        """Price times supply, cut after two places; None for an index, which has none."""
        if is_index(self.base):
            return None
        return exact(ticks * self.base.supply // 10 ** (self.price_places - 2), 2)


@dataclass(frozen=True, slots=True)
class Common:
    """The paths that markets share over some hours: the whole market's, then each sector's."""

    first_hour: int
    hours: int
    values: Floats


@dataclass(frozen=True, slots=True)
class Window:
    """Markets over whole hours: logarithms of prices a leaf, and volumes an hour in units."""

    log_prices: Floats
    volumes: Ticks


@dataclass(frozen=True, slots=True)
class Observation:
    """One market at one instant."""

    market: Market
    price: int
    volume: int
    volatility: int


def market_of(listing: Listing, *, tiny: bool) -> Market:
    """What the listing trades, with the number of digits a real market of its level would show."""
    base, quote = asset_of(listing), quote_of(listing)
    magnitude = math.floor(math.log10(base.level / quote.level))
    places = max(2, PRICE_DIGITS - 1 - magnitude)
    volume_magnitude = math.floor(math.log10(base.volume / quote.level))
    volume_places = min(2, max(0, 12 - volume_magnitude))
    return Market(listing, base, quote, places, volume_places, 12 + magnitude if tiny else 0)


def exact(units: int, places: int) -> Decimal:
    """`units` of 10 ** -places as a decimal, whatever the decimal context."""
    return Decimal(f"{units}e-{places}")


def hour_of(instant: datetime) -> int:
    """The number of whole hours from the epoch to an aware instant."""
    return (instant - EPOCH) // HOUR


def opening_of(hour: int) -> datetime:
    """The instant at which that hour since the epoch begins."""
    return EPOCH + hour * HOUR


def leaf_at(instant: datetime) -> tuple[int, float]:
    """The leaf of its hour in which an instant lies, and how far along the leaf it is."""
    micros = (instant - opening_of(hour_of(instant))) // MICROSECOND
    return micros // LEAF_MICROSECONDS, (micros % LEAF_MICROSECONDS) / LEAF_MICROSECONDS


def between(left: Floats, right: Floats, fraction: float) -> Floats:
    """A point on the straight way from left to right; exactly `left` at 0."""
    return left + fraction * (right - left)


def scaled_prices(log_prices: Floats, markets: Sequence[Market]) -> Floats:
    """Prices in ticks of their market (first axis), not yet rounded."""
    ticks = np.array([10.0**market.price_places for market in markets])
    prices: Floats = np.exp(log_prices) * ticks.reshape(-1, *[1] * (log_prices.ndim - 1))
    return prices


def whole(prices: Floats) -> Ticks:
    """Prices rounded to the nearest tick, never to zero."""
    return np.maximum(_rounded(prices), 1)


def volatility_ticks(prices: Floats) -> Ticks:
    """The sample deviation of simple returns along the last axis; -1 where there are too few."""
    returns = prices[..., 1:] / prices[..., :-1] - 1
    if returns.shape[-1] < 2:
        return np.full(returns.shape[:-1], -1, dtype=np.int64)
    deviation = returns.std(axis=-1, ddof=1)
    return _rounded(deviation * 10.0**VOLATILITY_PLACES)


_cached_key = lru_cache(maxsize=65_536)(series_key)


class Tape:
    """Every market's path under one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.common = lru_cache(maxsize=16)(self._build_common)

    def keys(self, kind: str, names: Sequence[str]) -> Keys:
        """The keys of named series of one kind."""
        return np.array([_cached_key(self.seed, kind, name) for name in names], dtype=np.uint64)

    def window(self, markets: Sequence[Market], first_hour: int, hours: int) -> Window:
        """The markets over `hours` whole hours; memory grows with their product."""
        assets = list(dict.fromkeys(a for market in markets for a in (market.base, market.quote)))
        keys = self.keys("asset", [f"{asset.kind}/{asset.symbol}" for asset in assets])
        own = unit_paths(keys, first_hour, hours)
        logs = self._log_usd(assets, own.values, self.common(first_hour, hours))
        row = {asset: number for number, asset in enumerate(assets)}
        bases = [row[market.base] for market in markets]
        quotes = [row[market.quote] for market in markets]
        volumes = self._volumes(markets, keys[bases], own.activity[bases], first_hour)
        return Window(logs[bases] - logs[quotes], volumes)

    def observe(self, markets: Sequence[Market], instant: datetime) -> list[Observation]:
        """Price, rolling 24 h volume and volatility (of the last 24 full hours) at an instant."""
        observed: list[Observation] = []
        for start in range(0, len(markets), _OBSERVED_TOGETHER):
            observed += self._observe(markets[start : start + _OBSERVED_TOGETHER], instant)
        return observed

    def _observe(self, markets: Sequence[Market], instant: datetime) -> list[Observation]:
        hour, (leaf, fraction) = hour_of(instant), leaf_at(instant)
        window = self.window(markets, hour - 24, 25)
        column = 24 * LEAVES_PER_HOUR + leaf
        logs = window.log_prices
        present = between(logs[:, column], logs[:, column + 1], fraction)
        elapsed = (leaf + fraction) / LEAVES_PER_HOUR
        closes = np.exp(logs[:, : 25 * LEAVES_PER_HOUR : LEAVES_PER_HOUR])
        rows = zip(
            markets,
            whole(scaled_prices(present, markets)).tolist(),
            _rolling_volume(window.volumes, elapsed).tolist(),
            volatility_ticks(closes).tolist(),
            strict=True,
        )
        return [Observation(*row) for row in rows]

    def _build_common(self, first_hour: int, hours: int) -> Common:
        keys = self.keys("common", ["market", *(sector.name for sector in SECTORS)])
        return Common(first_hour, hours, unit_paths(keys, first_hour, hours).values)

    def _log_usd(self, assets: Sequence[Asset], own: Floats, common: Common) -> Floats:
        levels = np.array([math.log(asset.level) for asset in assets])[:, None]
        scales = np.array([[asset.volatility] for asset in assets])
        weights = np.array([asset.sector.weights for asset in assets])
        sectors = [1 + SECTORS.index(asset.sector) for asset in assets]
        moves = weights[:, :1] * common.values[:1]
        moves += weights[:, 1:2] * common.values[sectors]
        moves += weights[:, 2:] * own
        moves *= scales
        moves += levels
        return moves

    def _volumes(
        self, markets: Sequence[Market], keys: Keys, activity: Floats, first_hour: int
    ) -> Ticks:
        hours = np.arange(first_hour, first_hour + activity.shape[1], dtype=np.int64)
        daily = np.array([m.base.volume / m.quote.level * 10.0**m.volume_places for m in markets])[
            :, None
        ]
        noise = 0.7 + 0.6 * uniform(keys, hours)
        hourly = daily / 24 * _DAILY_RHYTHM[hours % 24] * (0.3 + 0.7 * activity) * noise
        return _rounded(hourly)


def _rounded(values: Floats) -> Ticks:
    return np.rint(values).astype(np.int64)


def _rolling_volume(volumes: Ticks, elapsed: float) -> Ticks:
    """The last 24 hours of 25, the last of which has run for the fraction `elapsed`."""
    leaving = np.rint(volumes[:, 0] * (1 - elapsed)).astype(np.int64)
    entering = np.rint(volumes[:, 24] * elapsed).astype(np.int64)
    total: Ticks = leaving + volumes[:, 1:24].sum(axis=1) + entering
    return total

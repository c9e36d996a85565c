"""The markets of one exchange: kept for an hour, found by its own id or by two currencies."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain import Listing

LIST_SECONDS = 3600.0
LISTS_KEPT = 4


@dataclass(frozen=True, slots=True)
class Market:
    """One spot market: `id` is the exchange's own, `symbol` ccxt's name (`BTC/USD`)."""

    id: str
    symbol: str
    base: str
    quote: str
    is_open: bool = True


class MarketList:
    """The spot markets of one exchange; one whose id or symbol is taken twice is not offered."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        markets = [market for row in rows if (market := _market(row))]
        by_id: defaultdict[str, list[Market]] = defaultdict(list)
        by_symbol: defaultdict[str, list[Market]] = defaultdict(list)
        for market in markets:
            by_id[market.id].append(market)
            by_symbol[market.symbol].append(market)
        self._by_id = {
            market.id: market
            for market in markets
            if len(by_id[market.id]) == len(by_symbol[market.symbol]) == 1
        }
        self._by_pair: defaultdict[tuple[str, str], list[Market]] = defaultdict(list)
        for market in self._by_id.values():
            self._by_pair[market.base, market.quote].append(market)

    def __len__(self) -> int:
        return len(self._by_id)

    def with_id(self, market_id: str) -> Market | None:
        """The market that the exchange calls so."""
        return self._by_id.get(market_id)

    def of_pair(self, base: str, quote: str) -> Sequence[Market]:
        """The markets of these two currencies; more than one where the exchange splits them."""
        return self._by_pair.get((base, quote), [])

    def search(self, text: str, limit: int) -> list[Market]:
        """Open markets whose symbol or id holds `text`, the closest first."""
        wanted = text.strip().casefold()
        if not wanted:
            return []
        found = [
            (market.base.casefold() != wanted, len(market.symbol), market.symbol, market)
            for market in self._by_id.values()
            if market.is_open and wanted in f"{market.symbol} {market.id}".casefold()
        ]
        return [entry[3] for entry in sorted(found, key=lambda entry: entry[:3])[:limit]]


def _market(row: Mapping[str, Any]) -> Market | None:
    texts = [row.get(name) for name in ("id", "symbol", "base", "quote")]
    if not row.get("spot") or not all(isinstance(text, str) and text for text in texts):
        return None
    market_id, symbol, base, quote = map(str, texts)
    return Market(market_id, symbol, base, quote, is_open=row.get("active") is not False)


@dataclass(frozen=True, slots=True)
class LoadedMarkets:
    """A list of markets, and the exchange object of ccxt that it came with."""

    markets: MarketList
    source: Any


class MarketCache:
    """The markets of the last hour by exchange and address, four lists at most; thread-safe."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._lists: dict[tuple[str, str], tuple[float, LoadedMarkets]] = {}

    def find(self, exchange: str, base_url: str) -> LoadedMarkets | None:
        """What is kept of that exchange, if it is young enough."""
        with self._lock:
            read_at, loaded = self._lists.get((exchange, base_url), (0.0, None))
            return loaded if loaded and self._monotonic() - read_at < LIST_SECONDS else None

    def keep(self, exchange: str, base_url: str, loaded: LoadedMarkets) -> None:
        """Keep it, and let the oldest go when there are more than four."""
        with self._lock:
            self._lists.pop((exchange, base_url), None)
            self._lists[exchange, base_url] = (self._monotonic(), loaded)
            while len(self._lists) > LISTS_KEPT:
                self._lists.pop(next(iter(self._lists)))

    def clear(self) -> None:
        """Forget every list."""
        with self._lock:
            self._lists.clear()


@dataclass(frozen=True, slots=True)
class Place:
    """A market at the exchange for a listing of ours."""

    listing: Listing
    market: Market

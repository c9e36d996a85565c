"""CoinGecko's list of coins: kept for a day, looked up by symbol, id or a piece of text."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from app.providers.coingecko_payloads import CoinEntry

LIST_SECONDS = 24 * 3600
LISTS_KEPT = 4


class CoinList:
    """/coins/list, looked up by symbol or id without regard to case."""

    def __init__(self, coins: Iterable[CoinEntry]) -> None:
        self.coins = tuple({coin.id: coin for coin in coins}.values())
        self._by_symbol: defaultdict[str, list[CoinEntry]] = defaultdict(list)
        for coin in self.coins:
            self._by_symbol[coin.symbol.casefold()].append(coin)
        self._by_id = {coin.id: coin for coin in self.coins}

    def with_symbol(self, symbol: str) -> Sequence[CoinEntry]:
        """Every coin of exactly that symbol."""
        return self._by_symbol.get(symbol.casefold(), [])

    def with_id(self, coin_id: str) -> CoinEntry | None:
        """The coin of that id."""
        return self._by_id.get(coin_id)

    def search(self, text: str, limit: int) -> list[CoinEntry]:
        """Coins whose symbol, id or name holds `text`, the closest first."""
        wanted = text.strip().casefold()
        if not wanted:
            return []
        found = [(closeness, coin) for coin in self.coins if (closeness := _match(coin, wanted))]
        found.sort(key=lambda pair: (pair[0], len(pair[1].id), pair[1].id))
        return [coin for _, coin in found[:limit]]


def _match(coin: CoinEntry, wanted: str) -> int:
    """1 is closest; 0 when the coin does not match."""
    symbol, name = coin.symbol.casefold(), coin.name.casefold()
    if wanted in (symbol, coin.id, name):
        return 1
    if symbol.startswith(wanted) or coin.id.startswith(wanted) or name.startswith(wanted):
        return 2
    return 3 if wanted in symbol or wanted in coin.id or wanted in name else 0


class CoinListCache:
    """The coins lists of the last 24 hours by base address, four at most; thread-safe."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._lists: dict[str, tuple[float, CoinList]] = {}

    def find(self, base_url: str) -> CoinList | None:
        """The list of that address, if it is kept and young enough."""
        with self._lock:
            read_at, coins = self._lists.get(base_url, (0.0, None))
            return coins if coins and self._monotonic() - read_at < LIST_SECONDS else None

    def keep(self, base_url: str, coins: CoinList) -> None:
        """Keep the list, and let the oldest go when there are more than four."""
        with self._lock:
            self._lists.pop(base_url, None)
            self._lists[base_url] = (self._monotonic(), coins)
            while len(self._lists) > LISTS_KEPT:
                self._lists.pop(next(iter(self._lists)))

    def clear(self) -> None:
        """Forget every list."""
        with self._lock:
            self._lists.clear()

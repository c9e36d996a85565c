"""Crypto exchanges through the package ccxt: what it knows of them, asked by our own client."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from app.domain import (
    Candle,
    Granularity,
    Listing,
    MarketProblem,
    MarketRequest,
    Snapshot,
)
from app.errors import PermanentProviderError, ProviderError, TransientProviderError
from app.providers.base import (
    Batch,
    Capabilities,
    Provider,
    ProviderContext,
    Resolution,
    register,
)
from app.providers.ccxt_calls import Calls
from app.providers.ccxt_candles import CandleReader, Span
from app.providers.ccxt_exchanges import TRIED, known
from app.providers.ccxt_http import PROVIDER, CcxtHttp, problem_class
from app.providers.ccxt_markets import LoadedMarkets, MarketCache, MarketList, Place
from app.providers.ccxt_package import build_exchange, build_shelf
from app.providers.ccxt_resolve import Resolver
from app.providers.ccxt_settings import CcxtSettings
from app.providers.ccxt_tickers import MOST_NAMED, fetch_snapshots
from app.providers.http import CallLimits
from app.settings import ProviderSettings

__all__ = ["Ccxt", "CcxtSettings", "market_lists"]

logger = logging.getLogger(__name__)
SEARCH_RESULTS = 25

market_lists = MarketCache()


@register(PROVIDER)
class Ccxt(Provider):
    """Spot markets of one exchange: tickers, and hourly and daily candles.

    ccxt writes the requests and reads the answers; it never connects by itself. `limits` are for
    tests. Raises PermanentProviderError where ccxt is not installed.
    """

    Settings: ClassVar[type[ProviderSettings]] = CcxtSettings
    settings: CcxtSettings

    def __init__(
        self,
        settings: CcxtSettings,
        context: ProviderContext,
        *,
        limits: CallLimits | None = None,
    ) -> None:
        super().__init__(settings, context)
        self._known = known(settings.exchange)
        self._http = CcxtHttp(settings, context, limits=limits)
        self._exchange = build_exchange(settings.exchange, self._http.fetch)
        self._http.introduce(self._exchange, unknown_market=self._known.unknown_market)
        self._calls = Calls(self._exchange, self._http)
        self._loaded: LoadedMarkets | None = None
        if settings.exchange not in TRIED:
            logger.warning("exchange was not tried", extra={"exchange": settings.exchange})

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def capabilities(self) -> Capabilities:
        """What the exchange offers, within CCXT_HISTORY_MARKETS_PER_RUN."""
        markets = self.settings.history_markets_per_run
        offered = self._calls.granularities if markets else frozenset()
        singly = self._known.asks_singly or not self._calls.has_all_tickers
        return Capabilities(
            batch_size=1 if singly else MOST_NAMED,
            history_days=self._known.history_days if offered else 0,
            granularities=offered,
            requests_per_minute=self.settings.requests_per_minute,
            candle_calls_per_run=markets,
            can_search=True,
        )

    def resolve_listings(self, requests: Sequence[MarketRequest]) -> Resolution:
        """The open spot market of the two currencies of each symbol, or what is pinned."""
        if not requests:
            return Resolution()
        resolver = self._resolver()
        choices = [resolver.choose(request) for request in requests]
        return Resolution(
            [choice for choice in choices if isinstance(choice, Listing)],
            [choice for choice in choices if isinstance(choice, MarketProblem)],
        )

    def search(self, text: str) -> Sequence[Listing]:
        """At most 25 open markets whose symbol or id holds `text`."""
        return list(self._resolver().search(text, SEARCH_RESULTS)) if text.strip() else ()

    def fetch_snapshots(self, listings: Sequence[Listing]) -> Batch[Snapshot]:
        """The present ticker of each listing, in one call where the exchange has one for that."""
        places, problems = self._places(listings)
        if not places:
            return Batch((), (), problems)
        batch = fetch_snapshots(self._calls, places, singly=self._known.asks_singly)
        return Batch(batch.rows, batch.rejected, [*problems, *batch.problems])

    def fetch_candles(
        self,
        listings: Sequence[Listing],
        granularity: Granularity,
        start: datetime,
        end: datetime,
    ) -> Batch[Candle]:
        """Hourly or daily candles; a failed market is a problem, what came of it before is kept."""
        if granularity not in self._calls.granularities:
            raise PermanentProviderError(f"{self._http.label} has no {granularity} candles")
        if not self.settings.history_markets_per_run:
            return Batch()
        places, problems = self._places(listings)
        span = Span(granularity, start, end, self.context.clock())
        reader = CandleReader(self._calls, self._known, span)
        for place in places:
            try:
                reader.read(place)
            except ProviderError as error:
                text = f"The history of {place.listing.symbol} is incomplete: {error}"
                problems.append(MarketProblem(place.listing.symbol, problem_class(error), text))
        return Batch(reader.candles, reader.rejected, problems)

    def _places(self, listings: Sequence[Listing]) -> tuple[list[Place], list[MarketProblem]]:
        if not listings:
            return [], []
        resolver = self._resolver()
        found = [(listing, resolver.find(listing)) for listing in listings]
        return (
            [Place(each, at) for each, at in found if not isinstance(at, MarketProblem)],
            [at for _, at in found if isinstance(at, MarketProblem)],
        )

    def _resolver(self) -> Resolver:
        settings = self.settings
        return Resolver(
            settings.exchange, self._http.label, self._markets(), settings.usd_stablecoins
        )

    def _markets(self) -> MarketList:
        """One list for the whole run, of the last hour."""
        if self._loaded is None:
            settings = self.settings
            kept = market_lists.find(settings.exchange, settings.base_url)
            if kept is None:
                kept = self._load_markets()
                market_lists.keep(settings.exchange, settings.base_url, kept)
            else:
                self._exchange.set_markets_from_exchange(kept.source)
            self._loaded = kept
        return self._loaded.markets

    def _load_markets(self) -> LoadedMarkets:
        markets = MarketList(self._calls.load_markets())
        if not markets:
            raise TransientProviderError(f"{self._http.label} sent an empty list of markets")
        return LoadedMarkets(markets, build_shelf(self._exchange))

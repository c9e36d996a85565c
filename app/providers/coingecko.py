"""CoinGecko: snapshots by id, rankings and history of cryptocurrencies; keyless, demo and pro."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import ClassVar

from app.domain import (
    Candle,
    Granularity,
    Listing,
    MarketProblem,
    MarketRequest,
    RejectedRow,
    Snapshot,
)
from app.errors import PermanentProviderError, PlanLimitError, ProviderError, TransientProviderError
from app.providers.base import (
    Batch,
    Capabilities,
    Provider,
    ProviderContext,
    RankedMarkets,
    Resolution,
    register,
)
from app.providers.coingecko_coins import CoinList, CoinListCache
from app.providers.coingecko_history import Span, build_candles, read_points
from app.providers.coingecko_markets import PAGE_ROWS, Markets
from app.providers.coingecko_payloads import MarketChart, decode_chart, decode_coins
from app.providers.coingecko_resolve import (
    CURRENCIES,
    PROVIDER,
    choose,
    discovered_listing,
    failed,
    pinned_listing,
    refuse,
)
from app.providers.coingecko_settings import CoinGeckoSettings
from app.providers.http import CallLimits, HttpClient, Request
from app.providers.http_errors import ErrorReader
from app.providers.parallel import call_each
from app.settings import ProviderSettings

__all__ = ["CoinGecko", "CoinGeckoSettings", "coin_lists"]

LIST_BYTES = 40_000_000
SEARCH_RESULTS = 25
# The endpoint, the currency of the history or its length is not part of the plan.
PLAN_LIMIT_CODES = frozenset({10005, 10006, 10012})
_DELIVERED = frozenset({Granularity.HOURLY, Granularity.DAILY})

coin_lists = CoinListCache()


@register(PROVIDER)
class CoinGecko(Provider):
    """Markets pages of 250 by id, `top:N`, and history from market_chart.

    Volumes are rolling 24 h figures, so candles carry none. Hourly history reaches back 90 days;
    what the plan does not include is left out, not asked for. `limits` are for tests.
    """

    Settings: ClassVar[type[ProviderSettings]] = CoinGeckoSettings
    credits_per_call: ClassVar[int] = 1
    settings: CoinGeckoSettings

    def __init__(
        self,
        settings: CoinGeckoSettings,
        context: ProviderContext,
        *,
        limits: CallLimits | None = None,
    ) -> None:
        super().__init__(settings, context)
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        self._client = HttpClient(
            provider=PROVIDER,
            base_url=settings.base_url,
            context=context,
            errors=ErrorReader("CoinGecko", [key], PLAN_LIMIT_CODES),
            requests_per_minute=settings.requests_per_minute,
            headers=settings.headers(),
            wait_out_rate_limits=settings.wait_out_rate_limits,
            limits=limits,
            connections=settings.concurrency,
        )
        self._markets = Markets(self._client, threads=settings.concurrency)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def capabilities(self) -> Capabilities:
        """Pages of 250, and the history that plan and COINGECKO_HISTORY_MARKETS_PER_RUN allow."""
        markets = self.settings.history_markets_per_run
        return Capabilities(
            batch_size=PAGE_ROWS,
            history_days=self.settings.history_days if markets else 0,
            granularities=_DELIVERED if markets else frozenset(),
            requests_per_minute=self.settings.requests_per_minute,
            candle_calls_per_run=markets,
            can_search=True,
            can_rank=True,
        )

    def resolve_listings(self, requests: Sequence[MarketRequest]) -> Resolution:
        """Pinned ids as they are, other symbols through the coins list and market caps.

        When CoinGecko can't be asked, the pinned ones are still served; without any, it raises.
        """
        problems = [problem for request in requests if (problem := refuse(request))]
        refused = {problem.symbol for problem in problems}
        good = [request for request in requests if request.symbol not in refused]
        open_ones = [request for request in good if request.pinned_id is None]
        known = coin_lists.find(self._client.base_url)
        listings = [pinned_listing(each, known) for each in good if each.pinned_id is not None]
        try:
            chosen = self._choose(open_ones)
        except ProviderError as error:
            if not listings:
                raise
            chosen = [*failed(open_ones, error)]
        listings += [choice for choice in chosen if isinstance(choice, Listing)]
        problems += [choice for choice in chosen if isinstance(choice, MarketProblem)]
        return Resolution(listings, problems)

    def _choose(self, requests: Sequence[MarketRequest]) -> list[Listing | MarketProblem]:
        if not requests:
            return []
        coins = self._coins()
        candidates = [coins.with_symbol(request.base) for request in requests]
        unsure = {coin.id: None for found in candidates if len(found) > 1 for coin in found}
        rows = self._markets.rows_by_id(list(unsure))
        return [choose(each, found, rows) for each, found in zip(requests, candidates, strict=True)]

    def _coins(self) -> CoinList:
        coins = coin_lists.find(self._client.base_url)
        if coins is None:
            found = self._client.get(Request("/coins/list", decode_coins, max_bytes=LIST_BYTES))
            if not found:
                raise TransientProviderError("CoinGecko sent an empty list of coins")
            coins = CoinList(found)
            coin_lists.keep(self._client.base_url, coins)
        return coins

    def search(self, text: str) -> Sequence[Listing]:
        """At most 25 coins whose symbol, id or name holds `text`, the closest first, in USD."""
        return [
            discovered_listing(coin.id, symbol=coin.symbol, name=coin.name, quote="USD")
            for coin in self._coins().search(text, SEARCH_RESULTS)
        ]

    def fetch_snapshots(self, listings: Sequence[Listing]) -> Batch[Snapshot]:
        """The present row of each listing; one that is missing or lost is a problem."""
        return self._markets.snapshots(listings)

    def fetch_ranked(self, limit: int, quote: str) -> RankedMarkets:
        """The `limit` largest coins by market cap in `quote`; raises when no page came."""
        if quote not in CURRENCIES:
            raise PermanentProviderError(f"CoinGecko has no prices in {quote}")
        return self._markets.ranked(limit, quote)

    def fetch_candles(
        self,
        listings: Sequence[Listing],
        granularity: Granularity,
        start: datetime,
        end: datetime,
    ) -> Batch[Candle]:
        """Hourly or daily candles, one call a listing; a failed one is a problem of its market.

        Days within the last 90 are made of hourly points, older ones of one point at 00:00 UTC.
        """
        if granularity not in _DELIVERED:
            raise PermanentProviderError(f"CoinGecko has no {granularity} candles")
        if not self.settings.history_markets_per_run:
            return Batch()
        span = Span(granularity, start, end, self.context.clock(), self.settings.history_days)
        charts = call_each(
            partial(self._fetch_chart, span), listings, threads=self.settings.concurrency
        )
        candles: list[Candle] = []
        rejected: list[RejectedRow] = []
        problems: list[MarketProblem] = []
        for listing, chart in zip(listings, charts, strict=True):
            if isinstance(chart, ProviderError):
                problems.append(_history_problem(listing, chart))
                continue
            points, bad = read_points(chart, listing)
            candles += build_candles(points, listing, span)
            rejected += bad
        return Batch(candles, rejected, problems)

    def _fetch_chart(self, span: Span, listing: Listing) -> MarketChart:
        query = {
            "vs_currency": listing.quote.lower(),
            "days": str(span.days),
            "precision": "full",
        }
        path = "/coins/{id}/market_chart"
        values = {"id": listing.provider_id}
        return self._client.get(Request(path, decode_chart, values=values, query=query))


def _history_problem(listing: Listing, error: ProviderError) -> MarketProblem:
    text = f"The history of {listing.symbol} is missing: {error}"
    if isinstance(error, PlanLimitError):
        text += " Lower INGESTION_LOOKBACK_DAYS, or set COINGECKO_PLAN and a key of a larger plan."
    return MarketProblem(listing.symbol, type(error).__name__, text)

"""Which market of the exchange a symbol of ours means, and why some are refused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.domain import Listing, MarketProblem, MarketRequest
from app.market_list import SYMBOL
from app.providers.ccxt_http import PROVIDER
from app.providers.ccxt_markets import Market, MarketList

SHOWN_CANDIDATES = 10


@dataclass(frozen=True, slots=True)
class Resolver:
    """Chooses among the markets of one exchange, called `label` in sentences.

    An id is the exchange's name and its own id of the market, `kraken:XXBTZUSD`: under another
    exchange it means nothing. `stablecoins` may stand for USD, the first that has a market.
    """

    exchange: str
    label: str
    markets: MarketList
    stablecoins: Sequence[str] = ()

    def choose(self, request: MarketRequest) -> Listing | MarketProblem:
        """The listing that a request means, or why there is none."""
        if request.pinned_id is not None:
            return self._pinned(request, request.pinned_id)
        if request.is_bare:
            text = (
                f"{request.symbol} is an index or share; {self.label} has only markets of two "
                f"currencies. Pin an id with {request.symbol}={self.exchange}:<id> to use one "
                "anyway, or choose another provider."
            )
            return MarketProblem(request.symbol, "UnsupportedMarket", text)
        for quote in self._quotes(request.quote):
            found = [each for each in self.markets.of_pair(request.base, quote) if each.is_open]
            if len(found) == 1:
                return self._listing(request, found[0], "resolved")
            if found:
                return self._ambiguous(request, found)
        return self._missing(request)

    def find(self, listing: Listing) -> Market | MarketProblem:
        """The market of a listing that is stored, or why it can't be served at present."""
        exchange, _, market_id = listing.provider_id.partition(":")
        if exchange != self.exchange:
            return self._elsewhere(listing.symbol, listing.provider_id)
        market = self.markets.with_id(market_id)
        if market is None:
            text = f"{self.label} has no spot market with the id {market_id!r}."
            return MarketProblem(listing.symbol, "NotFound", text)
        if not market.is_open:
            text = f"{market.symbol} is listed at {self.label}, but not traded at present."
            return MarketProblem(listing.symbol, "NotTraded", text)
        if market.quote not in self._quotes(listing.quote):
            return self._other_quote(listing.symbol, listing.quote, market)
        return market

    def search(self, text: str, limit: int) -> Iterator[Listing]:
        """Listings of markets that fit a text."""
        for market in self.markets.search(text, limit):
            symbol = f"{market.base}-{market.quote}".upper()
            if SYMBOL.fullmatch(symbol):
                request = MarketRequest(symbol)
                yield self._listing(request, market, "discovered")

    def _quotes(self, quote: str) -> tuple[str, ...]:
        return (quote, *self.stablecoins) if quote == "USD" else (quote,)

    def _pinned(self, request: MarketRequest, pinned_id: str) -> Listing | MarketProblem:
        listing = Listing(PROVIDER, pinned_id, request.symbol, quote=request.quote)
        found = self.find(listing)
        return (
            found if isinstance(found, MarketProblem) else self._listing(request, found, "pinned")
        )

    def _listing(self, request: MarketRequest, market: Market, chosen_by: str) -> Listing:
        return Listing(
            provider=PROVIDER,
            provider_id=f"{self.exchange}:{market.id}",
            symbol=request.symbol,
            quote=request.quote,
            name=f"{market.symbol} at {self.label}",
            provider_symbol=market.symbol,
            chosen_by=chosen_by,
        )

    def _ambiguous(self, request: MarketRequest, found: Sequence[Market]) -> MarketProblem:
        shown = ", ".join(f"{self.exchange}:{each.id}" for each in found[:SHOWN_CANDIDATES])
        text = (
            f"{request.symbol} may mean {len(found)} markets at {self.label}: {shown}. "
            f"Pin one with {request.symbol}=<id>."
        )
        return MarketProblem(request.symbol, "AmbiguousSymbol", text)

    def _missing(self, request: MarketRequest) -> MarketProblem:
        text = f"{self.label} has no open market of {request.base} in {request.quote}."
        stable = self._stable_pairs(request)
        if stable:
            text += f" It has {stable}; set CCXT_USD_STABLECOINS if that counts as USD for you."
        return MarketProblem(request.symbol, "NotFound", text)

    def _stable_pairs(self, request: MarketRequest) -> str:
        if request.quote != "USD":
            return ""
        coins = ("USDC", "USDT")
        found = [each for coin in coins for each in self.markets.of_pair(request.base, coin)]
        return " and ".join(each.symbol for each in found if each.is_open)

    def _elsewhere(self, symbol: str, provider_id: str) -> MarketProblem:
        exchange, colon, _ = provider_id.partition(":")
        if not colon:
            text = (
                f"{symbol} is pinned to {provider_id!r}, which is no id here: an id is the "
                f"exchange and its own name of the market, such as {self.exchange}:<id>."
            )
            return MarketProblem(symbol, "InvalidRequest", text)
        text = (
            f"{symbol} is listed as {provider_id}, but CCXT_EXCHANGE is {self.exchange}. Pin its "
            f"id there with {symbol}={self._suggestion(symbol)}, or set CCXT_EXCHANGE={exchange}."
        )
        return MarketProblem(symbol, "OtherExchange", text)

    def _suggestion(self, symbol: str) -> str:
        request = MarketRequest(symbol)
        found = None if request.is_bare else self.choose(request)
        return found.provider_id if isinstance(found, Listing) else f"{self.exchange}:<id>"

    def _other_quote(self, symbol: str, quote: str, market: Market) -> MarketProblem:
        text = f"{symbol} is in {quote}, but {market.symbol} at {self.label} is in {market.quote}."
        if quote == "USD":
            text += f" If {market.quote} counts as USD for you, set CCXT_USD_STABLECOINS."
        return MarketProblem(symbol, "UnsupportedMarket", text)

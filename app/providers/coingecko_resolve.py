"""Which CoinGecko id a symbol means: the coins list, the rule of ten, and who is refused."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.domain import Listing, MarketProblem, MarketRequest
from app.errors import ProviderError
from app.providers.coingecko_coins import CoinList
from app.providers.coingecko_payloads import CoinEntry, MarketRow

PROVIDER = "coingecko"
DOMINANCE = 10
SHOWN_CANDIDATES = 10
LONGEST_SYMBOL = 30
# What /simple/supported_vs_currencies answers; asking each time would cost a call of the budget.
_CURRENCY_NAMES = """
    BTC ETH LTC BCH BNB EOS XRP XLM LINK DOT YFI SOL USD AED ARS AUD BDT BHD BMD BRL CAD CHF CLP
    CNY CZK DKK EUR GBP GEL HKD HUF IDR ILS INR JPY KRW KWD LKR MMK MXN MYR NGN NOK NZD PHP PKR
    PLN RUB SAR SEK SGD THB TRY TWD UAH VEF VND ZAR XDR XAG XAU BITS SATS
"""
CURRENCIES = frozenset(_CURRENCY_NAMES.split())
_PLAIN_SYMBOL = re.compile(rf"[A-Z0-9][A-Z0-9._]{{0,{LONGEST_SYMBOL - 1}}}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the coins that a symbol may mean; a missing market cap counts as 0."""

    coin: CoinEntry
    rank: int | None = None
    market_cap: Decimal = Decimal(0)

    def describe(self) -> str:
        """Id, name and rank, for the choice of a person."""
        rank = f"rank {self.rank}" if self.rank else "no rank"
        return f"{self.coin.id} ({self.coin.name}, {rank})"


def refuse(request: MarketRequest) -> MarketProblem | None:
    """Why CoinGecko can't serve this market whatever its lists say; None when it may."""
    symbol = request.symbol
    if request.pinned_id is not None and not _is_id(request.pinned_id):
        text = f"{symbol} is pinned to {request.pinned_id!r}, which can't be an id at CoinGecko."
        return MarketProblem(symbol, "InvalidRequest", text)
    if request.is_bare and request.pinned_id is None:
        return MarketProblem(symbol, "UnsupportedMarket", _bare_text(symbol))
    if request.quote not in CURRENCIES:
        text = (
            f"{symbol} is quoted in {request.quote}, and CoinGecko has no prices in "
            f"{request.quote}. Ask for {request.base}-USD, or choose another provider."
        )
        return MarketProblem(symbol, "UnsupportedMarket", text)
    return None


def _is_id(text: str) -> bool:
    return bool(text.strip()) and len(text) <= 200 and text.isprintable() and "," not in text


def _bare_text(symbol: str) -> str:
    aside = " (its SPX is a token)" if symbol == "SPX" else ""
    return (
        f"{symbol} is an index or share; CoinGecko lists only cryptocurrencies{aside}. "
        f"Pin an id with {symbol}=<id> to use it anyway, or choose another provider."
    )


def pinned_listing(request: MarketRequest, coins: CoinList | None) -> Listing:
    """The listing an operator chose; an unknown id shows when its snapshot is asked for."""
    coin_id = request.pinned_id or ""
    coin = coins.with_id(coin_id) if coins else None
    return _listing(request, coin or CoinEntry(coin_id, "", ""), "pinned", rank=None)


def choose(
    request: MarketRequest, coins: Sequence[CoinEntry], markets: Mapping[str, MarketRow]
) -> Listing | MarketProblem:
    """The coin meant by the symbol: the only one, or the one 10 times larger than any other."""
    if not coins:
        text = f"CoinGecko lists no coin with the symbol {request.base}."
        return MarketProblem(request.symbol, "NotFound", text)
    ordered = sorted(
        (_candidate(coin, markets.get(coin.id)) for coin in coins),
        key=lambda candidate: (-candidate.market_cap, candidate.rank or 10**9, candidate.coin.id),
    )
    best, *others = ordered
    if others and not (best.market_cap > 0 and best.market_cap >= DOMINANCE * others[0].market_cap):
        return MarketProblem(request.symbol, "AmbiguousSymbol", _ambiguous_text(request, ordered))
    return _listing(request, best.coin, "resolved", rank=best.rank)


def _candidate(coin: CoinEntry, row: MarketRow | None) -> Candidate:
    if row is None:
        return Candidate(coin)
    return Candidate(coin, row.rank, max(row.market_cap or Decimal(0), Decimal(0)))


def _ambiguous_text(request: MarketRequest, candidates: Sequence[Candidate]) -> str:
    shown = ", ".join(candidate.describe() for candidate in candidates[:SHOWN_CANDIDATES])
    hidden = len(candidates) - SHOWN_CANDIDATES
    more = f" and {hidden} more" if hidden > 0 else ""
    return (
        f"{request.base} may mean {len(candidates)} coins at CoinGecko: {shown}{more}. "
        f"Pin one with {request.symbol}=<id>."
    )


def _listing(request: MarketRequest, coin: CoinEntry, chosen_by: str, rank: int | None) -> Listing:
    return Listing(
        provider=PROVIDER,
        provider_id=coin.id,
        symbol=request.symbol,
        quote=request.quote,
        name=coin.name,
        provider_symbol=coin.symbol,
        chosen_by=chosen_by,
        rank=rank,
    )


def failed(requests: Iterable[MarketRequest], error: ProviderError) -> list[MarketProblem]:
    """The same failure for each of the markets that could not be looked up."""
    return [MarketProblem(r.symbol, type(error).__name__, str(error)) for r in requests]


def discovered_listing(
    coin_id: str, *, symbol: str, name: str, quote: str, rank: int | None = None
) -> Listing:
    """The listing of a coin nobody named; two coins may suggest the same market symbol."""
    return Listing(
        provider=PROVIDER,
        provider_id=coin_id,
        symbol=f"{suggest_base(symbol, coin_id)}-{quote}",
        quote=quote,
        name=name,
        provider_symbol=symbol,
        chosen_by="discovered",
        rank=rank,
    )


def suggest_base(symbol: str, coin_id: str) -> str:
    """The symbol in upper case where it is plain, else one made from the id, 30 characters long."""
    base = unicodedata.normalize("NFKC", symbol).strip().upper()
    if _PLAIN_SYMBOL.fullmatch(base):
        return base
    derived = re.sub(r"[^A-Z0-9._]+", "-", coin_id.upper())[: LONGEST_SYMBOL + 1]
    plain = derived.strip("-._")[:LONGEST_SYMBOL]
    return plain or f"ID-{coin_id.encode().hex().upper()}"[:LONGEST_SYMBOL]

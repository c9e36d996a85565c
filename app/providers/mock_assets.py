"""What the mock provider trades: known assets at plausible levels, and any other by its hash."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from app.domain import AssetType, Listing
from app.providers.mock_paths import hashed_fraction


@dataclass(frozen=True, slots=True)
class Sector:
    """How its members move: the share of variance due to the whole market and to the sector.

    The rest is an asset's own. `turnover` is the daily volume over the market capitalisation.
    """

    name: str
    market_share: float
    sector_share: float
    turnover: float

    @property
    def weights(self) -> tuple[float, float, float]:
        """Loadings on the market's, the sector's and the asset's own path; their squares add to 1.

        So the correlation of two assets is the product of their market loadings, plus that of their
        sector loadings where they share the sector.
        """
        own = 1 - self.market_share - self.sector_share
        return math.sqrt(self.market_share), math.sqrt(self.sector_share), math.sqrt(own)


PAYMENT = Sector("payment", 0.60, 0.18, 0.04)
PLATFORM = Sector("platform", 0.60, 0.20, 0.05)
DEFI = Sector("defi", 0.55, 0.25, 0.08)
MEME = Sector("meme", 0.45, 0.30, 0.12)
STABLE = Sector("stable", 0.0, 0.0, 0.50)
INDICES = Sector("indices", 0.15, 0.60, 0.007)
CURRENCY = Sector("currency", 0.02, 0.45, 0.05)
SECTORS = (PAYMENT, PLATFORM, DEFI, MEME, STABLE, INDICES, CURRENCY)


@dataclass(frozen=True, slots=True)
class Asset:
    """One thing with a price: its median level in USD and its volatility a year (a fraction).

    `supply` is in whole units. It gives the market capitalisation of a coin, and of every asset the
    volume.
    """

    symbol: str
    name: str
    level: float
    volatility: float
    sector: Sector
    supply: int
    kind: str = "crypto"

    @property
    def volume(self) -> float:
        """The mean volume of a day in USD."""
        return self.level * self.supply * self.sector.turnover


_COINS = (
    Asset("BTC", "Bitcoin", 60_000, 0.50, PAYMENT, 19_700_000),
    Asset("ETH", "Ethereum", 3_000, 0.62, PLATFORM, 120_400_000),
    Asset("USDT", "Tether", 1, 0.004, STABLE, 115_000_000_000),
    Asset("BNB", "BNB", 560, 0.60, PLATFORM, 146_000_000),
    Asset("SOL", "Solana", 150, 0.82, PLATFORM, 465_000_000),
    Asset("USDC", "USD Coin", 1, 0.003, STABLE, 34_000_000_000),
    Asset("XRP", "XRP", 0.55, 0.78, PAYMENT, 56_000_000_000),
    Asset("DOGE", "Dogecoin", 0.12, 0.92, MEME, 145_000_000_000),
    Asset("TON", "Toncoin", 5.6, 0.75, PLATFORM, 2_530_000_000),
    Asset("TRX", "TRON", 0.15, 0.50, PLATFORM, 86_600_000_000),
    Asset("ADA", "Cardano", 0.40, 0.80, PLATFORM, 35_600_000_000),
    Asset("AVAX", "Avalanche", 27, 0.88, PLATFORM, 405_000_000),
    Asset("SHIB", "Shiba Inu", 0.000017, 0.95, MEME, 589_000_000_000_000),
    Asset("DOT", "Polkadot", 4.6, 0.80, PLATFORM, 1_480_000_000),
    Asset("LINK", "Chainlink", 11.5, 0.82, DEFI, 626_000_000),
    Asset("BCH", "Bitcoin Cash", 340, 0.78, PAYMENT, 19_760_000),
    Asset("NEAR", "NEAR Protocol", 4.5, 0.92, PLATFORM, 1_210_000_000),
    Asset("DAI", "Dai", 1, 0.004, STABLE, 5_300_000_000),
    Asset("LTC", "Litecoin", 68, 0.66, PAYMENT, 75_000_000),
    Asset("UNI", "Uniswap", 7.2, 0.88, DEFI, 600_000_000),
    Asset("PEPE", "Pepe", 0.0000085, 1.10, MEME, 420_690_000_000_000),
    Asset("ICP", "Internet Computer", 8.4, 0.85, PLATFORM, 472_000_000),
    Asset("APT", "Aptos", 7.1, 0.90, PLATFORM, 510_000_000),
    Asset("XMR", "Monero", 165, 0.60, PAYMENT, 18_440_000),
    Asset("XLM", "Stellar", 0.095, 0.76, PAYMENT, 29_600_000_000),
    Asset("ETC", "Ethereum Classic", 19.5, 0.75, PLATFORM, 149_000_000),
    Asset("AAVE", "Aave", 145, 0.88, DEFI, 14_900_000),
    Asset("FIL", "Filecoin", 3.8, 0.88, PLATFORM, 589_000_000),
    Asset("ATOM", "Cosmos Hub", 4.4, 0.78, PLATFORM, 390_000_000),
    Asset("MKR", "Maker", 1_550, 0.75, DEFI, 890_000),
    Asset("ALGO", "Algorand", 0.13, 0.82, PLATFORM, 8_300_000_000),
    Asset("BONK", "Bonk", 0.000019, 1.10, MEME, 69_000_000_000_000),
)
_INDICES = (
    Asset("SPX", "S&P 500", 5_500, 0.16, INDICES, 8_400_000_000, "index"),
    Asset("NDX", "Nasdaq 100", 19_500, 0.21, INDICES, 1_150_000_000, "index"),
    Asset("DJI", "Dow Jones Industrial Average", 40_000, 0.14, INDICES, 350_000_000, "index"),
    Asset("RUT", "Russell 2000", 2_150, 0.22, INDICES, 1_300_000_000, "index"),
    Asset("DAX", "DAX", 18_500, 0.17, INDICES, 105_000_000, "index"),
    Asset("FTSE", "FTSE 100", 8_200, 0.13, INDICES, 330_000_000, "index"),
    Asset("N225", "Nikkei 225", 38_500, 0.20, INDICES, 130_000_000, "index"),
)
_CURRENCIES = (
    Asset("USD", "US dollar", 1, 0.0, CURRENCY, 10**13, "currency"),
    Asset("EUR", "Euro", 1.09, 0.075, CURRENCY, 10**13, "currency"),
    Asset("GBP", "Pound sterling", 1.28, 0.085, CURRENCY, 10**13, "currency"),
    Asset("CHF", "Swiss franc", 1.13, 0.08, CURRENCY, 10**13, "currency"),
    Asset("JPY", "Japanese yen", 0.0067, 0.10, CURRENCY, 10**15, "currency"),
    Asset("CNY", "Renminbi", 0.138, 0.04, CURRENCY, 10**14, "currency"),
    Asset("INR", "Indian rupee", 0.0119, 0.05, CURRENCY, 10**15, "currency"),
    Asset("AUD", "Australian dollar", 0.66, 0.10, CURRENCY, 10**13, "currency"),
    Asset("CAD", "Canadian dollar", 0.73, 0.06, CURRENCY, 10**13, "currency"),
    Asset("BRL", "Brazilian real", 0.18, 0.14, CURRENCY, 10**14, "currency"),
    Asset("KRW", "South Korean won", 0.00073, 0.08, CURRENCY, 10**16, "currency"),
)
_BY_SYMBOL = {asset.symbol: asset for asset in (*_COINS, *_CURRENCIES)}
_INDEX_BY_SYMBOL = {asset.symbol: asset for asset in _INDICES}
_COIN_BY_ID = {asset.name.lower().replace(" ", "-"): asset for asset in _COINS}

# An invented market carries its rank among the invented in its symbol, so that its market
# capitalisation can fall with the rank as it does on a real list.
_INVENTED = re.compile(r"M(\d{5})")
_INVENTED_LARGEST_CAP = 6e8
_INVENTED_DECAY = 0.9


@lru_cache(maxsize=32_768)
def coin(symbol: str) -> Asset:
    """The coin or currency of that upper-case symbol; an unknown one is made up from its hash."""
    known = _BY_SYMBOL.get(symbol)
    if known is not None:
        return known
    level = _rounded(10.0 ** (-4 + 6.5 * hashed_fraction("level", symbol)))
    volatility = round(0.6 + 0.6 * hashed_fraction("volatility", symbol), 3)
    sector = (PAYMENT, PLATFORM, PLATFORM, DEFI, MEME)[int(5 * hashed_fraction("sector", symbol))]
    supply = max(1, round(_capitalisation(symbol) / level))
    return Asset(symbol, f"{symbol.title()} (made up)", level, volatility, sector, supply)


@lru_cache(maxsize=4_096)
def index(symbol: str) -> Asset:
    """The index of that upper-case symbol; an unknown one is made up from its hash."""
    known = _INDEX_BY_SYMBOL.get(symbol)
    if known is not None:
        return known
    level = _rounded(10.0 ** (2 + 2.3 * hashed_fraction("level", symbol)))
    volatility = round(0.12 + 0.18 * hashed_fraction("volatility", symbol), 3)
    supply = round(1e12 / level)
    return Asset(symbol, f"{symbol} (made up)", level, volatility, INDICES, supply, "index")


def asset_of(listing: Listing) -> Asset:
    """What the listing's id stands for: `btc-usd`, `spx`, or a coin's name such as `bitcoin`."""
    named = _COIN_BY_ID.get(listing.provider_id.lower())
    if named is not None and listing.asset_type is AssetType.CRYPTO:
        return named
    symbol = listing.provider_id.upper()
    if listing.asset_type is not AssetType.CRYPTO:
        return index(symbol)
    return coin(symbol.removesuffix(f"-{listing.quote}") or symbol)


def quote_of(listing: Listing) -> Asset:
    """The asset that the listing's price counts in."""
    return coin(listing.quote)


def ranked_coins(limit: int, quote: str) -> Sequence[Asset]:
    """The `limit` largest coins, the quote itself left out: the known ones, then invented ones."""
    known = sorted(_COINS, key=lambda asset: -asset.level * asset.supply)
    chosen = [asset for asset in known if asset.symbol != quote][:limit]
    invented = range(1, limit - len(chosen) + 1)
    return [*chosen, *(coin(f"M{number:05d}") for number in invented)]


def known_assets() -> Sequence[Asset]:
    """The coins and indices that have a name."""
    return (*_COINS, *_INDICES)


def is_index(asset: Asset) -> bool:
    """True for what is written without a quote currency."""
    return asset.kind == "index"


def _capitalisation(symbol: str) -> float:
    invented = _INVENTED.fullmatch(symbol)
    if invented:
        rank = max(1.0, float(invented[1]))
        return float(_INVENTED_LARGEST_CAP * rank**-_INVENTED_DECAY)
    return float(10 ** (6 + 3 * hashed_fraction("capitalisation", symbol)))


def _rounded(level: float) -> float:
    """Four significant digits, so that no library's last bit of a power can matter."""
    return float(f"{level:.4g}")

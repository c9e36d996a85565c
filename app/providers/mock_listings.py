"""What the mock provider's markets are called: listings for what is asked for, ranked or found."""

from dataclasses import replace

from app.domain import AssetType, Listing, MarketProblem, MarketRequest
from app.errors import NotFound, TransientProviderError
from app.market_list import parse_symbol
from app.providers.mock_assets import Asset, asset_of, is_index, known_assets

NAME = "mock"
FOUND_AT_MOST = 25


def is_known(listing: Listing) -> bool:
    """True for a listing with a well-formed id and quote: all of those exist."""
    try:
        parse_symbol(listing.provider_id)
        parse_symbol(listing.quote)
    except ValueError:
        return False
    return True


def unknown_market(listing: Listing) -> MarketProblem:
    """What is said about a market that is not known."""
    sentence = f"The mock provider knows no market {listing.provider_id[:80]!r}."
    return MarketProblem(listing.symbol, NotFound.__name__, sentence)


def failed_market(listing: Listing) -> MarketProblem:
    """What is said about a market that is to fail."""
    sentence = f"The mock provider was told to fail {listing.symbol}."
    return MarketProblem(listing.symbol, TransientProviderError.__name__, sentence)


def listing_for(request: MarketRequest) -> Listing:
    """The listing of what was asked for; it need not be known."""
    bare = Listing(
        provider=NAME,
        provider_id=request.pinned_id or request.symbol.lower(),
        symbol=request.symbol,
        quote=request.quote,
        provider_symbol=request.base,
        asset_type=AssetType.INDEX if request.is_bare else AssetType.CRYPTO,
        chosen_by="pinned" if request.pinned_id else "resolved",
    )
    return replace(bare, name=asset_of(bare).name)


def coin_listing(asset: Asset, quote: str, rank: int | None = None) -> Listing:
    """The listing of a coin against a quote currency."""
    symbol = f"{asset.symbol}-{quote}"
    return Listing(
        provider=NAME,
        provider_id=symbol.lower(),
        symbol=symbol,
        quote=quote,
        name=asset.name,
        provider_symbol=asset.symbol,
        chosen_by="discovered",
        rank=rank,
    )


def search_listings(text: str) -> list[Listing]:
    """Known coins (in USD) and indices whose symbol or name holds `text`, at most 25."""
    wanted = text.strip().casefold()
    if not wanted:
        return []
    found = [
        asset for asset in known_assets() if wanted in f"{asset.symbol}-USD {asset.name}".casefold()
    ]
    return [_known_listing(asset) for asset in found[:FOUND_AT_MOST]]


def _known_listing(asset: Asset) -> Listing:
    if not is_index(asset):
        return coin_listing(asset, "USD")
    request = MarketRequest(asset.symbol)
    return replace(listing_for(request), chosen_by="discovered")

"""Markets and their listings: which are known, what a new one is called, and how they are kept.

A listing is found by the provider's id, never by a symbol: a coin that changes its symbol keeps its
market and history, and the market's former symbol becomes an alias.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from app.domain import AssetType, Listing, MarketRequest
from app.ingestion.validation import storable_text

Key = tuple[str, str, str]
NAME_LENGTH = 200
DISCOVERED = "discovered"
PINNED = "pinned"
_UNSAFE = re.compile(r"[^A-Z0-9._]+")
_KNOWN = """
    SELECT m.id, m.symbol, m.asset_type, m.former_symbols, l.provider_id, l.quote, l.name,
           l.provider_symbol, l.rank, l.chosen_by, l.history_from,
           l.history_state
    FROM listing l JOIN market m ON m.id = l.market_id
    WHERE l.provider = :provider
"""
_ADD_MARKETS = """
    INSERT INTO market (symbol, name, asset_type, quote)
    SELECT * FROM unnest(CAST(:symbols AS text[]), CAST(:names AS text[]),
                         CAST(:asset_types AS text[]), CAST(:quotes AS text[]))
    ON CONFLICT (symbol) DO NOTHING
"""
_ADD_LISTINGS = """
    INSERT INTO listing (market_id, provider, provider_id, quote, provider_symbol, name, rank,
                         chosen_by, seen_at)
    SELECT m.id, :provider, n.provider_id, n.quote, n.provider_symbol, n.name, n.rank,
           n.chosen_by, :now
    FROM unnest(CAST(:symbols AS text[]), CAST(:ids AS text[]), CAST(:quotes AS text[]),
                CAST(:provider_symbols AS text[]), CAST(:names AS text[]), CAST(:ranks AS int[]),
                CAST(:chosen AS text[]))
         AS n(symbol, provider_id, quote, provider_symbol, name, rank, chosen_by)
    JOIN market m ON m.symbol = n.symbol
    ON CONFLICT (market_id, provider) DO UPDATE
    SET provider_id = excluded.provider_id, quote = excluded.quote, name = excluded.name,
        provider_symbol = excluded.provider_symbol, rank = excluded.rank,
        chosen_by = excluded.chosen_by, seen_at = excluded.seen_at, history_from = NULL,
        history_state = NULL
    WHERE excluded.chosen_by = 'pinned'
"""
_REFRESH_LISTINGS = """
    UPDATE listing l
    SET provider_symbol = n.provider_symbol, name = n.name, rank = n.rank,
        chosen_by = n.chosen_by, seen_at = greatest(l.seen_at, :now)
    FROM unnest(CAST(:ids AS text[]), CAST(:quotes AS text[]), CAST(:provider_symbols AS text[]),
                CAST(:names AS text[]), CAST(:ranks AS int[]), CAST(:chosen AS text[]))
         AS n(provider_id, quote, provider_symbol, name, rank, chosen_by)
    WHERE l.provider = :provider AND l.provider_id = n.provider_id AND l.quote = n.quote
      AND (l.provider_symbol, l.name, l.rank, l.chosen_by, l.seen_at) IS DISTINCT FROM
          (n.provider_symbol, n.name, n.rank, n.chosen_by, greatest(l.seen_at, :now))
"""
_RELEASE = """
    DELETE FROM listing l
    USING unnest(CAST(:ids AS text[]), CAST(:quotes AS text[])) AS n(provider_id, quote)
    WHERE l.provider = :provider AND l.provider_id = n.provider_id AND l.quote = n.quote
"""
_RENAME_MARKETS = """
    UPDATE market m
    SET symbol = n.symbol, name = coalesce(nullif(n.name, ''), m.name),
        former_symbols = CASE WHEN m.symbol = n.symbol THEN m.former_symbols ELSE array_append(
            array_remove(array_remove(m.former_symbols, m.symbol), n.symbol), m.symbol) END
    FROM unnest(CAST(:market_ids AS int[]), CAST(:symbols AS text[]), CAST(:names AS text[]))
         AS n(id, symbol, name)
    WHERE m.id = n.id
      AND (m.symbol, m.name) IS DISTINCT FROM (n.symbol, coalesce(nullif(n.name, ''), m.name))
"""


@dataclass(frozen=True, slots=True)
class KnownListings:
    """What is stored of one provider: listings by key, and every symbol that is taken."""

    by_key: Mapping[Key, Listing]
    by_symbol: Mapping[str, Listing]
    history_from: Mapping[Key, datetime]
    history_states: Mapping[Key, str]

    def find(self, request: MarketRequest) -> Listing | None:
        """The stored listing for a request; none when another id is pinned."""
        listing = self.by_symbol.get(request.symbol)
        if listing and request.pinned_id in (None, listing.provider_id):
            return listing
        return None


def load_known(connection: Connection, provider: str) -> KnownListings:
    """All listings of a provider, also by their markets' former symbols."""
    by_key: dict[Key, Listing] = {}
    by_symbol: dict[str, Listing] = {}
    history: dict[Key, datetime] = {}
    states: dict[Key, str] = {}
    for row in connection.execute(text(_KNOWN), {"provider": provider}):
        listing = _listing(provider, row)
        by_key[listing.key] = listing
        by_symbol[listing.symbol] = listing
        for former in row.former_symbols:
            by_symbol.setdefault(former, listing)
        if row.history_from:
            history[listing.key] = row.history_from
        if row.history_state:
            states[listing.key] = row.history_state
    return KnownListings(by_key, by_symbol, history, states)


def keep_listings(
    connection: Connection, provider: str, listings: Sequence[Listing], *, now: datetime
) -> dict[Key, Listing]:
    """Store new markets and listings, refresh names and ranks; every listing as it is stored.

    A pinned id takes the place of the listing that its market had before. Where it belonged to
    another market so far, that one is renamed, or, if both exist, left with what was recorded.
    """
    known = load_known(connection, provider)
    markets = set(connection.execute(text("SELECT symbol FROM market")).scalars())
    moved = [item for item in listings if _is_moved(item, known, markets)]
    _release(connection, provider, moved)
    kept = _without_displaced(known.by_key, listings, {item.key for item in moved})
    names = _Names({listing.symbol for listing in kept.values()}, markets)
    # Whoever was asked for by name gets that name; the discovered ones take what is left.
    ordered = sorted(_unique(listings), key=lambda listing: listing.chosen_by == DISCOVERED)
    named = [_named(listing, kept.get(listing.key), names) for listing in ordered]
    fresh = [listing for listing in named if listing.key not in kept]
    _add(connection, provider, [item for item in fresh if item.chosen_by != DISCOVERED], now)
    _add(connection, provider, [item for item in fresh if item.chosen_by == DISCOVERED], now)
    _refresh(connection, provider, [item for item in named if item.key in kept], now)
    return dict(load_known(connection, provider).by_key)


def clean_name(name: str) -> str:
    """A name for people: without control, format and zero-width characters, at most 100 long."""
    kept = (char for char in name if unicodedata.category(char) not in ("Cc", "Cf", "Cs"))
    return " ".join("".join(kept).split())[:100]


def pick_symbol(listing: Listing, taken: set[str]) -> str:
    """A free symbol: the suggested one, else with the provider's id, as SOL.WRAPPED-SOLANA-USD."""
    if listing.symbol not in taken:
        return listing.symbol
    base = MarketRequest(listing.symbol).base
    suffix = _UNSAFE.sub("-", listing.provider_id.upper()).strip("-") or "OTHER"
    candidate = f"{base}.{suffix}-{listing.quote}"[:80]
    number = 2
    while candidate in taken:
        candidate = f"{base}.{suffix[:40]}.{number}-{listing.quote}"
        number += 1
    return candidate


def _listing(provider: str, row: Row[Any]) -> Listing:
    return Listing(
        provider=provider,
        provider_id=row.provider_id,
        symbol=row.symbol,
        quote=row.quote,
        name=row.name,
        provider_symbol=row.provider_symbol,
        asset_type=AssetType(row.asset_type),
        chosen_by=row.chosen_by,
        rank=row.rank,
        market_id=row.id,
    )


def _unique(listings: Iterable[Listing]) -> list[Listing]:
    return list({listing.key: listing for listing in listings}.values())


@dataclass(frozen=True, slots=True)
class _Names:
    """Symbols in use: by this provider's listings, and by any market."""

    listed: set[str]
    markets: set[str]


def _is_moved(listing: Listing, known: KnownListings, markets: set[str]) -> bool:
    """True for a pinned id that goes from one market that exists to another."""
    stored = known.by_key.get(listing.key)
    if stored is None or listing.chosen_by != PINNED:
        return False
    return stored.symbol != listing.symbol and listing.symbol in markets


def _without_displaced(
    stored: Mapping[Key, Listing], listings: Sequence[Listing], moved: set[Key]
) -> dict[Key, Listing]:
    """The stored listings but for those that moved or whose market is pinned to another id now."""
    pinned = {item.symbol: item.key for item in listings if item.chosen_by == PINNED}
    return {
        key: item
        for key, item in stored.items()
        if key not in moved and pinned.get(item.symbol, key) == key
    }


def _named(listing: Listing, stored: Listing | None, names: _Names) -> Listing:
    """The listing under the symbol it will be stored with; marks that symbol as taken."""
    symbol = listing.symbol
    chosen_by = stored.chosen_by if stored else listing.chosen_by
    if stored is None:
        # A market that another provider brought gains a listing here under the same symbol.
        if listing.chosen_by == DISCOVERED:
            symbol = pick_symbol(listing, names.listed)
    elif listing.chosen_by == PINNED:
        chosen_by = PINNED
    elif stored.chosen_by != DISCOVERED or _belongs_to(stored, symbol):
        symbol = stored.symbol
    else:
        symbol = pick_symbol(listing, names.markets - {stored.symbol})
    names.listed.add(symbol)
    names.markets.add(symbol)
    return replace(
        listing,
        symbol=symbol,
        name=storable_text(listing.name, NAME_LENGTH),
        provider_symbol=storable_text(listing.provider_symbol, NAME_LENGTH),
        market_id=stored.market_id if stored else None,
        chosen_by=chosen_by,
    )


def _belongs_to(stored: Listing, suggested: str) -> bool:
    """True while the stored symbol still is the suggested one, plain or with the id added."""
    base = MarketRequest(suggested).base
    return stored.symbol == suggested or stored.symbol.startswith(f"{base}.")


def _release(connection: Connection, provider: str, moved: Sequence[Listing]) -> None:
    if moved:
        values = {
            "provider": provider,
            "ids": [listing.provider_id for listing in moved],
            "quotes": [listing.quote for listing in moved],
        }
        connection.execute(text(_RELEASE), values)


def _add(connection: Connection, provider: str, fresh: Sequence[Listing], now: datetime) -> None:
    if not fresh:
        return
    columns = _columns(fresh)
    columns["asset_types"] = [listing.asset_type.value for listing in fresh]
    names = [clean_name(listing.name) for listing in fresh]
    connection.execute(text(_ADD_MARKETS), columns | {"names": names})
    connection.execute(text(_ADD_LISTINGS), columns | {"provider": provider, "now": now})


def _refresh(
    connection: Connection, provider: str, stored: Sequence[Listing], now: datetime
) -> None:
    if not stored:
        return
    columns = _columns(stored)
    connection.execute(text(_REFRESH_LISTINGS), columns | {"provider": provider, "now": now})
    nameable = [listing for listing in stored if listing.chosen_by in (DISCOVERED, PINNED)]
    if nameable:
        renamed = {
            "market_ids": [listing.market_id for listing in nameable],
            "symbols": [listing.symbol for listing in nameable],
            "names": [clean_name(listing.name) for listing in nameable],
        }
        connection.execute(text(_RENAME_MARKETS), renamed)


def _columns(listings: Sequence[Listing]) -> dict[str, list[Any]]:
    return {
        "symbols": [listing.symbol for listing in listings],
        "ids": [listing.provider_id for listing in listings],
        "quotes": [listing.quote for listing in listings],
        "provider_symbols": [listing.provider_symbol for listing in listings],
        "names": [listing.name for listing in listings],
        "ranks": [listing.rank for listing in listings],
        "chosen": [listing.chosen_by for listing in listings],
    }

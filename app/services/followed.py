"""Which listings are followed now: the markets named in the settings, and the `top:N` largest.

What is no longer asked for keeps its history, but its age says nothing about the operation.
"""

from typing import Any

from app.settings import Settings

# Parameters: provider, symbols, top. Of two listings with one rank the one seen last holds it.
FOLLOWED_LISTINGS = """
    SELECT l.market_id, m.symbol FROM listing l JOIN market m ON m.id = l.market_id
    WHERE l.provider = :provider
      AND (m.symbol = ANY(CAST(:symbols AS text[]))
           OR m.former_symbols && CAST(:symbols AS text[])
           OR l.id IN (SELECT DISTINCT ON (rank) id FROM listing
                       WHERE provider = :provider AND rank <= :top ORDER BY rank, seen_at DESC))
"""


def followed_values(settings: Settings) -> dict[str, Any]:
    """The parameters of `FOLLOWED_LISTINGS` under these settings."""
    markets = settings.ingestion_markets
    return {
        "provider": settings.ingestion_provider,
        "symbols": [request.symbol for request in markets.requests],
        "top": markets.top,
    }

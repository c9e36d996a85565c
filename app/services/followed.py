"""Whom the settings ask to follow, as the parameters of `FOLLOWED_LISTINGS`."""

from typing import Any

from app.settings import Settings


def followed_values(settings: Settings) -> dict[str, Any]:
    """The parameters of `FOLLOWED_LISTINGS` under these settings."""
    markets = settings.ingestion_markets
    return {
        "provider": settings.ingestion_provider,
        "symbols": [request.symbol for request in markets.requests],
        "top": markets.top,
    }

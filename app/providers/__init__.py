"""The sources of market data. Importing a provider registers it: one line for each."""

from app.providers import coingecko, mock
from app.providers.base import provider_class, provider_classes

__all__ = ["coingecko", "mock", "provider_class", "provider_classes"]

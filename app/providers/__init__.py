"""The sources of market data. Importing a provider registers it: one line for each."""

from app.providers import ccxt, coingecko, files, mock
from app.providers.base import provider_class, provider_classes

__all__ = ["ccxt", "coingecko", "files", "mock", "provider_class", "provider_classes"]

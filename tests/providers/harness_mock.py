"""The mock provider for the contract tests."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.domain import Listing, MarketRequest
from app.providers.mock import Mock, MockSettings
from tests.providers.harness import Harness
from tests.providers.mock_setup import NOW


@contextmanager
def harness() -> Iterator[Harness]:
    """It needs no server."""
    yield Harness(
        now=NOW,
        build=lambda context: Mock(MockSettings(), context),
        requests=[
            MarketRequest("BTC-USD"),
            MarketRequest("SPX"),
            MarketRequest("ETH-EUR", "eth-eur"),
        ],
        unknown=Listing("mock", "no such market", "NO-USD"),
        search_text="bit",
    )

"""What the tests of the mock provider share: an instant, contexts and listings."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain import Listing, MarketRequest
from app.market_list import parse_markets
from app.providers.base import ProviderContext
from app.providers.mock import Mock, MockSettings

NOW = datetime(2026, 3, 14, 10, 37, 12, tzinfo=UTC)


def build_mock(
    *,
    now: datetime = NOW,
    seconds_left: float | None = None,
    stop: threading.Event | None = None,
    on_call: Callable[[str, float], None] = lambda outcome, seconds: None,
    **settings: Any,
) -> Mock:
    """A mock provider at a fixed instant."""
    deadline_at = None if seconds_left is None else now + timedelta(seconds=seconds_left)
    context = ProviderContext(lambda: now, deadline_at, stop or threading.Event(), on_call)
    return Mock(MockSettings(**settings), context)


def listings_of(markets: str) -> list[Listing]:
    """The mock's listings of a market list."""
    return list(build_mock().resolve_listings(parse_markets(markets).requests).listings)


def made_up(count: int) -> Sequence[Listing]:
    """Listings of so many unknown coins."""
    requests = [MarketRequest(f"COIN{number}-USD") for number in range(count)]
    return build_mock().resolve_listings(requests).listings

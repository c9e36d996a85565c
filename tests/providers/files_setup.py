"""What the tests of the files share: folders with hand-written files, and a provider of them."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from app.domain import Candle, Granularity, Listing, MarketProblem, RejectedRow, Snapshot
from app.market_list import parse_markets
from app.providers.base import ProviderContext
from app.providers.files import Files, FilesSettings

NOW = datetime(2025, 4, 16, 10, 37, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HEADER = "time,open,high,low,close,volume\n"


def hour(number: int) -> datetime:
    """The opening of an hour, counted from the one that is open now."""
    return NOW.replace(minute=0, second=0) + number * HOUR


def line(opened_at: datetime, prices: str = "10,12,9,11", volume: str = "5") -> str:
    """A row of a candle file."""
    return f"{opened_at:%Y-%m-%dT%H:%M:%SZ},{prices},{volume}\n"


def hours(first: int, last: int = 0) -> str:
    """A whole candle file of the hours `[first, last)`."""
    return HEADER + "".join(line(hour(number)) for number in range(first, last))


def build_files(
    folder: Path,
    *,
    now: datetime = NOW,
    seconds_left: float | None = None,
    stop: threading.Event | None = None,
    on_call: Callable[[str, float], None] = lambda outcome, seconds: None,
    **settings: Any,
) -> Files:
    """The provider of a folder at a fixed instant."""
    deadline_at = None if seconds_left is None else now + timedelta(seconds=seconds_left)
    context = ProviderContext(lambda: now, deadline_at, stop or threading.Event(), on_call)
    return Files(FilesSettings(folder=folder, **settings), context)


def listing(markets: str, provider: Files) -> Listing:
    """The one listing of a market list."""
    (found,) = provider.resolve_listings(parse_markets(markets).requests).listings
    return found


class Asked:
    """What a folder answers about one market."""

    def __init__(self, folder: Path, market: str = "BTC-USD", **options: Any) -> None:
        self.provider = build_files(folder, **options)
        self.market = listing(f"{market}={market}" if "=" not in market else market, self.provider)

    def candles(
        self, *, granularity: Granularity = Granularity.HOURLY, days: int = 9
    ) -> list[Candle]:
        """The candles of the last days; what was rejected or a problem is kept."""
        now = self.provider.context.clock()
        batch = self.provider.fetch_candles(
            [self.market], granularity, now - timedelta(days=days), now
        )
        self.rejected: list[RejectedRow] = list(batch.rejected)
        self.problems: list[MarketProblem] = list(batch.problems)
        return list(batch.rows)

    def snapshot(self) -> Snapshot | None:
        """The present observation; what was rejected or a problem is kept."""
        batch = self.provider.fetch_snapshots([self.market])
        self.rejected, self.problems = list(batch.rejected), list(batch.problems)
        return batch.rows[0] if batch.rows else None

    def complaint(self) -> str:
        """The one problem of a market that is not served."""
        assert self.snapshot() is None
        (problem,) = self.problems
        return problem.message

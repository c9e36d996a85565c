"""Rows, a provider that says what it is told to, and one pass of the pipeline over it."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from uuid import uuid4

from sqlalchemy import Connection, Engine, create_engine, text

from app.database.base import Base
from app.domain import (
    Candle,
    Granularity,
    Listing,
    MarketProblem,
    MarketRequest,
    RejectedRow,
    Snapshot,
)
from app.ingestion.context import RunContext, RunOrder, StageCounts, StopSignal
from app.ingestion.pipeline import RunReport, run_pipeline
from app.market_list import parse_markets
from app.providers.base import (
    Batch,
    Capabilities,
    Provider,
    ProviderContext,
    RankedMarkets,
    Resolution,
)
from app.settings import ProviderSettings

NOW = datetime(2026, 3, 4, 10, 20, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DATA_TABLES = (
    "market_snapshot",
    "market_aggregate",
    "market_comparison",
    "market_roi_statistic",
)
_OPEN = """
    INSERT INTO ingestion_run (id, status, trigger, provider, owner, lease_until, deadline_at,
                               finished_at)
    VALUES (:id, 'succeeded', 'cli', 'scripted', 'me', :at, :at, :at)
"""


def build_listing(symbol: str = "BTC-USD", provider_id: str = "", **values: Any) -> Listing:
    """A listing at the scripted provider; its id is the symbol in lower case."""
    return Listing("scripted", provider_id or symbol.lower(), symbol, **values)


def build_snapshot(
    price: str | None = "100",
    *,
    at: datetime | None = NOW,
    listing: Listing | None = None,
    **values: Any,
) -> Snapshot:
    """An observation; the price as its text."""
    return Snapshot(
        listing=listing or build_listing(),
        observed_at=at,
        price=None if price is None else Decimal(price),
        **values,
    )


def build_candle(
    opened_at: datetime,
    last: str = "100",
    *,
    listing: Listing | None = None,
    **values: Any,
) -> Candle:
    """An hour that opens at 100 and closes at `last`, its extremes following from both."""
    price = Decimal(last)
    given: dict[str, Any] = {
        "granularity": Granularity.HOURLY,
        "open": Decimal(100),
        "high": max(Decimal(100), price),
        "low": min(Decimal(100), price),
        "close": price,
    }
    return Candle(listing=listing or build_listing(), opened_at=opened_at, **(given | values))


@dataclass
class Script:
    """What the provider says."""

    snapshots: Sequence[Snapshot] = ()
    candles: Sequence[Candle] = ()
    ranked: Sequence[Listing] = ()
    rejected: Sequence[RejectedRow] = ()
    problems: Sequence[MarketProblem] = ()
    calls: list[str] = field(default_factory=list)


class Scripted(Provider):
    """Resolves every symbol and answers with the rows of its script."""

    name: ClassVar[str] = "scripted"

    def __init__(self, script: Script) -> None:
        super().__init__(ProviderSettings(), ProviderContext(clock=lambda: NOW))
        self.script = script

    @property
    def capabilities(self) -> Capabilities:
        """Hourly history of a year."""
        return Capabilities(
            batch_size=1000, history_days=365, granularities=frozenset({Granularity.HOURLY})
        )

    def resolve_listings(self, requests: Sequence[MarketRequest]) -> Resolution:
        """The symbol in lower case, or the pinned id."""
        return Resolution(
            [
                build_listing(
                    each.symbol,
                    each.pinned_id or "",
                    chosen_by="pinned" if each.pinned_id else "resolved",
                )
                for each in requests
            ]
        )

    def fetch_ranked(self, limit: int, quote: str) -> RankedMarkets:
        """The scripted listings with their snapshots."""
        keys = {listing.key for listing in self.script.ranked}
        rows = [row for row in self.script.snapshots if row.listing.key in keys]
        return RankedMarkets(self.script.ranked[:limit], Batch(rows))

    def fetch_snapshots(self, listings: Sequence[Listing]) -> Batch[Snapshot]:
        """The scripted snapshots that no ranking brought, asked for or not."""
        ranked = {listing.key for listing in self.script.ranked}
        rows = [row for row in self.script.snapshots if row.listing.key not in ranked]
        return Batch(rows, self.script.rejected, self.script.problems)

    def fetch_candles(
        self, listings: Sequence[Listing], granularity: Granularity, start: datetime, end: datetime
    ) -> Batch[Candle]:
        """The scripted candles from `start` on."""
        self.script.calls.append(f"{granularity} from {start:%Y-%m-%d %H:%M}")
        return Batch([row for row in self.script.candles if start <= row.opened_at < end])


@dataclass
class Notes:
    """A recorder that remembers what it was told, and does something when a stage begins."""

    on_start: Callable[[str], None] = lambda name: None
    finished: list[tuple[str, str]] = field(default_factory=list)

    def stage_started(self, name: str) -> None:
        self.on_start(name)

    def stage_finished(self, name: str, counts: StageCounts, *, status: str) -> None:
        self.finished.append((name, status))


@dataclass
class Tape:
    """The pipeline over one database."""

    engine: Engine

    def run(
        self,
        script: Script | Sequence[Snapshot],
        *,
        now: datetime = NOW,
        markets: str = "BTC-USD",
        lookback_days: int = 0,
        recorder: Notes | None = None,
        stop: StopSignal | None = None,
        seconds: float = 60,
        **values: Any,
    ) -> RunReport:
        """One pass at `now`."""
        script = script if isinstance(script, Script) else Script(script)
        order = RunOrder(
            run_id=uuid4(),
            attempt=1,
            now=now,
            selection=parse_markets(markets),
            **({"comparisons": None} | values),
            lookback_days=lookback_days,
            risk_free_rate=0,
            minimum_acceptable_return=0,
        )
        context = RunContext(
            order=order,
            provider=Scripted(script),
            stop=stop or StopSignal(),
            deadline=time.monotonic() + seconds,
            clock=lambda: now,
        )
        self._open(order)
        try:
            return run_pipeline(context, self.engine, recorder or Notes(), _close)
        finally:
            context.close()

    def _open(self, order: RunOrder) -> None:
        """The run's own row, which rejected rows belong to; it is over from the beginning."""
        with self.engine.begin() as connection:
            connection.execute(text(_OPEN), {"id": order.run_id, "at": order.now})

    def rows(self, query: str, **values: Any) -> list[Any]:
        """The rows of a query, a single column as its values."""
        with self.engine.connect() as connection:
            found = connection.execute(text(query), values).all()
        return [row[0] if len(row) == 1 else tuple(row) for row in found]

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self.rows(f"SELECT count(*) FROM {table}")[0])

    def data(self) -> Mapping[str, list[str]]:
        """Every row of the data tables as text, without who stored it and when."""
        return {
            table: self.rows(
                f"SELECT (to_jsonb(t) - 'run_id' - 'stored_at')::text FROM {table} t ORDER BY 1"
            )
            for table in DATA_TABLES
        }

    def candles(self, granularity: str = "hourly") -> list[Any]:
        """(opened at, open, high, low, close, is final, basis) in order, of the first market."""
        return self.rows(
            "SELECT opened_at, open, high, low, close, is_final, basis FROM market_aggregate "
            "WHERE granularity = :granularity AND market_id = 1 ORDER BY opened_at",
            granularity=granularity,
        )


def _close(connection: Connection, report: RunReport) -> None:
    """Nothing: the row of these runs stays as it is."""


@contextmanager
def tape_on(database_url: str) -> Iterator[Tape]:
    """The pipeline over empty tables."""
    engine = create_engine(database_url)
    try:
        empty(engine)
        yield Tape(engine)
    finally:
        engine.dispose()


def empty(engine: Engine) -> None:
    """Leave nothing of the tests before."""
    names = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))


def released(signal: threading.Event, seconds: float = 30) -> None:
    """Wait for an event; fail instead of hanging."""
    assert signal.wait(seconds)

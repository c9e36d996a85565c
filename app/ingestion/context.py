"""What a run is asked to do and what it carries from stage to stage."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from app.analytics.comparisons import MarketState
from app.analytics.returns import DAYS_PER_YEAR
from app.database.bulk import MergeCounts
from app.domain import AssetType, Granularity, Listing, MarketProblem, RejectedRow
from app.errors import RunStopped
from app.ingestion.closes import CloseShelf
from app.ingestion.history import History
from app.ingestion.rejected_rows import RejectedRows
from app.ingestion.validation import GoodSnapshot
from app.market_list import MarketSelection
from app.providers.base import OwnCandles, Provider

_STOPS = {
    "cancelled": "The run was cancelled before it was done.",
    "deadline": "The run was ended because it overtook its deadline.",
    "lease_lost": "The run lost its lease to another process, so nothing of it was kept.",
    "shutdown": "The run was ended because its process was asked to stop.",
}


class StopSignal(threading.Event):
    """Set when a run must end at its next safe point; `reason` says why."""

    def __init__(self) -> None:
        super().__init__()
        self.reason = "cancelled"

    def stop(self, reason: str) -> None:
        """Ask the run to end; the first reason stays."""
        if not self.is_set():
            self.reason = reason
            self.set()

    def as_error(self) -> RunStopped:
        """The reason as an exception with a sentence for people."""
        return RunStopped(self.reason, _STOPS[self.reason])


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What one run is asked for; `now` is the instant it stands for (aware UTC)."""

    run_id: UUID
    attempt: int
    now: datetime
    selection: MarketSelection
    comparisons: tuple[tuple[str, str], ...] | None
    lookback_days: int
    risk_free_rate: float
    minimum_acceptable_return: float
    days_per_year: Mapping[AssetType, int] = field(default_factory=lambda: DAYS_PER_YEAR)
    is_dry_run: bool = False


class Recorder(Protocol):
    """Who is told how far the run is."""

    def stage_started(self, name: str) -> None:
        """A stage begins."""

    def stage_finished(self, name: str, counts: "StageCounts", *, status: str) -> None:
        """A stage is over."""


@dataclass(slots=True)
class StageCounts:
    """Rows of one stage by what became of them."""

    fetched: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    detail: str = ""

    def add(self, counts: MergeCounts) -> None:
        """Count what a merge did."""
        self.inserted += counts.inserted
        self.updated += counts.updated
        self.unchanged += counts.unchanged


@dataclass(slots=True)
class Haul:
    """What the fetch brought home but for the history, validated."""

    listings: list[Listing] = field(default_factory=list)
    snapshots: list[GoodSnapshot] = field(default_factory=list)
    problems: list[MarketProblem] = field(default_factory=list)
    history_from: Mapping[tuple[str, str, str], datetime] = field(default_factory=dict)
    history_states: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    own_candles: Mapping[tuple[str, str, str], OwnCandles] = field(default_factory=dict)
    market_ids: dict[tuple[str, str, str], int] = field(default_factory=dict)
    states: dict[int, MarketState] = field(default_factory=dict)


@dataclass(slots=True)
class RunContext:
    """The state of one pass of the pipeline; to be closed."""

    order: RunOrder
    provider: Provider
    stop: StopSignal
    deadline: float  # of time.monotonic()
    clock: Callable[[], datetime]
    history: History = field(default_factory=History)
    rejected: RejectedRows = field(default_factory=RejectedRows)
    haul: Haul = field(default_factory=Haul)
    closes: CloseShelf = field(default_factory=CloseShelf)
    counts: dict[str, StageCounts] = field(default_factory=dict)

    def close(self) -> None:
        """Let go of the provider, and of the rows that were set aside."""
        self.provider.close()
        self.rejected.close()

    def set_aside(self, rows: Iterable[RejectedRow]) -> None:
        """Have rows, fit to be stored, kept with their reason; `StorageError` without room."""
        self.rejected.add(rows, run_id=self.order.run_id, provider=self.provider.name)

    def start_over(self, haul: Haul, counts: Mapping[str, StageCounts]) -> None:
        """Be as before the transaction: nothing of one that was rolled back is left.

        `haul` and `counts` are what the fetch left. Raises `RunStopped` as a safe point does.
        """
        self.haul = replace(
            haul,
            problems=[*haul.problems],
            market_ids={},
            states={},
        )
        self.rejected.start_over()
        self.counts = dict(counts)
        self.closes = CloseShelf()
        self.check_stop()

    def pause(self, seconds: float) -> None:
        """Wait; raises `RunStopped` at once when the run has to end."""
        self.stop.wait(seconds)
        self.check_stop()

    def recorded_markets(self) -> dict[int, frozenset[Granularity]]:
        """Markets whose snapshots only repeat what their own candles say, and which these are."""
        if not self.provider.capabilities.is_recorded:
            return {}
        return {
            self.haul.market_ids[key]: own.granularities
            for key, own in self.haul.own_candles.items()
            if own.granularities
        }

    def may_give_days(self) -> bool:
        """True where the provider may have given days beside hours, in this run or before."""
        if self.provider.capabilities.is_recorded:
            return True
        asked = (own.granularities for own in self.haul.own_candles.values())
        return any(Granularity.DAILY in granularities for granularities in asked)

    def latest_now(self) -> datetime:
        """The present: what was observed while the run fetched does not lie in the future."""
        return max(self.order.now, self.clock())

    def check_stop(self) -> None:
        """A safe point: raises `RunStopped` when the run was cancelled or is past its deadline."""
        if self.stop.is_set():
            raise self.stop.as_error()
        if time.monotonic() >= self.deadline:
            raise RunStopped("deadline", _STOPS["deadline"])

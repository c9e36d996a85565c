"""The plain values that tell how the operation went over a stretch of time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain import DAY, HOUR, WEEK
from app.services.figure_history import FigureHistory

# More runs than any schedule makes in the longest look-back but one of every few minutes.
MOST_RUNS = 20_000


class LookBack(StrEnum):
    """How far the charts reach back."""

    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"
    QUARTER = "90d"

    @property
    def length(self) -> timedelta:
        """The whole stretch."""
        return {"24h": DAY, "7d": WEEK, "30d": 30 * DAY, "90d": 90 * DAY}[self.value]

    @property
    def step(self) -> timedelta:
        """What one point of a chart stands for."""
        return {"24h": HOUR, "7d": 6 * HOUR, "30d": DAY, "90d": DAY}[self.value]


@dataclass(frozen=True, slots=True)
class Bucket:
    """The runs that began in `[began_at, ended_at)`; times in milliseconds, None where none is.

    `took` is of runs that brought data, `fetch` of every fetch stage that ended; each is the
    median and the 90th percentile. `age_ms` is the longest that no run had brought data.
    """

    began_at: datetime
    ended_at: datetime
    succeeded: int = 0
    partial: int = 0
    failed: int = 0
    cancelled: int = 0
    abandoned: int = 0
    took_p50_ms: int | None = None
    took_p90_ms: int | None = None
    fetch_p50_ms: int | None = None
    fetch_p90_ms: int | None = None
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    age_ms: int | None = None

    @property
    def runs(self) -> int:
        """How many runs ended, however they did."""
        return self.succeeded + self.partial + self.failed + self.cancelled + self.abandoned


@dataclass(frozen=True, slots=True)
class Cause:
    """Why runs failed, with the newest of them."""

    provider: str
    error_class: str
    runs: int
    last_at: datetime
    last_run_id: str
    message: str


@dataclass(frozen=True, slots=True)
class ProviderUse:
    """How the runs of one provider ended, and the rows they were given."""

    provider: str
    runs: int
    failed: int
    fetched: int


@dataclass(frozen=True, slots=True)
class StageUse:
    """What a stage took in the newest runs that brought data, in milliseconds."""

    title: str
    runs: int
    p50_ms: int
    p90_ms: int
    written: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class MarketAge:
    """The newest observation of a market, None where there never was one."""

    symbol: str
    observed_at: datetime | None


@dataclass(frozen=True, slots=True)
class TableSize:
    """A table with its indexes, in bytes; `rows` is PostgreSQL's own estimate."""

    name: str
    total_bytes: int
    index_bytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class Operations:
    """Everything the page of metrics draws from the database."""

    look_back: LookBack
    buckets: tuple[Bucket, ...]
    providers: tuple[ProviderUse, ...]
    causes: tuple[Cause, ...]
    stages: tuple[StageUse, ...]
    oldest: tuple[MarketAge, ...]
    market_count: int
    tables: tuple[TableSize, ...]
    database_bytes: int
    counted: FigureHistory

    @property
    def runs(self) -> int:
        """The runs that ended in the look-back."""
        return sum(bucket.runs for bucket in self.buckets)

    @property
    def is_capped(self) -> bool:
        """True where there were more runs than are counted."""
        return self.runs >= MOST_RUNS

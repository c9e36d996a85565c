"""The plain values that services hand to every face: pages, fragments, JSON and the shell."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from app.cache_breaker import CacheState
from app.domain import MarketProblem, RunStatus, Trigger


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of a run or a stage by what became of them."""

    fetched: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class StageView:
    """One step of a run; status is pending, running, succeeded, failed or rolled_back."""

    name: str
    title: str
    status: str
    started_at: datetime | None = None
    duration_ms: int | None = None
    counts: Counts = field(default_factory=Counts)
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RunView:
    """One run as people see it; `expected_ms` is the median duration of recent good runs."""

    id: str
    status: RunStatus
    trigger: Trigger
    provider: str
    requested_by: str
    due_at: datetime | None
    attempt: int
    owner: str
    started_at: datetime
    finished_at: datetime | None
    deadline_at: datetime
    cancel_requested_at: datetime | None
    duration_ms: int | None
    stage: str
    symbols: tuple[str, ...]
    markets_requested: int
    markets_ingested: int
    snapshots_ingested: int
    aggregates_ingested: int
    comparisons_ingested: int
    roi_stats_ingested: int
    counts: Counts
    error_class: str | None
    error_message: str | None
    problem_count: int
    problems: tuple[MarketProblem, ...]
    config_fingerprint: str = ""
    parent_run_id: str | None = None
    expected_ms: int | None = None

    @property
    def is_active(self) -> bool:
        """True until the run reached a final status."""
        return self.status is RunStatus.RUNNING


@dataclass(frozen=True, slots=True)
class RejectedRowView:
    """A provider row that was set aside."""

    kind: str
    symbol: str | None
    provider_id: str | None
    reason: str
    detail: str
    raw: str
    observed_at: datetime | None


@dataclass(frozen=True, slots=True)
class LostAttemptView:
    """An attempt whose process gave no sign of life any more; `noticed_by` went on or closed it."""

    attempt: int
    owner: str
    silent_since: datetime
    noticed_at: datetime
    noticed_by: str


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run with its stages in order and some of its rejected rows (`run.counts.rejected` in all).

    `rejected_reasons` counts all of them, the most frequent reason first; `set_aside` are the
    markets whose own row was among them. `rejected_cursor` asks for the rows that follow.
    """

    run: RunView
    stages: tuple[StageView, ...]
    rejected: tuple[RejectedRowView, ...]
    lost_attempts: tuple[LostAttemptView, ...] = ()
    rejected_reasons: Mapping[str, int] = field(default_factory=dict)
    rejected_cursor: str | None = None
    set_aside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunPage:
    """Runs, newest first; `next_cursor` asks for the page after, None on the last."""

    runs: tuple[RunView, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class LatestSnapshot:
    """The newest observation of a market. `sparkline` holds closes of 7 days, oldest first.

    `derived` names the fields that Tapedeck computed because the provider does not give them.
    """

    market_id: int
    symbol: str
    name: str
    asset_type: str
    quote: str
    provider: str
    observed_at: datetime
    stored_at: datetime
    run_id: str | None
    price: Decimal
    volume: Decimal | None
    market_cap: Decimal | None
    volatility: Decimal | None
    roi_1h_pct: Decimal | None
    roi_24h_pct: Decimal | None
    roi_7d_pct: Decimal | None
    roi_30d_pct: Decimal | None
    derived: frozenset[str] = frozenset()
    flags: tuple[str, ...] = ()
    sparkline: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class SnapshotPage:
    """Latest snapshots in the order asked for; `next_cursor` asks for the page after."""

    rows: tuple[LatestSnapshot, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ListingView:
    """A market's id at one provider."""

    provider: str
    provider_id: str
    quote: str
    provider_symbol: str
    name: str
    rank: int | None
    chosen_by: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class RoiStatisticView:
    """The newest statistics of a market over one window; a null has its reason.

    `run_id` names the run that wrote it last, here as in the values below.
    """

    window: str
    provider: str
    grid: str
    first_at: datetime | None
    last_at: datetime
    sample_count: int
    expected_count: int
    periods_per_year: int
    risk_free_rate: Decimal
    minimum_acceptable_return: Decimal
    roi_pct: Decimal | None
    sharpe: Decimal | None
    sortino: Decimal | None
    max_drawdown: Decimal | None
    volatility: Decimal | None
    calmar: Decimal | None
    win_rate: Decimal | None
    sharpe_annualised: Decimal | None
    sortino_annualised: Decimal | None
    volatility_annualised: Decimal | None
    null_reasons: dict[str, str]
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class ComparisonView:
    """The newest comparison of a market (`symbol`) against another."""

    symbol: str
    against_symbol: str
    provider: str
    observed_at: datetime
    price_ratio: Decimal | None
    volume_ratio: Decimal | None
    roi_spread_1h: Decimal | None
    roi_spread_24h: Decimal | None
    roi_spread_7d: Decimal | None
    roi_spread_30d: Decimal | None
    correlation_30d: Decimal | None
    beta_30d: Decimal | None
    sample_count: int
    null_reasons: dict[str, str]
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class MarketView:
    """A market as the list shows it."""

    symbol: str
    name: str
    asset_type: str
    quote: str
    former_symbols: tuple[str, ...]
    created_at: datetime
    listings: tuple[ListingView, ...]


@dataclass(frozen=True, slots=True)
class MarketPage:
    """Markets by symbol; `next_cursor` asks for the page after."""

    markets: tuple[MarketView, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class MarketDetail:
    """Everything the newest run knows about one market."""

    market: MarketView
    snapshots: tuple[LatestSnapshot, ...]
    roi_statistics: tuple[RoiStatisticView, ...]
    comparisons: tuple[ComparisonView, ...]


@dataclass(frozen=True, slots=True)
class CandleView:
    """A stored candle."""

    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    average: Decimal | None
    volatility: Decimal | None
    change_pct: Decimal | None
    sample_count: int
    is_final: bool
    basis: str
    provider: str
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class HealthState:
    """Whether the data is good now: level is good, late, failing, stalled, empty or paused.

    `headline` goes on after the level's word, `reason` is a sentence of its own or empty; `advice`
    says what to do. `since` is when it began, where that is known.
    """

    level: str
    headline: str
    reason: str
    advice: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class SchedulePauseView:
    """A pause of the schedule that is in force; without `until_at` somebody has to resume it."""

    paused_by: str
    reason: str
    until_at: datetime | None
    paused_at: datetime | None = None

    @property
    def words(self) -> str:
        """Who paused, and why."""
        return f"Paused by {self.paused_by}: {self.reason}"


@dataclass(frozen=True, slots=True)
class AlertLine:
    """An open alert in one line; `snoozed_until` where somebody knows of it already."""

    severity: str
    headline: str
    fired_at: datetime
    snoozed_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """What the first page shows beside the latest snapshots.

    Of the `alert_count` open alerts `alerts` holds the worst and newest.
    """

    state: HealthState
    active_run: RunView | None
    last_run: RunView | None
    recent_runs: tuple[RunView, ...]
    next_tick_at: datetime | None
    schedule_expression: str
    schedule_words: str
    schedule_timezone: str
    scheduler_enabled: bool
    provider: str
    cache: CacheState
    market_count: int
    alert_count: int = 0
    alerts: tuple[AlertLine, ...] = ()
    pause: SchedulePauseView | None = None

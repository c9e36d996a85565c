"""The vocabulary: the frozen values that every room speaks in. No I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
# A Monday: weeks are ISO weeks, so every floor counts from here.
EPOCH_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)


class Granularity(StrEnum):
    """The interval of a candle; half-open `[opened_at, closed_at)` in UTC, weeks from Monday."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"

    @property
    def step(self) -> timedelta:
        """The length of one interval."""
        return {"hourly": HOUR, "daily": DAY, "weekly": WEEK}[self.value]

    def floor(self, instant: datetime) -> datetime:
        """The opening of the interval that holds `instant` (aware UTC)."""
        return instant - (instant - EPOCH_MONDAY) % self.step


class Window(StrEnum):
    """The look-back of a statistic."""

    H1 = "1h"
    H24 = "24h"
    D7 = "7d"
    D30 = "30d"

    @property
    def length(self) -> timedelta:
        """How far the window reaches back."""
        return {"1h": HOUR, "24h": DAY, "7d": WEEK, "30d": 30 * DAY}[self.value]


class TickStatus(StrEnum):
    """What became of a due moment of a schedule."""

    CLAIMED = "claimed"
    RAN = "ran"
    SKIPPED = "skipped"
    MISSED = "missed"


class AssetType(StrEnum):
    """What kind of thing a market prices; decides the length of its year."""

    CRYPTO = "crypto"
    INDEX = "index"
    EQUITY = "equity"


class RunStatus(StrEnum):
    """Where a run stands. Everything but `running` is final."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"


class Trigger(StrEnum):
    """What started a run."""

    SCHEDULER = "scheduler"
    CRON = "cron"
    MANUAL = "manual"
    CLI = "cli"
    BACKFILL = "backfill"


class CandleBasis(StrEnum):
    """What a candle was made from, best first: a better basis is never overwritten by a worse."""

    PROVIDER = "provider"
    FINER = "finer"
    SNAPSHOTS = "snapshots"

    @property
    def rank(self) -> int:
        """1 is best."""
        return {"provider": 1, "finer": 2, "snapshots": 3}[self.value]


class NullReason(StrEnum):
    """Why a statistic has no number."""

    INSUFFICIENT_SAMPLES = "insufficient_samples"
    ZERO_VARIANCE = "zero_variance"
    NO_DOWNSIDE = "no_downside"
    STALE_BASE = "stale_base"
    WINDOW_TOO_SHORT = "window_too_short"
    NO_DRAWDOWN = "no_drawdown"
    NOT_SIMULTANEOUS = "not_simultaneous"
    NO_VOLUME = "no_volume"


@dataclass(frozen=True, slots=True)
class MarketRequest:
    """One market as the operator asked for it: `BTC-USD`, `SPX` or, pinned, `BTC-USD=bitcoin`."""

    symbol: str
    pinned_id: str | None = None

    @property
    def is_bare(self) -> bool:
        """True for an index or share (`SPX`): no quote currency in the symbol."""
        return "-" not in self.symbol

    @property
    def base(self) -> str:
        """`BTC` of `BTC-USD`; the whole of a bare symbol."""
        return self.symbol.rpartition("-")[0] or self.symbol

    @property
    def quote(self) -> str:
        """The quote currency in upper case: `USD` of `BTC-USD`, and `USD` for a bare symbol."""
        return self.symbol.rpartition("-")[2] if not self.is_bare else "USD"


@dataclass(frozen=True, slots=True)
class Listing:
    """A market's id at one provider. `symbol` is our own name of the market."""

    provider: str
    provider_id: str
    symbol: str
    quote: str = "USD"
    name: str = ""
    provider_symbol: str = ""
    asset_type: AssetType = AssetType.CRYPTO
    chosen_by: str = "provider"  # pinned, resolved, discovered or provider
    rank: int | None = None
    market_id: int | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies the listing: (provider, provider_id, quote)."""
        return (self.provider, self.provider_id, self.quote)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One observation of a market; money in the quote currency, ROI in per cent.

    `volume` is the rolling 24 h volume in the quote currency. `raw` is the provider's own text of
    the row, kept for the quarantine only.
    """

    listing: Listing
    observed_at: datetime | None
    price: Decimal | None
    volume: Decimal | None = None
    market_cap: Decimal | None = None
    volatility: Decimal | None = None
    roi_1h_pct: Decimal | None = None
    roi_24h_pct: Decimal | None = None
    roi_7d_pct: Decimal | None = None
    roi_30d_pct: Decimal | None = None
    raw: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Candle:
    """Open, high, low, close and volume of one half-open interval in the quote currency.

    `average` is the mean of the samples (the mean of open, high, low and close where a provider
    gives no more), `volatility` the sample standard deviation of the simple returns inside the
    interval (a fraction), `change_pct` close against open in per cent. `volume` is None where the
    source has only rolling volumes.
    """

    listing: Listing
    granularity: Granularity
    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None = None
    average: Decimal | None = None
    volatility: Decimal | None = None
    sample_count: int = 1
    first_observed_at: datetime | None = None
    last_observed_at: datetime | None = None
    is_final: bool = True
    basis: CandleBasis = CandleBasis.PROVIDER
    raw: str = field(default="", repr=False, compare=False)

    @property
    def closed_at(self) -> datetime:
        """The end of the interval, exclusive."""
        return self.opened_at + self.granularity.step


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two different markets against each other at one moment, the first over the second.

    Spreads are percentage points (first minus second). A missing number has its `NullReason` under
    the field's name in `null_reasons`.
    """

    market_id: int
    against_market_id: int
    observed_at: datetime
    price_ratio: Decimal | None
    volume_ratio: Decimal | None
    roi_spread_1h: Decimal | None = None
    roi_spread_24h: Decimal | None = None
    roi_spread_7d: Decimal | None = None
    roi_spread_30d: Decimal | None = None
    correlation_30d: Decimal | None = None
    beta_30d: Decimal | None = None
    sample_count: int = 0
    null_reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoiStatistic:
    """The statistics of one market over one window, ending at `last_at`.

    `roi_pct` is per cent; `max_drawdown` a fraction in [-1, 0]; `volatility` the sample deviation
    of simple returns per grid step; the ratios are per step, `*_annualised` over
    `periods_per_year` steps. A missing number has its `NullReason` in `null_reasons`.
    """

    market_id: int
    window: Window
    grid: Granularity
    sample_count: int
    expected_count: int
    first_at: datetime | None
    last_at: datetime
    periods_per_year: int
    risk_free_rate: Decimal
    minimum_acceptable_return: Decimal
    roi_pct: Decimal | None = None
    sharpe: Decimal | None = None
    sortino: Decimal | None = None
    max_drawdown: Decimal | None = None
    volatility: Decimal | None = None
    calmar: Decimal | None = None
    win_rate: Decimal | None = None
    sharpe_annualised: Decimal | None = None
    sortino_annualised: Decimal | None = None
    volatility_annualised: Decimal | None = None
    null_reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A provider row set aside: `reason` is a short code, `detail` a sentence, `raw` the text."""

    kind: str  # snapshot, candle
    reason: str
    detail: str
    raw: str = field(repr=False)
    symbol: str | None = None
    provider_id: str | None = None


@dataclass(frozen=True, slots=True)
class MarketProblem:
    """One market that could not be served: the class of the error and a sentence for people."""

    symbol: str
    error_class: str
    message: str

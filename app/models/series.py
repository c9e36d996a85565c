"""What is recorded over time: snapshots, candles, comparisons and ROI statistics.

`run_id` names the run that wrote a row last. It is deliberately no foreign key: a check per row
would double the cost of a bulk load, and runs are pruned long before the data they brought.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, PrimaryKeyConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database.base import (
    Base,
    MarketId,
    StoredAt,
    finite,
    not_negative,
    one_of,
    positive,
)
from app.domain import CandleBasis, Granularity, Window


class MarketSnapshot(Base):
    """One observation of a market at one provider; a partition a month."""

    __tablename__ = "market_snapshot"
    __table_args__ = (
        PrimaryKeyConstraint("market_id", "provider", "observed_at"),
        # By an expression, so that nobody takes it for the newest of a single market.
        Index("ix_market_snapshot_newest", text("(observed_at AT TIME ZONE 'UTC')")),
        positive("price"),
        not_negative("volume"),
        not_negative("market_cap"),
        not_negative("volatility"),
        finite("roi_1h_pct", "roi_24h_pct", "roi_7d_pct", "roi_30d_pct"),
        {"postgresql_partition_by": "RANGE (observed_at)"},
    )

    market_id: Mapped[MarketId]
    provider: Mapped[str]
    observed_at: Mapped[datetime]
    price: Mapped[Decimal]
    volume: Mapped[Decimal | None]
    market_cap: Mapped[Decimal | None]
    volatility: Mapped[Decimal | None]
    roi_1h_pct: Mapped[Decimal | None]
    roi_24h_pct: Mapped[Decimal | None]
    roi_7d_pct: Mapped[Decimal | None]
    roi_30d_pct: Mapped[Decimal | None]
    derived: Mapped[list[str]] = mapped_column(server_default="{}")
    flags: Mapped[list[str]] = mapped_column(server_default="{}")
    run_id: Mapped[UUID]
    stored_at: Mapped[StoredAt]


class MarketAggregate(Base):
    """A candle of one market from one provider."""

    __tablename__ = "market_aggregate"
    __table_args__ = (
        PrimaryKeyConstraint("market_id", "provider", "granularity", "opened_at"),
        Index(
            "ix_market_aggregate_open",
            "provider",
            "opened_at",
            postgresql_where=text("NOT is_final"),
        ),
        one_of("granularity", Granularity),
        one_of("basis", CandleBasis),
        positive("open"),
        positive("high"),
        positive("low"),
        positive("close"),
        not_negative("volume"),
        not_negative("volatility"),
        finite("average", "change_pct"),
        CheckConstraint(
            "high >= open AND high >= close AND low <= open AND low <= close", name="extremes"
        ),
        CheckConstraint("sample_count > 0", name="sample_count_positive"),
    )

    market_id: Mapped[MarketId]
    provider: Mapped[str]
    granularity: Mapped[str]
    opened_at: Mapped[datetime]
    open: Mapped[Decimal]
    high: Mapped[Decimal]
    low: Mapped[Decimal]
    close: Mapped[Decimal]
    volume: Mapped[Decimal | None]
    average: Mapped[Decimal | None]
    volatility: Mapped[Decimal | None]
    change_pct: Mapped[Decimal | None]
    sample_count: Mapped[int]
    first_observed_at: Mapped[datetime | None]
    last_observed_at: Mapped[datetime | None]
    is_final: Mapped[bool]
    basis: Mapped[str]
    run_id: Mapped[UUID]
    stored_at: Mapped[StoredAt]


class MarketComparison(Base):
    """Two different markets against each other at one moment."""

    __tablename__ = "market_comparison"
    __table_args__ = (
        PrimaryKeyConstraint("market_id", "against_market_id", "provider", "observed_at"),
        Index(None, "against_market_id"),
        CheckConstraint("market_id <> against_market_id", name="different_markets"),
        not_negative("price_ratio"),
        not_negative("volume_ratio"),
        finite("roi_spread_1h", "roi_spread_24h", "roi_spread_7d", "roi_spread_30d"),
        CheckConstraint("correlation_30d BETWEEN -1 AND 1", name="correlation_range"),
    )

    market_id: Mapped[MarketId]
    against_market_id: Mapped[int] = mapped_column(ForeignKey("market.id", ondelete="CASCADE"))
    provider: Mapped[str]
    observed_at: Mapped[datetime]
    price_ratio: Mapped[Decimal | None]
    volume_ratio: Mapped[Decimal | None]
    roi_spread_1h: Mapped[Decimal | None]
    roi_spread_24h: Mapped[Decimal | None]
    roi_spread_7d: Mapped[Decimal | None]
    roi_spread_30d: Mapped[Decimal | None]
    correlation_30d: Mapped[Decimal | None]
    beta_30d: Mapped[Decimal | None]
    sample_count: Mapped[int] = mapped_column(server_default="0")
    null_reasons: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    run_id: Mapped[UUID]
    stored_at: Mapped[StoredAt]


class MarketRoiStatistic(Base):
    """The statistics of one market over one window; stored when a value changed."""

    __tablename__ = "market_roi_statistic"
    __table_args__ = (
        PrimaryKeyConstraint("market_id", "provider", "window", "last_at"),
        one_of("window", Window),
        one_of("grid", Granularity),
        finite("roi_pct", "sharpe", "sortino", "calmar", "sharpe_annualised"),
        CheckConstraint("max_drawdown BETWEEN -1 AND 0", name="max_drawdown_range"),
        CheckConstraint("win_rate BETWEEN 0 AND 1", name="win_rate_range"),
        not_negative("volatility"),
        not_negative("volatility_annualised"),
        CheckConstraint("sample_count >= 0 AND expected_count >= 0", name="counts_not_negative"),
    )

    market_id: Mapped[MarketId]
    provider: Mapped[str]
    window: Mapped[str]
    last_at: Mapped[datetime]
    grid: Mapped[str]
    first_at: Mapped[datetime | None]
    sample_count: Mapped[int]
    expected_count: Mapped[int]
    periods_per_year: Mapped[int]
    risk_free_rate: Mapped[Decimal]
    minimum_acceptable_return: Mapped[Decimal]
    roi_pct: Mapped[Decimal | None]
    sharpe: Mapped[Decimal | None]
    sortino: Mapped[Decimal | None]
    max_drawdown: Mapped[Decimal | None]
    volatility: Mapped[Decimal | None]
    calmar: Mapped[Decimal | None]
    win_rate: Mapped[Decimal | None]
    sharpe_annualised: Mapped[Decimal | None]
    sortino_annualised: Mapped[Decimal | None]
    volatility_annualised: Mapped[Decimal | None]
    null_reasons: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    run_id: Mapped[UUID]
    stored_at: Mapped[StoredAt]

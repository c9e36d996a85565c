"""first schema"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ingestion_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("symbols", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("requested_by", sa.Text(), server_default="", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("parent_run_id", sa.Uuid(), nullable=True),
        sa.Column("config_fingerprint", sa.Text(), server_default="", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "heartbeat_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("stage", sa.Text(), server_default="", nullable=False),
        sa.Column("markets_requested", sa.Integer(), server_default="0", nullable=False),
        sa.Column("markets_ingested", sa.Integer(), server_default="0", nullable=False),
        sa.Column("snapshots_ingested", sa.Integer(), server_default="0", nullable=False),
        sa.Column("aggregates_ingested", sa.Integer(), server_default="0", nullable=False),
        sa.Column("comparisons_ingested", sa.Integer(), server_default="0", nullable=False),
        sa.Column("roi_stats_ingested", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fetched", sa.Integer(), server_default="0", nullable=False),
        sa.Column("inserted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("updated", sa.Integer(), server_default="0", nullable=False),
        sa.Column("unchanged", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rejected", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("problem_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "problems", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False
        ),
        sa.CheckConstraint(
            "(status = 'running') = (finished_at IS NULL)",
            name=op.f("ck_ingestion_run_finished_when_final"),
        ),
        sa.CheckConstraint(
            "\"status\" IN ('running', 'succeeded', 'partial', 'failed', 'cancelled', 'abandoned')",
            name=op.f("ck_ingestion_run_status_known"),
        ),
        sa.CheckConstraint(
            "\"trigger\" IN ('scheduler', 'cron', 'manual', 'cli', 'backfill')",
            name=op.f("ck_ingestion_run_trigger_known"),
        ),
        sa.CheckConstraint("attempt > 0", name=op.f("ck_ingestion_run_attempt_positive")),
        sa.ForeignKeyConstraint(
            ["parent_run_id"],
            ["ingestion_run.id"],
            name=op.f("fk_ingestion_run_parent_run_id_ingestion_run"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingestion_run")),
    )
    op.create_index(
        op.f("ix_ingestion_run_started_at_id"), "ingestion_run", ["started_at", "id"], unique=False
    )
    op.create_index(
        op.f("ix_ingestion_run_status_started_at"),
        "ingestion_run",
        ["status", "started_at"],
        unique=False,
    )
    op.create_index(
        "uq_ingestion_run_active",
        "ingestion_run",
        [sa.literal_column("(true)")],
        unique=True,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "market",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("asset_type", sa.Text(), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column(
            "former_symbols", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "symbol <> '' AND symbol = upper(symbol)", name=op.f("ck_market_symbol_upper")
        ),
        sa.CheckConstraint(
            "\"asset_type\" IN ('crypto', 'index', 'equity')",
            name=op.f("ck_market_asset_type_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_market")),
        sa.UniqueConstraint("symbol", name=op.f("uq_market_symbol")),
    )
    op.create_table(
        "listing",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("market_id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("provider_symbol", sa.Text(), server_default="", nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("chosen_by", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("history_from", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["market_id"],
            ["market.id"],
            name=op.f("fk_listing_market_id_market"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_listing")),
        sa.UniqueConstraint("market_id", "provider", name=op.f("uq_listing_market_id_provider")),
        sa.UniqueConstraint(
            "provider", "provider_id", "quote", name=op.f("uq_listing_provider_provider_id_quote")
        ),
    )
    op.create_table(
        "market_aggregate",
        sa.Column("market_id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("granularity", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open", sa.Numeric(), nullable=False),
        sa.Column("high", sa.Numeric(), nullable=False),
        sa.Column("low", sa.Numeric(), nullable=False),
        sa.Column("close", sa.Numeric(), nullable=False),
        sa.Column("volume", sa.Numeric(), nullable=True),
        sa.Column("average", sa.Numeric(), nullable=True),
        sa.Column("volatility", sa.Numeric(), nullable=True),
        sa.Column("change_pct", sa.Numeric(), nullable=True),
        sa.Column("sample_count", sa.Integer(), nullable=False),
        sa.Column("first_observed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_observed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_final", sa.Boolean(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column(
            "stored_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "(average IS NULL OR (average > '-Infinity' AND average < 'Infinity')) AND (change_pct IS NULL OR (change_pct > '-Infinity' AND change_pct < 'Infinity'))",
            name=op.f("ck_market_aggregate_finite"),
        ),
        sa.CheckConstraint(
            "close > 0 AND close < 'Infinity'", name=op.f("ck_market_aggregate_close_positive")
        ),
        sa.CheckConstraint(
            "high > 0 AND high < 'Infinity'", name=op.f("ck_market_aggregate_high_positive")
        ),
        sa.CheckConstraint(
            "low > 0 AND low < 'Infinity'", name=op.f("ck_market_aggregate_low_positive")
        ),
        sa.CheckConstraint(
            "open > 0 AND open < 'Infinity'", name=op.f("ck_market_aggregate_open_positive")
        ),
        sa.CheckConstraint(
            "volatility >= 0 AND volatility < 'Infinity'",
            name=op.f("ck_market_aggregate_volatility_not_negative"),
        ),
        sa.CheckConstraint(
            "volume >= 0 AND volume < 'Infinity'",
            name=op.f("ck_market_aggregate_volume_not_negative"),
        ),
        sa.CheckConstraint(
            "\"basis\" IN ('provider', 'finer', 'snapshots')",
            name=op.f("ck_market_aggregate_basis_known"),
        ),
        sa.CheckConstraint(
            "\"granularity\" IN ('hourly', 'daily', 'weekly')",
            name=op.f("ck_market_aggregate_granularity_known"),
        ),
        sa.CheckConstraint(
            "high >= open AND high >= close AND low <= open AND low <= close",
            name=op.f("ck_market_aggregate_extremes"),
        ),
        sa.CheckConstraint(
            "sample_count > 0", name=op.f("ck_market_aggregate_sample_count_positive")
        ),
        sa.ForeignKeyConstraint(
            ["market_id"],
            ["market.id"],
            name=op.f("fk_market_aggregate_market_id_market"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "market_id", "provider", "granularity", "opened_at", name=op.f("pk_market_aggregate")
        ),
    )
    op.create_index(
        "ix_market_aggregate_open",
        "market_aggregate",
        ["provider", "opened_at"],
        unique=False,
        postgresql_where=sa.text("NOT is_final"),
    )
    op.create_table(
        "market_comparison",
        sa.Column("market_id", sa.Integer(), nullable=False),
        sa.Column("against_market_id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("price_ratio", sa.Numeric(), nullable=True),
        sa.Column("volume_ratio", sa.Numeric(), nullable=True),
        sa.Column("roi_spread_1h", sa.Numeric(), nullable=True),
        sa.Column("roi_spread_24h", sa.Numeric(), nullable=True),
        sa.Column("roi_spread_7d", sa.Numeric(), nullable=True),
        sa.Column("roi_spread_30d", sa.Numeric(), nullable=True),
        sa.Column("correlation_30d", sa.Numeric(), nullable=True),
        sa.Column("beta_30d", sa.Numeric(), nullable=True),
        sa.Column("sample_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "null_reasons",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
        ),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column(
            "stored_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "(roi_spread_1h IS NULL OR (roi_spread_1h > '-Infinity' AND roi_spread_1h < 'Infinity')) AND (roi_spread_24h IS NULL OR (roi_spread_24h > '-Infinity' AND roi_spread_24h < 'Infinity')) AND (roi_spread_7d IS NULL OR (roi_spread_7d > '-Infinity' AND roi_spread_7d < 'Infinity')) AND (roi_spread_30d IS NULL OR (roi_spread_30d > '-Infinity' AND roi_spread_30d < 'Infinity'))",
            name=op.f("ck_market_comparison_finite"),
        ),
        sa.CheckConstraint(
            "price_ratio >= 0 AND price_ratio < 'Infinity'",
            name=op.f("ck_market_comparison_price_ratio_not_negative"),
        ),
        sa.CheckConstraint(
            "volume_ratio >= 0 AND volume_ratio < 'Infinity'",
            name=op.f("ck_market_comparison_volume_ratio_not_negative"),
        ),
        sa.CheckConstraint(
            "correlation_30d BETWEEN -1 AND 1", name=op.f("ck_market_comparison_correlation_range")
        ),
        sa.CheckConstraint(
            "market_id <> against_market_id", name=op.f("ck_market_comparison_different_markets")
        ),
        sa.ForeignKeyConstraint(
            ["against_market_id"],
            ["market.id"],
            name=op.f("fk_market_comparison_against_market_id_market"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["market_id"],
            ["market.id"],
            name=op.f("fk_market_comparison_market_id_market"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "market_id",
            "against_market_id",
            "provider",
            "observed_at",
            name=op.f("pk_market_comparison"),
        ),
    )
    op.create_index(
        op.f("ix_market_comparison_against_market_id"),
        "market_comparison",
        ["against_market_id"],
        unique=False,
    )
    op.create_table(
        "market_roi_statistic",
        sa.Column("market_id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("grid", sa.Text(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sample_count", sa.Integer(), nullable=False),
        sa.Column("expected_count", sa.Integer(), nullable=False),
        sa.Column("periods_per_year", sa.Integer(), nullable=False),
        sa.Column("risk_free_rate", sa.Numeric(), nullable=False),
        sa.Column("minimum_acceptable_return", sa.Numeric(), nullable=False),
        sa.Column("roi_pct", sa.Numeric(), nullable=True),
        sa.Column("sharpe", sa.Numeric(), nullable=True),
        sa.Column("sortino", sa.Numeric(), nullable=True),
        sa.Column("max_drawdown", sa.Numeric(), nullable=True),
        sa.Column("volatility", sa.Numeric(), nullable=True),
        sa.Column("calmar", sa.Numeric(), nullable=True),
        sa.Column("win_rate", sa.Numeric(), nullable=True),
        sa.Column("sharpe_annualised", sa.Numeric(), nullable=True),
        sa.Column("sortino_annualised", sa.Numeric(), nullable=True),
        sa.Column("volatility_annualised", sa.Numeric(), nullable=True),
        sa.Column(
            "null_reasons",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
        ),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column(
            "stored_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "(roi_pct IS NULL OR (roi_pct > '-Infinity' AND roi_pct < 'Infinity')) AND (sharpe IS NULL OR (sharpe > '-Infinity' AND sharpe < 'Infinity')) AND (sortino IS NULL OR (sortino > '-Infinity' AND sortino < 'Infinity')) AND (calmar IS NULL OR (calmar > '-Infinity' AND calmar < 'Infinity')) AND (sharpe_annualised IS NULL OR (sharpe_annualised > '-Infinity' AND sharpe_annualised < 'Infinity'))",
            name=op.f("ck_market_roi_statistic_finite"),
        ),
        sa.CheckConstraint(
            "volatility >= 0 AND volatility < 'Infinity'",
            name=op.f("ck_market_roi_statistic_volatility_not_negative"),
        ),
        sa.CheckConstraint(
            "volatility_annualised >= 0 AND volatility_annualised < 'Infinity'",
            name=op.f("ck_market_roi_statistic_volatility_annualised_not_negative"),
        ),
        sa.CheckConstraint(
            "\"grid\" IN ('hourly', 'daily', 'weekly')",
            name=op.f("ck_market_roi_statistic_grid_known"),
        ),
        sa.CheckConstraint(
            "\"window\" IN ('1h', '24h', '7d', '30d')",
            name=op.f("ck_market_roi_statistic_window_known"),
        ),
        sa.CheckConstraint(
            "max_drawdown BETWEEN -1 AND 0", name=op.f("ck_market_roi_statistic_max_drawdown_range")
        ),
        sa.CheckConstraint(
            "sample_count >= 0 AND expected_count >= 0",
            name=op.f("ck_market_roi_statistic_counts_not_negative"),
        ),
        sa.CheckConstraint(
            "win_rate BETWEEN 0 AND 1", name=op.f("ck_market_roi_statistic_win_rate_range")
        ),
        sa.ForeignKeyConstraint(
            ["market_id"],
            ["market.id"],
            name=op.f("fk_market_roi_statistic_market_id_market"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "market_id", "provider", "window", "last_at", name=op.f("pk_market_roi_statistic")
        ),
    )
    op.create_table(
        "market_snapshot",
        sa.Column("market_id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("volume", sa.Numeric(), nullable=True),
        sa.Column("market_cap", sa.Numeric(), nullable=True),
        sa.Column("volatility", sa.Numeric(), nullable=True),
        sa.Column("roi_1h_pct", sa.Numeric(), nullable=True),
        sa.Column("roi_24h_pct", sa.Numeric(), nullable=True),
        sa.Column("roi_7d_pct", sa.Numeric(), nullable=True),
        sa.Column("roi_30d_pct", sa.Numeric(), nullable=True),
        sa.Column("derived", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("flags", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column(
            "stored_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "(roi_1h_pct IS NULL OR (roi_1h_pct > '-Infinity' AND roi_1h_pct < 'Infinity')) AND (roi_24h_pct IS NULL OR (roi_24h_pct > '-Infinity' AND roi_24h_pct < 'Infinity')) AND (roi_7d_pct IS NULL OR (roi_7d_pct > '-Infinity' AND roi_7d_pct < 'Infinity')) AND (roi_30d_pct IS NULL OR (roi_30d_pct > '-Infinity' AND roi_30d_pct < 'Infinity'))",
            name=op.f("ck_market_snapshot_finite"),
        ),
        sa.CheckConstraint(
            "market_cap >= 0 AND market_cap < 'Infinity'",
            name=op.f("ck_market_snapshot_market_cap_not_negative"),
        ),
        sa.CheckConstraint(
            "price > 0 AND price < 'Infinity'", name=op.f("ck_market_snapshot_price_positive")
        ),
        sa.CheckConstraint(
            "volatility >= 0 AND volatility < 'Infinity'",
            name=op.f("ck_market_snapshot_volatility_not_negative"),
        ),
        sa.CheckConstraint(
            "volume >= 0 AND volume < 'Infinity'",
            name=op.f("ck_market_snapshot_volume_not_negative"),
        ),
        sa.ForeignKeyConstraint(
            ["market_id"],
            ["market.id"],
            name=op.f("fk_market_snapshot_market_id_market"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "market_id", "provider", "observed_at", name=op.f("pk_market_snapshot")
        ),
    )
    op.create_table(
        "rejected_row",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=True),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "stored_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["ingestion_run.id"],
            name=op.f("fk_rejected_row_run_id_ingestion_run"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejected_row")),
    )
    op.create_index(
        op.f("ix_rejected_row_run_id_id"), "rejected_row", ["run_id", "id"], unique=False
    )
    op.create_table(
        "run_stage",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("fetched", sa.Integer(), server_default="0", nullable=False),
        sa.Column("inserted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("updated", sa.Integer(), server_default="0", nullable=False),
        sa.Column("unchanged", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rejected", sa.Integer(), server_default="0", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["ingestion_run.id"],
            name=op.f("fk_run_stage_run_id_ingestion_run"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "attempt", "position", name=op.f("pk_run_stage")),
    )
    op.create_table(
        "schedule_tick",
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=False),
        sa.Column(
            "claimed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint(
            "\"status\" IN ('claimed', 'ran', 'skipped', 'missed')",
            name=op.f("ck_schedule_tick_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["ingestion_run.id"],
            name=op.f("fk_schedule_tick_run_id_ingestion_run"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("schedule", "due_at", name=op.f("pk_schedule_tick")),
    )
    op.create_index(op.f("ix_schedule_tick_run_id"), "schedule_tick", ["run_id"], unique=False)
    op.create_table(
        "schedule_pause",
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column(
            "paused_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("paused_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("until_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("schedule", name=op.f("pk_schedule_pause")),
    )
    op.create_table(
        "data_version",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("token", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_data_version")),
    )


def downgrade() -> None:
    op.drop_table("data_version")
    op.drop_table("schedule_pause")
    op.drop_index(op.f("ix_schedule_tick_run_id"), table_name="schedule_tick")
    op.drop_table("schedule_tick")
    op.drop_table("run_stage")
    op.drop_index(op.f("ix_rejected_row_run_id_id"), table_name="rejected_row")
    op.drop_table("rejected_row")
    op.drop_table("market_snapshot")
    op.drop_table("market_roi_statistic")
    op.drop_index(op.f("ix_market_comparison_against_market_id"), table_name="market_comparison")
    op.drop_table("market_comparison")
    op.drop_index(
        "ix_market_aggregate_open",
        table_name="market_aggregate",
        postgresql_where=sa.text("NOT is_final"),
    )
    op.drop_table("market_aggregate")
    op.drop_table("listing")
    op.drop_table("market")
    op.drop_index(
        "uq_ingestion_run_active",
        table_name="ingestion_run",
        postgresql_where=sa.text("status = 'running'"),
    )
    op.drop_index(op.f("ix_ingestion_run_status_started_at"), table_name="ingestion_run")
    op.drop_index(op.f("ix_ingestion_run_started_at_id"), table_name="ingestion_run")
    op.drop_table("ingestion_run")

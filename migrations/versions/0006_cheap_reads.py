"""cheap reads: indexes that lists are read by, and runs counted once"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

AMOUNTS = ("rows", "fetched", "inserted", "updated", "unchanged", "rejected")
_LISTED = ", ".join(AMOUNTS)
# What the runs in `run` add up to.
_SUMS = """
    SELECT 'run' AS kind,
           jsonb_build_object('status', status, 'trigger', trigger, 'provider', provider) AS labels,
           count(*) AS rows, 0 AS fetched, 0 AS inserted, 0 AS updated, 0 AS unchanged,
           sum(rejected) AS rejected
    FROM run GROUP BY 2
    UNION ALL
    SELECT 'stage', jsonb_build_object('name', s.name), count(*), sum(s.fetched), sum(s.inserted),
           sum(s.updated), sum(s.unchanged), sum(s.rejected)
    FROM run JOIN run_stage s ON s.run_id = run.id WHERE s.status <> 'running' GROUP BY 2
    UNION ALL
    SELECT 'rejected_row',
           jsonb_build_object('provider', j.provider, 'kind', j.kind, 'reason', j.reason),
           count(*), 0, 0, 0, 0, 0
    FROM run JOIN rejected_row j ON j.run_id = run.id GROUP BY 2
"""


def upgrade() -> None:
    op.create_index(
        "ix_market_snapshot_newest",
        "market_snapshot",
        [sa.text("(observed_at AT TIME ZONE 'UTC')")],
    )
    op.create_index(
        "ix_listing_order", "listing", ["provider", sa.text("coalesce(rank, 1000000 + market_id)")]
    )
    # Each run changes every listing; with room on its page no index has to follow.
    op.execute("ALTER TABLE listing SET (fillfactor = 70)")
    op.add_column("listing", sa.Column("observed_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("""
        UPDATE listing l SET observed_at = (
            SELECT s.observed_at FROM market_snapshot s
            WHERE s.market_id = l.market_id AND s.provider = l.provider
            ORDER BY s.observed_at DESC LIMIT 1)
    """)
    op.add_column(
        "ingestion_run",
        sa.Column("is_counted", sa.Boolean(), server_default="false", nullable=False),
    )
    op.create_table(
        "run_count",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("labels", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        *(sa.Column(name, sa.BigInteger(), server_default="0", nullable=False) for name in AMOUNTS),
        sa.PrimaryKeyConstraint("kind", "labels", name=op.f("pk_run_count")),
    )
    _count()
    for column in ("trigger", "provider"):
        name = op.f(f"ix_ingestion_run_{column}_started_at")
        op.create_index(name, "ingestion_run", [column, "started_at"])
    op.create_index(
        "ix_alert_delivery_unsent",
        "alert_delivery",
        ["status", "created_at", "id"],
        postgresql_where=sa.text("status <> 'sent'"),
    )
    op.create_index(
        "ix_ingestion_run_uncounted",
        "ingestion_run",
        ["id"],
        postgresql_where=sa.text("NOT is_counted"),
    )


def downgrade() -> None:
    _give_back()
    op.drop_index("ix_ingestion_run_uncounted", table_name="ingestion_run")
    op.drop_index("ix_alert_delivery_unsent", table_name="alert_delivery")
    for column in ("trigger", "provider"):
        name = op.f(f"ix_ingestion_run_{column}_started_at")
        op.drop_index(name, table_name="ingestion_run")
    op.drop_table("run_count")
    op.drop_column("ingestion_run", "is_counted")
    op.drop_column("listing", "observed_at")
    op.execute("ALTER TABLE listing RESET (fillfactor)")
    op.drop_index("ix_listing_order", table_name="listing")
    op.drop_index("ix_market_snapshot_newest", table_name="market_snapshot")


def _count() -> None:
    """Every run that is over, and those that were pruned."""
    sums = ", ".join(f"sum({name})" for name in AMOUNTS)
    op.execute("UPDATE ingestion_run SET is_counted = true WHERE status <> 'running'")
    op.execute(f"""
        WITH run AS (SELECT * FROM ingestion_run WHERE is_counted)
        INSERT INTO run_count (kind, labels, {_LISTED})
        SELECT kind, labels, {sums} FROM (
            {_SUMS} UNION ALL SELECT kind, labels, {_LISTED} FROM pruned_count
        ) every_run GROUP BY kind, labels
    """)  # noqa: S608 - made of the constants above


def _give_back() -> None:
    """`pruned_count` is what was counted and is not stored any more."""
    rest = ", ".join(f"c.{name} - coalesce(s.{name}, 0)" for name in AMOUNTS)
    op.execute("DELETE FROM pruned_count")
    op.execute(f"""
        WITH run AS (SELECT * FROM ingestion_run WHERE is_counted)
        INSERT INTO pruned_count (kind, labels, {_LISTED})
        SELECT c.kind, c.labels, {rest}
        FROM run_count c LEFT JOIN ({_SUMS}) s ON s.kind = c.kind AND s.labels = c.labels
        WHERE c.rows > coalesce(s.rows, 0)
    """)  # noqa: S608

"""partitions: snapshots by month, and the counts of rows that were pruned"""

from datetime import UTC, datetime
from itertools import pairwise

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Months of their own that stored rows get at most; what is older shares the partition of the past.
MOST_MONTHS_BACK = 60
MONTHS_AHEAD = 2


def upgrade() -> None:
    op.create_table(
        "pruned_count",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("labels", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("rows", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fetched", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("inserted", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("updated", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("unchanged", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rejected", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("kind", "labels", name=op.f("pk_pruned_count")),
    )
    op.execute("LOCK TABLE market IN SHARE ROW EXCLUSIVE MODE")
    _move_aside()
    _create("PARTITION BY RANGE (observed_at)")
    oldest, now = (
        op.get_bind()
        .execute(sa.text("SELECT min(observed_at), clock_timestamp() FROM market_snapshot_old"))
        .one()
    )
    first = max(_month(oldest or now), _month(now) - MOST_MONTHS_BACK)
    first = min(first, _month(now))
    bounds = [_first_day(month) for month in range(first, _month(now) + MONTHS_AHEAD + 2)]
    _add("past", "MINVALUE", f"'{bounds[0]}'")
    for start, end in pairwise(bounds):
        _add(f"y{start:%Ym%m}", f"'{start}'", f"'{end}'")
    _add("future", f"'{bounds[-1]}'", "MAXVALUE")
    _bring_back()


def downgrade() -> None:
    op.execute("LOCK TABLE market IN SHARE ROW EXCLUSIVE MODE")
    _move_aside()
    _create("")
    _bring_back()
    op.drop_table("pruned_count")


def _move_aside() -> None:
    op.execute("ALTER TABLE market_snapshot RENAME TO market_snapshot_old")


def _create(partitioning: str) -> None:
    """The same table again, without its key and reference: columns, defaults and checks."""
    op.execute(
        "CREATE TABLE market_snapshot (LIKE market_snapshot_old INCLUDING DEFAULTS INCLUDING "
        f"CONSTRAINTS) {partitioning}"
    )


def _add(name: str, start: str, end: str) -> None:
    op.execute(
        f"CREATE TABLE market_snapshot_{name} PARTITION OF market_snapshot "
        f"FOR VALUES FROM ({start}) TO ({end})"
    )


def _bring_back() -> None:
    """Copy the rows; key and reference come after them, which is several times faster."""
    op.execute("INSERT INTO market_snapshot SELECT * FROM market_snapshot_old")
    op.execute("DROP TABLE market_snapshot_old")
    op.create_primary_key(
        op.f("pk_market_snapshot"), "market_snapshot", ["market_id", "provider", "observed_at"]
    )
    op.create_foreign_key(
        op.f("fk_market_snapshot_market_id_market"),
        "market_snapshot",
        "market",
        ["market_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.execute("ANALYZE market_snapshot")


def _month(instant: datetime) -> int:
    here = instant.astimezone(UTC)
    return here.year * 12 + here.month - 1


def _first_day(month: int) -> datetime:
    return datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)

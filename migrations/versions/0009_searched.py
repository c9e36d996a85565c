"""searched: what a market is found by in one column; indexes that counts are made from"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "market",
        sa.Column(
            "searched",
            sa.Text(),
            sa.Computed("lower(symbol || chr(10) || name)", persisted=True),
            nullable=False,
        ),
    )
    op.create_index(
        "ix_market_renamed",
        "market",
        ["id"],
        postgresql_where=sa.text("former_symbols <> '{}'"),
    )
    op.create_index(
        op.f("ix_market_former_symbols"), "market", ["former_symbols"], postgresql_using="gin"
    )
    op.create_index(op.f("ix_alert_rule_fired_at"), "alert", ["rule", "fired_at"])
    op.create_index(op.f("ix_market_asset_type"), "market", ["asset_type"])
    op.create_index(op.f("ix_listing_provider"), "listing", ["provider"])
    op.create_index(
        "ix_run_stage_fetch",
        "run_stage",
        ["started_at"],
        postgresql_include=["run_id", "attempt", "duration_ms"],
        postgresql_where=sa.text("name = 'fetch'"),
    )


def downgrade() -> None:
    op.drop_index("ix_run_stage_fetch", table_name="run_stage")
    op.drop_index(op.f("ix_listing_provider"), table_name="listing")
    op.drop_index(op.f("ix_market_asset_type"), table_name="market")
    op.drop_index(op.f("ix_alert_rule_fired_at"), table_name="alert")
    op.drop_index(op.f("ix_market_former_symbols"), table_name="market")
    op.drop_index("ix_market_renamed", table_name="market")
    op.drop_column("market", "searched")

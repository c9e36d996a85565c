"""run log: the last log lines of each attempt, and the indexes that lists of runs count by"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COVERED = ["status", "trigger", "provider", "duration_ms"]


def upgrade() -> None:
    op.create_table(
        "run_log_line",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("logged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("logger", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), server_default="", nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column(
            "fields", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["ingestion_run.id"],
            name=op.f("fk_run_log_line_run_id_ingestion_run"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "attempt", "position", name=op.f("pk_run_log_line")),
    )
    op.create_index(
        op.f("ix_ingestion_run_parent_run_id"),
        "ingestion_run",
        ["parent_run_id"],
        postgresql_where=sa.text("parent_run_id IS NOT NULL"),
    )
    # The same keys, and with them all that filters and counts look at.
    op.drop_index(op.f("ix_ingestion_run_started_at_id"), table_name="ingestion_run")
    op.create_index(
        op.f("ix_ingestion_run_started_at_id"),
        "ingestion_run",
        ["started_at", "id"],
        postgresql_include=COVERED,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_ingestion_run_started_at_id"), table_name="ingestion_run")
    op.create_index(op.f("ix_ingestion_run_started_at_id"), "ingestion_run", ["started_at", "id"])
    op.drop_index(op.f("ix_ingestion_run_parent_run_id"), table_name="ingestion_run")
    op.drop_table("run_log_line")

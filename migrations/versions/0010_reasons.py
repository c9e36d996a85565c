"""reasons: how many rows a run rejected for each reason, and these rows by their reason"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Every rejected row that is still kept is read once; a run whose rows are gone stays without.
COUNT_OLD_RUNS = """
    UPDATE ingestion_run r SET rejected_reasons = counted.reasons
    FROM (SELECT run_id, jsonb_object_agg(reason, number) AS reasons
          FROM (SELECT run_id, reason, count(*) AS number FROM rejected_row GROUP BY 1, 2) rows
          GROUP BY run_id) counted
    WHERE counted.run_id = r.id
"""


def upgrade() -> None:
    op.add_column(
        "ingestion_run",
        sa.Column(
            "rejected_reasons",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
    )
    op.execute(COUNT_OLD_RUNS)
    op.create_index(
        op.f("ix_rejected_row_run_id_reason_id"), "rejected_row", ["run_id", "reason", "id"]
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_rejected_row_run_id_reason_id"), table_name="rejected_row")
    op.drop_column("ingestion_run", "rejected_reasons")

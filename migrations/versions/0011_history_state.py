"""history_state: what a listing's own candles were when all of them were read"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("listing", sa.Column("history_state", sa.Text()))


def downgrade() -> None:
    op.drop_column("listing", "history_state")

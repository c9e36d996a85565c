"""What is left of rows that were pruned: their counts, so that no counter ever falls."""

from typing import Any

from sqlalchemy import BigInteger, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database.base import Base


class PrunedCount(Base):
    """How many rows of a kind (run, stage, rejected_row) with these labels are gone, and sums."""

    __tablename__ = "pruned_count"
    __table_args__ = (PrimaryKeyConstraint("kind", "labels"),)

    kind: Mapped[str]
    labels: Mapped[dict[str, Any]]
    rows: Mapped[int] = mapped_column(BigInteger, server_default="0")
    fetched: Mapped[int] = mapped_column(BigInteger, server_default="0")
    inserted: Mapped[int] = mapped_column(BigInteger, server_default="0")
    updated: Mapped[int] = mapped_column(BigInteger, server_default="0")
    unchanged: Mapped[int] = mapped_column(BigInteger, server_default="0")
    rejected: Mapped[int] = mapped_column(BigInteger, server_default="0")

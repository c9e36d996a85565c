"""What runs have counted, which is told of for ever: the runs themselves are pruned."""

from typing import Any

from sqlalchemy import BigInteger, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database.base import Base


class RunCount(Base):
    """How many rows of a kind (run, stage, rejected_row) with these labels there were, and sums.

    Of all runs that are `is_counted`, those that were pruned included.
    """

    __tablename__ = "run_count"
    __table_args__ = (PrimaryKeyConstraint("kind", "labels"),)

    kind: Mapped[str]
    labels: Mapped[dict[str, Any]]
    rows: Mapped[int] = mapped_column(BigInteger, server_default="0")
    fetched: Mapped[int] = mapped_column(BigInteger, server_default="0")
    inserted: Mapped[int] = mapped_column(BigInteger, server_default="0")
    updated: Mapped[int] = mapped_column(BigInteger, server_default="0")
    unchanged: Mapped[int] = mapped_column(BigInteger, server_default="0")
    rejected: Mapped[int] = mapped_column(BigInteger, server_default="0")


class PrunedCount(Base):
    """What `RunCount` took over; nobody writes it any more, and a later migration drops it."""

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

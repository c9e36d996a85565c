"""What keeps the house running: the ticks of the schedules."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database.base import Base, StoredAt, one_of
from app.domain import TickStatus


class ScheduleTick(Base):
    """One due moment of a schedule; whoever inserts the row owns the tick."""

    __tablename__ = "schedule_tick"
    __table_args__ = (
        PrimaryKeyConstraint("schedule", "due_at"),
        Index(None, "run_id"),
        one_of("status", TickStatus),
    )

    schedule: Mapped[str]
    due_at: Mapped[datetime]
    status: Mapped[str]
    claimed_by: Mapped[str]
    claimed_at: Mapped[StoredAt]
    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("ingestion_run.id", ondelete="SET NULL"))
    reason: Mapped[str] = mapped_column(server_default="")

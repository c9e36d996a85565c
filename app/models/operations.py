"""What keeps the house running: ticks and pauses of the schedule, jobs, the version of the data."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, ForeignKey, Index, PrimaryKeyConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.database.base import Base, StoredAt, one_of
from app.domain import TickStatus


class DataVersion(Base):
    """A token that every transaction which changes market data replaces; caches are keyed by it."""

    __tablename__ = "data_version"

    kind: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[UUID] = mapped_column(server_default=func.gen_random_uuid())
    changed_at: Mapped[StoredAt]


class SchedulePause(Base):
    """A schedule that is paused: by whom, why, and until when (no end: until it is resumed)."""

    __tablename__ = "schedule_pause"

    schedule: Mapped[str] = mapped_column(primary_key=True)
    paused_at: Mapped[StoredAt]
    paused_by: Mapped[str]
    reason: Mapped[str]
    until_at: Mapped[datetime | None]


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


class JobState(Base):
    """What a job of the scheduler did last, in whichever process; `trouble` is empty when well."""

    __tablename__ = "job_state"

    name: Mapped[str] = mapped_column(primary_key=True)
    last_at: Mapped[datetime]
    last_by: Mapped[str]
    duration_ms: Mapped[int]
    trouble: Mapped[str] = mapped_column(server_default="")
    succeeded_at: Mapped[datetime | None]


class ProcessFigure(Base):
    """What all processes counted in an hour: requests, provider calls, reads through the cache.

    `spread` counts durations by the classes of `app.tallies`, empty for what has none.
    """

    __tablename__ = "process_figure"
    __table_args__ = (PrimaryKeyConstraint("kind", "name", "began_at"), Index(None, "began_at"))

    kind: Mapped[str]
    name: Mapped[str]
    began_at: Mapped[datetime]
    count: Mapped[int] = mapped_column(BigInteger)
    errors: Mapped[int] = mapped_column(BigInteger)
    credits: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float]
    spread: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


class StorageSize(Base):
    """What a table took with its indexes, noted in the hours in which it changed.

    The name is empty for the whole database.
    """

    __tablename__ = "storage_size"
    __table_args__ = (PrimaryKeyConstraint("name", "measured_at"),)

    name: Mapped[str]
    measured_at: Mapped[datetime]
    bytes: Mapped[int] = mapped_column(BigInteger)

"""What the pipeline did: runs, their stages, and the rows it set aside."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, PrimaryKeyConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.database.base import Base, SerialId, StoredAt, one_of
from app.domain import RunStatus, Trigger


class IngestionRun(Base):
    """One execution of the pipeline; `attempt` is the fencing token of whoever works on it."""

    __tablename__ = "ingestion_run"
    __table_args__ = (
        Index(
            "uq_ingestion_run_active",
            text("(true)"),
            unique=True,
            postgresql_where=text("status = 'running'"),
        ),
        # Lists of runs filter and count by the columns that are included.
        Index(
            None,
            "started_at",
            "id",
            postgresql_include=["status", "trigger", "provider", "duration_ms"],
        ),
        Index(None, "status", "started_at"),
        Index(None, "trigger", "started_at"),
        Index(None, "provider", "started_at"),
        Index("ix_ingestion_run_uncounted", "id", postgresql_where=text("NOT is_counted")),
        Index(None, "parent_run_id", postgresql_where=text("parent_run_id IS NOT NULL")),
        one_of("status", RunStatus),
        one_of("trigger", Trigger),
        CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished_when_final"),
        CheckConstraint("attempt > 0", name="attempt_positive"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    status: Mapped[str]
    trigger: Mapped[str]
    provider: Mapped[str]
    symbols: Mapped[list[str]] = mapped_column(server_default="{}")
    requested_by: Mapped[str] = mapped_column(server_default="")
    due_at: Mapped[datetime | None]
    parent_run_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("ingestion_run.id", ondelete="SET NULL")
    )
    config_fingerprint: Mapped[str] = mapped_column(server_default="")
    attempt: Mapped[int] = mapped_column(server_default="1")
    owner: Mapped[str]
    started_at: Mapped[StoredAt]
    heartbeat_at: Mapped[StoredAt]
    lease_until: Mapped[datetime]
    deadline_at: Mapped[datetime]
    cancel_requested_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None]
    stage: Mapped[str] = mapped_column(server_default="")
    markets_requested: Mapped[int] = mapped_column(server_default="0")
    markets_ingested: Mapped[int] = mapped_column(server_default="0")
    snapshots_ingested: Mapped[int] = mapped_column(server_default="0")
    aggregates_ingested: Mapped[int] = mapped_column(server_default="0")
    comparisons_ingested: Mapped[int] = mapped_column(server_default="0")
    roi_stats_ingested: Mapped[int] = mapped_column(server_default="0")
    fetched: Mapped[int] = mapped_column(server_default="0")
    inserted: Mapped[int] = mapped_column(server_default="0")
    updated: Mapped[int] = mapped_column(server_default="0")
    unchanged: Mapped[int] = mapped_column(server_default="0")
    rejected: Mapped[int] = mapped_column(server_default="0")
    # How many of them for each reason.
    rejected_reasons: Mapped[dict[str, Any]] = mapped_column(
        JSONB, server_default=text("'{}'::jsonb")
    )
    error_class: Mapped[str | None]
    error_message: Mapped[str | None]
    problem_count: Mapped[int] = mapped_column(server_default="0")
    problems: Mapped[list[dict[str, Any]]] = mapped_column(server_default="[]")
    # True once it is part of `run_count`.
    is_counted: Mapped[bool] = mapped_column(server_default="false")


class RunStage(Base):
    """One named step of one attempt of a run, with its duration and counts."""

    __tablename__ = "run_stage"
    __table_args__ = (
        PrimaryKeyConstraint("run_id", "attempt", "position"),
        # How long a stretch of time fetched, without a look into the stages of each run.
        Index(
            "ix_run_stage_fetch",
            "started_at",
            postgresql_include=["run_id", "attempt", "duration_ms"],
            postgresql_where=text("name = 'fetch'"),
        ),
    )

    run_id: Mapped[UUID] = mapped_column(ForeignKey("ingestion_run.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    position: Mapped[int]
    name: Mapped[str]
    status: Mapped[str]
    started_at: Mapped[datetime]
    duration_ms: Mapped[int | None]
    fetched: Mapped[int] = mapped_column(server_default="0")
    inserted: Mapped[int] = mapped_column(server_default="0")
    updated: Mapped[int] = mapped_column(server_default="0")
    unchanged: Mapped[int] = mapped_column(server_default="0")
    rejected: Mapped[int] = mapped_column(server_default="0")
    detail: Mapped[str] = mapped_column(server_default="")


class LostAttempt(Base):
    """An attempt of a run whose process gave no sign of life any more, and who noticed."""

    __tablename__ = "lost_attempt"
    __table_args__ = (PrimaryKeyConstraint("run_id", "attempt"),)

    run_id: Mapped[UUID] = mapped_column(ForeignKey("ingestion_run.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    owner: Mapped[str]
    silent_since: Mapped[datetime]
    noticed_at: Mapped[StoredAt]
    noticed_by: Mapped[str]


class RejectedRow(Base):
    """A provider row set aside with its reason and raw text."""

    __tablename__ = "rejected_row"
    __table_args__ = (
        Index(None, "run_id", "id"),
        # The rows of one reason, however few of very many they are.
        Index(None, "run_id", "reason", "id"),
    )

    id: Mapped[SerialId] = mapped_column(Identity())
    run_id: Mapped[UUID] = mapped_column(ForeignKey("ingestion_run.id", ondelete="CASCADE"))
    provider: Mapped[str]
    kind: Mapped[str]
    symbol: Mapped[str | None]
    provider_id: Mapped[str | None]
    reason: Mapped[str]
    detail: Mapped[str]
    raw: Mapped[str]
    observed_at: Mapped[datetime | None]
    stored_at: Mapped[StoredAt]

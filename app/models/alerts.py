"""Alerts: what is wrong and since when, who was told of it, and how each telling went.

An `alert` is one episode of one rule about one subject. Its changes are `alert_notice` rows; the
notices that leave together share an `alert_delivery`, every try of which is an `alert_attempt`.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    PrimaryKeyConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.database.base import Base, SerialId, StoredAt


def _known(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f'"{column}" IN ({listed})', name=f"{column}_known")


class Alert(Base):
    """One episode: pending until its rule's wait is over, then firing, then resolved."""

    __tablename__ = "alert"
    __table_args__ = (
        Index(
            "uq_alert_open",
            "rule",
            "subject",
            unique=True,
            postgresql_where=text("state <> 'resolved'"),
        ),
        Index(None, "state", "id"),
        Index(None, "rule", "fired_at"),
        _known("severity", "info", "warning", "critical"),
        _known("state", "pending", "firing", "resolved"),
        CheckConstraint("(state = 'resolved') = (resolved_at IS NOT NULL)", name="resolved_when"),
        CheckConstraint("state = 'pending' OR fired_at IS NOT NULL", name="fired_when"),
    )

    id: Mapped[SerialId] = mapped_column(Identity())
    rule: Mapped[str]
    subject: Mapped[str]
    severity: Mapped[str]
    state: Mapped[str]
    title: Mapped[str]
    text: Mapped[str]
    value: Mapped[str] = mapped_column(server_default="")
    market: Mapped[str | None]
    run_id: Mapped[UUID | None]
    pending_at: Mapped[datetime]
    fired_at: Mapped[datetime | None]
    notified_at: Mapped[datetime | None]
    resolved_at: Mapped[datetime | None]


class AlertSnooze(Base):
    """Nobody is told of this rule and subject until then; it outlives the episode it was set on."""

    __tablename__ = "alert_snooze"
    __table_args__ = (PrimaryKeyConstraint("rule", "subject"),)

    rule: Mapped[str]
    subject: Mapped[str]
    until_at: Mapped[datetime]
    snoozed_at: Mapped[StoredAt]
    snoozed_by: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")


class AlertSignal(Base):
    """What only one process can see (its cache, its breakers), kept up for as long as it lives."""

    __tablename__ = "alert_signal"
    __table_args__ = (PrimaryKeyConstraint("kind", "subject", "source"),)

    kind: Mapped[str]
    subject: Mapped[str]
    source: Mapped[str]
    detail: Mapped[str]
    since_at: Mapped[StoredAt]
    reported_at: Mapped[StoredAt]


class AlertWatch(Base):
    """The one row that whoever judges the rules holds locked: how far that came, what it found."""

    __tablename__ = "alert_watch"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    judged_at: Mapped[datetime | None]
    surveyed_at: Mapped[datetime | None]
    runs_until: Mapped[datetime | None]
    measured: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))


class AlertDelivery(Base):
    """One message to the receiver. Notices join it until its first try seals its body.

    `due_at` is when it may be tried, `planned_at` when its schedule of tries says so and `step` how
    many of them are used up. `attempts` counts every try and is the sender's fencing token.
    """

    __tablename__ = "alert_delivery"
    __table_args__ = (
        Index(
            "ix_alert_delivery_waiting",
            "group_key",
            "queued_at",
            postgresql_where=text("status = 'waiting'"),
        ),
        Index(None, "group_key", "notify_at"),
        Index(None, "created_at", "id"),
        Index(
            "ix_alert_delivery_unsent",
            "status",
            "created_at",
            "id",
            postgresql_where=text("status <> 'sent'"),
        ),
        _known("kind", "alert", "test"),
        _known("status", "waiting", "sent", "dead"),
        CheckConstraint("(status = 'sent') = (sent_at IS NOT NULL)", name="sent_when"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    group_key: Mapped[str]
    status: Mapped[str]
    title: Mapped[str] = mapped_column(server_default="")
    body: Mapped[str | None]
    created_at: Mapped[datetime]
    notify_at: Mapped[datetime]
    queued_at: Mapped[datetime]
    due_at: Mapped[datetime]
    planned_at: Mapped[datetime]
    step: Mapped[int] = mapped_column(server_default="0")
    attempts: Mapped[int] = mapped_column(server_default="0")
    lease_until: Mapped[datetime | None]
    leased_by: Mapped[str] = mapped_column(server_default="")
    sealed_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    last_status: Mapped[int | None]
    last_error: Mapped[str] = mapped_column(server_default="")
    latency_ms: Mapped[int | None]


class AlertNotice(Base):
    """A change that is worth telling: fired, reminded, resolved, or a test."""

    __tablename__ = "alert_notice"
    __table_args__ = (
        Index(None, "alert_id"),
        Index(None, "delivery_id"),
        _known("kind", "fired", "reminded", "resolved", "test"),
    )

    id: Mapped[SerialId] = mapped_column(Identity())
    alert_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("alert.id", ondelete="CASCADE")
    )
    delivery_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("alert_delivery.id", ondelete="SET NULL")
    )
    kind: Mapped[str]
    noticed_at: Mapped[datetime]
    fired_at: Mapped[datetime]
    rule: Mapped[str]
    subject: Mapped[str]
    severity: Mapped[str]
    title: Mapped[str]
    text: Mapped[str]
    market: Mapped[str | None]
    run_id: Mapped[UUID | None]


class AlertAttempt(Base):
    """One try to send a delivery; `sending` for good where the sender died over it."""

    __tablename__ = "alert_attempt"
    __table_args__ = (PrimaryKeyConstraint("delivery_id", "attempt"),)

    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("alert_delivery.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    started_at: Mapped[datetime]
    sender: Mapped[str]
    outcome: Mapped[str]
    http_status: Mapped[int | None]
    latency_ms: Mapped[int | None]
    detail: Mapped[str] = mapped_column(server_default="")


class AlertTarget(Base):
    """A receiver that wants no more (410 Gone), by the fingerprint of its address."""

    __tablename__ = "alert_target"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    disabled_at: Mapped[datetime]
    reason: Mapped[str]

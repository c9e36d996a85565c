"""The plain values about alerts that every face shows."""

from dataclasses import dataclass
from datetime import datetime

from app.alerts.rules import Severity


@dataclass(frozen=True, slots=True)
class AlertView:
    """One alert: pending (it must last before it counts), firing or resolved.

    `title` is the rule's own in short, `headline` and `text` say what is wrong, `value` is the
    measured figure. `notified_at` is when it was last to be told, None where it never was;
    `told_at` is when a receiver last took it. The delivery is that of its newest notice: waiting,
    sent or dead, and None where it was for nobody.
    """

    id: int
    rule: str
    title: str
    subject: str
    severity: Severity
    state: str
    headline: str
    text: str
    value: str
    market: str | None
    run_id: str | None
    pending_at: datetime
    fired_at: datetime | None
    resolved_at: datetime | None
    notified_at: datetime | None
    snoozed_until: datetime | None
    snoozed_by: str
    snooze_reason: str
    told_at: datetime | None
    delivery_id: str | None
    delivery_status: str | None
    delivery_error: str


@dataclass(frozen=True, slots=True)
class AlertPage:
    """Alerts, newest first; `next_cursor` asks for the page after, None on the last."""

    alerts: tuple[AlertView, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class RuleView:
    """A rule with what it measured last; `value` is empty where nobody judged it yet.

    `is_sent` is False for a severity below `ALERT_MIN_SEVERITY`, and with no receiver at all.
    """

    name: str
    title: str
    about: str
    severity: Severity
    wait_seconds: int
    remind_seconds: int
    value: str
    measured_at: datetime | None
    open_count: int
    last_fired_at: datetime | None
    is_sent: bool


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One try of a delivery; `sending` for good where the process died over it."""

    attempt: int
    started_at: datetime
    sender: str
    outcome: str
    http_status: int | None
    latency_ms: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """One message to the receiver: waiting, sent or dead; `webhook_id` is what it carries.

    `next_try_at` is None once it is settled; `title` is empty until its first try.
    """

    id: str
    webhook_id: str
    kind: str
    rule: str
    status: str
    title: str
    notice_count: int
    created_at: datetime
    next_try_at: datetime | None
    sent_at: datetime | None
    attempts: int
    http_status: int | None
    latency_ms: int | None
    error: str


@dataclass(frozen=True, slots=True)
class DeliveryDetail:
    """A delivery with its tries in order and what it says."""

    delivery: DeliveryView
    attempts: tuple[AttemptView, ...]
    body: str


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Deliveries, newest first; `next_cursor` asks for the page after, None on the last."""

    deliveries: tuple[DeliveryView, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ReceiverView:
    """Where alerts go: no more of the address than its host. `disabled_at`: it answered 410."""

    is_set: bool
    host: str
    format_name: str
    is_signed: bool
    min_severity: Severity
    disabled_at: datetime | None
    waiting_count: int
    dead_count: int

"""Alerts over JSON: what is wrong, the rules, the deliveries, and what can be done about them."""

from datetime import datetime

from pydantic import Field

from app.alerts.changes import AlertState
from app.alerts.rules import Severity
from app.extensions import db
from app.services.alert_deliveries import (
    load_deliveries,
    load_delivery,
    load_receiver,
    replay_deliveries,
    send_test,
)
from app.services.alert_views import DeliveryDetail
from app.services.alert_watch import load_rules
from app.services.alerts import (
    load_alerts,
    snooze_alert,
)
from app.web.api.paging import PageQuery, Words
from app.web.house import house
from app.web.openapi import AnswerModel, BodyModel, operation

MAX_REPLAYED = 100


class AlertsQuery(PageQuery):
    """Which alerts."""

    state: AlertState | None = None
    rule: Words | None = Field(default=None, description="A rule's name.")
    severity: Severity | None = None


class DeliveriesQuery(PageQuery):
    """Which deliveries."""

    status: Words | None = Field(default=None, description="waiting, sent or dead.")


class SnoozeBody(BodyModel):
    """For how long nobody is told."""

    minutes: int = Field(
        default=240, ge=0, le=43_200, description="At most 30 days; 0 ends a snooze."
    )
    reason: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")


class ReplayBody(BodyModel):
    """Which dead deliveries; none named means all."""

    ids: list[str] = Field(default=[], max_length=MAX_REPLAYED)


class AlertResource(AnswerModel):
    """One alert; `value` is the measured figure, `snoozedUntil` null where people are told."""

    id: int
    rule: str
    title: str
    subject: str
    severity: Severity
    state: AlertState
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


class AlertPageResource(AnswerModel):
    """Alerts, newest first."""

    alerts: list[AlertResource]
    next_cursor: str | None


class RuleResource(AnswerModel):
    """A rule with what it measured last; `measuredAt` is null where nobody judged it yet."""

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


class ReceiverResource(AnswerModel):
    """Where alerts go; `disabledAt` is when it answered 410, null where it is sent to."""

    is_set: bool
    host: str
    format: str = Field(validation_alias="format_name")
    is_signed: bool
    min_severity: Severity
    disabled_at: datetime | None
    waiting_count: int
    dead_count: int


class AlertRulesResource(AnswerModel):
    """The rules, and where alerts go."""

    rules: list[RuleResource]
    receiver: ReceiverResource


class DeliveryResource(AnswerModel):
    """One message to the receiver: waiting, sent or dead."""

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


class DeliveryPageResource(AnswerModel):
    """Deliveries, newest first."""

    deliveries: list[DeliveryResource]
    next_cursor: str | None


class AttemptResource(AnswerModel):
    """One try; its `outcome` stays `sending` where the process died over it."""

    attempt: int
    started_at: datetime
    sender: str
    outcome: str
    http_status: int | None
    latency_ms: int | None
    detail: str


class DeliveryDetailResource(DeliveryResource):
    """A delivery with its tries in order; `body` is what it says, cut to 4,000 characters."""

    tries: list[AttemptResource]
    body: str

    @classmethod
    def of(cls, detail: DeliveryDetail) -> "DeliveryDetailResource":
        """The resource of what the service loaded."""
        delivery = DeliveryResource.model_validate(detail.delivery).model_dump(by_alias=False)
        return cls.model_validate(delivery | {"tries": detail.attempts, "body": detail.body})


class ReplayResource(AnswerModel):
    """How many deliveries wait again."""

    replayed: int


@operation(summary="List alerts", query=AlertsQuery, answers={200: AlertPageResource})
def list_alerts(*, query: AlertsQuery) -> AlertPageResource:
    """Alerts, newest first, narrowed by state, rule or severity."""
    page = load_alerts(
        db.session,
        house(),
        state=query.state,
        rule=query.rule,
        severity=query.severity,
        cursor=query.cursor,
        limit=query.limit,
    )
    return AlertPageResource.model_validate(page)


@operation(summary="List the rules of alerts", answers={200: AlertRulesResource})
def list_alert_rules() -> AlertRulesResource:
    """Every rule with what it measured last, and where alerts go."""
    parts = {
        "rules": load_rules(db.session, house()),
        "receiver": load_receiver(db.session, house()),
    }
    return AlertRulesResource.model_validate(parts)


@operation(
    summary="Be quiet about an alert",
    body=SnoozeBody,
    answers={200: AlertResource},
    problems=[404, 422],
)
def snooze(*, alert_id: int, body: SnoozeBody) -> AlertResource:
    """Tell nobody of this rule and subject for so long, even if the alert comes back meanwhile."""
    alert = snooze_alert(
        db.session, house(), alert_id, minutes=body.minutes, author="api", reason=body.reason
    )
    return AlertResource.model_validate(alert)


@operation(summary="Test the receiver", answers={200: DeliveryDetailResource}, problems=[422])
def test_receiver() -> DeliveryDetailResource:
    """Send a test now, once, within ten seconds; 200 however it went: `status` is sent or dead.

    A receiver that takes it is sent to again, though it answered 410 before. 422 while
    ALERT_WEBHOOK_URL is not set.
    """
    return DeliveryDetailResource.of(send_test(db.session, db.engine, house()))


@operation(summary="List deliveries", query=DeliveriesQuery, answers={200: DeliveryPageResource})
def list_deliveries(*, query: DeliveriesQuery) -> DeliveryPageResource:
    """What was or is to be sent to the receiver, newest first."""
    page = load_deliveries(db.session, status=query.status, cursor=query.cursor, limit=query.limit)
    return DeliveryPageResource.model_validate(page)


@operation(summary="Show a delivery", answers={200: DeliveryDetailResource}, problems=[404])
def show_delivery(*, delivery_id: str) -> DeliveryDetailResource:
    """One delivery with each of its tries."""
    return DeliveryDetailResource.of(load_delivery(db.session, delivery_id))


@operation(
    summary="Send dead deliveries again",
    body=ReplayBody,
    answers={200: ReplayResource},
    problems=[404, 422],
)
def replay_dead(*, body: ReplayBody) -> ReplayResource:
    """Queue dead deliveries anew under their old ids, those named or all of them."""
    return ReplayResource(replayed=replay_deliveries(db.session, house(), *body.ids))

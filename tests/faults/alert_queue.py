"""Alerts that wait to be sent, each in a delivery of its own."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Engine, text

from app.alerts.outbox import Policy, Queued, enqueue
from app.alerts.rules import Severity
from app.alerts.signature import webhook_id
from app.models import AlertNotice


def queue_alerts(engine: Engine, count: int, *, first: int) -> dict[str, int]:
    """So many notices in deliveries of their own; the id each is sent under, with its number."""
    now = datetime.now(UTC) - timedelta(hours=1)
    sent_as = {}
    with engine.begin() as connection:
        for number in range(first, first + count):
            values = {
                "kind": "fired",
                "noticed_at": now,
                "fired_at": now,
                "rule": f"rule-{number}",
                "subject": "",
                "severity": "critical",
                "title": f"Alert {number}",
                "text": "",
            }
            statement = AlertNotice.__table__.insert().returning(AlertNotice.id)  # type: ignore[attr-defined]
            notice = connection.execute(statement, values).scalar_one()
            queued = [Queued(notice, f"rule-{number}", Severity.CRITICAL)]
            enqueue(connection, queued, min_severity=Severity.INFO, now=now, policy=Policy())
            delivery: UUID = connection.execute(
                text("SELECT delivery_id FROM alert_notice WHERE id = :id"), {"id": notice}
            ).scalar_one()
            sent_as[webhook_id(delivery)] = number
    return sent_as

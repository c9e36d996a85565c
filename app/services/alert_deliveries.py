"""Deliveries of alerts for every face: the log, the receiver, a test, sending the dead again."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, RowMapping, text

from app.alerts.outbox import Policy, count_overtaken, enable, enqueue_test, replay
from app.alerts.rules import Severity
from app.alerts.sending import try_one
from app.alerts.signature import webhook_id
from app.alerts.webhook import TIMEOUT_SECONDS, Webhook, webhook_of
from app.database.base import AnySession
from app.errors import InvalidRequest, NotFound
from app.services.alert_views import (
    AttemptView,
    DeliveryDetail,
    DeliveryPage,
    DeliveryView,
    ReceiverView,
)
from app.services.alert_watch import load_now
from app.services.house import House
from app.services.paging import check_limit, read_cursor, write_cursor

BODY_SHOWN = 4000
OVERTAKEN = (
    "Later news of the same trouble have arrived since, so this message would tell an old state "
    "as the last one. It is not sent again."
)
_DELIVERY = """
    SELECT d.id, d.kind, split_part(d.group_key, ':', 1) AS rule, d.status, d.title,
           (SELECT count(*) FROM alert_notice n WHERE n.delivery_id = d.id) AS notice_count,
           d.created_at, CASE WHEN d.status = 'waiting' THEN d.due_at END AS next_try_at,
           d.sent_at, d.attempts, d.last_status AS http_status, d.latency_ms,
           d.last_error AS error
    FROM alert_delivery d
"""


def load_deliveries(
    session: AnySession,
    *,
    status: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> DeliveryPage:
    """Deliveries (of that status), newest first; `InvalidRequest` on a bad cursor or limit."""
    values: dict[str, Any] = {"limit": check_limit(limit) + 1, "status": status}
    conditions = ["d.status = :status"] if status else []
    after = read_cursor(cursor, 2)
    if after:
        conditions.append(
            "(d.created_at, d.id) < (CAST(:after AS timestamptz), CAST(:last AS uuid))"
        )
        values |= {"after": _instant(after[0]), "last": _delivery_uuid(after[1] or "")}
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = text(f"{_DELIVERY} {where} ORDER BY d.created_at DESC, d.id DESC LIMIT :limit")
    rows = session.execute(statement, values).mappings().all()
    last = rows[limit - 1] if len(rows) > limit else None
    return DeliveryPage(
        deliveries=tuple(_delivery(row) for row in rows[:limit]),
        next_cursor=write_cursor([last["created_at"], last["id"]]) if last else None,
    )


def load_delivery(session: AnySession, delivery_id: str) -> DeliveryDetail:
    """One delivery with its tries and body; `NotFound` for an unknown id."""
    values = {"id": _delivery_uuid(delivery_id), "length": BODY_SHOWN}
    row = session.execute(text(f"{_DELIVERY} WHERE d.id = :id"), values).mappings().first()
    if row is None:
        raise NotFound(f"There is no delivery {delivery_id[:80]}.")
    tries = session.execute(
        text(
            "SELECT attempt, started_at, sender, outcome, http_status, latency_ms, detail "
            "FROM alert_attempt WHERE delivery_id = :id ORDER BY attempt"
        ),
        values,
    ).mappings()
    body = session.execute(
        text("SELECT coalesce(left(body, :length), '') FROM alert_delivery WHERE id = :id"), values
    ).scalar_one()
    return DeliveryDetail(_delivery(row), tuple(AttemptView(**one) for one in tries), body)


def load_receiver(session: AnySession, house: House) -> ReceiverView:
    """Where alerts go, and whether they arrive."""
    webhook = webhook_of(house.settings)
    row = session.execute(
        text(
            "SELECT count(*) FILTER (WHERE status = 'waiting') AS waiting, "
            "count(*) FILTER (WHERE status = 'dead' AND kind = 'alert') AS dead, "
            "(SELECT disabled_at FROM alert_target WHERE fingerprint = :fingerprint) AS disabled "
            "FROM alert_delivery WHERE status <> 'sent'"
        ),
        {"fingerprint": webhook.fingerprint if webhook else ""},
    ).one()
    return ReceiverView(
        is_set=webhook is not None,
        host=webhook.host if webhook else "",
        format_name=house.settings.alert_webhook_format,
        is_signed=bool(webhook and webhook.keys),
        min_severity=Severity(house.settings.alert_min_severity),
        disabled_at=row.disabled,
        waiting_count=row.waiting,
        dead_count=row.dead,
    )


def send_test(session: AnySession, engine: Engine, house: House) -> DeliveryDetail:
    """Send a test now, once, and tell how it went; a receiver that takes it is enabled again.

    Takes up to ten seconds. Raises `InvalidRequest` where there is no receiver.
    """
    webhook = _webhook(house)
    session.rollback()  # no transaction stays open over the network
    with engine.begin() as connection:
        delivery_id = enqueue_test(connection, now=load_now(connection, house))
    try_one(
        engine,
        webhook,
        clock=house.given_clock,
        policy=Policy(),
        seconds=TIMEOUT_SECONDS,
        only=delivery_id,
    )
    return load_delivery(session, str(delivery_id))


def replay_deliveries(session: AnySession, house: House, *ids: str) -> int:
    """Queue dead deliveries anew (all of them without ids) and enable the receiver; how many.

    Those that later news have overtaken stay dead, or the oldest state would be told last. Raises
    `InvalidRequest` where one of them is asked for, or there is no receiver, `NotFound` for an id
    that is not one.
    """
    webhook = _webhook(house)
    wanted = [_delivery_uuid(one) for one in ids]
    connection = session.connection()
    if count_overtaken(connection, wanted):
        raise InvalidRequest(OVERTAKEN)
    enable(connection, webhook)
    count = replay(connection, wanted, now=load_now(connection, house))
    session.commit()
    return count


def _webhook(house: House) -> Webhook:
    webhook = webhook_of(house.settings)
    if webhook is None:
        raise InvalidRequest("ALERT_WEBHOOK_URL is not set, so there is nowhere to send to.")
    return webhook


def _delivery(row: RowMapping) -> DeliveryView:
    return DeliveryView(**{**row, "id": str(row["id"])}, webhook_id=webhook_id(row["id"]))


def _delivery_uuid(text_id: str) -> UUID:
    try:
        return UUID(text_id.removeprefix("msg_"))
    except ValueError:
        raise NotFound(f"There is no delivery {text_id[:80]}.") from None


def _instant(value: str | None) -> datetime:
    try:
        return datetime.fromisoformat(value or "")
    except ValueError:
        raise InvalidRequest("The cursor is not one that this server gave out.") from None

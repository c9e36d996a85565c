"""Alerts for every face: what is open and was, the rules and deliveries, and what can be done."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, RowMapping, text

from app.alerts.outbox import Policy, count_overtaken, enable, enqueue_test, replay
from app.alerts.rules import RULES, Severity
from app.alerts.sending import try_one
from app.alerts.signature import webhook_id
from app.alerts.webhook import TIMEOUT_SECONDS, Webhook, webhook_of
from app.database.base import AnySession
from app.errors import InvalidRequest, NotFound
from app.models.versions import NEW_ALERTS_VERSION
from app.services.alert_views import (
    AlertPage,
    AlertView,
    AttemptView,
    DeliveryDetail,
    DeliveryPage,
    DeliveryView,
    ReceiverView,
)
from app.services.alert_watch import load_now
from app.services.house import House
from app.services.paging import check_limit, read_cursor, write_cursor

LONGEST_SNOOZE = timedelta(days=30)
MOST_OPEN = 1000
BODY_SHOWN = 4000
OVERTAKEN = (
    "Later news of the same trouble have arrived since, so this message would tell an old state "
    "as the last one. It is not sent again."
)
_ALERT = """
    SELECT a.id, a.rule, a.subject, a.severity, a.state, a.title AS headline, a.text, a.value,
           a.market, a.run_id, a.pending_at, a.fired_at, a.resolved_at, a.notified_at,
           z.until_at AS snoozed_until, coalesce(z.snoozed_by, '') AS snoozed_by,
           coalesce(z.reason, '') AS snooze_reason,
           t.told_at, t.delivery_id, t.delivery_status, t.delivery_error
    FROM alert a LEFT JOIN alert_snooze z
         ON z.rule = a.rule AND z.subject = a.subject
            AND z.until_at > coalesce(CAST(:now AS timestamptz), statement_timestamp())
    CROSS JOIN LATERAL (
        SELECT max(d.sent_at) AS told_at, (array_agg(d.id ORDER BY n.id DESC))[1] AS delivery_id,
               (array_agg(d.status ORDER BY n.id DESC))[1] AS delivery_status,
               coalesce((array_agg(d.last_error ORDER BY n.id DESC))[1], '') AS delivery_error
        FROM alert_notice n JOIN alert_delivery d ON d.id = n.delivery_id WHERE n.alert_id = a.id
    ) t
"""
_RANK = "CASE a.severity WHEN 'critical' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END"
_SNOOZE = """
    INSERT INTO alert_snooze (rule, subject, until_at, snoozed_by, reason)
    SELECT rule, subject, :until, :author, :reason FROM alert WHERE id = :id
    ON CONFLICT (rule, subject) DO UPDATE
    SET until_at = excluded.until_at, snoozed_by = excluded.snoozed_by, reason = excluded.reason,
        snoozed_at = clock_timestamp()
"""
_DELIVERY = """
    SELECT d.id, d.kind, split_part(d.group_key, ':', 1) AS rule, d.status, d.title,
           (SELECT count(*) FROM alert_notice n WHERE n.delivery_id = d.id) AS notice_count,
           d.created_at, CASE WHEN d.status = 'waiting' THEN d.due_at END AS next_try_at,
           d.sent_at, d.attempts, d.last_status AS http_status, d.latency_ms,
           d.last_error AS error
    FROM alert_delivery d
"""


def load_open_alerts(session: AnySession, house: House) -> tuple[AlertView, ...]:
    """What is pending or firing, the worst first."""
    statement = text(
        f"{_ALERT} WHERE a.state <> 'resolved' "
        f"ORDER BY a.state = 'pending', {_RANK}, a.pending_at, a.id LIMIT :limit"
    )
    rows = session.execute(statement, {"now": _given_time(house), "limit": MOST_OPEN}).mappings()
    return tuple(_alert(row) for row in rows)


def load_alerts(
    session: AnySession,
    house: House,
    *,
    state: str | None = None,
    rule: str | None = None,
    severity: Severity | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> AlertPage:
    """Alerts that fit every filter, newest first; `InvalidRequest` on a bad cursor or limit."""
    filters = {"state": state, "rule": rule, "severity": severity}
    values: dict[str, Any] = {name: str(value) for name, value in filters.items() if value}
    conditions = [f"a.{name} = :{name}" for name in values]
    after = read_cursor(cursor, 1)
    if after:
        conditions.append("a.id < :after")
        values["after"] = _number(after[0])
    values |= {"now": _given_time(house), "limit": check_limit(limit) + 1}
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = text(f"{_ALERT} {where} ORDER BY a.id DESC LIMIT :limit")
    rows = session.execute(statement, values).mappings().all()
    more = len(rows) > limit
    return AlertPage(
        alerts=tuple(_alert(row) for row in rows[:limit]),
        next_cursor=write_cursor([rows[limit - 1]["id"]]) if more else None,
    )


def load_alert(session: AnySession, house: House, alert_id: int) -> AlertView:
    """One alert; `NotFound` for an unknown id."""
    values = {"id": _known_id(alert_id), "now": _given_time(house)}
    row = session.execute(text(f"{_ALERT} WHERE a.id = :id"), values).mappings().first()
    if row is None:
        raise NotFound(f"There is no alert {alert_id}.")
    return _alert(row)


def count_open_alerts(session: AnySession) -> dict[Severity, int]:
    """How many alerts are firing, by severity; for badges and metrics."""
    statement = text(
        "SELECT severity, count(*) AS alerts FROM alert WHERE state = 'firing' GROUP BY severity"
    )
    found = {row.severity: row.alerts for row in session.execute(statement)}
    return {severity: found.get(severity.value, 0) for severity in Severity}


def snooze_alert(
    session: AnySession,
    house: House,
    alert_id: int,
    *,
    minutes: int,
    author: str,
    reason: str = "",
) -> AlertView:
    """Tell nobody of this rule and subject for so long; 0 minutes end a snooze.

    It outlives the alert: one that comes back meanwhile is not told either. Raises `NotFound`, or
    `InvalidRequest` for a time out of range.
    """
    longest = LONGEST_SNOOZE // timedelta(minutes=1)
    if not 0 <= minutes <= longest:
        raise InvalidRequest(f"minutes is {minutes}, but must be 0 to {longest}.")
    load_alert(session, house, alert_id)
    until = load_now(session.connection(), house) + timedelta(minutes=minutes)
    values = {"id": alert_id, "until": until, "author": author, "reason": reason.strip()}
    session.execute(text(_SNOOZE), values)
    session.execute(text(NEW_ALERTS_VERSION))
    session.commit()
    return load_alert(session, house, alert_id)


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


def _given_time(house: House) -> datetime | None:
    """The time by a clock that the house was given; None: the database's, where it is read."""
    return house.given_clock() if house.given_clock else None


def _webhook(house: House) -> Webhook:
    webhook = webhook_of(house.settings)
    if webhook is None:
        raise InvalidRequest("ALERT_WEBHOOK_URL is not set, so there is nowhere to send to.")
    return webhook


def _alert(row: RowMapping) -> AlertView:
    rule = RULES.get(row["rule"])
    values = {
        **row,
        "severity": Severity(row["severity"]),
        "run_id": str(row["run_id"]) if row["run_id"] else None,
        "delivery_id": str(row["delivery_id"]) if row["delivery_id"] else None,
    }
    return AlertView(title=rule.title if rule else row["rule"], **values)


def _delivery(row: RowMapping) -> DeliveryView:
    return DeliveryView(**{**row, "id": str(row["id"])}, webhook_id=webhook_id(row["id"]))


def _delivery_uuid(text_id: str) -> UUID:
    try:
        return UUID(text_id.removeprefix("msg_"))
    except ValueError:
        raise NotFound(f"There is no delivery {text_id[:80]}.") from None


def _known_id(alert_id: int) -> int:
    if not 0 < alert_id < 2**63:
        raise NotFound(f"There is no alert {alert_id}.")
    return alert_id


def _number(value: str | None) -> int:
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 18:
        raise InvalidRequest("The cursor is not one that this server gave out.")
    return int(value)


def _instant(value: str | None) -> datetime:
    try:
        return datetime.fromisoformat(value or "")
    except ValueError:
        raise InvalidRequest("The cursor is not one that this server gave out.") from None

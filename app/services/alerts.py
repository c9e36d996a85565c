"""Alerts for every face: what is open and was, and keeping one quiet for a while."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, text

from app.alerts.rules import RULES, Severity
from app.database.base import AnySession
from app.errors import InvalidRequest, NotFound
from app.models.versions import NEW_ALERTS_VERSION
from app.services.alert_views import AlertPage, AlertView
from app.services.alert_watch import load_now
from app.services.house import House
from app.services.paging import check_limit, read_cursor, write_cursor

LONGEST_SNOOZE = timedelta(days=30)
MOST_OPEN = 1000
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


def _given_time(house: House) -> datetime | None:
    """The time by a clock that the house was given; None: the database's, where it is read."""
    return house.given_clock() if house.given_clock else None


def _alert(row: RowMapping) -> AlertView:
    rule = RULES.get(row["rule"])
    values = {
        **row,
        "severity": Severity(row["severity"]),
        "run_id": str(row["run_id"]) if row["run_id"] else None,
        "delivery_id": str(row["delivery_id"]) if row["delivery_id"] else None,
    }
    return AlertView(title=rule.title if rule else row["rule"], **values)


def _known_id(alert_id: int) -> int:
    if not 0 < alert_id < 2**63:
        raise NotFound(f"There is no alert {alert_id}.")
    return alert_id


def _number(value: str | None) -> int:
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 18:
        raise InvalidRequest("The cursor is not one that this server gave out.")
    return int(value)

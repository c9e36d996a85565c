"""The durable outbox: notices become deliveries in the transaction that makes them, and wait there.

Notices of one rule share a delivery until its first try seals its body; the next delivery of that
rule opens five minutes after the one before. Deliveries of one rule leave in order, so that a late
`firing` can never follow its own `resolved`: a replay changes nothing of that order, and leaves out
what later news were told of. How one is tried stands in `app/alerts/claims.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import Connection, text

from app.alerts.rules import Severity
from app.alerts.webhook import TIMEOUT_SECONDS, Webhook
from app.database.old_rows import Amount

TEST_RULE = "test"
_INSERT = """
    INSERT INTO alert_delivery (id, kind, group_key, status, created_at, notify_at, queued_at,
                                due_at, planned_at)
    VALUES (:id, :kind, :group_key, 'waiting', :now, :due_at, :now, :due_at, :due_at)
"""
_UNSEALED = """
    SELECT id FROM alert_delivery
    WHERE group_key = :group_key AND status = 'waiting' AND sealed_at IS NULL
    ORDER BY queued_at, created_at LIMIT 1 FOR UPDATE
"""
_LAST_NOTIFY = "SELECT max(notify_at) FROM alert_delivery WHERE group_key = :group_key"
# News of a rule are a reason to try what waits before them at once, outside its schedule of tries.
_PULL = """
    UPDATE alert_delivery SET due_at = :due_at
    WHERE group_key = :group_key AND status = 'waiting' AND due_at > :due_at
"""
# What was queued or tried at an instant that is still to come: by a clock that was ahead.
_REQUEUE = """
    UPDATE alert_delivery d
    SET queued_at = least(d.queued_at, :now), notify_at = least(d.notify_at, :now),
        due_at = :now, planned_at = :now
    WHERE d.status = 'waiting' AND (d.queued_at > :now OR EXISTS (
        SELECT FROM alert_attempt a WHERE a.delivery_id = d.id AND a.started_at > :now))
"""
# Newer notices of the same trouble in a message that arrived: the older one would be told last.
_IS_OVERTAKEN = """
    EXISTS (SELECT FROM alert_notice n
            JOIN alert_notice l ON l.rule = n.rule AND l.subject = n.subject AND l.id > n.id
            JOIN alert_delivery s ON s.id = l.delivery_id AND s.status = 'sent'
            WHERE n.delivery_id = d.id)
"""
_REPLAY = f"""
    UPDATE alert_delivery d
    SET status = 'waiting', step = 0, due_at = :now, planned_at = :now, lease_until = NULL
    WHERE d.status = 'dead' AND d.kind = 'alert' AND (NOT :named OR d.id = ANY(:ids))
      AND NOT {_IS_OVERTAKEN}
"""  # noqa: S608 - the condition stands above
_OVERTAKEN = f"""
    SELECT count(*) FROM alert_delivery d
    WHERE d.status = 'dead' AND d.kind = 'alert' AND d.id = ANY(:ids) AND {_IS_OVERTAKEN}
"""  # noqa: S608 - the condition stands above
# Notices go with their alert; those of tests belong to none.
_OLD = {
    "alerts": "FROM alert o WHERE o.resolved_at < :before",
    "deliveries": "FROM alert_delivery o WHERE o.status <> 'waiting' AND o.created_at < :before",
    "test notices": "FROM alert_notice o WHERE o.alert_id IS NULL AND o.noticed_at < :before",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """How patiently deliveries are grouped and tried; all in seconds.

    `tries` are the pauses before each try (Standard Webhooks, cut to seven), lengthened by up to
    `jitter` of themselves; after the last one a delivery is dead. A lease outlives a try.
    """

    group_wait: float = 30
    group_interval: float = 300
    tries: tuple[float, ...] = (0, 5, 300, 1800, 7200, 18_000, 36_000)
    jitter: float = 0.2
    lease: float = 30
    timeout: float = TIMEOUT_SECONDS
    loop: float = 10


@dataclass(frozen=True, slots=True)
class Queued:
    """A stored notice as the outbox sees it."""

    id: int
    rule: str
    severity: Severity


def enqueue(
    connection: Connection,
    notices: Iterable[Queued],
    *,
    min_severity: Severity,
    now: datetime,
    policy: Policy,
) -> None:
    """Give every notice that is severe enough to the delivery of its rule that is still open."""
    groups: dict[str, list[int]] = {}
    for notice in notices:
        if notice.severity.rank >= min_severity.rank:
            groups.setdefault(notice.rule, []).append(notice.id)
    for rule, ids in groups.items():
        delivery_id = _open_delivery(connection, rule, now, policy)
        statement = text("UPDATE alert_notice SET delivery_id = :delivery_id WHERE id = ANY(:ids)")
        connection.execute(statement, {"delivery_id": delivery_id, "ids": ids})


def enqueue_test(connection: Connection, *, now: datetime) -> UUID:
    """A delivery of its own that says no more than that alerts arrive."""
    delivery_id = _insert(connection, "test", f"{TEST_RULE}:{uuid4()}", now, due_at=now)
    statement = text(
        "INSERT INTO alert_notice (delivery_id, kind, noticed_at, fired_at, rule, subject, "
        "severity, title, text) VALUES (:id, 'test', :now, :now, :rule, '', 'info', :title, :text)"
    )
    values = {
        "id": delivery_id,
        "now": now,
        "rule": TEST_RULE,
        "title": "Test of the alerts",
        "text": "Somebody asked Tapedeck for it; nothing is wrong.",
    }
    connection.execute(statement, values)
    return delivery_id


def enable(connection: Connection, webhook: Webhook) -> None:
    """Send to this receiver again, though it once wanted no more."""
    statement = text("DELETE FROM alert_target WHERE fingerprint = :fingerprint")
    connection.execute(statement, {"fingerprint": webhook.fingerprint})


def requeue(connection: Connection, *, now: datetime) -> int:
    """After the clock was set back: try at once what it had put off; how many deliveries.

    Their order stays. Call it once: what was tried by the wrong clock is found each time.
    """
    return connection.execute(text(_REQUEUE), {"now": now}).rowcount


def replay(connection: Connection, ids: Sequence[UUID], *, now: datetime) -> int:
    """Queue dead deliveries anew under their old ids, all of them where none is named.

    They take the places they had, and those that later news overtook stay dead.
    """
    values = {"now": now, "named": bool(ids), "ids": list(ids)}
    return connection.execute(text(_REPLAY), values).rowcount


def count_overtaken(connection: Connection, ids: Sequence[UUID]) -> int:
    """How many of these dead deliveries tell of trouble of which later news have arrived."""
    count: int = connection.execute(text(_OVERTAKEN), {"ids": list(ids)}).scalar_one()
    return count


def count_old(connection: Connection, *, before: datetime) -> dict[str, Amount]:
    """What `prune` would forget, by kind."""
    return {what: _amount(connection, rows, before) for what, rows in _OLD.items()}


def prune(connection: Connection, *, before: datetime) -> dict[str, Amount]:
    """Forget alerts that were resolved and deliveries that were settled before that instant.

    Returns what went, by kind, without what belongs to it.
    """
    gone = count_old(connection, before=before)
    for rows in _OLD.values():
        connection.execute(text(f"DELETE {rows}"), {"before": before})
    connection.execute(
        text("DELETE FROM alert_snooze WHERE until_at < :before"), {"before": before}
    )
    return gone


def _amount(connection: Connection, rows: str, before: datetime) -> Amount:
    # What stands in `_OLD` comes from the code, never from outside.
    statement = f"SELECT count(*), coalesce(sum(pg_column_size(o)), 0) {rows}"
    count, size = connection.execute(text(statement), {"before": before}).one()
    return int(count), int(size)


def _open_delivery(connection: Connection, rule: str, now: datetime, policy: Policy) -> UUID:
    group = {"group_key": rule}
    found: UUID | None = connection.execute(text(_UNSEALED), group).scalar()
    if found is not None:
        return found
    due_at = now + timedelta(seconds=policy.group_wait)
    last: datetime | None = connection.execute(text(_LAST_NOTIFY), group).scalar()
    if last is not None:
        interval = timedelta(seconds=policy.group_interval)
        # The second bound is for a clock that was set back.
        due_at = max(due_at, min(last, now) + interval)
    connection.execute(text(_PULL), group | {"due_at": due_at})
    return _insert(connection, "alert", rule, now, due_at=due_at)


def _insert(
    connection: Connection, kind: str, group_key: str, now: datetime, *, due_at: datetime
) -> UUID:
    values = {"id": uuid4(), "kind": kind, "group_key": group_key, "now": now, "due_at": due_at}
    connection.execute(text(_INSERT), values)
    return values["id"]  # type: ignore[return-value]

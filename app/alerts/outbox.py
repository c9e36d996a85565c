"""The durable outbox: notices become deliveries in the transaction that makes them, and wait there.

Notices of one rule share a delivery until its first try seals its body; the next delivery of that
rule opens five minutes after the one before. Deliveries of one rule leave in order, so that a late
`firing` can never follow its own `resolved`. A sender holds a lease; its attempt number is the
fencing token, and only an answer marks a delivery as sent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import SystemRandom
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, text

from app.alerts.bodies import Message, Told, combine, write_body
from app.alerts.changes import NoticeKind
from app.alerts.rules import Severity
from app.alerts.webhook import TIMEOUT_SECONDS, Outcome, Reply, Webhook

LONGEST_RETRY_AFTER = 24 * 3600.0
TEST_RULE = "test"
_random = SystemRandom()
_INSERT = """
    INSERT INTO alert_delivery (id, kind, group_key, status, created_at, notify_at, queued_at,
                                due_at, planned_at)
    VALUES (:id, :kind, :group_key, 'waiting', :now, :due_at, :now, :due_at, :due_at)
"""
_UNSEALED = """
    SELECT id FROM alert_delivery
    WHERE group_key = :group_key AND status = 'waiting' AND sealed_at IS NULL
    ORDER BY queued_at LIMIT 1 FOR UPDATE
"""
_LAST_NOTIFY = "SELECT max(notify_at) FROM alert_delivery WHERE group_key = :group_key"
# News of a rule are a reason to try what waits before them at once, outside its schedule of tries.
_PULL = """
    UPDATE alert_delivery SET due_at = :due_at
    WHERE group_key = :group_key AND status = 'waiting' AND due_at > :due_at
"""
_CLAIM = """
    UPDATE alert_delivery
    SET attempts = attempts + 1, leased_by = :sender, sealed_at = coalesce(sealed_at, :now),
        lease_until = clock_timestamp() + make_interval(secs => :lease)
    WHERE id = (
        SELECT d.id FROM alert_delivery d
        WHERE d.status = 'waiting' AND d.due_at <= :now
          AND (CAST(:only AS uuid) IS NULL OR d.id = :only)
          AND (d.lease_until IS NULL OR d.lease_until < clock_timestamp())
          AND NOT EXISTS (
              SELECT FROM alert_delivery e
              WHERE e.group_key = d.group_key AND e.status = 'waiting'
                AND (e.queued_at, e.id) < (d.queued_at, d.id))
        ORDER BY d.queued_at, d.id LIMIT 1
        FOR UPDATE SKIP LOCKED)
    RETURNING id, kind, attempts, step, planned_at, body
"""
_NOTICES = """
    SELECT kind, rule, subject, severity, title, text, noticed_at, fired_at, market, run_id
    FROM alert_notice WHERE delivery_id = :id ORDER BY id
"""
_START_ATTEMPT = """
    INSERT INTO alert_attempt (delivery_id, attempt, started_at, sender, outcome)
    VALUES (:id, :attempt, :now, :sender, 'sending')
"""
_END_ATTEMPT = """
    UPDATE alert_attempt SET outcome = :outcome, http_status = :http_status,
        latency_ms = :latency_ms, detail = :detail
    WHERE delivery_id = :id AND attempt = :attempt
"""
_SETTLE = """
    UPDATE alert_delivery
    SET status = :status, sent_at = :sent_at, due_at = :due_at, planned_at = :due_at, step = :step,
        lease_until = NULL, last_status = :http_status, last_error = :error,
        latency_ms = :latency_ms
    WHERE id = :id AND attempts = :attempt AND status = 'waiting'
"""
_DISABLE = """
    INSERT INTO alert_target (fingerprint, disabled_at, reason)
    VALUES (:fingerprint, :now, :reason) ON CONFLICT (fingerprint) DO NOTHING
"""
_GIVE_UP = """
    UPDATE alert_delivery
    SET status = 'dead', last_error = 'The receiver is disabled since it answered 410.',
        sealed_at = coalesce(sealed_at, :now)
    WHERE status = 'waiting' AND kind = 'alert' AND due_at <= :now
      AND (lease_until IS NULL OR lease_until < clock_timestamp())
      AND EXISTS (SELECT FROM alert_target WHERE fingerprint = :fingerprint)
"""


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


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process may try once; `attempt` is its fencing token."""

    id: UUID
    kind: str
    attempt: int
    step: int
    planned_at: datetime
    body: bytes


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


def claim(
    connection: Connection,
    webhook: Webhook,
    *,
    sender: str,
    now: datetime,
    policy: Policy,
    only: UUID | None = None,
) -> Claimed | None:
    """The next delivery that is due, leased to this sender and sealed; None when there is none.

    Commit before sending: the row then shows that a try was begun.
    """
    connection.execute(text(_GIVE_UP), {"now": now, "fingerprint": webhook.fingerprint})
    values = {"sender": sender, "now": now, "lease": policy.lease, "only": only}
    row = connection.execute(text(_CLAIM), values).first()
    if row is None:
        return None
    attempt = {"id": row.id, "attempt": row.attempts, "now": now, "sender": sender}
    connection.execute(text(_START_ATTEMPT), attempt)
    body = row.body or _seal(connection, row.id, webhook, now)
    return Claimed(row.id, row.kind, row.attempts, row.step, row.planned_at, body.encode())


def settle(
    connection: Connection,
    claimed: Claimed,
    reply: Reply,
    webhook: Webhook,
    *,
    now: datetime,
    policy: Policy,
) -> bool:
    """Note how a try went; False when another sender has taken the delivery over meanwhile."""
    common = {
        "id": claimed.id,
        "attempt": claimed.attempt,
        "http_status": reply.status,
        "latency_ms": reply.latency_ms,
    }
    ended = common | {"outcome": reply.outcome.value, "detail": reply.detail}
    connection.execute(text(_END_ATTEMPT), ended)
    values = common | _next_state(claimed, reply, now, policy)
    is_mine = connection.execute(text(_SETTLE), values).rowcount == 1
    if is_mine and reply.outcome is Outcome.GONE:
        disabled = {"fingerprint": webhook.fingerprint, "now": now, "reason": reply.detail}
        connection.execute(text(_DISABLE), disabled)
    elif is_mine and reply.outcome is Outcome.DELIVERED:
        enable(connection, webhook)
    return is_mine


def enable(connection: Connection, webhook: Webhook) -> None:
    """Send to this receiver again, though it once wanted no more."""
    statement = text("DELETE FROM alert_target WHERE fingerprint = :fingerprint")
    connection.execute(statement, {"fingerprint": webhook.fingerprint})


def replay(connection: Connection, ids: Sequence[UUID], *, now: datetime) -> int:
    """Queue dead deliveries anew under their old ids, all of them where none is named."""
    statement = text(
        "UPDATE alert_delivery SET status = 'waiting', step = 0, due_at = :now, planned_at = :now, "
        "queued_at = :now, lease_until = NULL "
        "WHERE status = 'dead' AND kind = 'alert' AND (NOT :named OR id = ANY(:ids))"
    )
    values = {"now": now, "named": bool(ids), "ids": list(ids)}
    return connection.execute(statement, values).rowcount


def prune(connection: Connection, *, before: datetime) -> None:
    """Forget alerts that were resolved and deliveries that were settled before that instant."""
    values = {"before": before}
    for statement in (
        "DELETE FROM alert WHERE resolved_at < :before",
        "DELETE FROM alert_delivery WHERE status <> 'waiting' AND created_at < :before",
        "DELETE FROM alert_notice WHERE alert_id IS NULL AND noticed_at < :before",
        "DELETE FROM alert_snooze WHERE until_at < :before",
    ):
        connection.execute(text(statement), values)


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


def _seal(connection: Connection, delivery_id: UUID, webhook: Webhook, now: datetime) -> str:
    """The body from now on: every later try sends the same bytes under the same id."""
    rows = connection.execute(text(_NOTICES), {"id": delivery_id})
    told = combine([_told(row._mapping) for row in rows]) or (_forgotten(now),)
    message = Message(delivery_id, now, told, webhook.dashboard_url)
    body = write_body(message, webhook.format_name)
    connection.execute(
        text("UPDATE alert_delivery SET body = :body, title = :title WHERE id = :id"),
        {"id": delivery_id, "body": body, "title": message.title},
    )
    return body


def _forgotten(now: datetime) -> Told:
    """What is told where the alerts were pruned before their delivery was tried."""
    return Told(
        kind=NoticeKind.RESOLVED,
        rule="forgotten",
        subject="",
        severity=Severity.INFO,
        title="Alerts from long ago",
        text="They could not be told in time and are not known any more.",
        noticed_at=now,
        fired_at=now,
    )


def _told(row: Any) -> Told:
    return Told(
        **{**row, "kind": NoticeKind(row["kind"]), "severity": Severity(row["severity"])},
    )


def _next_state(claimed: Claimed, reply: Reply, now: datetime, policy: Policy) -> dict[str, Any]:
    """Sent, dead, or due again: as planned after a try outside the schedule, else a step later."""
    state: dict[str, Any] = {"sent_at": None, "due_at": now, "step": claimed.step, "error": ""}
    if reply.outcome is Outcome.DELIVERED:
        return state | {"status": "sent", "sent_at": now}
    state["error"] = reply.detail
    is_planned = claimed.planned_at <= now
    state["step"] = step = claimed.step + is_planned
    is_over = step >= len(policy.tries) or claimed.kind == "test"
    if is_over or reply.outcome is Outcome.GONE:
        return state | {"status": "dead"}
    due_at = claimed.planned_at
    if is_planned:
        pause = policy.tries[step] * (1 + _random.uniform(0, policy.jitter))
        due_at = now + timedelta(seconds=pause)
    wait = min(reply.retry_after or 0.0, LONGEST_RETRY_AFTER)
    return state | {"status": "waiting", "due_at": max(due_at, now + timedelta(seconds=wait))}

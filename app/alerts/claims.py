"""One try of a delivery: claimed with a lease, sealed before the first, settled by its answer.

The attempt number is the fencing token: a sender that lost its lease changes nothing any more, and
only an answer marks a delivery as sent. A try whose sender died has used up a step like one that
failed, so that a message which kills its senders comes to an end too.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import SystemRandom
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.alerts.bodies import write_body
from app.alerts.changes import NoticeKind
from app.alerts.messages import Message, Told, combine
from app.alerts.outbox import Policy, enable
from app.alerts.rules import Severity
from app.alerts.webhook import Outcome, Reply, Webhook

LONGEST_RETRY_AFTER = 24 * 3600.0
_random = SystemRandom()
# All hosts share the database's clock; tests give one of their own.
_NOW = "coalesce(CAST(:now AS timestamptz), statement_timestamp())"
# A lease that ends later than any could was taken while the database's clock was ahead.
_IS_FREE = """
    (d.lease_until IS NULL OR d.lease_until < clock_timestamp()
     OR d.lease_until > clock_timestamp() + 2 * make_interval(secs => :lease))
"""
# The sender of its last try died.
_IS_SPENT = "(d.lease_until IS NOT NULL AND d.step + 1 >= :tries)"
_CLAIM = f"""
    UPDATE alert_delivery
    SET attempts = attempts + 1, leased_by = :sender, sealed_at = coalesce(sealed_at, {_NOW}),
        step = step + CASE WHEN lease_until IS NULL THEN 0 ELSE 1 END,
        lease_until = clock_timestamp() + make_interval(secs => :lease)
    WHERE id = (
        SELECT d.id FROM alert_delivery d
        WHERE d.status = 'waiting' AND d.due_at <= {_NOW} AND {_IS_FREE}
          AND (CAST(:only AS uuid) IS NULL OR d.id = :only)
          AND NOT EXISTS (
              SELECT FROM alert_delivery e
              WHERE e.group_key = d.group_key AND e.status = 'waiting'
                AND (e.queued_at, e.created_at, e.id) < (d.queued_at, d.created_at, d.id))
        ORDER BY d.queued_at, d.created_at, d.id LIMIT 1
        FOR UPDATE SKIP LOCKED)
    RETURNING id, kind, attempts, step, planned_at, body, {_NOW} AS claimed_at
"""  # noqa: S608 - the parts stand above
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
_GIVE_UP = f"""
    UPDATE alert_delivery d
    SET status = 'dead', sealed_at = coalesce(d.sealed_at, {_NOW}), lease_until = NULL,
        last_error = CASE WHEN {_IS_SPENT} THEN 'The processes that tried to send it died.'
                          ELSE 'The receiver is disabled since it answered 410.' END
    WHERE d.status = 'waiting' AND d.due_at <= {_NOW} AND {_IS_FREE}
      AND ({_IS_SPENT} OR d.kind = 'alert' AND EXISTS (
          SELECT FROM alert_target WHERE fingerprint = :fingerprint))
"""  # noqa: S608 - the parts stand above


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process may try once; `attempt` is its fencing token.

    `at` is when it was claimed, by the clock that all senders share.
    """

    id: UUID
    kind: str
    attempt: int
    step: int
    planned_at: datetime
    body: bytes
    at: datetime


def claim(
    connection: Connection,
    webhook: Webhook,
    *,
    sender: str,
    policy: Policy,
    now: datetime | None = None,
    only: UUID | None = None,
) -> Claimed | None:
    """The next delivery that is due, leased to this sender and sealed; None when there is none.

    What is due is judged by the database's clock, unless told the time. Commit before sending: the
    row then shows that a try was begun.
    """
    values = {"sender": sender, "now": now, "lease": policy.lease, "only": only}
    ending = values | {"fingerprint": webhook.fingerprint, "tries": len(policy.tries)}
    connection.execute(text(_GIVE_UP), ending)
    row = connection.execute(text(_CLAIM), values).first()
    if row is None:
        return None
    at = row.claimed_at.astimezone(UTC)
    attempt = {"id": row.id, "attempt": row.attempts, "now": at, "sender": sender}
    connection.execute(text(_START_ATTEMPT), attempt)
    body = row.body or _seal(connection, row.id, webhook, at)
    return Claimed(row.id, row.kind, row.attempts, row.step, row.planned_at, body.encode(), at)


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


def _seal(connection: Connection, delivery_id: UUID, webhook: Webhook, now: datetime) -> str:
    """The body from now on: every later try sends the same bytes under the same id."""
    rows = connection.execute(text(_NOTICES), {"id": delivery_id})
    told = combine([_told(row._mapping) for row in rows]) or (_forgotten(now),)
    message = Message(delivery_id, now, told, webhook.dashboard_url)
    body = write_body(message, webhook.body_format)
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

"""The sender's loop: claim, send, settle, for at most ten seconds; any number may run it.

The time is the database's, as the claim finds it, plus what this process counted since by its
steady clock: hosts whose own clocks differ keep one order.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.alerts.claims import Claimed, claim, settle
from app.alerts.outbox import Policy
from app.alerts.webhook import Outcome, Reply, Webhook
from app.database.identity import process_name
from app.failpoints import reach

logger = logging.getLogger(__name__)
Clock = Callable[[], datetime]


def deliver_due(
    engine: Engine, webhook: Webhook, *, policy: Policy, clock: Clock | None = None
) -> int:
    """Try what is due, as much as fits into the loop's time; how many tries that were.

    A send is begun only where one as slow as the slowest so far would end in time. A `clock` rules
    instead of the database's.
    """
    begun = time.monotonic()
    count, slowest = 0, 0.0
    while True:
        left = policy.loop - (time.monotonic() - begun)
        if left <= max(2 * slowest, 0):
            return count
        started = time.monotonic()
        reply = try_one(engine, webhook, clock=clock, policy=policy, seconds=left)
        if reply is None:
            return count
        count += 1
        slowest = max(slowest, time.monotonic() - started)


def try_one(
    engine: Engine,
    webhook: Webhook,
    *,
    policy: Policy,
    seconds: float,
    clock: Clock | None = None,
    only: UUID | None = None,
) -> Reply | None:
    """Try the next delivery that is due (or only that one) once; None when there is none.

    No transaction is open while the network is waited for. Raises `SQLAlchemyError` with the
    database away: the lease then ends by itself and somebody tries again.
    """
    with engine.begin() as connection:
        claimed = claim(
            connection,
            webhook,
            sender=process_name(),
            policy=policy,
            now=clock() if clock else None,
            only=only,
        )
    if claimed is None:
        return None
    present = clock or _clock_since(claimed.at)
    reply = _send(webhook, claimed, present(), min(seconds, policy.timeout))
    reach("mid-webhook")
    with engine.begin() as connection:
        is_mine = settle(connection, claimed, reply, webhook, now=present(), policy=policy)
    _log(claimed, reply, is_mine=is_mine)
    return reply


def _clock_since(instant: datetime) -> Clock:
    """Goes on from that instant by this process's steady clock."""
    begun = time.monotonic()
    return lambda: instant + timedelta(seconds=time.monotonic() - begun)


def _send(webhook: Webhook, claimed: Claimed, at: datetime, seconds: float) -> Reply:
    """One try; whatever goes wrong in it is an answer too, or it would be tried without end."""
    try:
        return webhook.send(claimed.id, claimed.body, at=at, timeout_seconds=seconds)
    except SQLAlchemyError:
        raise
    except Exception as error:
        logger.error("alert could not be sent", extra={"error_class": type(error).__name__})
        return Reply(Outcome.NOT_BUILT, f"Something unforeseen: {type(error).__name__}.", 0)


def _log(claimed: Claimed, reply: Reply, *, is_mine: bool) -> None:
    fields = {
        "delivery_id": str(claimed.id),
        "attempt": claimed.attempt,
        "outcome": reply.outcome.value,
        "status": reply.status,
        "duration_ms": reply.latency_ms,
        "was_mine": is_mine,
    }
    if reply.outcome is Outcome.DELIVERED:
        logger.info("alert delivered", extra=fields)
    else:
        logger.warning("alert not delivered", extra=fields | {"reason": reply.detail})

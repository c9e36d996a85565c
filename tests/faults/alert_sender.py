"""A process that does nothing but send alerts, for the tests that kill it."""

import threading
from datetime import UTC, datetime

from sqlalchemy import Engine, NullPool, create_engine

from app.alerts.addresses import Reach
from app.alerts.claims import claim, settle
from app.alerts.outbox import Policy
from app.alerts.rules import Severity
from app.alerts.sending import deliver_due
from app.alerts.webhook import Outcome, Reply, Webhook

# As the product's, but a dead sender's lease is over soon and a failed try comes again at once.
HASTY = Policy(tries=(0, *[0.05] * 50), jitter=0, lease=1.0, timeout=0.8, loop=2)


def send_for_ever(database_url: str, receiver_url: str) -> None:
    """Deliver what is due until somebody ends the process."""
    engine = create_engine(database_url, poolclass=NullPool)
    webhook = Webhook(
        receiver_url, reach=Reach(loopback=True), min_severity=Severity.INFO, keys=(b"k" * 32,)
    )
    pause = threading.Event()
    while True:
        deliver_due(engine, webhook, clock=lambda: datetime.now(UTC), policy=HASTY)
        pause.wait(0.02)


def send_carelessly(engine: Engine, webhook: Webhook) -> None:
    """Deliver as one must not: a delivery counts as sent before it is."""
    while True:
        now = datetime.now(UTC)
        with engine.begin() as connection:
            claimed = claim(connection, webhook, sender="careless", now=now, policy=HASTY)
            if claimed is None:
                return
            reply = Reply(Outcome.DELIVERED, "", 0)
            settle(connection, claimed, reply, webhook, now=now, policy=HASTY)
        webhook.send(claimed.id, claimed.body, at=now)

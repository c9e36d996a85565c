"""A receiver of alerts with a queue to it: what was lost, or came again under another id."""

from collections import Counter
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from sqlalchemy import Engine, text

from app.alerts.outbox import enqueue_test
from app.alerts.signature import webhook_id
from tests.servers import Answer, ScriptedServer

NOTHING_WAITS = """
    SELECT count(*) = 0 FROM alert_delivery WHERE kind = 'test' AND status = 'waiting'
"""


class Mailbox:
    """Takes every webhook, and knows which ones were to come."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._server = ScriptedServer()
        self._server.script("/hook", Answer(200))
        self._queued: list[str] = []
        self.url = f"{self._server.url}/hook"

    def queue(self) -> None:
        """Put one delivery into the outbox."""
        now = datetime.now(UTC)
        with self._engine.begin() as connection:
            self._queued.append(webhook_id(enqueue_test(connection, now=now)))

    def count(self) -> int:
        """How many came so far."""
        return len(self._server.requests)

    def missing(self) -> list[str]:
        """The ids of what was queued and did not come so far."""
        came = {request.headers["webhook-id"] for request in self._server.requests}
        return [one for one in self._queued if one not in came]

    def losses(self) -> list[str]:
        """What did not come, or never came again though its first sender died before noting it."""
        came = Counter(request.headers["webhook-id"] for request in self._server.requests)
        found = [f"the alert {one} was lost" for one in self._queued if not came[one]]
        found += [f"the alert {one} came only once" for one in self._queued if came[one] == 1]
        with self._engine.connect() as connection:
            waiting = connection.execute(text(f"SELECT NOT ({NOTHING_WAITS})")).scalar_one()
        return [*found, *(["an alert still waits"] if waiting else [])]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        self._engine.dispose()

"""The heartbeat of a run: renews its lease, and hears when it is cancelled or lost."""

import logging
import threading
import time

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.ingestion.context import StopSignal
from app.ingestion.run_row import RunTicket, beat, is_cancelled
from app.logs import bind

logger = logging.getLogger(__name__)

# How soon a run hears that somebody asked another process to stop it.
CANCEL_LOOK_SECONDS = 1.0


class Heartbeat:
    """Beats in a thread of its own until it is to rest; a lost or cancelled run is told to stop."""

    def __init__(
        self,
        engine: Engine,
        ticket: RunTicket,
        stop: StopSignal,
        *,
        every_seconds: float,
        lease_seconds: float,
    ) -> None:
        self._engine, self._ticket, self._stop = engine, ticket, stop
        self._every, self._lease = every_seconds, lease_seconds
        self._resting = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def rest(self) -> None:
        """Beat no more; once this returns, nothing renews the lease behind anybody's back."""
        self._resting.set()
        self._thread.join()

    def _beat_on(self) -> None:
        last_beat = time.monotonic()
        look_seconds = min(CANCEL_LOOK_SECONDS, self._every)
        with bind(run_id=self._ticket.run_id):
            while not self._resting.wait(look_seconds):
                silent_seconds = time.monotonic() - last_beat
                is_due = silent_seconds >= self._every - look_seconds / 2
                try:
                    answer = self._beat() if is_due else self._look()
                    last_beat = time.monotonic() if is_due else last_beat
                except SQLAlchemyError as error:
                    logger.warning("heartbeat failed", extra={"reason": type(error).__name__})
                    answer = "lost" if silent_seconds > self._lease else "alive"
                self._hear(answer)

    def _hear(self, answer: str) -> None:
        if answer == "cancelled":
            self._stop.stop("cancelled")
        elif answer == "late":
            self._stop.stop("deadline")
        elif answer == "lost" and not self._resting.is_set():
            self._stop.stop("lease_lost")

    def _beat(self) -> str:
        return beat(self._engine, self._ticket, lease_seconds=self._lease)

    def _look(self) -> str:
        return "cancelled" if is_cancelled(self._engine, self._ticket) else "alive"

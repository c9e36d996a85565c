"""Dead runs: each is gone on with by one process, or closed with the reason."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine

from app.database.transactions import keep_brief
from app.domain import RunStatus
from app.errors import InvalidRequest
from app.ingestion.dead_runs import (
    DeadRun,
    Succession,
    Verdict,
    close_dead_run,
    judge_dead_run,
    load_dead_runs,
    take_up,
)
from app.ingestion.run_row import RunTicket
from app.services.execution import Execution
from app.services.orders import OrderBook, fingerprint
from app.settings import Settings

logger = logging.getLogger(__name__)


def succession_of(settings: Settings) -> Succession:
    """Whether and how often a dead run is begun again under these settings."""
    return Succession(
        max_attempts=settings.run_max_attempts,
        is_polled=settings.scheduler_enabled,
        lease_seconds=settings.run_lease_seconds,
        poll_seconds=settings.scheduler_poll_seconds,
    )


@dataclass(frozen=True, slots=True)
class Takeover:
    """One look for dead runs; `launch` is handed every attempt that this process is to work on."""

    settings: Settings
    orders: OrderBook
    desk: Callable[[], Engine]
    launch: Callable[[Execution], None]

    def look(self) -> None:
        """Take up what may be, close the rest. Raises `SQLAlchemyError` with the database away."""
        with self.desk().connect() as connection:
            dead = load_dead_runs(connection)
        for run in dead:
            verdict = judge_dead_run(run, succession_of(self.settings))
            if verdict is None:
                self._take_up(run)
            else:
                self._close(run, verdict)

    def _take_up(self, run: DeadRun) -> None:
        try:
            name = self.orders.provider_name(run.provider)
            order = self.orders.write(
                run.id, provider=name, symbols=run.symbols, attempt=run.attempt + 1
            )
        except InvalidRequest as error:
            message = f"Its process died, and it cannot be begun again: {error}"
            self._close(run, Verdict(RunStatus.FAILED, "InvalidRequest", message))
            return
        with self.desk().begin() as connection:
            keep_brief(connection)
            taken = take_up(
                connection,
                run,
                fingerprint=fingerprint(self.settings, name),
                lease_seconds=self.settings.run_lease_seconds,
            )
        if taken is not None:
            fields = {"run_id": str(run.id), "attempt": taken.attempt, "from": run.owner}
            logger.warning("run taken up", extra=fields)
            self.launch(
                Execution(RunTicket(run.id, taken.attempt, taken.seconds_left), order, name)
            )

    def _close(self, run: DeadRun, verdict: Verdict) -> None:
        with self.desk().begin() as connection:
            keep_brief(connection)
            is_mine = close_dead_run(connection, run, verdict)
        if is_mine:
            fields = {"run_id": str(run.id), "status": verdict.status.value, "from": run.owner}
            logger.warning("dead run closed", extra=fields)

"""What every scenario works with: a database to spoil, a way to wait, and what came of it."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from tests.faults.deck import Plan
from tests.faults.oracle import Evidence, examine

SLACK_SECONDS = 5.0
SETTLE_SECONDS = 40.0
ALL_CLOSED = "SELECT count(*) = 0 FROM ingestion_run WHERE status = 'running'"
_TABLES = (
    "schedule_tick, ingestion_run, market, listing, market_snapshot, market_aggregate, "
    "market_comparison, market_roi_statistic, job_state, schedule_pause, data_version, "
    "alert, alert_delivery, alert_notice, alert_attempt, alert_watch"
)
_pause = threading.Event()


@dataclass(slots=True)
class Finding:
    """What came of a scenario: the fault, its figures, and whatever did not hold."""

    fault: str
    figures: str
    problems: list[str] = field(default_factory=list)
    not_run: str = ""  # why it could not be done on this machine

    @property
    def holds(self) -> bool:
        """True when everything that must hold did, or when it could not be looked at."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Bench:
    """A database to spoil, and a folder for the processes that use it."""

    url: str
    folder: Path

    def engine(self) -> Engine:
        """Connections of the observer's own."""
        return create_engine(self.url, pool_pre_ping=True, isolation_level="AUTOCOMMIT")

    def clear(self) -> None:
        """Leave nothing of the scenario before."""
        engine = self.engine()
        with engine.connect() as connection:
            connection.execute(text(f"TRUNCATE {_TABLES} CASCADE"))
        engine.dispose()

    def plan(self, **values: object) -> Plan:
        """How the processes of a scenario are set up."""
        return Plan(url=self.url, folder=self.folder, **values)  # type: ignore[arg-type]


def settled(bench: Bench, plan: Plan) -> Evidence:
    """The evidence once nothing happens any more: ticks are paused and the last run is over."""
    engine = bench.engine()
    pause = text(
        "INSERT INTO schedule_pause (schedule, paused_at, paused_by, reason) "
        "VALUES ('ingestion', now(), 'oracle', 'the end') ON CONFLICT DO NOTHING"
    )
    with engine.connect() as connection:
        connection.execute(pause)
    for _ in range(2):
        await_true(bench, ALL_CLOSED)
        _pause.wait(2 * plan.poll)
    evidence = examine(engine, tick_seconds=plan.tick)
    engine.dispose()
    return evidence


def await_true(bench: Bench, condition: str, *, seconds: float = SETTLE_SECONDS) -> bool:
    """Whether the condition came true within the time; asked of the database.

    A server that takes no connection for the moment (no room, starting up) is asked again.
    """
    engine = bench.engine()
    deadline = time.monotonic() + seconds
    try:
        while True:
            if _is_true(engine, condition):
                return True
            if time.monotonic() > deadline:
                return False
            _pause.wait(0.05)
    finally:
        engine.dispose()


def _is_true(engine: Engine, condition: str) -> bool:
    try:
        with engine.connect() as connection:
            return bool(connection.execute(text(condition)).scalar())
    except OperationalError:
        return False


def expect_true(bench: Bench, condition: str) -> None:
    """Wait until the condition is true; AssertionError when it does not come to that."""
    if not await_true(bench, condition):
        raise AssertionError(f"in vain: {condition}")


def judge(fault: str, figures: str, evidence: Evidence) -> Finding:
    """What the evidence shows; something must have gone well in between."""
    finding = Finding(fault, figures, list(evidence.wrong))
    if not evidence.runs.get("succeeded"):
        finding.problems.append("no run succeeded, so nothing was shown")
    return finding

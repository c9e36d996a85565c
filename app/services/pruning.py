"""Pruning: lets go of what is beyond its retention and makes the months to come.

One process at a time does it, in short transactions that neither wait long for a run nor make one
wait long: whatever is in use now is left to the next time.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

from psycopg2.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from app.alerts import outbox
from app.database import old_rows
from app.database.bulk import run_in_transaction
from app.database.identity import process_name
from app.database.old_rows import Amount
from app.database.partitions import (
    SNAPSHOTS,
    cut_months,
    drop_months,
    lock_months,
    missing_months,
)
from app.models.versions import NEW_DATA_VERSION
from app.services.job_states import HOUR, take_turn
from app.services.retention import (
    Loss,
    Pruning,
    SeriesRule,
    cutoff,
    last_month,
    plan_months,
    rejected_cutoff,
    series_rules,
)
from app.settings import Settings

logger = logging.getLogger(__name__)

BATCH_ROWS = 10_000
BATCH_RUNS = 200
JOB_SECONDS = 20.0
# While a lock is waited for, readers of the table queue up behind it.
LOCK_MILLISECONDS = 300
LOCK_ATTEMPTS = 5
LOCK_PAUSE_SECONDS = 0.3
# Any number will do, as long as every process has the same.
_PRUNING = 7_213_980_541
_PARTITIONS_TURN = "turn of partitions"
_IS_FRESH = """
    SELECT EXISTS (SELECT FROM job_state WHERE name = 'retention'
                   AND last_at > clock_timestamp() - make_interval(secs => :every))
"""
_CLAIM = """
    INSERT INTO job_state AS j (name, last_at, last_by, duration_ms)
    VALUES ('retention', clock_timestamp(), :by, 0)
    ON CONFLICT (name) DO UPDATE SET last_at = excluded.last_at, last_by = excluded.last_by
    WHERE j.last_at <= clock_timestamp() - make_interval(secs => :every)
    RETURNING LEAST(CAST(:now AS timestamptz), clock_timestamp())
"""
Delete = Callable[[Connection, datetime], Mapping[str, Amount]]


def prune(
    engine: Engine, settings: Settings, *, now: datetime, seconds: float = float("inf")
) -> Pruning | None:
    """Do what `plan_pruning` tells; what was done. None when another process is at it.

    Begins no new batch after `seconds`. Raises `sqlalchemy.exc.DBAPIError`; what was committed by
    then stays done.
    """
    with _alone(engine) as is_alone:
        if not is_alone:
            return None
        done = _Work(engine, settings, now, time.monotonic() + seconds).do()
    fields = {
        "rows": done.rows,
        "bytes": done.bytes,
        "partitions": [loss.partition for loss in done.losses if loss.partition],
        "new_partitions": list(done.new_partitions),
        "postponed": list(done.postponed),
    }
    logger.info("pruned", extra=fields)
    return done


def prune_when_due(engine: Engine, settings: Settings, *, now: datetime) -> Pruning | None:
    """`prune` for the scheduler: once an hour, in whichever process asks first.

    Of this host's clock and the database's the earlier counts: one that is ahead deletes nothing.
    """
    values = {"every": HOUR, "by": process_name(), "now": now}
    with engine.begin() as connection:
        if connection.execute(text(_IS_FRESH), values).scalar_one():
            return None
        earlier: datetime | None = connection.execute(text(_CLAIM), values).scalar()
    return prune(engine, settings, now=earlier, seconds=JOB_SECONDS) if earlier else None


def prepare_months_when_due(engine: Engine, *, now: datetime) -> tuple[str, ...] | None:
    """Make the months of snapshots to come; their names. None where some process just did.

    Raises `sqlalchemy.exc.DBAPIError`; pruning makes them as well, and the next hour tries again.
    """
    with engine.begin() as connection:
        if not take_turn(connection, _PARTITIONS_TURN, every_seconds=HOUR):
            return None
        missing = missing_months(connection, SNAPSHOTS, until=last_month(now))
    if missing and _insist(lambda: _cut(engine, now)):
        logger.info("months prepared", extra={"partitions": missing})
        return tuple(missing)
    return ()


def _cut(engine: Engine, now: datetime) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}"))
        lock_months(connection, SNAPSHOTS)
        cut_months(connection, SNAPSHOTS, until=last_month(now))


class _Work:
    """One pruning under way."""

    def __init__(self, engine: Engine, settings: Settings, now: datetime, deadline: float) -> None:
        self._engine, self._settings, self._now = engine, settings, now
        self._deadline = deadline
        self._losses: list[Loss] = []
        self._new: list[str] = []
        self._postponed: list[str] = []

    def do(self) -> Pruning:
        """Months first: they are quick, and those ahead must be there in time."""
        self._change_months()
        for rule in series_rules(self._settings):
            self._delete_series(rule)
        self._delete_runs()
        self._forget_alerts()
        return Pruning(tuple(self._losses), tuple(self._new), tuple(self._postponed))

    def _change_months(self) -> None:
        with self._engine.connect() as connection:
            doomed = list(plan_months(connection, self._settings, now=self._now))
            missing = missing_months(connection, SNAPSHOTS, until=last_month(self._now))
        if not doomed and not missing:
            return
        if _insist(self._cut_and_drop):
            self._losses += doomed
        else:
            self._postponed.append("months of snapshots")

    def _cut_and_drop(self) -> None:
        before = cutoff(self._now, self._settings.retention_snapshot_days)
        with self._engine.begin() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}"))
            lock_months(connection, SNAPSHOTS)
            new = cut_months(connection, SNAPSHOTS, until=last_month(self._now))
            if before and drop_months(connection, SNAPSHOTS, before=before):
                connection.execute(text(NEW_DATA_VERSION))
        self._new += [part.name for part in new]

    def _delete_series(self, rule: SeriesRule) -> None:
        def delete(connection: Connection, before: datetime) -> Mapping[str, Amount]:
            amount = old_rows.delete_old(connection, rule.table, before=before, limit=BATCH_ROWS)
            if amount[0] and rule.is_market_data:
                connection.execute(text(NEW_DATA_VERSION))
            return {rule.what: amount}

        self._repeat(rule.what, delete, self._now - timedelta(days=rule.days), BATCH_ROWS)

    def _delete_runs(self) -> None:
        if before := rejected_cutoff(self._settings, self._now):
            self._repeat("rejected rows", _delete_rejected, before, BATCH_ROWS)
        if before := cutoff(self._now, self._settings.retention_run_days):
            self._repeat("runs", _delete_runs, before, BATCH_RUNS)

    def _forget_alerts(self) -> None:
        """Alerts that are over go with the runs of their time; they are too few for batches."""
        before = cutoff(self._now, self._settings.retention_run_days)
        if before is None:
            return
        if time.monotonic() >= self._deadline:
            self._postponed.append("alerts")
            return
        gone = run_in_transaction(self._engine, lambda c: outbox.prune(c, before=before))
        self._losses += [Loss(what, *amount, before) for what, amount in gone.items() if amount[0]]

    def _repeat(self, what: str, delete: Delete, before: datetime, batch: int) -> None:
        """Batch after batch, each committed, until one is not full or the time is over."""
        totals: dict[str, Amount] = {}
        gone = batch
        while gone >= batch:
            if time.monotonic() >= self._deadline:
                self._postponed.append(what)
                break
            amounts = run_in_transaction(self._engine, lambda c: delete(c, before))
            gone = amounts[what][0]
            for name, (rows, size) in amounts.items():
                known = totals.get(name, (0, 0))
                totals[name] = (known[0] + rows, known[1] + size)
        self._losses += [
            Loss(name, rows, size, before) for name, (rows, size) in totals.items() if rows
        ]


def _delete_rejected(connection: Connection, before: datetime) -> Mapping[str, Amount]:
    amount = old_rows.delete_old_rejected(connection, before=before, limit=BATCH_ROWS)
    return {"rejected rows": amount}


def _delete_runs(connection: Connection, before: datetime) -> Mapping[str, Amount]:
    return old_rows.delete_old_runs(connection, before=before, limit=BATCH_RUNS)


@contextmanager
def _alone(engine: Engine) -> Iterator[bool]:
    """Whether this process may prune; the lock ends with its connection at the latest."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        values = {"key": _PRUNING}
        taken = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), values).scalar_one()
        try:
            yield bool(taken)
        finally:
            if taken:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), values)


def _insist(change: Callable[[], None]) -> bool:
    """Try again while others use the table; False when they did all the time."""
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            change()
        except DBAPIError as error:
            if not isinstance(error.orig, (LockNotAvailable, DeadlockDetected)):
                raise
        else:
            return True
        if attempt < LOCK_ATTEMPTS:
            time.sleep(random.uniform(0.5, 1.5) * LOCK_PAUSE_SECONDS * attempt)  # noqa: S311
    return False

"""Runs whose process gave no sign of life: taken up as the next attempt, or closed with the reason.

A run is dead when its lease is over. Everything here is conditional on the attempt that died, so of
many processes that notice one acts, and a process that comes back to life finds its token void.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg2.errors import InsufficientPrivilege
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from app.database.identity import process_name, runs_name
from app.database.transactions import let_pass
from app.domain import RunStatus, Trigger

logger = logging.getLogger(__name__)

POLLS_OF_PATIENCE = 3
# A run somebody waits for at a terminal ends with it, and a backfill has its own way to go on.
REPEATABLE = (Trigger.SCHEDULER, Trigger.CRON, Trigger.MANUAL)
_DEAD = """
    SELECT id, attempt, owner, trigger, provider, symbols, due_at, heartbeat_at AS silent_since,
           cancel_requested_at IS NOT NULL AS is_cancelled,
           deadline_at <= clock_timestamp() AS is_late,
           heartbeat_at > deadline_at AS is_overrun,
           extract(epoch FROM clock_timestamp() - lease_until)::float AS overdue_seconds
    FROM ingestion_run WHERE status = 'running' AND lease_until < clock_timestamp()
"""
_STILL_DEAD = """
    id = :id AND attempt = :attempt AND status = 'running' AND lease_until < clock_timestamp()
"""
_TAKE_UP = f"""
    UPDATE ingestion_run
    SET attempt = attempt + 1, owner = :owner, heartbeat_at = clock_timestamp(), stage = '',
        config_fingerprint = :fingerprint,
        lease_until = clock_timestamp() + make_interval(secs => :lease)
    WHERE {_STILL_DEAD}
    RETURNING attempt, extract(epoch FROM deadline_at - clock_timestamp())::float AS seconds_left
"""  # noqa: S608 - the condition stands above
_CLOSE = f"""
    UPDATE ingestion_run
    SET status = :status, finished_at = clock_timestamp(), stage = '',
        duration_ms = extract(epoch FROM clock_timestamp() - started_at) * 1000,
        error_class = :error_class, error_message = :message
    WHERE {_STILL_DEAD}
    RETURNING id
"""  # noqa: S608
_STAGES = """
    UPDATE run_stage
    SET status = CASE WHEN name IN ('fetch', 'validate') AND status = 'succeeded' THEN status
                      WHEN status = 'running' THEN 'failed' ELSE 'rolled_back' END
    WHERE run_id = :id AND attempt = :attempt
"""
_NOTE = """
    INSERT INTO lost_attempt (run_id, attempt, owner, silent_since, noticed_by)
    VALUES (:id, :attempt, :owner, :silent_since, :noticed_by)
    ON CONFLICT (run_id, attempt) DO NOTHING
"""
_SILENCE = """
    SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.application_name = :name
      AND a.pid <> pg_backend_pid()
"""
# Whoever changes, or waits to change, a run's row holds this lock on the table.
_FREE = f"""
    {_SILENCE}
      AND EXISTS (SELECT FROM pg_locks l
                  WHERE l.pid = a.pid AND l.relation = 'ingestion_run'::regclass
                    AND l.mode = 'RowExclusiveLock')
      AND EXISTS (SELECT FROM ingestion_run WHERE {_STILL_DEAD})
"""  # noqa: S608
# Owners whose connections this process may not end, as it has said once.
_untouchable: set[str] = set()


@dataclass(frozen=True, slots=True)
class Succession:
    """Whether a dead run may be begun again: how often in all, and whether anybody looks for it.

    A run that nobody took up for another lease and three polls after its death is closed by the
    next start.
    """

    max_attempts: int
    is_polled: bool
    lease_seconds: float
    poll_seconds: float

    @property
    def patience_seconds(self) -> float:
        """How long after its death somebody may still take a run up."""
        return self.lease_seconds + POLLS_OF_PATIENCE * self.poll_seconds


@dataclass(frozen=True, slots=True)
class DeadRun:
    """A run without a process, with everything that is needed to do it again.

    `is_overrun`: its process lived on beyond the run's deadline, but the run did not end.
    """

    id: UUID
    attempt: int
    owner: str
    trigger: Trigger
    provider: str
    symbols: Sequence[str]
    due_at: datetime | None
    silent_since: datetime
    is_cancelled: bool
    is_late: bool
    is_overrun: bool
    overdue_seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a dead run is closed."""

    status: RunStatus
    error_class: str
    message: str


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """The token of whoever took a run up, and the seconds until the run's deadline."""

    attempt: int
    seconds_left: float


def load_dead_runs(connection: Connection) -> list[DeadRun]:
    """Every run whose lease is over."""
    rows = connection.execute(text(_DEAD)).mappings()
    return [DeadRun(**{**row, "trigger": Trigger(row["trigger"])}) for row in rows]


def judge_dead_run(run: DeadRun, succession: Succession) -> Verdict | None:
    """How to close the run; None where it is to be taken up."""
    silence = _tell_silence(run)
    if run.is_cancelled:
        message = f"{silence}; the run had been asked to stop, and nothing of it was kept."
        return Verdict(RunStatus.CANCELLED, "cancelled", message)
    if run.is_overrun:
        return Verdict(RunStatus.FAILED, "deadline", f"{silence}; nothing of it was kept.")
    if run.is_late:
        message = f"{silence}, and the run's deadline is over; nothing of it was kept."
        return Verdict(RunStatus.ABANDONED, "Abandoned", message)
    if run.trigger not in REPEATABLE or succession.max_attempts == 1 or not succession.is_polled:
        message = f"{silence}; nothing of the run was kept."
        return Verdict(RunStatus.ABANDONED, "Abandoned", message)
    if run.attempt >= succession.max_attempts:
        message = f"{silence}; that was attempt {run.attempt} and the last. Nothing was kept."
        return Verdict(RunStatus.FAILED, "AttemptsExhausted", message)
    return None


def close_unattended_runs(connection: Connection, succession: Succession) -> None:
    """Close the dead runs that nobody may, or will, take up."""
    for run in load_dead_runs(connection):
        verdict = judge_dead_run(run, succession)
        if verdict is None and run.overdue_seconds > succession.patience_seconds:
            message = f"{_tell_silence(run)}, and nobody took the run up; nothing of it was kept."
            verdict = Verdict(RunStatus.ABANDONED, "Abandoned", message)
        if verdict is not None:
            close_dead_run(connection, run, verdict)


def close_dead_run(connection: Connection, run: DeadRun, verdict: Verdict) -> bool:
    """Set the final status; False when somebody was faster or the process lives after all."""
    _free_row(connection, run)
    values = {
        "id": run.id,
        "attempt": run.attempt,
        "status": verdict.status.value,
        "error_class": verdict.error_class,
        "message": verdict.message,
    }
    if connection.execute(text(_CLOSE), values).first() is None:
        return False
    _settle(connection, run)
    return True


def take_up(
    connection: Connection, run: DeadRun, *, fingerprint: str, lease_seconds: float
) -> NextAttempt | None:
    """Become the run's owner with the next attempt; None when somebody was faster."""
    _free_row(connection, run)
    values = {
        "id": run.id,
        "attempt": run.attempt,
        "owner": process_name(),
        "fingerprint": fingerprint,
        "lease": lease_seconds,
    }
    row = connection.execute(text(_TAKE_UP), values).first()
    if row is None:
        return None
    _settle(connection, run)
    return NextAttempt(row.attempt, row.seconds_left)


def _settle(connection: Connection, run: DeadRun) -> None:
    """What only the one who won the dead run may do."""
    # The others that noticed wait for this transaction, and fill the queue for the database.
    let_pass(connection)
    silence_owner(connection, run)
    _note_loss(connection, run)


def silence_owner(connection: Connection, run: DeadRun) -> None:
    """End the connections over which the owner worked, so that it holds no locks any longer.

    For whoever has just become the run's owner, in the same transaction. A process that stands
    still (SIGSTOP, swapping) keeps its transaction open; while it is inside a COPY no timeout of
    the server ends it.
    """
    _terminate(connection, _SILENCE, run)


def _free_row(connection: Connection, run: DeadRun) -> None:
    """End what the silent owner holds the run's own row with, or nobody else could have the run.

    Who lives after all loses a heartbeat at most: nothing is ended unless the run is still dead.
    """
    _terminate(connection, _FREE, run)


def _terminate(connection: Connection, statement: str, run: DeadRun) -> None:
    """Not every role may end the connections of every other; then the attempt alone protects."""
    values = {"id": run.id, "attempt": run.attempt, "name": runs_name(run.owner)}
    try:
        with connection.begin_nested():
            connection.execute(text(statement), values)
    except ProgrammingError as error:
        if not isinstance(error.orig, InsufficientPrivilege):
            raise
        if run.owner not in _untouchable:
            _untouchable.add(run.owner)
            logger.warning("connections not ended", extra={"of": run.owner})


def _note_loss(connection: Connection, run: DeadRun) -> None:
    values = {
        "id": run.id,
        "attempt": run.attempt,
        "owner": run.owner,
        "silent_since": run.silent_since,
        "noticed_by": process_name(),
    }
    connection.execute(text(_STAGES), values)
    if not run.is_overrun:
        connection.execute(text(_NOTE), values)


def _tell_silence(run: DeadRun) -> str:
    if run.is_overrun:
        return f"The process {run.owner} ran past the run's deadline and did not stop"
    since = f"{run.silent_since:%Y-%m-%d %H:%M:%S}"
    return f"The process {run.owner} gave no sign of life since {since} UTC"

"""Runs whose process gave no sign of life: taken up as the next attempt, or closed with the reason.

A run is dead when its lease is over. Everything here is conditional on the attempt that died, so of
many processes that notice one acts, and a process that comes back to life finds its token void.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from app.database.identity import process_name, runs_name
from app.domain import RunStatus, Trigger

# A run somebody waits for at a terminal ends with it, and a backfill has its own way to go on.
REPEATABLE = (Trigger.SCHEDULER, Trigger.CRON, Trigger.MANUAL)
_DEAD = """
    SELECT id, attempt, owner, trigger, provider, symbols, due_at, heartbeat_at AS silent_since,
           cancel_requested_at IS NOT NULL AS is_cancelled,
           deadline_at <= clock_timestamp() AS is_late,
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
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = :name AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class Succession:
    """Whether a dead run may be begun again: how often in all, and whether anybody looks for it.

    A run that nobody took up for another lease after its death is closed by the next start.
    """

    max_attempts: int
    is_polled: bool
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class DeadRun:
    """A run without a process, with everything that is needed to do it again."""

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
    silence = f"The process {run.owner} gave no sign of life since {_clock_time(run)} UTC"
    if run.is_cancelled:
        message = f"{silence}; the run had been asked to stop, and nothing of it was kept."
        return Verdict(RunStatus.CANCELLED, "cancelled", message)
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
        if verdict is None and run.overdue_seconds > succession.lease_seconds:
            message = (
                f"The process {run.owner} gave no sign of life since {_clock_time(run)} UTC, and "
                "nobody took the run up; nothing of it was kept."
            )
            verdict = Verdict(RunStatus.ABANDONED, "Abandoned", message)
        if verdict is not None:
            close_dead_run(connection, run, verdict)


def close_dead_run(connection: Connection, run: DeadRun, verdict: Verdict) -> bool:
    """Set the final status; False when somebody was faster or the process lives after all."""
    silence_owner(connection, run)
    values = {
        "id": run.id,
        "attempt": run.attempt,
        "status": verdict.status.value,
        "error_class": verdict.error_class,
        "message": verdict.message,
    }
    if connection.execute(text(_CLOSE), values).first() is None:
        return False
    _note_loss(connection, run)
    return True


def take_up(
    connection: Connection, run: DeadRun, *, fingerprint: str, lease_seconds: float
) -> NextAttempt | None:
    """Become the run's owner with the next attempt; None when somebody was faster."""
    silence_owner(connection, run)
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
    _note_loss(connection, run)
    return NextAttempt(row.attempt, row.seconds_left)


def silence_owner(connection: Connection, run: DeadRun) -> None:
    """End the connections over which the owner worked, so that it holds no locks any longer.

    A process that stands still (SIGSTOP, swapping) keeps its transaction open; while it is inside a
    COPY no timeout of the server ends it.
    """
    connection.execute(text(_SILENCE), {"name": runs_name(run.owner)})


def _note_loss(connection: Connection, run: DeadRun) -> None:
    values = {
        "id": run.id,
        "attempt": run.attempt,
        "owner": run.owner,
        "silent_since": run.silent_since,
        "noticed_by": process_name(),
    }
    connection.execute(text(_STAGES), values)
    connection.execute(text(_NOTE), values)


def _clock_time(run: DeadRun) -> str:
    return f"{run.silent_since:%Y-%m-%d %H:%M:%S}"

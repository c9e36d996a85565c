"""The jobs of the scheduler: their names, and what each did last in whichever process."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from app.database.base import AnySession
from app.database.identity import process_name

INGEST = "ingest"
REAPER = "reaper"
FINISH = "candles"
ALERTS = "alerts"
DELIVERY = "deliveries"
PARTITIONS = "partitions"
PRUNE = "prune"
FIGURES = "figures"
TROUBLE_LENGTH = 300
MINUTE, HOUR = 60.0, 3600.0
# Every process does every job: one line in half a period is enough, bad news always.
_RECORD = """
    INSERT INTO job_state AS j (name, last_at, last_by, duration_ms, trouble, succeeded_at)
    VALUES (:name, clock_timestamp(), :by, :duration_ms, :trouble,
            CASE WHEN :trouble = ''
                 THEN coalesce(CAST(:as_of AS timestamptz), clock_timestamp()) END)
    ON CONFLICT (name) DO UPDATE
    SET last_at = excluded.last_at, last_by = excluded.last_by,
        duration_ms = excluded.duration_ms, trouble = excluded.trouble,
        succeeded_at = greatest(excluded.succeeded_at, j.succeeded_at)
    WHERE j.last_at < clock_timestamp() - make_interval(secs => :gap)
       OR j.trouble <> excluded.trouble
"""
# Whoever comes too early only reads.
_TURN = """
    INSERT INTO job_state AS j (name, last_at, last_by, duration_ms)
    SELECT :name, clock_timestamp(), :by, 0
    WHERE NOT EXISTS (SELECT FROM job_state WHERE name = :name
                      AND last_at > clock_timestamp() - make_interval(secs => :every))
    ON CONFLICT (name) DO UPDATE SET last_at = excluded.last_at, last_by = excluded.last_by
    WHERE j.last_at <= clock_timestamp() - make_interval(secs => :every)
    RETURNING true
"""
# How long ago it went well, by the clock that wrote that down.
QUIET_SECONDS = """
    CAST(extract(epoch FROM clock_timestamp() - coalesce(succeeded_at, last_at)) AS float)
"""
_STATES = f"""
    SELECT name, last_at, last_by, duration_ms, trouble, {QUIET_SECONDS} AS quiet_seconds
    FROM job_state
"""  # noqa: S608 - the expression stands above


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A job of the scheduler: its name in tables and logs, and what it does, for people.

    `every_seconds` is None for what is done in every poll.
    """

    name: str
    title: str
    every_seconds: float | None = None


PLANS = (
    JobPlan(INGEST, "Run the tick that is due"),
    JobPlan(REAPER, "Take up or close runs whose process died"),
    JobPlan(FINISH, "Make candles final whose interval is over", MINUTE),
    JobPlan(ALERTS, "Check for stale data and judge the other rules of alerts"),
    JobPlan(DELIVERY, "Deliver alerts"),
    JobPlan(PARTITIONS, "Prepare the tables of coming months", HOUR),
    JobPlan(PRUNE, "Prune old data", HOUR),
    JobPlan(FIGURES, "Store the figures that the process counted", MINUTE),
)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with its last and next time; `trouble` says why the last time did not go well."""

    name: str
    title: str
    last_at: datetime | None
    last_by: str
    duration_ms: int | None
    trouble: str
    next_at: datetime | None
    quiet_seconds: float | None = None  # since it last went well


def record_job(
    session: AnySession,
    name: str,
    *,
    duration_ms: int,
    trouble: str,
    every_seconds: float,
    as_of: datetime | None = None,
) -> None:
    """Note that this process did the job; an empty `trouble` means that it went well.

    `as_of` is the instant that the job looked at, where it may have taken long since.
    """
    values = {
        "name": name,
        "by": process_name(),
        "duration_ms": duration_ms,
        "trouble": trouble[:TROUBLE_LENGTH],
        "gap": every_seconds / 2,
        "as_of": as_of,
    }
    session.execute(text(_RECORD), values)
    session.commit()


def take_turn(connection: Connection, name: str, *, every_seconds: float) -> bool:
    """True for the one process whose turn it is: `every_seconds` after the last turn of any."""
    values = {"name": name, "by": process_name(), "every": every_seconds}
    return connection.execute(text(_TURN), values).first() is not None


def load_last_success(connection: Connection, name: str) -> datetime | None:
    """As of when any process did the job well for the last time."""
    statement = text("SELECT succeeded_at FROM job_state WHERE name = :name")
    found: datetime | None = connection.execute(statement, {"name": name}).scalar()
    return found


def load_jobs(session: AnySession, *, every_seconds: float, is_on: bool) -> list[JobView]:
    """Every planned job; without a scheduler there is no next time."""
    states = {row.name: row for row in session.execute(text(_STATES))}
    return [_job(plan, states.get(plan.name), every_seconds, is_on=is_on) for plan in PLANS]


def _job(plan: JobPlan, state: object, every_seconds: float, *, is_on: bool) -> JobView:
    last_at: datetime | None = getattr(state, "last_at", None)
    period = timedelta(seconds=plan.every_seconds or every_seconds)
    return JobView(
        name=plan.name,
        title=plan.title,
        last_at=last_at,
        last_by=getattr(state, "last_by", ""),
        duration_ms=getattr(state, "duration_ms", None),
        trouble=getattr(state, "trouble", ""),
        next_at=last_at + period if last_at and is_on else None,
        quiet_seconds=getattr(state, "quiet_seconds", None),
    )

"""The schedule as people see and steer it: its words, its next ticks, what became of the last."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import text

from app.cron import CronSchedule
from app.database.base import AnySession
from app.domain import RunStatus, TickStatus
from app.errors import InvalidRequest
from app.ingestion.tick_row import INGESTION
from app.services.house import House
from app.services.job_states import INGEST, JobView, load_jobs
from app.services.pauses import PauseView, load_pause, pause_schedule, resume_schedule
from app.services.stall import stalled_for
from app.services.ticks import TickOutcome, run_due_tick

__all__ = [
    "INGESTION",
    "JobView",
    "PauseView",
    "ScheduleView",
    "TickOutcome",
    "TickView",
    "UpcomingTicks",
    "load_schedule",
    "pause_schedule",
    "preview_schedule",
    "resume_schedule",
    "run_due_tick",
]

UPCOMING = 5
TICKS_SHOWN_AT_MOST = 500
_TICKS = """
    SELECT t.due_at, t.status, t.claimed_by, t.claimed_at, t.reason, t.run_id,
           r.status AS run_status, r.duration_ms
    FROM schedule_tick t LEFT JOIN ingestion_run r ON r.id = t.run_id
    WHERE t.schedule = :schedule ORDER BY t.due_at DESC LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class TickView:
    """One tick: what became of it, who claimed it and when, why there is no run, or which."""

    due_at: datetime
    status: TickStatus
    claimed_by: str
    claimed_at: datetime
    reason: str
    run_id: str | None
    run_status: RunStatus | None
    duration_ms: int | None

    @property
    def delay_seconds(self) -> float:
        """How long after it was due the tick was claimed or recorded."""
        return max(0.0, (self.claimed_at - self.due_at).total_seconds())


@dataclass(frozen=True, slots=True)
class UpcomingTicks:
    """An expression in a zone, in words, and when it is due next (aware UTC)."""

    expression: str
    timezone: str
    words: str
    next_ticks: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """The schedule of the ingestion with its last ticks, newest first, and its jobs.

    `stalled` is how long nothing has looked for a due tick, None while all is well.
    """

    upcoming: UpcomingTicks
    is_enabled: bool
    poll_seconds: float
    pause: PauseView | None
    ticks: tuple[TickView, ...]
    jobs: tuple[JobView, ...]
    stalled: timedelta | None = None

    @property
    def is_paused(self) -> bool:
        """True while no tick starts a run."""
        return self.pause is not None


def load_schedule(session: AnySession, house: House, *, ticks: int = 50) -> ScheduleView:
    """The schedule as it stands, with at most that many (1 to 500) of its last ticks."""
    if not 1 <= ticks <= TICKS_SHOWN_AT_MOST:
        raise InvalidRequest(f"The number of ticks must be 1 to {TICKS_SHOWN_AT_MOST}.")
    settings = house.settings
    now = house.clock()
    upcoming = _upcoming(settings.schedule, now)
    last = _load_ticks(session, ticks)
    jobs = load_jobs(
        session, every_seconds=settings.scheduler_poll_seconds, is_on=settings.scheduler_enabled
    )
    quiet = {job.name: job.quiet_seconds for job in jobs}
    return ScheduleView(
        upcoming=upcoming,
        is_enabled=settings.scheduler_enabled,
        poll_seconds=settings.scheduler_poll_seconds,
        pause=load_pause(session.connection(), now=now),
        ticks=last,
        jobs=tuple(_with_ticks(job, last, upcoming) for job in jobs),
        stalled=stalled_for(house, quiet.get(INGEST), now=now),
    )


def preview_schedule(
    house: House, *, expression: str, timezone: str | None = None
) -> UpcomingTicks:
    """What another expression would mean, five ticks from now; `InvalidRequest` says what is wrong.

    Nothing is changed: the expression of a running house is its setting.
    """
    zone = timezone or house.settings.ingestion_cron_timezone
    try:
        schedule = CronSchedule(expression, timezone=zone)
    except ValueError as error:
        raise InvalidRequest(f"{expression[:200]!r} is not a schedule: {error}.") from None
    return _upcoming(schedule, house.clock())


def _upcoming(schedule: CronSchedule, now: datetime) -> UpcomingTicks:
    return UpcomingTicks(
        expression=schedule.expression,
        timezone=schedule.timezone,
        words=schedule.describe(),
        next_ticks=tuple(islice(schedule.upcoming(now), UPCOMING)),
    )


def _load_ticks(session: AnySession, limit: int) -> tuple[TickView, ...]:
    rows = session.execute(text(_TICKS), {"schedule": INGESTION, "limit": limit})
    return tuple(_tick(row) for row in rows)


def _tick(row: Any) -> TickView:
    return TickView(
        due_at=row.due_at,
        status=TickStatus(row.status),
        claimed_by=row.claimed_by,
        claimed_at=row.claimed_at,
        reason=row.reason,
        run_id=str(row.run_id) if row.run_id else None,
        run_status=RunStatus(row.run_status) if row.run_status else None,
        duration_ms=row.duration_ms,
    )


def _with_ticks(job: JobView, last: tuple[TickView, ...], upcoming: UpcomingTicks) -> JobView:
    """Ingestion is told of by its ticks; the other jobs have no more than their last time."""
    if job.name != INGEST:
        return job
    last_at = last[0].due_at if last else None
    next_at = upcoming.next_ticks[0] if job.next_at else None
    return replace(job, last_at=last_at, next_at=next_at)

"""The tick that is due: who claims it, and what became of it.

A tick is a row (schedule, due instant); whoever inserts it owns it, so exactly one run starts for
it however many processes, hosts and external crons look.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, text

from app.database.base import AnySession
from app.database.transactions import keep_brief
from app.domain import TickStatus, Trigger
from app.errors import RunAlreadyActive, TickTaken
from app.ingestion.tick_row import (
    load_last_tick,
    load_tick,
    record_missed,
    record_tick,
)
from app.services.house import House
from app.services.job_states import INGEST, load_last_success
from app.services.pauses import load_pause

logger = logging.getLogger(__name__)

# More than a day of a schedule that is due every minute.
MISSED_AT_MOST = 3000


@dataclass(frozen=True, slots=True)
class TickOutcome:
    """What happened to the tick that is due.

    `status` is started, already_ran, active (another run works, so the tick is skipped), skipped
    (paused, or some time before) or claimed (by a process that started no run yet). `run_id` names
    the run of the tick, or the active one; it is empty for skipped and claimed.
    """

    status: str
    due_at: datetime
    run_id: str


def run_due_tick(
    session: AnySession, house: House, *, trigger: Trigger, now: datetime | None = None
) -> TickOutcome:
    """Claim the newest due tick and start its run, unless somebody did already.

    Older ticks that nobody claimed are recorded as missed, a tick of a paused schedule as skipped.
    `now` (aware UTC) is the database's clock, the one that all hosts share, unless given.
    """
    now = now or load_shared_time(session)
    due_at = house.settings.schedule.latest_until(now)
    known = _known_outcome(session.connection(), due_at)
    if known is None and not _is_refused(session, house, due_at, now=now, trigger=trigger):
        return _start(session, house, due_at, trigger)
    session.rollback()
    return known or TickOutcome("skipped", due_at, "")


def load_shared_time(session: AnySession) -> datetime:
    """The present by the database's clock, aware UTC: all hosts judge by it what is due."""
    now: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now.astimezone(UTC)


def _is_refused(
    session: AnySession, house: House, due_at: datetime, *, now: datetime, trigger: Trigger
) -> bool:
    """Record what went by, and the due tick too where no run may start for it; commits."""
    connection = session.connection()
    keep_brief(connection)
    last = load_last_tick(connection)
    _record_missed(connection, house, last, due_at)
    pause = load_pause(connection, now=now)
    is_refused = True
    if last is None and trigger is Trigger.SCHEDULER:
        # A new installation starts with the next tick, not with one from before it existed.
        record_tick(connection, due_at, TickStatus.MISSED, "It was due before Tapedeck first ran.")
    elif pause is not None:
        record_tick(connection, due_at, TickStatus.SKIPPED, pause.words)
        logger.info("tick skipped", extra={"due_at": due_at, "reason": "paused"})
    else:
        is_refused = False
    session.commit()
    return is_refused


def _start(session: AnySession, house: House, due_at: datetime, trigger: Trigger) -> TickOutcome:
    try:
        run_id = house.runner.start(trigger=trigger, requested_by=trigger.value, due_at=due_at)
    except TickTaken:
        outcome = _known_outcome(session.connection(), due_at)
        session.rollback()
        return outcome or TickOutcome("claimed", due_at, "")
    except RunAlreadyActive as active:
        return _skip(session, due_at, active.run_id)
    logger.info("tick started a run", extra={"due_at": due_at, "started_run": run_id})
    return TickOutcome("started", due_at, run_id)


def _skip(session: AnySession, due_at: datetime, active_run: str) -> TickOutcome:
    """Record the overlap, unless somebody found the place free a moment before or after."""
    connection = session.connection()
    keep_brief(connection)
    reason = f"Run {active_run} was still active."
    is_mine = record_tick(connection, due_at, TickStatus.SKIPPED, reason)
    known = None if is_mine else _known_outcome(connection, due_at)
    session.commit()
    if is_mine:
        logger.warning("tick skipped", extra={"due_at": due_at, "active_run": active_run})
    return known or TickOutcome("active", due_at, active_run)


def _known_outcome(connection: Connection, due_at: datetime) -> TickOutcome | None:
    """What became of a tick so far, None when nobody claimed it."""
    row = load_tick(connection, due_at)
    if row is None:
        return None
    if row.run_id is not None:
        return TickOutcome("already_ran", due_at, str(row.run_id))
    is_open = row.status is TickStatus.CLAIMED
    return TickOutcome("claimed" if is_open else "skipped", due_at, "")


def _record_missed(
    connection: Connection, house: House, last: datetime | None, due_at: datetime
) -> None:
    """Ticks since the last one, or since somebody looked last, went by with nobody there.

    Looking counts, so that a new expression does not find ticks of its own in the past.
    """
    if last is None:
        return
    looked_at = load_last_success(connection, INGEST)
    since = max(last, looked_at) if looked_at else last
    if since >= due_at:
        return
    between = house.settings.schedule.due_between(since, due_at, limit=MISSED_AT_MOST)
    missed = [tick for tick in between if tick < due_at]
    record_missed(connection, missed, "No process was there to run it.")
    if missed:
        logger.warning("ticks missed", extra={"count": len(missed), "newest_due_at": due_at})

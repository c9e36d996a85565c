"""The tick that is due: who claims it, and what became of it.

A tick is a row (schedule, due instant); whoever inserts it owns it, so exactly one run starts for
it however many processes, hosts and external crons look.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

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

# Written and committed together, in a few tens of milliseconds.
MISSED_AT_ONCE = 5000
# Ticks older than this, or than ticks are kept, get no row however long nobody was there.
LONGEST_RECORDED = timedelta(days=366)


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
    `now` (aware UTC) is the database's clock, the one that all hosts share, unless given. Commits.
    """
    now = now or load_shared_time(session)
    due_at = house.settings.schedule.latest_until(now)
    known = _known_outcome(session.connection(), due_at)
    if known is None and not _is_refused(session, house, due_at, now=now, trigger=trigger):
        return _start(session, house, due_at, trigger)
    session.rollback()
    return known or TickOutcome("skipped", due_at, "")


def load_shared_time(session: AnySession | Connection) -> datetime:
    """The present by the database's clock, aware UTC: all hosts judge by it what is due."""
    now: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now.astimezone(UTC)


def _is_refused(
    session: AnySession, house: House, due_at: datetime, *, now: datetime, trigger: Trigger
) -> bool:
    """Record what went by, and the due tick too where no run may start for it; commits."""
    last = load_last_tick(session.connection())
    if last is not None:
        _record_missed(session, house, last, due_at, now)
    connection = session.connection()
    keep_brief(connection)
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
    if row.is_early:
        logger.error("tick was missed before it was due", extra={"due_at": due_at})
        return None
    if row.run_id is not None:
        return TickOutcome("already_ran", due_at, str(row.run_id))
    is_open = row.status is TickStatus.CLAIMED
    return TickOutcome("claimed" if is_open else "skipped", due_at, "")


def _record_missed(
    session: AnySession, house: House, last: datetime, due_at: datetime, now: datetime
) -> None:
    """Ticks since the last one, or since somebody looked last, went by with nobody there.

    Looking counts, so that a new expression does not find ticks of its own in the past. The oldest
    come first and each part is committed: whoever goes on after a death goes on from the newest.
    """
    looked_at = load_last_success(session.connection(), INGEST)
    session.rollback()  # no transaction stays open while the ticks are counted
    days = house.settings.retention_run_days
    kept_since = now - min(timedelta(days=days) if days else LONGEST_RECORDED, LONGEST_RECORDED)
    since = max(last, looked_at or last, kept_since)
    missed = takewhile(lambda tick: tick < due_at, house.settings.schedule.upcoming(since))
    count = 0
    while part := list(islice(missed, MISSED_AT_ONCE)):
        connection = session.connection()
        keep_brief(connection)
        record_missed(connection, part, "No process was there to run it.")
        session.commit()
        count += len(part)
    if count:
        logger.warning("ticks missed", extra={"count": count, "newest_due_at": due_at})

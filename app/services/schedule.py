"""The schedule: which tick is due, who claims it, and what became of it.

A tick is a row (schedule, due instant); whoever inserts it owns it, so exactly one run starts for
it however many processes, hosts and external crons look.
"""

import logging
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from app.database.base import AnySession
from app.domain import TickStatus, Trigger
from app.errors import RunAlreadyActive
from app.ingestion.run_row import abandon_dead_runs, owner_name
from app.services.house import House

logger = logging.getLogger(__name__)

INGESTION = "ingestion"
MISSED_AT_MOST = 500
_CLAIM = """
    INSERT INTO schedule_tick (schedule, due_at, status, claimed_by, reason)
    VALUES (:schedule, :due_at, :status, :claimed_by, :reason)
    ON CONFLICT (schedule, due_at) DO NOTHING
    RETURNING due_at
"""
_SETTLE = """
    UPDATE schedule_tick SET status = :status, run_id = CAST(:run_id AS uuid), reason = :reason
    WHERE schedule = :schedule AND due_at = :due_at
"""
_MISSED = """
    INSERT INTO schedule_tick (schedule, due_at, status, claimed_by, reason)
    SELECT :schedule, due_at, 'missed', :claimed_by, :reason
    FROM unnest(CAST(:due AS timestamptz[])) AS n(due_at)
    ON CONFLICT (schedule, due_at) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class TickOutcome:
    """What happened to the tick that is due.

    `status` is started, already_ran, active (another run works, so the tick is skipped), skipped
    (some time before) or claimed (somebody else is about to start its run). `run_id` names the run
    of the tick, or the active one; it is empty for skipped and claimed.
    """

    status: str
    due_at: datetime
    run_id: str


def run_due_tick(session: AnySession, house: House, *, trigger: Trigger) -> TickOutcome:
    """Claim the newest due tick and start its run, unless somebody did already.

    Older ticks that nobody claimed are recorded as missed. The claim commits before the run starts.
    """
    due_at = house.settings.schedule.latest_until(house.clock())
    known = _load_tick(session, due_at)
    if known is not None:
        return known
    last = _load_last_tick(session)
    _record_missed(session, house, last, due_at)
    if last is None and trigger is Trigger.SCHEDULER:
        # A new installation starts with the next tick, not with one from before it existed.
        _claim(session, due_at, TickStatus.MISSED, "It was due before Tapedeck first ran.")
        return TickOutcome("skipped", due_at, "")
    if not _claim(session, due_at, TickStatus.CLAIMED, ""):
        return _load_tick(session, due_at) or TickOutcome("claimed", due_at, "")
    return _start(session, house, due_at, trigger)


def close_dead_runs(session: AnySession) -> None:
    """Close runs whose lease is over as abandoned."""
    dead = abandon_dead_runs(session.connection())
    session.commit()
    for run_id in dead:
        logger.warning("run abandoned", extra={"run_id": str(run_id)})


def _start(session: AnySession, house: House, due_at: datetime, trigger: Trigger) -> TickOutcome:
    try:
        run_id = house.runner.start(trigger=trigger, requested_by=trigger.value, due_at=due_at)
    except RunAlreadyActive as active:
        reason = f"Run {active.run_id} was still active."
        _settle(session, due_at, TickStatus.SKIPPED, None, reason)
        logger.warning("tick skipped", extra={"due_at": due_at, "active_run": active.run_id})
        return TickOutcome("active", due_at, active.run_id)
    except Exception:
        # The claim is given back, so that the next poll of any process tries again.
        session.execute(
            text("DELETE FROM schedule_tick WHERE schedule = :schedule AND due_at = :due_at"),
            {"schedule": INGESTION, "due_at": due_at},
        )
        session.commit()
        raise
    _settle(session, due_at, TickStatus.RAN, run_id, "")
    logger.info("tick started a run", extra={"due_at": due_at, "started_run": run_id})
    return TickOutcome("started", due_at, run_id)


def _settle(
    session: AnySession, due_at: datetime, status: TickStatus, run_id: str | None, reason: str
) -> None:
    values = {
        "schedule": INGESTION,
        "due_at": due_at,
        "status": status.value,
        "run_id": run_id,
        "reason": reason,
    }
    session.execute(text(_SETTLE), values)
    session.commit()


def _load_tick(session: AnySession, due_at: datetime) -> TickOutcome | None:
    """What became of a tick so far, None when nobody claimed it."""
    statement = text(
        "SELECT status, run_id FROM schedule_tick WHERE schedule = :schedule AND due_at = :due_at"
    )
    row = session.execute(statement, {"schedule": INGESTION, "due_at": due_at}).first()
    if row is None:
        return None
    if row.run_id is not None:
        return TickOutcome("already_ran", due_at, str(row.run_id))
    is_open = row.status == TickStatus.CLAIMED.value
    return TickOutcome("claimed" if is_open else "skipped", due_at, "")


def _claim(session: AnySession, due_at: datetime, status: TickStatus, reason: str) -> bool:
    """True when this call inserted the tick's row; committed either way."""
    values = {
        "schedule": INGESTION,
        "due_at": due_at,
        "status": status.value,
        "claimed_by": owner_name(),
        "reason": reason,
    }
    is_mine = session.execute(text(_CLAIM), values).first() is not None
    session.commit()
    return is_mine


def _load_last_tick(session: AnySession) -> datetime | None:
    statement = text("SELECT max(due_at) FROM schedule_tick WHERE schedule = :schedule")
    return session.execute(statement, {"schedule": INGESTION}).scalar()


def _record_missed(
    session: AnySession, house: House, last: datetime | None, due_at: datetime
) -> None:
    """Ticks between the last known one and the due one went by with nobody there."""
    if last is None or last >= due_at:
        return
    between = house.settings.schedule.due_between(last, due_at, limit=MISSED_AT_MOST)
    missed = [tick for tick in between if tick < due_at]
    if missed:
        values = {
            "schedule": INGESTION,
            "due": missed,
            "claimed_by": owner_name(),
            "reason": "No process was there to run it.",
        }
        session.execute(text(_MISSED), values)
        logger.warning("ticks missed", extra={"count": len(missed), "newest_due_at": due_at})

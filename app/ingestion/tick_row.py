"""The row of a tick: claimed in the transaction that opens its run, so there is never one alone.

A tick that was recorded as missed before it was due did not go by: the database's clock was ahead
for a while. Such a row counts for nothing, and whoever finds the tick due takes it over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from app.database.identity import process_name
from app.domain import TickStatus
from app.errors import TickTaken

INGESTION = "ingestion"
_IS_EARLY = "t.status = 'missed' AND (t.claimed_at > clock_timestamp() OR t.claimed_at < t.due_at)"
_CLAIM = f"""
    INSERT INTO schedule_tick AS t (schedule, due_at, status, claimed_by, reason)
    VALUES (:schedule, :due_at, :status, :claimed_by, :reason)
    ON CONFLICT (schedule, due_at) DO UPDATE
    SET status = excluded.status, claimed_by = excluded.claimed_by,
        claimed_at = excluded.claimed_at, reason = excluded.reason
    WHERE {_IS_EARLY}
    RETURNING due_at
"""  # noqa: S608 - the condition stands above
_RAN = """
    UPDATE schedule_tick SET status = 'ran', run_id = :run_id
    WHERE schedule = :schedule AND due_at = :due_at
"""
_MISSED = """
    INSERT INTO schedule_tick (schedule, due_at, status, claimed_by, reason)
    SELECT :schedule, due_at, 'missed', :claimed_by, :reason
    FROM unnest(CAST(:due AS timestamptz[])) AS n(due_at)
    ON CONFLICT (schedule, due_at) DO NOTHING
"""
_TICK = f"""
    SELECT t.status, t.run_id, {_IS_EARLY} AS is_early FROM schedule_tick t
    WHERE t.schedule = :schedule AND t.due_at = :due_at
"""  # noqa: S608 - the condition stands above
_LAST = "SELECT max(due_at) FROM schedule_tick WHERE schedule = :schedule"


@dataclass(frozen=True, slots=True)
class TickRow:
    """What became of a tick so far; `is_early` when that was recorded before it was due."""

    status: TickStatus
    run_id: UUID | None
    is_early: bool = False


def load_tick(connection: Connection, due_at: datetime) -> TickRow | None:
    """The tick's row, None when nobody claimed it."""
    row = connection.execute(text(_TICK), {"schedule": INGESTION, "due_at": due_at}).first()
    return TickRow(TickStatus(row.status), row.run_id, row.is_early) if row else None


def load_last_tick(connection: Connection) -> datetime | None:
    """The newest tick that has a row."""
    last: datetime | None = connection.execute(text(_LAST), {"schedule": INGESTION}).scalar()
    return last


def claim_tick(connection: Connection, due_at: datetime) -> None:
    """Own the tick until the transaction ends; `TickTaken` when somebody else has it.

    Waits for a transaction that is about to claim the same tick.
    """
    if not record_tick(connection, due_at, TickStatus.CLAIMED, ""):
        raise TickTaken(f"The tick of {due_at:%Y-%m-%d %H:%M} UTC is claimed already.")


def name_run_of_tick(connection: Connection, due_at: datetime, run_id: UUID) -> None:
    """Say which run the claimed tick started."""
    values = {"schedule": INGESTION, "due_at": due_at, "run_id": run_id}
    connection.execute(text(_RAN), values)


def record_tick(connection: Connection, due_at: datetime, status: TickStatus, reason: str) -> bool:
    """Write the tick's row; False when it has one, other than one from before it was due."""
    values = {
        "schedule": INGESTION,
        "due_at": due_at,
        "status": status.value,
        "claimed_by": process_name(),
        "reason": reason,
    }
    return connection.execute(text(_CLAIM), values).first() is not None


def record_missed(connection: Connection, missed: Sequence[datetime], reason: str) -> None:
    """Write the rows of ticks that went by, as far as they have none."""
    if not missed:
        return
    values = {
        "schedule": INGESTION,
        "due": list(missed),
        "claimed_by": process_name(),
        "reason": reason,
    }
    connection.execute(text(_MISSED), values)

"""Pausing the schedule: by whom, why, until when; kept in the database, so that all obey it."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from app.database.base import AnySession
from app.errors import InvalidRequest
from app.ingestion.tick_row import INGESTION
from app.services.house import House

logger = logging.getLogger(__name__)

REASON_LENGTH = 500
AUTHOR_LENGTH = 100
LONGEST = timedelta(days=3660)
_LOAD = """
    SELECT paused_at, paused_by, reason, until_at FROM schedule_pause
    WHERE schedule = :schedule AND (until_at IS NULL OR until_at > :now)
"""
# Other words or another end do not make it a younger pause.
_PAUSE = """
    INSERT INTO schedule_pause AS p (schedule, paused_at, paused_by, reason, until_at)
    VALUES (:schedule, :now, :author, :reason, :until)
    ON CONFLICT (schedule) DO UPDATE
    SET paused_by = excluded.paused_by, reason = excluded.reason, until_at = excluded.until_at,
        paused_at = CASE WHEN p.until_at <= :now THEN excluded.paused_at ELSE p.paused_at END
    RETURNING paused_at, paused_by, reason, until_at
"""
_RESUME = "DELETE FROM schedule_pause WHERE schedule = :schedule RETURNING until_at"
_END = "DELETE FROM schedule_pause WHERE schedule = :schedule AND until_at <= :now RETURNING 1"


@dataclass(frozen=True, slots=True)
class PauseView:
    """A pause of the schedule; without `until_at` it lasts until somebody resumes it."""

    paused_at: datetime
    paused_by: str
    reason: str
    until_at: datetime | None

    @property
    def words(self) -> str:
        """The pause as the reason of a skipped tick."""
        return f"Paused by {self.paused_by}: {self.reason}"


def load_pause(connection: Connection, *, now: datetime) -> PauseView | None:
    """The pause that is in force at `now`, if any."""
    row = connection.execute(text(_LOAD), {"schedule": INGESTION, "now": now}).first()
    return PauseView(**row._mapping) if row else None


def pause_schedule(
    session: AnySession, house: House, *, reason: str, author: str, until: datetime | None = None
) -> PauseView:
    """Start no more runs for ticks, until `until` (aware) or until resumed; runs by hand still do.

    A second call replaces reason, author and end. Raises `InvalidRequest` for an empty reason or
    author, or an end that is not within the next ten years.
    """
    now = house.clock()
    values = {
        "schedule": INGESTION,
        "now": now,
        "reason": _checked("reason", reason, REASON_LENGTH),
        "author": _checked("author", author, AUTHOR_LENGTH),
        "until": _future(until, now),
    }
    row = session.execute(text(_PAUSE), values).one()
    session.commit()
    logger.warning("schedule paused", extra={"author": values["author"], "until": until})
    return PauseView(**row._mapping)


def resume_schedule(session: AnySession, house: House, *, author: str) -> bool:
    """Run ticks again from the next one on; False when the schedule was not paused."""
    name = _checked("author", author, AUTHOR_LENGTH)
    row = session.execute(text(_RESUME), {"schedule": INGESTION}).first()
    session.commit()
    was_paused = row is not None and (row.until_at is None or row.until_at > house.clock())
    if was_paused:
        logger.warning("schedule resumed", extra={"author": name})
    return was_paused


def end_pause(session: AnySession, *, now: datetime) -> None:
    """Remove a pause whose end has come."""
    if session.execute(text(_END), {"schedule": INGESTION, "now": now}).first() is not None:
        logger.warning("schedule resumed", extra={"author": "the end of the pause"})
    session.commit()


def _checked(name: str, value: str, length: int) -> str:
    words = " ".join(value.split())
    if not words or len(words) > length or not words.isprintable():
        raise InvalidRequest(f"The {name} must have 1 to {length} characters.")
    return words


def _future(until: datetime | None, now: datetime) -> datetime | None:
    if until is None:
        return None
    if until.tzinfo is None:
        raise InvalidRequest("The end of the pause needs a time zone, such as Z for UTC.")
    if until <= now:
        raise InvalidRequest("The end of the pause must lie in the future.")
    # The last hours of year 9999 have no UTC.
    if until > now + LONGEST:
        raise InvalidRequest("The end of the pause must lie within ten years.")
    return until.astimezone(UTC)

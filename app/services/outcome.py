"""What became of a commit that raised: its answer may be lost though the data is stored."""

import logging
import time
from enum import Enum

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.ingestion.context import StopSignal
from app.ingestion.run_row import RunTicket, is_kept

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


class Outcome(Enum):
    """Whether the data of an attempt is stored."""

    KEPT = "kept"
    LOST = "lost"
    UNKNOWN = "unknown"


def find_outcome(
    engine: Engine,
    ticket: RunTicket,
    error: Exception,
    *,
    stop: StopSignal,
    patience_seconds: float,
) -> Outcome:
    """Ask the run's own row, over another connection, what became of the commit that raised.

    While the database can't be asked it is tried again, until the patience is over or the run is
    told to stop; then the answer is UNKNOWN, and the lease decides.
    """
    if not isinstance(error, DBAPIError):
        return Outcome.LOST
    give_up_at = time.monotonic() + patience_seconds
    while True:
        try:
            return Outcome.KEPT if is_kept(engine, ticket) else Outcome.LOST
        except SQLAlchemyError as trouble:
            if stop.is_set() or time.monotonic() >= give_up_at:
                fields = {"reason": type(trouble).__name__}
                logger.warning("not known whether the run was kept", extra=fields)
                return Outcome.UNKNOWN
        time.sleep(LOOK_SECONDS)

"""Handing over: a run that its stopping process cannot finish is left to whoever looks next."""

import logging

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from app.ingestion.dead_runs import REPEATABLE, Succession
from app.ingestion.run_row import RunTicket

logger = logging.getLogger(__name__)

_LET_GO = """
    UPDATE ingestion_run SET heartbeat_at = clock_timestamp(), lease_until = clock_timestamp()
    WHERE id = :id AND attempt = :attempt AND status = 'running' AND cancel_requested_at IS NULL
      AND trigger = ANY(:repeatable) AND deadline_at > clock_timestamp()
"""


def hand_over(engine: Engine, ticket: RunTicket, succession: Succession) -> bool:
    """End the lease now, so that the next poll of any process takes the run up.

    False where nobody may go on with it; then it is to be closed here. Nothing may renew the lease
    any more when this is called.
    """
    if not succession.is_polled or ticket.attempt >= succession.max_attempts:
        return False
    values = ticket.values | {"repeatable": [trigger.value for trigger in REPEATABLE]}
    try:
        with engine.begin() as connection:
            is_left = connection.execute(text(_LET_GO), values).rowcount == 1
    except SQLAlchemyError as error:
        # The lease runs out by itself; until then the run is as good as dead.
        logger.warning("run not handed over", extra={"reason": type(error).__name__})
        return True
    if is_left:
        logger.warning("run handed over", extra={"attempt": ticket.attempt})
    return is_left

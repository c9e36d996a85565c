"""Transactions: begun again when the database chose them as a victim, ended when nobody goes on."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from psycopg2.errors import DeadlockDetected, SerializationFailure
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from app.database.patient_connection import PatientConnection
from app.errors import StorageConflict

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.05
# Shorter than others wait for a lock, so that they go on instead of giving up.
STANDSTILL_SECONDS = 2
Result = TypeVar("Result")


def run_in_transaction(
    engine: Engine,
    work: Callable[[Connection], Result],
    *,
    attempts: int = 3,
    pause: Callable[[float], None] = time.sleep,
) -> Result:
    """Return what `work` returns, done in one transaction that is committed at the end.

    A deadlock or serialisation failure rolls everything back and starts `work` again, at most
    `attempts` times in all: what it changes outside the database must bear repeating. Then
    `StorageConflict` is raised; every other error at once. `pause` waits for some seconds between
    two attempts; what it raises ends them.
    """
    for attempt in range(1, attempts + 1):
        try:
            with engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            if not is_repeatable(error):
                raise
            _tell(error, attempt, attempts)
            if attempt == attempts:
                raise _given_up(error, attempts) from error
        pause(random.uniform(0.5, 1.5) * FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))  # noqa: S311
    raise ValueError("attempts must be at least 1")


def _tell(error: DBAPIError, attempt: int, attempts: int) -> None:
    event = "transaction repeated" if attempt < attempts else "transaction given up"
    logger.warning(event, extra={"attempt": attempt, "reason": type(error.orig).__name__})


def _given_up(error: DBAPIError, attempts: int) -> StorageConflict:
    said = str(error.orig).strip().partition("\n")[0]
    return StorageConflict(
        f"Other work on the database got in the way {attempts} times in a row, so nothing was "
        f"kept ({said[:200]})."
    )


def keep_brief(connection: Connection) -> None:
    """Have the server end this transaction when its process stands still in it for two seconds.

    For transactions whose rows everybody else waits for: a process that is stopped (SIGSTOP,
    swapping) between two statements keeps its locks, and the others from their work.
    """
    millis = STANDSTILL_SECONDS * 1000
    connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {millis}"))


def let_pass(connection: Connection) -> None:
    """Have the rest of this transaction queue behind nobody for the database.

    For one that has just claimed what others, already let in, wait for: behind them it would wait
    for itself.
    """
    raw = connection.connection.dbapi_connection
    if isinstance(raw, PatientConnection):
        raw.let_pass()


def is_repeatable(error: DBAPIError) -> bool:
    """True for a deadlock or serialisation failure: the same again may well succeed."""
    return isinstance(error.orig, (DeadlockDetected, SerializationFailure))

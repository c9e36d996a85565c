"""Transactions that are started again when the database chose them as the victim of a conflict."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from psycopg2.errors import DeadlockDetected, SerializationFailure
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.05
Result = TypeVar("Result")


def run_in_transaction(
    engine: Engine, work: Callable[[Connection], Result], *, attempts: int = 3
) -> Result:
    """Return what `work` returns, done in one transaction that is committed at the end.

    A deadlock or serialisation failure rolls everything back and starts `work` again, at most
    `attempts` times in all: what it changes outside the database must bear repeating. Every other
    error is raised at once.
    """
    for attempt in range(1, attempts + 1):
        try:
            with engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            if attempt == attempts or not is_repeatable(error):
                raise
            logger.warning(
                "transaction repeated",
                extra={"attempt": attempt, "reason": type(error.orig).__name__},
            )
        time.sleep(random.uniform(0.5, 1.5) * FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))  # noqa: S311
    raise ValueError("attempts must be at least 1")


def is_repeatable(error: DBAPIError) -> bool:
    """True for a deadlock or serialisation failure: the same again may well succeed."""
    return isinstance(error.orig, (DeadlockDetected, SerializationFailure))

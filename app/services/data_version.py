"""Which state of the data is stored now: one token that every commit of data replaces.

Cached answers carry the token in their key, so an answer made from older data is never asked for
again. Reading it is on the way of every hot request, hence a connection of its own without session.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import psycopg2
from sqlalchemy.exc import OperationalError

_READ = """
    SELECT (SELECT token FROM data_version WHERE kind = 'data'),
           (SELECT max(paused_at) FROM schedule_pause), r.id, r.status, r.attempt
    FROM (SELECT 1) one LEFT JOIN LATERAL (
        SELECT id, status, attempt FROM ingestion_run ORDER BY started_at DESC, id DESC LIMIT 1
    ) r ON true
"""


@dataclass(frozen=True, slots=True)
class Versions:
    """What is stored now: `data` changes with market data, `runs` with run status and pauses."""

    data: str
    runs: str
    has_active_run: bool


class DataVersion:
    """Reads the token over one connection a process; safe to call from any thread."""

    def __init__(
        self,
        connect: Callable[[], Any],
        *,
        place: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`place` bounds how many threads wait here, and refuses them while nothing would come."""
        self._connect = connect
        self._place = place
        self._lock = threading.Lock()
        self._connection: Any = None

    def read(self) -> str:
        """The present token of the data; raises as `read_all` does."""
        return self.read_all().data

    def read_all(self) -> Versions:
        """The present state. Raises `sqlalchemy.exc.OperationalError` when the database is away."""
        try:
            with self._place(), self._lock:
                return self._read()
        except psycopg2.Error as error:
            raise OperationalError(_READ, None, error) from None

    def close(self) -> None:
        """Give the connection back; the next read opens another."""
        with self._lock:
            self._close()

    def _read(self) -> Versions:
        try:
            return self._ask()
        except psycopg2.Error:
            # A connection that died since the last request; a second failure is for real.
            self._close()
        try:
            return self._ask()
        except psycopg2.Error:
            self._close()
            raise

    def _ask(self) -> Versions:
        if self._connection is None:
            self._connection = self._connect()
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(_READ)
            token, paused_at, run_id, status, attempt = cursor.fetchone()
        return Versions(
            data=str(token or "none"),
            runs=f"{run_id}.{status}.{attempt}.{paused_at and int(paused_at.timestamp() * 1e6)}",
            has_active_run=status == "running",
        )

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

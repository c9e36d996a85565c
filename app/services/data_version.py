"""Which state of the data is stored now: one token that every commit of data replaces.

Cached answers carry the token in their key, so an answer made from older data is never asked for
again. Reading it is on the way of every hot request, hence a connection of its own without session,
and what was read serves all requests of the next few milliseconds.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import psycopg2
from sqlalchemy.exc import OperationalError

# Of the lag: the rest is the time that a renewal has while the others still have an answer.
_RENEWED_AFTER = 0.8
_READ = """
    SELECT (SELECT token FROM data_version WHERE kind = 'data'),
           (SELECT string_agg(concat(schedule, xmin), ' ' ORDER BY schedule) FROM schedule_pause),
           (SELECT token FROM data_version WHERE kind = 'alerts'), r.id, r.status, r.attempt,
           r.status = 'running'
    FROM (SELECT 1) one LEFT JOIN LATERAL (
        SELECT id, status, attempt FROM ingestion_run ORDER BY started_at DESC, id DESC LIMIT 1
    ) r ON true
"""


@dataclass(frozen=True, slots=True)
class Versions:
    """What is stored now: `data` changes with market data, `runs` with run status, pauses and
    alerts that were snoozed."""

    data: str
    runs: str
    has_active_run: bool


@dataclass(frozen=True, slots=True)
class _Reading:
    versions: Versions
    begun_at: float


class DataVersion:
    """Reads the token over one connection a process; safe to call from any thread."""

    def __init__(
        self,
        connect: Callable[[], Any],
        *,
        place: Callable[[], AbstractContextManager[None]] = nullcontext,
        lag_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """`place` bounds how many threads wait here, and refuses them while nothing would come.

        An answer may be `lag_seconds` behind a commit of another process, never behind one that
        this process was told of by `forget`.
        """
        self._connect = connect
        self._place = place
        self._lag_seconds = lag_seconds
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._renewal = threading.Lock()
        self._connection: Any = None
        self._reading: _Reading | None = None
        self._forgotten_at = float("-inf")

    def read(self) -> str:
        """The present token of the data; raises as `read_all` does."""
        return self.read_all().data

    def read_all(self) -> Versions:
        """The present state. Raises `sqlalchemy.exc.OperationalError` when the database is away."""
        asked_at = self._clock()
        found = self._since(asked_at - self._lag_seconds)
        if found is None:
            return self._read_in_turn(asked_at)
        is_young = self._since(asked_at - _RENEWED_AFTER * self._lag_seconds) is not None
        if is_young or not self._renewal.acquire(blocking=False):
            return found
        # One asks ahead of time, so that the others never have to wait for the answer.
        try:
            return self._read_in_turn(asked_at)
        finally:
            self._renewal.release()

    def forget(self) -> None:
        """Whoever asks from now on learns of every commit until now."""
        self._forgotten_at = self._clock()

    def settle(self) -> None:
        """Return when no process can answer any more from before this call: a lag later."""
        self.forget()
        self._wait(self._lag_seconds)

    def close(self) -> None:
        """Give the connection back; the next read opens another."""
        with self._lock:
            self._close()

    def _since(self, begun_at: float) -> Versions | None:
        """What was last read, if that began after `begun_at` and after all that was told."""
        reading = self._reading
        is_new = reading is not None and reading.begun_at > max(begun_at, self._forgotten_at)
        return reading.versions if reading is not None and is_new else None

    def _read_in_turn(self, asked_at: float) -> Versions:
        try:
            with self._place(), self._lock:
                # A reading that began after we asked, while we waited, is as good as our own.
                return self._since(asked_at) or self._read_anew()
        except psycopg2.Error as error:
            raise OperationalError(_READ, None, error) from None

    def _read_anew(self) -> Versions:
        begun_at = self._clock()
        versions = self._read()
        self._reading = _Reading(versions, begun_at)
        return versions

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
            token, *others, is_running = cursor.fetchone()
        # Short, as both go into every key of the cache.
        runs = hashlib.blake2b(repr(others).encode(), digest_size=16).hexdigest()
        return Versions(str(token or "none"), runs, has_active_run=bool(is_running))

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

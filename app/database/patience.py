"""Patience with the database, counted by this process: a frozen server keeps no limit of its own.

A watch sees every operation that waits. When one waits long, it asks the server for a connection of
its own: an answer means that the statement is merely slow, which the server's limits end. Silence
means that nothing will come: the waiting operations are cut off, and new ones are refused at once
until the server answers again. At most a few operations wait at a time, so that threads are left
for what needs no database.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import psycopg2

from app.errors import StorageError

logger = logging.getLogger(__name__)

SOFT_SECONDS = 1.0
LOOK_SECONDS = 0.1
PROBE_EVERY_SECONDS = 0.5
# With all places taken, and an operation waiting for as long, the next one is sent away.
BRIEF_SECONDS = 0.06


class DatabaseSilent(StorageError, psycopg2.OperationalError):
    """The database does not answer, so it was not even asked."""


class Waiting(Protocol):
    """An operation under way."""

    since: float  # of time.monotonic()
    limit_seconds: float
    is_gated: bool

    def cut(self) -> None:
        """Have the operation fail now."""


class Watch:
    """The operations of one process that wait for the database; safe to use from any thread.

    `answers` says within about two seconds whether the server gives a sign of life.
    """

    def __init__(self, answers: Callable[[], bool], *, places: int) -> None:
        self._answers = answers
        self._places = places
        self._start_over()

    @property
    def is_silent(self) -> bool:
        """True while the database is known not to answer."""
        return self._is_silent

    def begin(self, waiting: Waiting) -> None:
        """Have an operation watched until `end`."""
        if self._pid != os.getpid():
            self._start_over()
        self._active[id(waiting)] = waiting
        if not self._work.is_set():
            self._wake()

    def end(self, waiting: Waiting) -> None:
        """The operation is over."""
        self._active.pop(id(waiting), None)

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the places for those who may wait; `DatabaseSilent` where there is none.

        A thread that has a place already keeps it.
        """
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        """Take a place, until `leave`."""
        if self._pid != os.getpid():
            self._start_over()
        if self._is_silent:
            raise DatabaseSilent("The database does not answer.")
        depth = getattr(self._own, "depth", 0)
        if depth == 0:
            self._take_place()
        self._own.depth = depth + 1

    def leave(self) -> None:
        """Give the place back."""
        self._own.depth -= 1
        if self._own.depth == 0:
            with self._room:
                self._inside -= 1
                self._changed_at = time.monotonic()
                self._room.notify()

    def _take_place(self) -> None:
        """Wait for one while there is progress, or while nobody waits for the database itself."""
        with self._room:
            while self._inside >= self._places:
                still = self._changed_at + BRIEF_SECONDS - time.monotonic()
                if self._is_silent or (still <= 0 and self._is_stuck()):
                    raise DatabaseSilent("Too many requests wait for the database already.")
                self._room.wait(max(still, BRIEF_SECONDS / 2))
            self._inside += 1
            self._changed_at = time.monotonic()

    def _is_stuck(self) -> bool:
        begun = [one.since for one in list(self._active.values()) if one.is_gated]
        return bool(begun) and time.monotonic() - min(begun) > BRIEF_SECONDS

    def _start_over(self) -> None:
        """A forked child begins without operations, places taken and thread."""
        self._pid = os.getpid()
        self._active: dict[int, Waiting] = {}
        self._is_silent = False
        self._answered_at = 0.0
        self._own = threading.local()
        self._room = threading.Condition()
        self._inside = 0
        self._changed_at = 0.0
        self._work = threading.Event()
        self._thread: threading.Thread | None = None

    def _wake(self) -> None:
        with self._room:
            self._work.set()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._attend, name="database-watch", daemon=True
                )
                self._thread.start()

    def _attend(self) -> None:
        while True:
            self._work.wait()
            time.sleep(LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        if self._is_silent:
            self._cut_off(LOOK_SECONDS)
            self._listen()
            return
        waiting = list(self._active.values())
        if not waiting:
            self._rest()
            return
        now = time.monotonic()
        for one in waiting:
            if now - one.since > one.limit_seconds:
                self.end(one)
                fields = {"seconds": round(now - one.since, 1)}
                logger.warning("database operation cut off", extra=fields)
                one.cut()
        gated = [one.since for one in waiting if one.is_gated]
        if gated and now - max(min(gated), self._answered_at) > SOFT_SECONDS:
            self._question()

    def _rest(self) -> None:
        """Sleep until the next operation; one that began meanwhile wakes us again."""
        self._work.clear()
        if self._active:
            self._work.set()

    def _question(self) -> None:
        if self._answers():
            self._answered_at = time.monotonic()
            return
        self._is_silent = True
        logger.error("database does not answer", extra={"waiting": len(self._active)})
        self._cut_off(LOOK_SECONDS)

    def _listen(self) -> None:
        if self._answers():
            self._answered_at = time.monotonic()
            self._is_silent = False
            logger.warning("database answers again")
        else:
            time.sleep(PROBE_EVERY_SECONDS)

    def _cut_off(self, seconds: float) -> None:
        now = time.monotonic()
        for one in list(self._active.values()):
            if one.is_gated and now - one.since > seconds:
                one.cut()

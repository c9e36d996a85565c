"""Patience with the database, counted by this process: a frozen server keeps no limit of its own.

A watch sees every operation that waits. When one waits long, it asks the server for a connection of
its own: an answer means that the statement is merely slow, which the server's limits end. Silence
means that nothing will come: the waiting operations are cut off, and new ones are refused at once
until the server answers again. At most a few operations wait at a time; who comes then queues for
as long as the server is seen to go on, and is sent away at once where it may stand still, so that
threads are left for what needs no database.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import psycopg2

from app.database.patience_door import Door
from app.errors import StorageError

logger = logging.getLogger(__name__)

SOFT_SECONDS = 1.0
LOOK_SECONDS = 0.1
PROBE_EVERY_SECONDS = 0.5
# Nothing in front moved for less than this: no reason to doubt the server.
BRIEF_SECONDS = 0.01
# Within this time a living server answers a ping, and a frozen one is found out.
PING_SECONDS = 0.07
# So long one may queue before the door, as long as somebody came out of it so recently.
QUEUE_SECONDS = 2.0
PROGRESS_SECONDS = 1.0
# So long one may where no requests come, so that no thread has to be left free.
ALONE_SECONDS = 10.0


class DatabaseSilent(StorageError, psycopg2.OperationalError):
    """The database does not answer, so it was not even asked."""


class Waiting(Protocol):
    """An operation under way."""

    since: float  # of time.monotonic()
    limit_seconds: float
    is_gated: bool

    def cut(self) -> None:
        """Have the operation fail now."""


class Line(Protocol):
    """A way to ask the server for a sign of life without opening a connection first."""

    def prepare(self) -> None:
        """Have it ready."""

    def answers(self, seconds: float) -> bool:
        """Whether the server says something within that time."""

    def close(self) -> None:
        """Let go of it."""


class Watch:
    """The operations of one process that wait for the database; safe to use from any thread.

    `answers` says within about two seconds whether the server gives a sign of life. From
    `attend_requests` on, whoever queues asks over `line`, and is sent away when nothing comes.
    """

    def __init__(
        self, answers: Callable[[], bool], *, places: int, line: Line | None = None
    ) -> None:
        self._answers = answers
        self._places = places
        self._line = line
        self._start_over()

    def attend_requests(self) -> None:
        """Requests come from now on: have the line ready."""
        if self._pid != os.getpid():
            self._start_over()
        self._is_line_wanted = True
        self._wake()

    def dismiss_requests(self) -> None:
        """No more requests come: let go of the line."""
        self._is_line_wanted = False
        if self._line is not None:
            self._line.close()

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

    def enter(self, *, is_urgent: bool = False) -> None:
        """Take a place, until `leave`; before others where it `is_urgent`."""
        if self._pid != os.getpid():
            self._start_over()
        if self._is_silent:
            raise DatabaseSilent("The database does not answer.")
        if not self._door.enter(self._is_worth_waiting, is_urgent=is_urgent):
            raise DatabaseSilent("Too many requests wait for the database already.")

    def leave(self) -> None:
        """Give the place back."""
        self._door.leave()

    def _is_worth_waiting(self, waited_seconds: float) -> bool:
        """Whether a thread may go on queueing: nothing in front waits long, or the server lives."""
        if self._is_silent:
            return False
        now = time.monotonic()
        begun = [one.since for one in list(self._active.values()) if one.is_gated]
        if not begun or now - max(min(begun), self._door.left_at) < BRIEF_SECONDS:
            return True
        if not self._is_line_wanted:
            return waited_seconds < ALONE_SECONDS
        if waited_seconds > QUEUE_SECONDS or now - self._door.left_at > PROGRESS_SECONDS:
            return False
        if self._line and self._line.answers(PING_SECONDS):
            return True
        # Somebody came out while we asked, which is an answer too.
        return time.monotonic() - self._door.left_at < PING_SECONDS

    def _start_over(self) -> None:
        """A forked child begins without operations, places taken and thread."""
        self._pid = os.getpid()
        self._active: dict[int, Waiting] = {}
        self._is_silent = False
        self._answered_at = 0.0
        self._is_line_wanted = False
        self._door = Door(self._places)
        self._waking = threading.Lock()
        self._work = threading.Event()
        self._thread: threading.Thread | None = None

    def _wake(self) -> None:
        with self._waking:
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
        waiting, now = list(self._active.values()), time.monotonic()
        # Only where the server is known to live: on a silent one this would take its time.
        if not waiting or now - self._door.left_at < LOOK_SECONDS:
            self._prepare_line()
        if not waiting:
            self._rest()
            return
        for one in waiting:
            if now - one.since > one.limit_seconds:
                self.end(one)
                fields = {"seconds": round(now - one.since, 1)}
                logger.warning("database operation cut off", extra=fields)
                one.cut()
        gated = [one.since for one in waiting if one.is_gated]
        if gated and now - max(min(gated), self._answered_at) > SOFT_SECONDS:
            self._question()

    def _prepare_line(self) -> None:
        if self._is_line_wanted and self._line is not None:
            self._line.prepare()

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

"""The ping: whether the database answers a small question now, over a connection kept for it.

A request that waits behind slow statements has to know within a blink whether the server is merely
slow or stands still. A connection that would have to be opened first is too late for that.
"""

import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import psycopg2
from psycopg2 import extensions

# Whoever prepares the connection has to look after others too.
OPENING_SECONDS = 0.5
LOOK_SECONDS = 0.1
FRESH_SECONDS = 5.0
Address = Callable[[], Mapping[str, Any] | None]


class Ping:
    """Asks one question at a time; safe to use from any thread, and after a fork.

    `address` gives libpq's keywords, None while they are not known.
    """

    _line: Any
    _cursor: Any
    _seen_at: float

    def __init__(self, address: Address) -> None:
        self._address = address
        self._start_over()

    def prepare(self) -> None:
        """Have a living connection ready; takes half a second at most."""
        if self._pid != os.getpid():
            self._start_over()
        address = self._address()
        if address is None or time.monotonic() - self._seen_at < FRESH_SECONDS:
            return
        with self._asking:
            self._renew(address)
            self._seen_at = time.monotonic()

    def answers(self, seconds: float) -> bool:
        """Whether the server says something within that time; False without a connection.

        While an earlier question is unanswered no other is asked, so a server that stands still
        costs the time once.
        """
        if not self._asking.acquire(timeout=seconds):
            return False
        try:
            return self._ask(seconds)
        except psycopg2.Error:
            self._hang_up()
            return False
        finally:
            self._asking.release()

    def close(self) -> None:
        """Give the connection back."""
        with self._asking:
            self._hang_up()

    def _start_over(self) -> None:
        """A forked child shares no connection with its parent, nor closes it."""
        self._pid = os.getpid()
        self._asking = threading.Lock()
        self._line = self._cursor = None
        self._seen_at = float("-inf")

    def _renew(self, address: Mapping[str, Any]) -> None:
        """Replace a connection that died; one that is merely silent stays."""
        try:
            if self._line is not None:
                self._ask(LOOK_SECONDS)
        except psycopg2.Error:
            self._hang_up()
        if self._line is None:
            self._line = _connected(address)

    def _ask(self, seconds: float) -> bool:
        line = self._line
        if line is None or self._pid != os.getpid():
            return False
        if not line.isexecuting():
            self._cursor = line.cursor()
            self._cursor.execute("SELECT 1")
        elif not _has_word(line, 0):
            return False
        return _ends(line, time.monotonic() + seconds)

    def _hang_up(self) -> None:
        line = self._line
        self._line = self._cursor = None
        self._seen_at = float("-inf")
        if line is not None:
            line.close()


def _connected(address: Mapping[str, Any]) -> Any:
    """A connection in asynchronous mode, None where there is none to be had in time."""
    try:
        line = psycopg2.connect(async_=1, **address)
    except psycopg2.Error:
        return None
    try:
        if _ends(line, time.monotonic() + OPENING_SECONDS):
            return line
    except psycopg2.Error:
        pass  # refused; the next time may be better
    line.close()
    return None


def _ends(line: Any, deadline: float) -> bool:
    """Whether what is under way on the connection is over in time."""
    while (state := line.poll()) != extensions.POLL_OK:
        if not _has_word(line, deadline - time.monotonic(), state):
            return False
    return True


def _has_word(line: Any, seconds: float, state: int = extensions.POLL_READ) -> bool:
    ends = [line.fileno()]
    reading, writing = (ends, []) if state == extensions.POLL_READ else ([], ends)
    return any(select.select(reading, writing, [], max(0.0, seconds))[:2])

"""A psycopg2 connection whose every operation is watched, and can be cut off from outside."""

import os
import select
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

import psycopg2
from psycopg2 import extensions

from app.database.patience import Watch

PROBE_SECONDS = 1.5


class Operation:
    """What one connection does at the moment; entered around every call that may wait."""

    __slots__ = (
        "_handle",
        "_watch",
        "is_gated",
        "is_refusable",
        "is_urgent",
        "limit_seconds",
        "since",
    )

    def __init__(
        self,
        watch: Watch,
        handle: "Handle | None",
        *,
        limit_seconds: float,
        is_gated: bool,
        is_refusable: bool = True,
    ) -> None:
        self._watch = watch
        self._handle = handle
        self.limit_seconds = limit_seconds
        self.is_gated = is_gated
        self.is_refusable = is_gated and is_refusable
        self.is_urgent = False
        self.since = 0.0

    def __enter__(self) -> None:
        if self.is_refusable:
            self._watch.enter(is_urgent=self.is_urgent)
        self.since = time.monotonic()
        self._watch.begin(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watch.end(self)
        if self.is_refusable:
            self._watch.leave()

    def cut(self) -> None:
        """End the connection under the operation, which then fails; one that connects goes on."""
        if self._handle is not None:
            self._handle.hang_up()


class Handle:
    """A second descriptor of a connection's socket: closing the first can't hand it to another."""

    def __init__(self, descriptor: int) -> None:
        self._lock = threading.Lock()
        self._descriptor: int | None = os.dup(descriptor)

    def hang_up(self) -> None:
        """End the conversation in both directions; whoever reads sees its end."""
        with self._lock:
            if self._descriptor is None:
                return
            line = socket.socket(fileno=self._descriptor)
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it had ended already
            finally:
                line.detach()

    def close(self) -> None:
        """Let go of the socket."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                os.close(descriptor)


class PatientConnection(extensions.connection):
    """Made by `open_connection` only."""

    is_awaited = False
    _asking: Operation
    _passing: Operation
    _release: Callable[[], Any]

    def attend(self, watch: Watch, *, limit_seconds: float, is_gated: bool) -> None:
        """Have every operation watched from now on."""
        handle = Handle(self.fileno())
        limits = {"limit_seconds": limit_seconds, "is_gated": is_gated}
        self._asking = Operation(watch, handle, **limits)  # type: ignore[arg-type]
        # What ends a transaction is never refused, or its connection could not be used again.
        self._passing = Operation(watch, handle, is_refusable=False, **limits)  # type: ignore[arg-type]
        self._release = weakref.finalize(self, handle.close)
        self.cursor_factory = PatientCursor

    @property
    def asking(self) -> Operation:
        """To be entered around a statement."""
        if self.is_awaited:
            return self._passing
        # Locks may be held already, for which others wait.
        self._asking.is_urgent = self.status == extensions.STATUS_IN_TRANSACTION
        return self._asking

    def let_pass(self) -> None:
        """Have the rest of the transaction queue behind nobody: others wait for its end."""
        self.is_awaited = True

    def commit(self) -> None:
        """As psycopg2's, watched."""
        self.is_awaited = False
        with self._passing:
            super().commit()

    def rollback(self) -> None:
        """As psycopg2's, watched."""
        self.is_awaited = False
        with self._passing:
            super().rollback()

    def close(self) -> None:
        """As psycopg2's; lets go of the second descriptor too."""
        super().close()
        self._release()


class PatientCursor(extensions.cursor):
    """A cursor of a `PatientConnection`."""

    connection: PatientConnection

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name
        """As psycopg2's, watched."""
        with self.connection.asking:
            super().execute(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        """As psycopg2's, watched."""
        with self.connection.asking:
            super().executemany(query, vars_list)

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        """As psycopg2's, watched."""
        with self.connection.asking:
            super().copy_expert(sql, file, size)

    def fetchone(self) -> tuple[Any, ...] | None:
        """As psycopg2's; a server-side cursor asks the server, so it is watched."""
        with self._fetching():
            return super().fetchone()

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """As psycopg2's, watched like `fetchone`."""
        with self._fetching():
            return super().fetchmany(self.arraysize if size is None else size)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """As psycopg2's, watched like `fetchone`."""
        with self._fetching():
            return super().fetchall()

    def _fetching(self) -> AbstractContextManager[None]:
        return self.connection.asking if self.name else nullcontext()


def open_connection(
    arguments: Mapping[str, Any], watch: Watch, *, limit_seconds: float, is_gated: bool
) -> PatientConnection:
    """Connect with libpq's keywords; raises `psycopg2.OperationalError`."""
    with Operation(watch, None, limit_seconds=limit_seconds, is_gated=is_gated):
        connection: Any = psycopg2.connect(connection_factory=PatientConnection, **arguments)
    patient: PatientConnection = connection
    patient.attend(watch, limit_seconds=limit_seconds, is_gated=is_gated)
    return patient


def server_answers(arguments: Mapping[str, Any]) -> bool:
    """Whether the server gives any sign of life, a refusal included, within 1.5 seconds."""
    deadline = time.monotonic() + PROBE_SECONDS
    try:
        connection: Any = psycopg2.connect(async_=1, **arguments)
    except psycopg2.Error:
        return True
    try:
        return _finish_connecting(connection, deadline)
    except psycopg2.Error:
        return True
    finally:
        connection.close()


def _finish_connecting(connection: Any, deadline: float) -> bool:
    while (state := connection.poll()) != extensions.POLL_OK:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        line = [connection.fileno()]
        reading, writing = (line, []) if state == extensions.POLL_READ else ([], line)
        select.select(reading, writing, [], left)
    return True

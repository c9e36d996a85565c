"""The end of an exchange in any case: connections that are cut at a deadline or a stop."""

import os
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

POLL_SECONDS = 0.05


class Guard:
    """Cuts the connection of one exchange at its deadline, or when the run is stopped.

    A read timeout alone does not do it: a server that sends a byte now and then never trips it.
    The guard holds a duplicate of the socket's descriptor, so it can neither miss a connection
    that urllib3 has already given away nor touch one that belongs to somebody else.
    """

    def __init__(self, seconds: float, stop: threading.Event) -> None:
        self.ended_by: str | None = None
        self._deadline = time.monotonic() + seconds
        self._stop = stop
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._tap: socket.socket | None = None
        self._thread = threading.Thread(target=self._watch, name="provider-guard", daemon=True)

    def attach(self, sock: socket.socket) -> None:
        """Watch this connection from now on."""
        tap = socket.socket(fileno=os.dup(sock.fileno()))
        with self._lock:
            self._close_tap()
            self._tap = tap
            if self.ended_by is not None:
                self._cut()

    def __enter__(self) -> Self:
        self._thread.start()
        _current.guard = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.guard = None
        self._done.set()
        self._thread.join()
        with self._lock:
            self._close_tap()

    def _watch(self) -> None:
        while not self._done.wait(POLL_SECONDS):
            if reason := self._reason_to_end():
                with self._lock:
                    self.ended_by = reason
                    self._cut()
                return

    def _reason_to_end(self) -> str | None:
        if self._stop.is_set():
            return "stop"
        return "deadline" if time.monotonic() >= self._deadline else None

    def _cut(self) -> None:
        if self._tap is None:
            return
        with suppress(OSError):  # the other side was faster
            self._tap.shutdown(socket.SHUT_RDWR)

    def _close_tap(self) -> None:
        if self._tap is not None:
            self._tap.close()
            self._tap = None


class _Current(threading.local):
    guard: Guard | None = None


_current = _Current()


def _show_guard(sock: socket.socket | None) -> None:
    if sock is not None and _current.guard is not None:
        _current.guard.attach(sock)


class _PlainConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        _show_guard(sock)
        return sock

    def request(self, *args: Any, **options: Any) -> None:
        _show_guard(self.sock)
        super().request(*args, **options)


class _TlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        _show_guard(sock)
        return sock

    def request(self, *args: Any, **options: Any) -> None:
        _show_guard(self.sock)
        super().request(*args, **options)


class PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection

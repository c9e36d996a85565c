"""The embedded PostgreSQL: a small supervisor over the server programs of a pip wheel.

The server belongs to its owners: every process that started it holds a shared lock on one file,
and the one that leaves last stops it. The kernel drops the lock of a killed process, so a dead
owner never counts. Everything holds for processes of one machine.
"""

import atexit
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from sqlalchemy import URL

from app.database.embedded_placement import Placement, link_to_data, place
from app.database.embedded_server import (
    NAME,
    POLL_SECONDS,
    PORT,
    START_SECONDS,
    STOP_SECONDS,
    FileLock,
    ensure_running,
    open_lock,
    socket_of_server,
    stop,
)
from app.errors import StorageError

logger = logging.getLogger(__name__)


class EmbeddedPostgres:
    """One embedded server and our share in it.

    `options` are server settings for the case that this process is the one that launches it.
    A process that ends in an orderly way leaves by itself; one that is killed leaves the server
    running, and the next `start` attaches to it. A forked child has no share until it calls
    `start` itself. As a context manager it gives the URL.
    """

    def __init__(self, data_directory: Path, *, options: Mapping[str, str] | None = None) -> None:
        self.data_directory = data_directory.absolute()
        self._options = dict(options or {})
        self._placement: Placement | None = None
        self._share: FileLock | None = None
        self._share_pid = 0

    def start(self) -> str:
        """Make sure that the server runs and that we own a share; return its SQLAlchemy URL.

        May be called again, which also revives a server that has crashed. Raises `StorageError`
        with the end of the server's log when it can't be brought up.
        """
        try:
            return self._start()
        except OSError as error:
            raise StorageError(f"The embedded PostgreSQL can't use its files: {error}") from error

    def release(self) -> None:
        """Give our share back; the last owner stops the server. Never raises `StorageError`."""
        share, self._share = self._share, None
        atexit.unregister(self.release)
        if share is None or self._placement is None:
            return
        if self._share_pid != os.getpid():  # inherited: the share is the parent's
            share.close()
            return
        try:
            with _serialised(self._placement):
                self._leave(share, self._placement)
        except (StorageError, OSError) as error:
            logger.error("embedded postgres did not stop", extra={"error": str(error)})

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _start(self) -> str:
        placement = self._placement = place(self.data_directory)
        with _serialised(placement):
            link_to_data(self.data_directory, placement.data)
            _check_owner(placement)
            is_new = self._join(placement)
            try:
                ensure_running(placement, self._options)
                return _url(placement)
            except BaseException:
                if is_new and self._share is not None:
                    self._leave(self._share, placement)
                    self._share = None
                raise

    def _join(self, placement: Placement) -> bool:
        """Take a share unless we hold one; True when it is new."""
        if self._share is not None and self._share_pid == os.getpid():
            return False
        if self._share is not None:
            self._share.close()
        self._share = open_lock(placement, "owners.lock")
        self._share.acquire_shared()
        self._share_pid = os.getpid()
        atexit.register(self.release)
        return True

    def _leave(self, share: FileLock, placement: Placement) -> None:
        try:
            if share.try_exclusive():
                stop(placement)
        finally:
            share.unlock_and_close()


@contextmanager
def _serialised(placement: Placement) -> Iterator[None]:
    """Let one process at a time start or stop the server."""
    lock = open_lock(placement, "start.lock")
    deadline = time.monotonic() + START_SECONDS + STOP_SECONDS
    try:
        while not lock.try_exclusive():
            if time.monotonic() > deadline:
                raise StorageError("Another process is still starting the embedded PostgreSQL.")
            time.sleep(POLL_SECONDS)
        yield
    finally:
        lock.unlock_and_close()


def _check_owner(placement: Placement) -> None:
    """PostgreSQL insists that its account owns the data; say so in words of ours."""
    if not placement.data.exists():
        return
    owner = placement.data.stat().st_uid
    if owner == 0 and placement.account.is_dropped_to:  # copied back by root
        for path in (placement.data, *placement.data.rglob("*")):
            placement.account.take(path)
    elif owner != placement.account.uid:
        raise StorageError(
            f"The database in {placement.data} belongs to user id {owner}, but Tapedeck runs as "
            f"{placement.account.uid}: run it as that user (or as root), or set DATABASE_URL."
        )


def _url(placement: Placement) -> str:
    query = {"host": socket_of_server(placement) or "", "port": PORT}
    url = URL.create("postgresql+psycopg2", username=NAME, database=NAME, query=query)
    return url.render_as_string()

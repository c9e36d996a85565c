"""One embedded server: made, launched, asked and stopped by the wheel's own programs.

The server holds a lock on a file of ours for as long as one of its processes lives. This tells a
running server from a stale `postmaster.pid`, whatever process has that number today.
"""

import fcntl
import logging
import os
import shlex
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from app.database.embedded_placement import SOCKET_NAME, Placement, socket_directory
from app.errors import StorageError

logger = logging.getLogger(__name__)

NAME = "tapedeck"  # of the role and of the database
PORT = "5432"  # only a part of the socket's name: nothing listens on a network
START_SECONDS = 120.0  # long enough for recovery after a power cut
STOP_SECONDS = 60.0
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 15

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": PORT,
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "checkpoint_timeout": "15min",
    "client_connection_check_interval": "1s",
    # One file a weekday, overwritten a week later: the log can't grow for ever.
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_checkpoints": "off",
    "log_parameter_max_length": "256",
}


class FileLock:
    """An advisory lock on a file; it ends with `close`, or with the last process that has it."""

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self.path = path
        self.descriptor = os.open(path, flags, 0o600)

    def acquire_shared(self) -> None:
        """Wait for a place among the sharers."""
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Take the lock alone if it is free; a share already held is given up either way."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Leave the lock to whoever inherited it; it is free when nobody did."""
        os.close(self.descriptor)

    def unlock_and_close(self) -> None:
        """Free the lock even where a forked child has inherited it."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        self.close()


def open_lock(placement: Placement, suffix: str) -> FileLock:
    """Open the lock file of that name beside the data, for the server's account too."""
    lock = FileLock(placement.beside(suffix))
    placement.account.take(lock.path)
    return lock


def ensure_running(placement: Placement, options: Mapping[str, str]) -> None:
    """Return once the server accepts connections; `options` go before our settings.

    Raises `StorageError` with the end of the server's log when it does not come up in time.
    """
    settings = {**SETTINGS, **options}
    deadline = time.monotonic() + START_SECONDS
    while not _answers(placement):
        server_lock = open_lock(placement, "server.lock")
        try:
            # Free: not one process of a server is left. Taken: it starts, stops or hangs.
            if server_lock.try_exclusive():
                _launch(placement, settings, server_lock)
        finally:
            server_lock.close()
        if time.monotonic() > deadline:
            raise _failure(placement, f"does not answer after {START_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def _answers(placement: Placement) -> bool:
    """True when a server accepts connections on the socket that `postmaster.pid` names."""
    folder = socket_of_server(placement)
    if folder is None:
        return False
    command = (placement.programs / "pg_isready", "-h", folder, "-p", PORT, "-U", NAME, "-t", "3")
    return placement.account.run(*command, timeout_seconds=10).returncode == 0


def socket_of_server(placement: Placement) -> str | None:
    """The socket folder that `postmaster.pid` names on its fifth line.

    None where there is no such file or where it came along with a copy of another data folder,
    whose path is on the second line.
    """
    with suppress(OSError, IndexError):
        lines = (placement.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        if lines[1] == str(placement.data):
            return lines[4] or None
    return None


def _launch(placement: Placement, settings: Mapping[str, str], server_lock: FileLock) -> None:
    """Start the server; it inherits the lock and holds it with all of its processes."""
    if not (placement.data / "PG_VERSION").exists():
        _initialise(placement, settings)
    folder = socket_directory(placement.data, placement.account)
    _clear_traces(placement.data, folder)
    settings = {**settings, "unix_socket_directories": str(folder)}
    started = placement.account.run(
        *(placement.programs / "pg_ctl", "start", "--silent", "--wait"),
        *("--timeout", f"{START_SECONDS:.0f}", "--pgdata", placement.data),
        *("--log", placement.data / "startup.log"),
        *("--options", " ".join(f"-c {shlex.quote(f'{k}={v}')}" for k, v in settings.items())),
        timeout_seconds=START_SECONDS + 10,
        pass_fds=(server_lock.descriptor,),
    )
    if started.returncode != 0:
        raise _failure(placement, "did not start")
    logger.info("embedded postgres started", extra={"data_directory": str(placement.data)})


def _clear_traces(data: Path, folder: Path) -> None:
    """Remove what a crashed server left behind, now that nobody holds its lock.

    The process number in it may mean an innocent process (or an unreaped one) by now, for which
    PostgreSQL would refuse to start. Its own check of the shared memory still stands.
    """
    stale = (data / "postmaster.pid", folder / SOCKET_NAME, folder / f"{SOCKET_NAME}.lock")
    for path in (*stale, data / "startup.log"):
        path.unlink(missing_ok=True)


def _initialise(placement: Placement, settings: Mapping[str, str]) -> None:
    """Make the cluster with its database beside the final place, so that it appears complete."""
    staging = placement.beside("new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700)
    placement.account.take(staging)
    hurry = ["--no-sync"] if settings.get("fsync") == "off" else []
    made = placement.account.run(
        *(
            placement.programs / "initdb",
            "--pgdata",
            staging,
            "--username",
            NAME,
            "--encoding=UTF8",
        ),
        *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        *("--auth-local=trust", "--auth-host=reject", *hurry),
        timeout_seconds=START_SECONDS,
    )
    if made.returncode == 0:
        made = placement.account.run(
            *(placement.programs / "postgres", "--single", "-D", staging),
            *("-c", "exit_on_error=on", "-c", "log_checkpoints=off", "template1"),
            timeout_seconds=START_SECONDS,
            stdin=f"CREATE DATABASE {NAME};\n",
        )
    if made.returncode != 0:
        raise StorageError(f"The embedded PostgreSQL can't be set up:\n{_tail(made.stderr)}")
    if placement.data.is_dir() and any(placement.data.iterdir()):
        raise StorageError(f"{placement.data} is not empty and holds no database: move it away.")
    staging.replace(placement.data)


def stop(placement: Placement) -> None:
    """Stop the server with a last checkpoint; at once, without one, when that takes too long."""
    server_lock = open_lock(placement, "server.lock")
    try:
        if server_lock.try_exclusive() and not _answers(placement):  # it is gone already
            return
    finally:
        server_lock.close()
    folder = socket_of_server(placement)
    for mode in ("fast", "immediate"):
        stopped = placement.account.run(
            *(placement.programs / "pg_ctl", "stop", "--silent", "--wait", "--mode", mode),
            *("--timeout", f"{STOP_SECONDS:.0f}", "--pgdata", placement.data),
            timeout_seconds=STOP_SECONDS + 10,
        )
        if stopped.returncode == 0:
            logger.info("embedded postgres stopped", extra={"mode": mode})
            break
    else:
        raise _failure(placement, "did not stop")
    if folder is not None and folder != str(placement.data):
        with suppress(OSError):
            Path(folder).rmdir()


def _failure(placement: Placement, what: str) -> StorageError:
    # Early words go to the first file, later ones to the collector's: the newest tells why.
    logs = [placement.data / "startup.log", *(placement.data / "log").glob("*.log")]
    newest = max((path for path in logs if path.exists()), key=_written_at, default=None)
    text = newest.read_text(encoding="utf-8", errors="replace") if newest else ""
    return StorageError(
        f"The embedded PostgreSQL in {placement.data} {what}. The end of its log:\n{_tail(text)}"
    )


def _written_at(path: Path) -> int:
    return path.stat().st_mtime_ns


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-LOG_TAIL_LINES:]) or "(empty)"

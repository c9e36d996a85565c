"""A PostgreSQL of a test's own that can be frozen, thawed, stopped hard and started again."""

import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import make_url, text

from app.database.embedded import EmbeddedPostgres
from tests.conftest import TEMPLATE_NAME, prepare_template
from tests.servers import administration, create_database, make_enterable_directory

END_SECONDS = 60
# Not synchronous_commit=off: what was committed has to be there after a hard stop.
OPTIONS = {"fsync": "off", "full_page_writes": "off"}

# Alembic migrates one database at a time in a process.
_MIGRATING = threading.Lock()


class OwnPostgres:
    """A server of its own, with a migrated database at `url`."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.folder = folder
        self._data = folder / "postgres"
        self._server = EmbeddedPostgres(self._data, options=OPTIONS | options)
        self._admin = self._server.start()
        with _MIGRATING:
            prepare_template(create_database(self._admin, TEMPLATE_NAME))
        self.url = self.database("tapedeck_faults")
        self._frozen: list[int] = []

    @property
    def master(self) -> int:
        """The process id of the postmaster."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    @property
    def account(self) -> int:
        """The user id of the server's processes."""
        return self._data.stat().st_uid

    def database(self, name: str, *, folder: Path | None = None) -> str:
        """The address of a new migrated database; its files lie in that folder, if one is named."""
        if folder is None:
            return create_database(self._admin, name, TEMPLATE_NAME)
        with administration(self._admin) as connection:
            connection.execute(text(f"CREATE TABLESPACE \"{name}\" LOCATION '{folder}'"))
            connection.execute(
                text(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE_NAME}" TABLESPACE "{name}"')
            )
        return make_url(self._admin).set(database=name).render_as_string(hide_password=False)

    def drop_tablespace(self, name: str) -> None:
        """Remove a database and the tablespace of its name."""
        with administration(self._admin) as connection:
            connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
            connection.execute(text(f'DROP TABLESPACE IF EXISTS "{name}"'))

    def freeze(self) -> None:
        """Stop every process of the server where it stands (SIGSTOP)."""
        self._frozen = [self.master]
        os.kill(self.master, signal.SIGSTOP)
        self._frozen += children_of(self.master)
        for pid in self._frozen[1:]:
            signal_if_there(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let every frozen process go on."""
        for pid in reversed(self._frozen):
            signal_if_there(pid, signal.SIGCONT)
        self._frozen = []

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Frozen while the block lasts."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def stop_hard(self) -> None:
        """End the server as an immediate shutdown does: it recovers from its log at the start."""
        master = self.master
        os.kill(master, signal.SIGQUIT)
        await_end(master)

    def start(self) -> None:
        """Bring the server back."""
        self._server.start()

    def close(self) -> None:
        """End the server for good."""
        self.thaw()
        self._server.release()


@contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    """A server that ends with the block."""
    folder = make_enterable_directory()
    server = OwnPostgres(folder)
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


def children_of(pid: int) -> list[int]:
    """The processes that this one started."""
    listing = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in listing.stdout.split()]


def await_end(pid: int) -> None:
    """Wait until a process has ended, whoever its parent is."""
    with suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        ended, _, _ = select.select([process], [], [], END_SECONDS)
        os.close(process)
        assert ended, f"process {pid} has not ended"


def signal_if_there(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def state_of(pid: int) -> str:
    """One letter: R, S, T (stopped), Z (ended, not yet waited for), or nothing when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]

"""Plain helpers for the tests of the embedded PostgreSQL: other processes that own it, queries."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from sqlalchemy import NullPool, create_engine, text

from app.database.embedded import EmbeddedPostgres
from tests.servers import FAST_AND_LOOSE

ROOT = Path(__file__).parents[1]

OWNER = """
import sys
from pathlib import Path
from app.database.embedded import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]), options={"fsync": "off"})
print(server.start(), flush=True)
sys.stdin.readline()
"""

FORKING_OWNER = """
import os, sys
from pathlib import Path
from app.database.embedded import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]), options={"fsync": "off"})
server.start()
ready, told = os.pipe()
if os.fork() == 0:
    server.start()
    os.write(told, b"x")
    sys.stdin.readline()
    sys.exit(0)
os.read(ready, 1)
server.release()
print("released", flush=True)
os.wait()
"""


class Owner:
    """A process of its own that starts the server and ends when told."""

    def __init__(self, data_directory: Path, program: str = OWNER) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(data_directory)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> str:
        """The line that says the server is up."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 60)[0]
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """End in an orderly way, without an explicit release."""
        self.process.communicate("\n", timeout=60)

    def kill(self) -> None:
        """End like with kill -9."""
        self.process.kill()
        self.process.communicate(timeout=60)


def embedded(data_directory: Path, **options: str) -> EmbeddedPostgres:
    return EmbeddedPostgres(data_directory, options={**FAST_AND_LOOSE, **options})


def query(url: str, statement: str) -> object:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        return result.scalar() if result.returns_rows else None


def store_tape(url: str) -> None:
    query(url, "DROP TABLE IF EXISTS tape")
    query(url, "CREATE TABLE tape AS SELECT 42 AS number")


def has_tape(url: str) -> bool:
    return query(url, "SELECT number FROM tape") == 42


def server_pid(data_directory: Path) -> int:
    return int((data_directory / "postmaster.pid").read_text().split()[0])


def crash(data_directory: Path) -> None:
    """Kill the server as a power cut would; its other processes notice and go by themselves."""
    os.kill(server_pid(data_directory), signal.SIGKILL)


def stop_left_over(data_directory: Path) -> None:
    """Stop the server that a killed owner has left running."""
    if (data_directory / "postmaster.pid").exists():
        with embedded(data_directory):
            pass

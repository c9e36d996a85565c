"""Real web processes for tests: gunicorn as `make run` starts it, ended by its process id."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

from app.paths import ROOT

START_SECONDS = 60
PAUSE = threading.Event()


@dataclass(frozen=True, slots=True)
class WebProcess:
    """A running `flask serve`: its address, the gunicorn master's process, and its log."""

    url: str
    master: subprocess.Popen[bytes]
    log: Path

    def pids(self) -> list[int]:
        """The master and every worker."""
        children = Path(f"/proc/{self.master.pid}/task/{self.master.pid}/children").read_text()
        return [self.master.pid, *map(int, children.split())]

    def kill(self) -> None:
        """End everything at once, as a power cut would."""
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        self.master.wait()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    folder: Path, database_url: str, environment: Mapping[str, str], *, port: int | None = None
) -> Iterator[WebProcess]:
    """`flask serve` in a folder of its own; ends when the block does."""
    port = port or free_port()
    log = folder / f"web-{port}.log"
    variables = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "INSTANCE_PATH": str(folder / "instance"),
        "PORT": str(port),
        **environment,
    }
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "serve"]
    with log.open("ab") as output:
        master = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT
        )
    web = WebProcess(f"http://127.0.0.1:{port}", master, log)
    try:
        _await_answer(web)
        yield web
    finally:
        if master.poll() is None:
            master.terminate()
            try:
                master.wait(timeout=40)
            except subprocess.TimeoutExpired:
                web.kill()


def _await_answer(web: WebProcess) -> None:
    """Wait until the process answers; connection attempts are refused until it listens."""
    pool = urllib3.PoolManager(retries=False, timeout=2)
    for _ in range(START_SECONDS * 10):
        if web.master.poll() is not None:
            raise AssertionError(f"the web process ended:\n{web.log.read_text()[-3000:]}")
        try:
            if pool.request("GET", f"{web.url}/healthz").status == 200:
                return
        except urllib3.exceptions.HTTPError:
            PAUSE.wait(0.1)
    raise AssertionError(f"the web process did not answer:\n{web.log.read_text()[-3000:]}")

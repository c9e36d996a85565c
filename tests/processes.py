"""Real web processes for tests: gunicorn as `make run` starts it, ended by its process id."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import urllib3

from app.paths import ROOT

START_SECONDS = 60
PAUSE = threading.Event()
PORTS, PORTS_EACH = range(20_000, 32_000), 1_000


def _own_ports() -> Iterator[int]:
    """This worker's ports round and round, from where the process id says."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = worker % (len(PORTS) // PORTS_EACH) * PORTS_EACH
    part, start = PORTS[first : first + PORTS_EACH], os.getpid() % PORTS_EACH
    return cycle([*part[start:], *part[:start]])


_ports = _own_ports()


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
    """A port nobody listens on, and nobody else is given before it is used.

    From below the ports that systems hand out for 0 and for outgoing connections (Linux: 32768 on,
    others: 49152), in another part for each worker of pytest-xdist, and none again for 1,000 times.
    """
    for port in islice(_ports, PORTS_EACH):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is left")


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
        with suppress(urllib3.exceptions.HTTPError):
            if pool.request("GET", f"{web.url}/healthz").status == 200:
                return
        PAUSE.wait(0.1)
    raise AssertionError(f"the web process did not answer:\n{web.log.read_text()[-3000:]}")

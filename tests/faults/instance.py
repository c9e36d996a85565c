"""One host of the fault tests: a gunicorn of its own over the application of `deck`."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.paths import ROOT
from tests.faults.bench import Bench
from tests.faults.frozen import children_of
from tests.faults.visitor import seconds_until_served
from tests.processes import free_port

END_SECONDS = 40
NOTHING_MORE: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Instance:
    """A running gunicorn: its address, its master and its log."""

    url: str
    master: subprocess.Popen[bytes]
    log: Path

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        return children_of(self.master.pid)

    def kill(self) -> None:
        """End everything at once, as a power cut would."""
        for pid in (self.master.pid, *self.workers()):
            os.kill(pid, signal.SIGKILL)
        self.master.wait()


@contextmanager
def instance(
    bench: Bench,
    *,
    tick: float = 3600,
    workers: int = 1,
    skew: float = 0.0,
    grace: int = 1,
    thinking: tuple[float, float] = (0, 0.2),
    arguments: Sequence[str] = (),
    app: str = "tests.faults.deck:from_environment()",
    environment: Mapping[str, str] = NOTHING_MORE,
) -> Iterator[Instance]:
    """Served as by `make run`, with more arguments of gunicorn's; it ends with the block."""
    port = free_port()
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": bench.url,
        "INSTANCE_PATH": str(bench.folder / f"instance-{port}"),
        "PORT": str(port),
        "WEB_WORKERS": str(workers),
        "RUN_GRACE_SECONDS": str(grace),
        "FAULTS_SKEW": str(skew),
        "FAULTS_TICK": str(tick),
        "FAULTS_THINKING": " ".join(map(str, thinking)),
        **environment,
    }
    command = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py")]
    path = bench.folder / f"instance-{port}.log"
    with path.open("ab") as log:
        master = subprocess.Popen(
            [*command, *arguments, app],
            cwd=ROOT,
            env=variables,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    found = Instance(f"http://127.0.0.1:{port}", master, path)
    try:
        seconds_until_served(found.url, "/healthz", limit=60)
        yield found
    finally:
        _end(found)


def _end(found: Instance) -> None:
    if found.master.poll() is not None:
        return
    found.master.terminate()
    try:
        found.master.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        found.kill()

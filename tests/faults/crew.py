"""Worker processes for the fault tests: forked from a warm server, killed and stopped at will."""

import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from app import failpoints
from app.jobs import start_jobs, stop_jobs
from tests.faults.deck import Plan, build
from tests.faults.frozen import signal_if_there

Result = TypeVar("Result")
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.faults.crew"])


def work(plan: Plan) -> None:
    """Be one worker until killed, or asked to stop."""
    log = log_of(plan.folder, os.getpid())
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdin.close()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    failpoints.choose(plan.failpoint)
    app = build(plan)
    start_jobs(app)
    while not stop.wait(1.0):
        # A worker whose test is gone has nothing left to do.
        if os.getppid() == 1:
            os._exit(1)
    stop_jobs(app, grace_seconds=5)


def log_of(folder: Path, pid: int) -> Path:
    """Where a worker writes what it says."""
    return folder / f"crew-{pid}.log"


def apart(task: Callable[..., Result], *arguments: Any) -> Result:
    """What the function returns in a process of its own, which may bend the program as it likes."""
    here, there = _SERVER.Pipe(duplex=False)
    process = _SERVER.Process(target=_report, args=(there, task, arguments), daemon=True)
    process.start()
    there.close()
    try:
        result: Result = here.recv()
    except EOFError:
        raise AssertionError(f"{task.__name__} came to no end") from None
    finally:
        process.join()
    return result


def _report(line: Connection, task: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    # What the program says of expected trouble belongs nowhere.
    logging.disable(logging.CRITICAL)
    line.send(task(*arguments))


class Crew:
    """Some workers on one database; one that ends is replaced by `tend`."""

    def __init__(self, plan: Plan, *, size: int) -> None:
        self.plan = plan
        self.size = size
        self.workers: list[BaseProcess] = []
        self.kills = 0

    def hire(self, plan: Plan | None = None) -> BaseProcess:
        """Start one worker, of another plan if you like."""
        worker = _SERVER.Process(target=work, args=(plan or self.plan,), daemon=True)
        worker.start()
        self.workers.append(worker)
        return worker

    def tend(self) -> None:
        """Replace those that ended."""
        for worker in list(self.workers):
            if not worker.is_alive():
                worker.join()
                self.workers.remove(worker)
        while len(self.workers) < self.size:
            self.hire()

    def kill_one(self) -> None:
        """Kill any worker (SIGKILL) and replace it."""
        pid = random.choice(self.workers).pid or 0
        signal_if_there(pid, signal.SIGKILL)
        self.kills += 1
        self.tend()

    def process(self, owner: str) -> int | None:
        """The process id of the owner of a run, if it belongs to this crew."""
        pid = int(owner.split(":")[1])
        return pid if pid in {worker.pid for worker in self.workers} else None

    def dismiss(self) -> None:
        """Have everybody finish and go."""
        for worker in self.workers:
            signal_if_there(worker.pid or 0, signal.SIGCONT)
            worker.terminate()
        deadline = time.monotonic() + 20
        for worker in self.workers:
            worker.join(max(0.1, deadline - time.monotonic()))
            if worker.is_alive():
                worker.kill()
                worker.join()
        self.workers.clear()


@contextmanager
def crew(plan: Plan, *, size: int) -> Iterator[Crew]:
    """A crew at work; it goes when the block ends."""
    found = Crew(plan, size=size)
    try:
        found.tend()
        yield found
    finally:
        found.dismiss()

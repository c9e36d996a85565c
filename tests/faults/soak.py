"""The long watch: runs every few seconds, a random fault now and then, memory and files counted."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text

from tests.faults.bench import Bench, Finding, settled
from tests.faults.crew import Crew, crew
from tests.faults.deck import Plan
from tests.faults.frozen import OwnPostgres, signal_if_there

GROWTH_PCT = 5.0
FILES_MORE = 3
_pause = threading.Event()


def soak(
    bench: Bench, server: OwnPostgres, *, seconds: float, tick: float = 5.0, every: float = 20.0
) -> Finding:
    """Everything at once for a long time; one worker is never killed, and is measured."""
    bench.clear()
    plan = bench.plan(tick=tick, poll=0.5, lease=3.0, beat=0.5)
    sizes: list[tuple[float, int]] = []
    faults: dict[str, int] = {}
    with crew(plan, size=4) as workers:
        watched = workers.workers[0].pid or 0
        end = time.monotonic() + seconds
        next_fault = time.monotonic() + every
        while time.monotonic() < end:
            _pause.wait(min(2.0, every / 4))
            sizes.append((memory_mb(watched), open_files(watched)))
            if time.monotonic() > next_fault:
                name = _do_any_fault(bench, server, workers, plan)
                faults[name] = faults.get(name, 0) + 1
                next_fault = time.monotonic() + every
            workers.tend()
        evidence = settled(bench, plan)
    growth, files = _growth_pct(sizes), sizes[-1][1] - _median([one for _, one in sizes])
    done = ", ".join(f"{count} x {name}" for name, count in sorted(faults.items()))
    figures = f"{done}; memory {growth:+.1f} %, open files {files:+.0f}; {evidence.figures}"
    finding = Finding(f"soak of {seconds / 60:.0f} minutes", figures, list(evidence.wrong))
    if growth > GROWTH_PCT:
        finding.problems.append(f"memory grew by {growth:.1f} %")
    if files > FILES_MORE:
        finding.problems.append(f"{files} files more are open at the end")
    return finding


def memory_mb(pid: int) -> float:
    """Resident memory of a process; it must be alive."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files(pid: int) -> int:
    """Descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def _do_any_fault(bench: Bench, server: OwnPostgres, workers: Crew, plan: Plan) -> str:
    faults: dict[str, Callable[[], None]] = {
        "kill": lambda: _kill(workers),
        "stop": lambda: _stop(workers, plan),
        "restart": lambda: _restart(server),
        "freeze": lambda: _freeze(server),
        "disconnect": lambda: _disconnect(bench),
    }
    name = random.choice(list(faults))
    faults[name]()
    return name


def _victim(workers: Crew) -> int:
    # Not the first one, which is measured.
    return random.choice(workers.workers[1:]).pid or 0


def _kill(workers: Crew) -> None:
    signal_if_there(_victim(workers), signal.SIGKILL)


def _stop(workers: Crew, plan: Plan) -> None:
    pid = _victim(workers)
    signal_if_there(pid, signal.SIGSTOP)
    _pause.wait(plan.lease + 1)
    signal_if_there(pid, signal.SIGCONT)


def _restart(server: OwnPostgres) -> None:
    server.stop_hard()
    server.start()


def _freeze(server: OwnPostgres) -> None:
    with server.frozen():
        _pause.wait(4)


def _disconnect(bench: Bench) -> None:
    engine = bench.engine()
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    engine.dispose()


def _growth_pct(sizes: list[tuple[float, int]]) -> float:
    """How much more memory the last fifth takes than the second: the first is for warming up."""
    fifth = max(1, len(sizes) // 5)
    before = _median([size for size, _ in sizes[fifth : 2 * fifth]])
    after = _median([size for size, _ in sizes[-fifth:]])
    return 100 * (after - before) / before


def _median(values: list[float] | list[int]) -> float:
    return float(sorted(values)[len(values) // 2])

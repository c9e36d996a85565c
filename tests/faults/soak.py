"""The long watch: runs every few seconds, a random fault now and then, memory and files counted."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from tests.faults.bench import Bench, Finding, await_true, settled
from tests.faults.crew import Crew, crew
from tests.faults.deck import Plan
from tests.faults.frozen import OwnPostgres, signal_if_there
from tests.faults.instance import instance
from tests.faults.mailbox import NOTHING_WAITS, Mailbox
from tests.faults.oracle import Evidence
from tests.faults.visitor import Answer, Regular, ask

GROWTH_PCT = 5.0
FILES_MORE = 3
ASK_SECONDS = 1.0
PAGES = (
    "/",
    "/runs",
    "/markets",
    "/alerts",
    "/schedule",
    "/api/runs",
    "/api/snapshots/latest",
    "/metrics",
)
_pause = threading.Event()


def soak(
    bench: Bench, server: OwnPostgres, *, seconds: float, tick: float = 5.0, every: float = 20.0
) -> Finding:
    """Everything at once for a long time; two processes are never killed, and are measured.

    One is a worker like the others; one serves pages to a visitor, judges alerts and sends them.
    """
    bench.clear()
    plan = bench.plan(tick=tick, poll=0.5, lease=3.0, beat=0.5)
    faults: dict[str, int] = {}
    with (
        Mailbox(bench.engine()) as mailbox,
        crew(plan, size=1) as workers,
        _run_by(bench, workers.workers[0].pid or 0) as worker,
        instance(bench, tick=tick, environment={"FAULTS_WEBHOOK": mailbox.url}) as web,
        _run_by(bench, web.workers()[0], while_stopped=worker) as server_process,
    ):
        measured = [Measured("worker", worker), Measured("web", server_process)]
        workers.size = 4
        workers.tend()
        visitor = Regular(web.url, PAGES, every_seconds=ASK_SECONDS)
        visitor.start()
        end = time.monotonic() + seconds
        next_fault = time.monotonic() + every
        while time.monotonic() < end:
            _pause.wait(min(2.0, every / 4))
            for one in measured:
                one.look()
            if time.monotonic() > next_fault:
                name = _do_any_fault(bench, server, workers, plan)
                faults[name] = faults.get(name, 0) + 1
                mailbox.queue()
                next_fault = time.monotonic() + every
            workers.tend()
        evidence = settled(bench, plan)
        answers = visitor.finish()
        last = [ask(web.url, path) for path in PAGES]
        await_true(bench, NOTHING_WAITS)
        finding = _judge_soak(seconds, faults, measured, answers, last, evidence)
        finding.figures += f"; {mailbox.count()} alerts came, {len(mailbox.missing())} did not"
        finding.problems += [f"the alert {one} was lost" for one in mailbox.missing()]
    return finding


@contextmanager
def _run_by(bench: Bench, pid: int, *, while_stopped: int | None = None) -> Iterator[int]:
    """The process, after its first run: what that takes for good is no growth."""
    has_run = (
        "SELECT EXISTS (SELECT FROM ingestion_run "
        f"WHERE status = 'succeeded' AND split_part(owner, ':', 2) = '{pid}')"
    )
    if while_stopped:
        signal_if_there(while_stopped, signal.SIGSTOP)
    try:
        assert await_true(bench, has_run), f"process {pid} came to no run"
    finally:
        if while_stopped:
            signal_if_there(while_stopped, signal.SIGCONT)
    yield pid


def _judge_soak(
    seconds: float,
    faults: Mapping[str, int],
    measured: Sequence["Measured"],
    answers: Sequence[Answer],
    last: Sequence[Answer],
    evidence: Evidence,
) -> Finding:
    done = ", ".join(f"{count} x {name}" for name, count in sorted(faults.items()))
    refused = sum(one.status == 503 for one in answers)
    figures = (
        f"{done}; {'; '.join(one.figures for one in measured)}; {len(answers)} pages, {refused} of "
        f"them 503; {evidence.figures}"
    )
    finding = Finding(f"soak of {seconds / 60:.0f} minutes", figures, list(evidence.wrong))
    # While PostgreSQL is away a page says so; anything else is wrong, and so it is at the end.
    strange = {(one.path, one.status) for one in answers if one.status not in (200, 503)}
    strange |= {(one.path, one.status) for one in last if one.status != 200}
    finding.problems += [f"{path} answered {status}" for path, status in sorted(strange)]
    for one in measured:
        finding.problems += one.problems
    return finding


class Measured:
    """A process that is never killed: its memory and its open files over the time."""

    def __init__(self, name: str, pid: int) -> None:
        self._name, self._pid = name, pid
        self._sizes: list[tuple[float, int]] = []
        self._is_gone = False

    def look(self) -> None:
        """Note both as they are."""
        try:
            self._sizes.append((memory_mb(self._pid), open_files(self._pid)))
        except OSError:
            self._is_gone = True

    @property
    def growth_pct(self) -> float:
        """How much more memory it takes at the end."""
        return _growth_pct(self._sizes)

    @property
    def more_files(self) -> float:
        """How many files more than usual are open at the end."""
        return self._sizes[-1][1] - _median([files for _, files in self._sizes])

    @property
    def figures(self) -> str:
        """In a few words."""
        return f"{self._name}: memory {self.growth_pct:+.1f} %, files {self.more_files:+.0f}"

    @property
    def problems(self) -> list[str]:
        """What grew too much."""
        found = [f"the {self._name} process has ended"] if self._is_gone else []
        if self.growth_pct > GROWTH_PCT:
            found.append(f"the memory of the {self._name} process grew by {self.growth_pct:.1f} %")
        if self.more_files > FILES_MORE:
            found.append(f"the {self._name} process has {self.more_files:.0f} files more open")
        return found


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

"""The faults in workers and in PostgreSQL: each scenario does one, then asks the oracle."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask
from sqlalchemy import Engine, create_engine, text

from app.domain import Trigger
from app.errors import RunAlreadyActive
from app.extensions import db
from app.services.ticks import run_due_tick
from tests.faults.crew import Crew, crew
from tests.faults.deck import Plan, build
from tests.faults.frozen import OwnPostgres
from tests.faults.oracle import Evidence, examine

SLACK_SECONDS = 5.0
SETTLE_SECONDS = 40.0
DYING_SECONDS = 30.0
POINTS = (
    "tick-claimed",
    "run-opened",
    "run-committed",
    "fetch",
    "mid-fetch",
    "fetched",
    "mid-merge",
    "comparisons",
    "before-close",
    "before-commit",
    "after-commit",
    "cache",
)
_TABLES = (
    "schedule_tick, ingestion_run, market, listing, market_snapshot, market_aggregate, "
    "market_comparison, market_roi_statistic, job_state, schedule_pause, data_version"
)
_ALL_CLOSED = "SELECT count(*) = 0 FROM ingestion_run WHERE status = 'running'"
_pause = threading.Event()


@dataclass(slots=True)
class Finding:
    """What came of a scenario: the fault, its figures, and whatever did not hold."""

    fault: str
    figures: str
    problems: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """True when everything that must hold did."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Bench:
    """A database to spoil, and a folder for the processes that use it."""

    url: str
    folder: Path

    def engine(self) -> Engine:
        """Connections of the observer's own."""
        return create_engine(self.url, pool_pre_ping=True, isolation_level="AUTOCOMMIT")

    def clear(self) -> None:
        """Leave nothing of the scenario before."""
        engine = self.engine()
        with engine.connect() as connection:
            connection.execute(text(f"TRUNCATE {_TABLES} CASCADE"))
        engine.dispose()

    def plan(self, **values: object) -> Plan:
        """How the processes of a scenario are set up."""
        return Plan(url=self.url, folder=self.folder, **values)  # type: ignore[arg-type]


def random_kills(bench: Bench, *, kills: int, every: float = 0.25) -> Finding:
    """Workers killed (SIGKILL) at random moments."""
    bench.clear()
    plan = bench.plan()
    with crew(plan, size=4) as workers:
        while workers.kills < kills:
            _pause.wait(random.uniform(0.2, 1.8) * every)
            workers.kill_one()
        # On a busy machine no run may have got through between the kills.
        await_true(bench, "SELECT EXISTS (SELECT FROM ingestion_run WHERE status = 'succeeded')")
        evidence = settled(bench, plan)
    finding = _finding("worker killed at random", f"{kills} kills; {evidence.figures}", evidence)
    _expect_notice(finding, evidence, plan)
    return finding


def named_points(
    bench: Bench, *, points: Sequence[str] = POINTS, rounds: int = 1, broken: str = ""
) -> Finding:
    """A worker that kills itself at each point; the next one takes the work up."""
    bench.clear()
    plan = bench.plan(broken=broken)
    problems = []
    with crew(plan, size=0) as workers:
        for point in tuple(points) * rounds:
            died = workers.hire(plan.with_failpoint(point))
            died.join(DYING_SECONDS)
            if died.exitcode != -signal.SIGKILL:
                problems.append(f"the point {point} was not reached")
            workers.dismiss()
            workers.hire()
            await_true(bench, _ALL_CLOSED)
            workers.dismiss()
        workers.hire()
        evidence = settled(bench, plan)
    figures = f"{len(points)} points x {rounds}; {evidence.figures}"
    finding = _finding("worker killed at each named point", figures, evidence)
    finding.problems += problems
    return finding


def zombies(bench: Bench, *, rounds: int, broken: str = "") -> Finding:
    """The process of an active run stopped beyond its lease, then continued."""
    bench.clear()
    plan = bench.plan(broken=broken)
    engine = bench.engine()
    with crew(plan, size=3) as workers:
        done, log_length = 0, len(workers.log.read_text()) if workers.log.exists() else 0
        give_up_at = time.monotonic() + 20 + 8 * rounds
        while done < rounds and time.monotonic() < give_up_at:
            done += _stop_owner(engine, workers, plan)
        evidence = settled(bench, plan)
    engine.dispose()
    log = workers.log.read_text()[log_length:]
    # A zombie finds its lease lost, or first its connections ended and then its token void.
    fenced = log.count('"error_class": "lease_lost"') + log.count('"reason": "RunStopped"')
    figures = f"{done} stopped, {fenced} fenced off; {evidence.figures}"
    finding = _finding("worker stopped beyond its lease", figures, evidence)
    if done < rounds:
        finding.problems.append(f"only {done} of {rounds} could be stopped in a run")
    if not broken and not fenced:
        finding.problems.append("no zombie was fenced off, so nothing was shown")
    return finding


def oracle_sees(bench: Bench, *, rounds: int) -> Finding:
    """Two broken builds, in which the oracle must find wrong rows."""
    unfenced: list[str] = []
    for _ in range(3):
        unfenced += zombies(bench, rounds=rounds, broken="no fence").problems
        if unfenced:
            break
    halves = named_points(bench, points=("mid-merge", "comparisons"), broken="commit per row")
    figures = f"fence off: {len(unfenced)} wrong; commit per row: {len(halves.problems)} wrong"
    finding = Finding("the oracle before two broken builds", figures)
    if not any("rows of" in one for one in unfenced):
        finding.problems.append("with the fence off the oracle finds no wrong rows")
    if not any("rows of" in one for one in halves.problems):
        finding.problems.append("with a commit per row the oracle finds no wrong rows")
    return finding


def server_restarts(bench: Bench, server: OwnPostgres, *, restarts: int) -> Finding:
    """PostgreSQL ended at once (immediate shutdown) and started again, runs going on."""
    bench.clear()
    plan = bench.plan()
    with crew(plan, size=3) as workers:
        for _ in range(restarts):
            _pause.wait(random.uniform(0.5, 2.0))
            server.stop_hard()
            server.start()
            workers.tend()
        evidence = settled(bench, plan)
    return _finding(
        "PostgreSQL restarted (immediate)", f"{restarts} restarts; {evidence.figures}", evidence
    )


def server_down_over_ticks(bench: Bench, server: OwnPostgres, *, tick: float = 4.0) -> Finding:
    """PostgreSQL away over two ticks and a half."""
    bench.clear()
    plan = bench.plan(tick=tick)
    with crew(plan, size=3):
        _await(bench, "SELECT count(*) > 0 FROM schedule_tick WHERE status = 'ran'")
        server.stop_hard()
        _pause.wait(2.6 * plan.tick)
        server.start()
        back = time.monotonic()
        _await(bench, "SELECT count(*) > 1 FROM schedule_tick WHERE status = 'ran'")
        late = time.monotonic() - back
        evidence = settled(bench, plan)
    figures = f"newest tick run {late:.1f} s after the return; {evidence.figures}"
    finding = _finding("PostgreSQL away over two ticks", figures, evidence)
    if evidence.ticks.get("missed", 0) < 2:
        finding.problems.append("the older tick is not recorded as missed")
    if late > SLACK_SECONDS:
        finding.problems.append(f"the newest tick was run only after {late:.1f} s")
    return finding


def read_only(bench: Bench) -> Finding:
    """A database that takes no writes for a while."""
    bench.clear()
    plan = bench.plan()
    engine = bench.engine()
    name = engine.url.database
    with crew(plan, size=2), engine.connect() as connection:
        _await(bench, "SELECT count(*) > 0 FROM ingestion_run WHERE status = 'succeeded'")
        for state in ("on", "off"):
            connection.execute(text("SET default_transaction_read_only = off"))
            setting = f'ALTER DATABASE "{name}" SET default_transaction_read_only = {state}'
            connection.execute(text(setting))
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
            _pause.wait(4)
        before = connection.execute(text("SELECT count(*) FROM ingestion_run")).scalar_one()
        _await(bench, f"SELECT count(*) > {int(before) + 1} FROM ingestion_run")
        evidence = settled(bench, plan)
    engine.dispose()
    return _finding("PostgreSQL read-only for 4 s", evidence.figures, evidence)


def claims(bench: Bench, *, rounds: int, clicks: int = 20) -> Finding:
    """Fifty claims of one tick at once, and twenty runs asked for by hand in the same moment."""
    problems, won, refused = [], 0, 0
    for _ in range(rounds):
        bench.clear()
        app = build(bench.plan(tick=3600.0))
        outcomes = _claim_all(app, 50, clicks)
        won += outcomes.count("started")
        refused += len(outcomes) - outcomes.count("started")
        unexpected = set(outcomes) - {"started", "already_ran", "active", "skipped", "refused"}
        problems += [f"unexpected: {one}" for one in unexpected]
        app.extensions["tapedeck"].runner.shutdown(grace_seconds=20)
        with app.app_context():
            db.engine.dispose()
        engine = bench.engine()
        evidence = examine(engine, tick_seconds=None)
        with engine.connect() as connection:
            ticks = connection.execute(text("SELECT count(*) FROM schedule_tick")).scalar_one()
        engine.dispose()
        problems += evidence.wrong
        if ticks != 1:
            problems.append(f"{ticks} rows for one tick")
    figures = f"{rounds} rounds: {won} started, {refused} refused"
    return Finding(f"50 claims of one tick and {clicks} clicks at once", figures, problems)


def _claim_all(app: Flask, ticks: int, clicks: int) -> list[str]:
    house = app.extensions["tapedeck"]
    gate = threading.Barrier(ticks + clicks)
    outcomes: list[str] = []

    def claim() -> str:
        return run_due_tick(db.session, house, trigger=Trigger.CRON).status

    def click() -> str:
        try:
            house.runner.start(trigger=Trigger.MANUAL)
        except RunAlreadyActive:
            return "refused"
        return "started"

    def be(work: Callable[[], str]) -> None:
        gate.wait()
        with app.app_context():
            outcomes.append(work())

    threads = [threading.Thread(target=be, args=(claim,)) for _ in range(ticks)]
    threads += [threading.Thread(target=be, args=(click,)) for _ in range(clicks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def _stop_owner(engine: Engine, workers: Crew, plan: Plan) -> int:
    """Stop whoever works on a run until another took it up; 1 when that was done."""
    query = text("SELECT id, owner, attempt FROM ingestion_run WHERE status = 'running'")
    with engine.connect() as connection:
        run = connection.execute(query).first()
        pid = workers.process(run.owner) if run else None
        if run is None or pid is None:
            _pause.wait(0.01)
            return 0
        os.kill(pid, signal.SIGSTOP)
        after = text("SELECT attempt, status FROM ingestion_run WHERE id = :id")
        # The time that passes is the fault itself: the lease has to run out.
        _pause.wait(plan.lease + random.uniform(0.1, 1.0))
        found = connection.execute(after, {"id": run.id}).one()
        os.kill(pid, signal.SIGCONT)
    return int(found.attempt > run.attempt or found.status != "running")


def settled(bench: Bench, plan: Plan) -> Evidence:
    """The evidence once nothing happens any more: ticks are paused and the last run is over."""
    engine = bench.engine()
    pause = text(
        "INSERT INTO schedule_pause (schedule, paused_at, paused_by, reason) "
        "VALUES ('ingestion', now(), 'oracle', 'the end') ON CONFLICT DO NOTHING"
    )
    with engine.connect() as connection:
        connection.execute(pause)
    for _ in range(2):
        await_true(bench, _ALL_CLOSED)
        _pause.wait(2 * plan.poll)
    evidence = examine(engine, tick_seconds=plan.tick)
    engine.dispose()
    return evidence


def await_true(bench: Bench, condition: str, *, seconds: float = SETTLE_SECONDS) -> bool:
    """Whether the condition came true within the time; asked of the database."""
    engine = bench.engine()
    deadline = time.monotonic() + seconds
    try:
        with engine.connect() as connection:
            while not connection.execute(text(condition)).scalar():
                if time.monotonic() > deadline:
                    return False
                _pause.wait(0.05)
            return True
    finally:
        engine.dispose()


def _await(bench: Bench, condition: str) -> None:
    if not await_true(bench, condition):
        raise AssertionError(f"in vain: {condition}")


def _finding(fault: str, figures: str, evidence: Evidence) -> Finding:
    finding = Finding(fault, figures, list(evidence.wrong))
    if not evidence.runs.get("succeeded"):
        finding.problems.append("no run succeeded, so nothing was shown")
    return finding


def _expect_notice(finding: Finding, evidence: Evidence, plan: Plan) -> None:
    limit = plan.beat + plan.lease + plan.poll + SLACK_SECONDS
    if evidence.slowest_notice > limit:
        finding.problems.append(
            f"a dead run was noticed only after {evidence.slowest_notice:.1f} s"
        )

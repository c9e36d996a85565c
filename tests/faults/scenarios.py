"""The faults in workers: each scenario does one, then asks the oracle."""

import random
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import text

from tests.faults.bench import (
    ALL_CLOSED,
    SLACK_SECONDS,
    Bench,
    Finding,
    await_true,
    expect_true,
    judge,
    settled,
)
from tests.faults.crew import crew
from tests.faults.deck import Plan
from tests.faults.frozen import signal_if_there, state_of
from tests.faults.mailbox import NOTHING_WAITS, Mailbox
from tests.faults.oracle import Evidence
from tests.faults.scenarios_zombies import zombies

DYING_SECONDS = 30.0
# How long a process that stands still in its claim may keep the others waiting.
HELD_SECONDS = 2.0
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
    "mid-webhook",
)
_RAN = "FROM schedule_tick WHERE status = 'ran'"
_pause = threading.Event()


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
    finding = judge("worker killed at random", f"{kills} kills; {evidence.figures}", evidence)
    _expect_notice(finding, evidence, plan)
    return finding


def named_points(
    bench: Bench, *, points: Sequence[str] = POINTS, rounds: int = 1, broken: str = ""
) -> Finding:
    """A worker that kills itself at each point; the next one takes the work up."""
    bench.clear()
    plan = bench.plan(broken=broken)
    problems: list[str] = []
    with Mailbox(bench.engine()) as mailbox, crew(plan, size=0) as workers:
        for point in tuple(points) * rounds:
            is_alert = point == "mid-webhook"
            staff = replace(plan, webhook=mailbox.url) if is_alert else plan
            if is_alert:
                mailbox.queue()
            died = workers.hire(staff.with_failpoint(point))
            died.join(DYING_SECONDS)
            if died.exitcode != -signal.SIGKILL:
                problems.append(f"the point {point} was not reached")
            workers.dismiss()
            workers.hire(staff)
            await_true(bench, ALL_CLOSED)
            if is_alert:
                await_true(bench, NOTHING_WAITS)
            workers.dismiss()
        workers.hire()
        evidence = settled(bench, plan)
        problems += mailbox.losses()
    figures = f"{len(points)} points x {rounds}; {evidence.figures}"
    finding = judge("worker killed at each named point", figures, evidence)
    finding.problems += problems
    return finding


def stopped_in_claim(bench: Bench, *, rounds: int) -> Finding:
    """A worker stopped (SIGSTOP) in the transaction that claims a tick; the others want it too."""
    bench.clear()
    plan = bench.plan()
    late, problems = [], []
    with crew(plan, size=0) as workers:
        for point in ("tick-claimed", "run-opened") * rounds:
            stopped = workers.hire(plan.with_failpoint(f"{point}:1:stop")).pid or 0
            if not _await_stop(stopped):
                problems.append(f"the point {point} was not reached")
            since = time.monotonic()
            workers.hire()
            expect_true(bench, f"SELECT count(*) > {_count_ran(bench)} {_RAN}")
            late.append(time.monotonic() - since)
            signal_if_there(stopped, signal.SIGCONT)
            workers.dismiss()
        workers.hire()
        evidence = settled(bench, plan)
    figures = f"{len(late)} stopped; the next tick ran {max(late):.1f} s after; {evidence.figures}"
    finding = judge("worker stopped while it claims a tick", figures, evidence)
    finding.problems += problems
    if max(late) > HELD_SECONDS + plan.tick + SLACK_SECONDS:
        finding.problems.append(f"the tick was held for {max(late):.1f} s")
    return finding


def _await_stop(pid: int) -> bool:
    give_up_at = time.monotonic() + DYING_SECONDS
    while state_of(pid) not in ("T", "") and time.monotonic() < give_up_at:
        _pause.wait(0.01)
    return state_of(pid) == "T"


def _count_ran(bench: Bench) -> int:
    engine = bench.engine()
    with engine.connect() as connection:
        count = connection.execute(text(f"SELECT count(*) {_RAN}")).scalar_one()
    engine.dispose()
    return int(count)


def oracle_sees(bench: Bench, *, rounds: int) -> Finding:
    """Two broken builds, in which the oracle must find wrong rows."""
    unfenced: list[str] = []
    # A late commit does harm only where it comes after the next attempt's: again until one does.
    for _ in range(8):
        unfenced += zombies(bench, rounds=rounds, broken="no fence").problems
        if any("rows of" in one and "attempts" in one for one in unfenced):
            break
    halves = named_points(bench, points=("mid-merge", "comparisons"), broken="commit per row")
    figures = f"fence off: {len(unfenced)} wrong; commit per row: {len(halves.problems)} wrong"
    finding = Finding("the oracle before two broken builds", figures)
    if not any("rows of" in one and "attempts" in one for one in unfenced):
        finding.problems.append("with the fence off the oracle finds no wrong rows")
    if not any("rows of" in one and "attempts" in one for one in halves.problems):
        finding.problems.append("with a commit per row the oracle finds no wrong rows")
    return finding


def _expect_notice(finding: Finding, evidence: Evidence, plan: Plan) -> None:
    limit = plan.beat + plan.lease + plan.poll + SLACK_SECONDS
    if evidence.slowest_notice > limit:
        finding.problems.append(
            f"a dead run was noticed only after {evidence.slowest_notice:.1f} s"
        )

"""Wall clocks that are wrong or jump, and a scheduler thread that dies, in real workers."""

import os
import threading
import time

from tests.faults.bench import Bench, Finding, expect_true, judge, settled
from tests.faults.crew import crew, log_of
from tests.faults.wrong_clock import BACK, KILL, ON, longest_gap

POLL = 1.0
# The bar. Looks in a row may be this far apart, in polls.
POLLS = 3.0
WATCHED_POLLS = 7
# What is done to a worker in turn: after these its clock is right again.
DEEDS = (
    ("thread killed", KILL),
    ("+1 h", ON),
    ("-1 h", BACK),
    ("-1 h", BACK),
    ("+1 h", ON),
)
_pause = threading.Event()


def clocks(bench: Bench, *, rounds: int) -> Finding:
    """Three workers: one an hour ahead, one an hour behind, one whose clock and thread are struck.

    All three claim the same ticks; how soon the struck one looks for ticks again is its own figure.
    """
    bench.clear()
    plan = bench.plan(tick=2.0, poll=POLL, lease=3.0, beat=0.5)
    polls = bench.folder / "polls"
    gaps: dict[str, float] = {}
    with crew(plan, size=0) as workers:
        for skew in (3600.0, -3600.0):
            workers.hire(bench.plan(tick=2.0, poll=POLL, lease=3.0, beat=0.5, skew=skew))
        struck = workers.hire(
            bench.plan(tick=2.0, poll=POLL, lease=3.0, beat=0.5, polls=str(polls))
        )
        pid = struck.pid or 0
        expect_true(bench, "SELECT count(*) > 1 FROM schedule_tick WHERE status = 'ran'")
        while not polls.exists():
            _pause.wait(0.05)
        for name, number in DEEDS * rounds:
            since = time.monotonic()
            os.kill(pid, number)
            _pause.wait(WATCHED_POLLS * POLL)
            gap = longest_gap(polls, since, time.monotonic()) / POLL
            gaps[name] = max(gap, gaps.get(name, 0.0))
        evidence = settled(bench, plan)
    died = log_of(plan.folder, pid).read_text().count('"event": "scheduler thread died"')
    times = "; ".join(f"{name}: {gap:.1f} polls" for name, gap in gaps.items())
    finding = judge(
        "clock +1 h, -1 h; scheduler thread killed",
        f"longest without a look: {times}; {evidence.figures}",
        evidence,
    )
    finding.problems += [
        f"after {name} nobody looked for {gap:.1f} polls"
        for name, gap in gaps.items()
        if gap > POLLS
    ]
    if died != rounds:
        finding.problems.append(f"the thread died {died} times, and was killed {rounds} times")
    # The tick before the first worker came is missed; no other may be.
    if evidence.ticks.get("missed", 0) > 1:
        finding.problems.append(f"{evidence.ticks['missed']} ticks were missed")
    return finding

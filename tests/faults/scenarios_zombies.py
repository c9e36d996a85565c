"""Processes stopped beyond the lease of their run and continued: what they still try is refused."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from tests.faults.bench import Bench, Finding, judge, settled
from tests.faults.crew import Crew, crew, log_of
from tests.faults.deck import Plan

NOTICE_SECONDS = 15.0
_ACTIVE = text("SELECT id, owner, attempt FROM ingestion_run WHERE status = 'running'")
_STATE = text("""
    SELECT r.attempt, r.status, EXISTS (
        SELECT FROM lost_attempt l WHERE l.run_id = r.id AND l.attempt = :attempt) AS is_lost
    FROM ingestion_run r WHERE r.id = :id
""")
_LOSSES = text("""
    SELECT l.run_id, l.attempt, l.owner, l.noticed_by, l.silent_since < l.noticed_at AS is_late
    FROM lost_attempt l
""")
# The ways in which an attempt that lost its run ends: it hears of it from the heartbeat or at the
# commit, or it finds its connections ended and then, closing the run as failed, its token void. One
# that stood still in the commit of its claim never hears that it has a run, and begins none.
NEVER_BEGUN = "never begun"
REFUSALS = ("lease lost", "not closed", NEVER_BEGUN)
_pause = threading.Event()


@dataclass(frozen=True, slots=True)
class Zombie:
    """An attempt whose process was stopped until another noticed that it was gone."""

    run_id: UUID
    attempt: int
    owner: str
    pid: int


def zombies(bench: Bench, *, rounds: int, broken: str = "") -> Finding:
    """The process of an active run stopped beyond its lease, then continued."""
    bench.clear()
    plan = bench.plan(broken=broken)
    engine = bench.engine()
    stopped: list[Zombie] = []
    with crew(plan, size=3) as workers:
        give_up_at = time.monotonic() + 20 + 8 * rounds
        while len(stopped) < rounds and time.monotonic() < give_up_at:
            stopped += _stop_owner(engine, workers, plan)
        evidence = settled(bench, plan)
    ends = [_end_of(plan.folder, zombie) for zombie in stopped]
    problems = _wrong_ends(stopped, ends) + _wrong_rows(engine, stopped)
    engine.dispose()
    ways = ", ".join(f"{ends.count(way)} {way}" for way in REFUSALS)
    fenced = sum(end in REFUSALS for end in ends)
    figures = f"{len(stopped)} stopped, {fenced} fenced off ({ways}); {evidence.figures}"
    finding = judge("worker stopped beyond its lease", figures, evidence)
    finding.problems += problems
    if len(stopped) < rounds:
        finding.problems.append(f"only {len(stopped)} of {rounds} could be stopped in a run")
    return finding


def _stop_owner(engine: Engine, workers: Crew, plan: Plan) -> list[Zombie]:
    """Stop whoever works on a run until its attempt is noticed as lost; none if that failed."""
    with engine.connect() as connection:
        run = connection.execute(_ACTIVE).first()
        pid = workers.process(run.owner) if run else None
        if run is None or pid is None:
            _pause.wait(0.01)
            return []
        os.kill(pid, signal.SIGSTOP)
        # The time that passes is the fault itself: the lease has to run out.
        _pause.wait(plan.lease + random.uniform(0.1, 1.0))
        give_up_at = time.monotonic() + NOTICE_SECONDS
        values = {"id": run.id, "attempt": run.attempt}
        # One that had closed its run before it stood still is no zombie, and nobody misses it.
        while not (found := connection.execute(_STATE, values).one()).is_lost:
            if found.status != "running" or time.monotonic() > give_up_at:
                break
            _pause.wait(0.02)
        os.kill(pid, signal.SIGCONT)
    return [Zombie(run.id, run.attempt, run.owner, pid)] if found.is_lost else []


def _wrong_ends(stopped: Sequence[Zombie], ends: Sequence[str]) -> list[str]:
    return [
        f"the stopped attempt {zombie.attempt} of run {zombie.run_id} ended so: {end}"
        for zombie, end in zip(stopped, ends, strict=True)
        if end not in REFUSALS
    ]


def _wrong_rows(engine: Engine, stopped: Sequence[Zombie]) -> list[str]:
    """Every lost attempt has a row: who lost it, since when, and another who noticed."""
    with engine.connect() as connection:
        rows = {(one.run_id, one.attempt): one for one in connection.execute(_LOSSES)}
    wrong = []
    for zombie in stopped:
        row = rows.get((zombie.run_id, zombie.attempt))
        is_told = row is not None and row.owner == zombie.owner and row.is_late
        if row is None or not is_told or row.noticed_by in ("", zombie.owner):
            wrong.append(f"run {zombie.run_id} does not say why attempt {zombie.attempt} ended")
    return wrong


def _end_of(folder: Path, zombie: Zombie) -> str:
    """What the process said of the attempt's end; one of `REFUSALS` where it was fenced off."""
    end, is_mine = NEVER_BEGUN, False
    for line in _lines(log_of(folder, zombie.pid)):
        if line.get("run_id") != str(zombie.run_id):
            continue
        if line["event"] == "run started":
            is_mine = line["attempt"] == zombie.attempt
            end = "it said nothing" if is_mine else end
        elif is_mine:
            end = _told(line) or end
    return end


def _told(line: Mapping[str, Any]) -> str:
    match line["event"]:
        case "run finished" | "run handed over":
            return str(line["event"])
        case "run failed" if line["error_class"] == "lease_lost":
            return "lease lost"
        case "run failed":
            return f"failed and closed ({line['error_class']})"
        case "run not closed":
            return "not closed"
    return ""


def _lines(log: Path) -> list[dict[str, Any]]:
    lines = log.read_text().splitlines()
    # Some other program's words may stand between ours.
    return [json.loads(line) for line in lines if line.startswith('{"timestamp"')]

"""Deploys in the middle of a run: a reload, one worker ended, workers recycled after requests."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, text

from tests.faults.bench import Bench, Finding, expect_true, judge, settled
from tests.faults.frozen import await_end, signal_if_there
from tests.faults.instance import Instance, instance
from tests.faults.oracle import Evidence
from tests.faults.visitor import Regular

TICK, RUN_SECONDS = 2.0, 1.0
# Seconds of grace, and whether that is enough for the run to finish.
GRACES = ((20, True), (0, False))
_ACTIVE = text("SELECT id, owner FROM ingestion_run WHERE status = 'running' AND attempt = 1")
_OUTCOME = text("SELECT status, attempt FROM ingestion_run WHERE id = :id")
_pause = threading.Event()


@dataclass(frozen=True, slots=True)
class Struck:
    """The run that was active when its process was asked to end, as it ended."""

    status: str
    attempt: int


def reloads(
    bench: Bench, *, rounds: int, workers: int = 2, graces: Sequence[tuple[int, bool]] = GRACES
) -> Finding:
    """HUP to the master, and TERM to the worker of the run; with time to finish it, and without."""
    fault = "HUP, and TERM of one worker, in mid-run"
    parts: list[str] = []
    problems: list[str] = []
    evidence = Evidence()
    for grace, is_finished in graces:
        struck, evidence = _strike(bench, rounds, grace, workers)
        first = sum(one.attempt == 1 for one in struck)
        parts.append(f"grace {grace} s: {first} of {len(struck)} finished where they were")
        problems += evidence.wrong + [
            f"with a grace time of {grace} s a run ended {one.status} at attempt {one.attempt}"
            for one in struck
            if one.status != "succeeded" or (is_finished and one.attempt > 1)
        ]
        if not is_finished and first == len(struck):
            problems.append("no run was cut short, so nothing was shown")
        parts.append(evidence.figures)
    return Finding(fault, "; ".join(parts), problems)


def recycling(bench: Bench, *, recycled: int, workers: int = 2) -> Finding:
    """Every worker makes way for another after 20 requests, and requests keep coming."""
    bench.clear()
    seen: set[int] = set()
    arguments = ("--max-requests", "20", "--max-requests-jitter", "10")
    with instance(
        bench,
        tick=TICK,
        workers=workers,
        grace=20,
        thinking=(0.5, RUN_SECONDS),
        arguments=arguments,
    ) as web:
        visitor = Regular(web.url, ["/healthz", "/api/runs"])
        visitor.start()
        give_up_at = time.monotonic() + 60 + 10 * recycled
        while len(seen) < recycled + workers and time.monotonic() < give_up_at:
            seen.update(web.workers())
            _pause.wait(0.2)
        expect_true(bench, "SELECT count(*) > 1 FROM ingestion_run WHERE status = 'succeeded'")
        answers = visitor.finish()
        evidence = settled(bench, bench.plan(tick=TICK, poll=0.5, lease=3.0))
    refused = [one for one in answers if one.status != 200]
    figures = (
        f"{len(seen)} workers in turn; {len(answers)} requests, {len(refused)} not answered; "
        f"{evidence.figures}"
    )
    finding = judge("workers recycled after 20 requests", figures, evidence)
    if len(seen) < recycled + workers:
        finding.problems.append(f"only {len(seen)} workers were seen")
    unfinished = {status: n for status, n in evidence.runs.items() if status != "succeeded"}
    if unfinished:
        finding.problems.append(f"runs that did not succeed: {unfinished}")
    return finding


def _strike(bench: Bench, rounds: int, grace: int, workers: int) -> tuple[list[Struck], Evidence]:
    bench.clear()
    engine = bench.engine()
    struck = []
    thinking = (RUN_SECONDS, RUN_SECONDS)
    with instance(bench, tick=TICK, workers=workers, grace=grace, thinking=thinking) as web:
        for number in range(rounds):
            blow = _hang_up if number % 2 == 0 else _end_worker
            struck.append(_strike_once(engine, web, blow))
        evidence = settled(bench, bench.plan(tick=TICK, poll=0.5, lease=3.0))
    engine.dispose()
    return struck, evidence


def _strike_once(engine: Engine, web: Instance, blow: Callable[[Instance, int], None]) -> Struck:
    """Wait for a run, strike its process, wait for both to end."""
    with engine.connect() as connection:
        while (run := connection.execute(_ACTIVE).first()) is None:
            _pause.wait(0.02)
        owner = int(run.owner.split(":")[1])
        blow(web, owner)
        await_end(owner)
        while (found := connection.execute(_OUTCOME, {"id": run.id}).one()).status == "running":
            _pause.wait(0.02)
    return Struck(found.status, found.attempt)


def _hang_up(web: Instance, owner: int) -> None:
    os.kill(web.master.pid, signal.SIGHUP)


def _end_worker(web: Instance, owner: int) -> None:
    signal_if_there(owner, signal.SIGTERM)

"""Many claims of one tick and many clicks at one moment: one starts, all others are told so."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.domain import Trigger
from app.errors import AppError, RunAlreadyActive
from app.extensions import db
from app.services.ticks import run_due_tick
from tests.faults.bench import Bench, Finding
from tests.faults.crew import apart
from tests.faults.deck import Plan, Signed, build
from tests.faults.oracle import examine

CLAIMS, CLICKS = 50, 20


@dataclass(frozen=True, slots=True)
class Reply:
    """What one of them was told: who asked (tick, click), the answer, and the run it names."""

    who: str
    status: str
    run_id: str


def claims(bench: Bench, *, rounds: int) -> Finding:
    """Fifty claims of one tick at once, and twenty runs asked for by hand in the same moment."""
    told: Counter[str] = Counter()
    problems: list[str] = []
    for _ in range(rounds):
        bench.clear()
        # The lease is longer than any round, since nobody is there to take the run up.
        replies = apart(ask_at_once, bench.plan(tick=3600.0, lease=60.0), CLAIMS, CLICKS)
        told.update(f"{one.who} {one.status}" for one in replies)
        problems += wrong_replies(replies) + _wrong_tables(bench)
    started = told["tick started"] + told["click started"]
    rest = ", ".join(f"{count} x {what}" for what, count in sorted(told.items()))
    figures = f"{rounds} rounds: {started} started, {told.total() - started} refused ({rest})"
    return Finding(f"{CLAIMS} claims of one tick and {CLICKS} clicks at once", figures, problems)


def wrong_replies(replies: Sequence[Reply]) -> list[str]:
    """What is wrong about the answers of one round.

    Exactly one is told that it started. Where that is a claim of the tick, all other claims hear
    that the tick ran already; where it is a click, one claim records that the tick is skipped and
    the others find it so. Every other click is refused, and whoever is told a run is told that one.
    """
    told = Counter(f"{one.who} {one.status}" for one in replies)
    by_tick = {"tick started": 1, "tick already_ran": CLAIMS - 1, "click refused": CLICKS}
    by_click = {
        "click started": 1,
        "click refused": CLICKS - 1,
        "tick active": 1,
        "tick skipped": CLAIMS - 1,
    }
    if told not in (Counter(by_tick), Counter(by_click)):
        return [f"the answers of a round were {dict(told)}"]
    named = {one.run_id for one in replies if one.run_id}
    return [] if len(named) == 1 else [f"the answers of a round name {len(named)} runs"]


def _wrong_tables(bench: Bench) -> list[str]:
    engine = bench.engine()
    evidence = examine(engine, tick_seconds=None)
    with engine.connect() as connection:
        ticks = connection.execute(text("SELECT count(*) FROM schedule_tick")).scalar_one()
    engine.dispose()
    wrong = list(evidence.wrong)
    if evidence.runs != {"succeeded": 1}:
        wrong.append(f"a round made the runs {evidence.runs}")
    if ticks != 1:
        wrong.append(f"{ticks} rows for one tick")
    return wrong


def ask_at_once(plan: Plan, claims: int, clicks: int) -> list[Reply]:
    """The answers to so many claims and clicks, made by threads of one process at one moment."""
    app = build(plan)
    house = app.extensions["tapedeck"]
    gate = threading.Barrier(claims + clicks)
    replies: list[Reply] = []
    # The run goes on until everybody had an answer, so that no late one finds the place free.
    Signed.held = threading.Event()

    def claim() -> Reply:
        outcome = run_due_tick(db.session, house, trigger=Trigger.CRON)
        return Reply("tick", outcome.status, outcome.run_id)

    def click() -> Reply:
        try:
            return Reply("click", "started", house.runner.start(trigger=Trigger.MANUAL))
        except RunAlreadyActive as active:
            return Reply("click", "refused", active.run_id)

    def be(ask: Callable[[], Reply]) -> None:
        gate.wait()
        with app.app_context():
            try:
                replies.append(ask())
            except (AppError, SQLAlchemyError) as error:
                replies.append(Reply("somebody", f"got {str(error).splitlines()[0]}", ""))

    threads = [threading.Thread(target=be, args=(claim,)) for _ in range(claims)]
    threads += [threading.Thread(target=be, args=(click,)) for _ in range(clicks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Signed.held.set()
    house.runner.shutdown(grace_seconds=20)
    return replies

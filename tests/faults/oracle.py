"""What must be true of the tables whatever died: one run a tick, whole data or none, all closed."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, text

from tests.faults.deck import EverySeconds
from tests.faults.oracle_rows import wrong_rows

_RUNS = "SELECT id, status, attempt, error_message FROM ingestion_run WHERE trigger <> 'cli'"
_DOUBLE = """
    SELECT due_at FROM ingestion_run WHERE due_at IS NOT NULL GROUP BY due_at HAVING count(*) > 1
"""
_OVERLAPS = """
    SELECT id, later FROM (
        SELECT id, finished_at, lead(id) OVER w AS later, lead(started_at) OVER w AS next_at
        FROM ingestion_run WHERE trigger <> 'cli' WINDOW w AS (ORDER BY started_at, id)) r
    WHERE next_at < coalesce(finished_at, 'infinity')
"""
# A run of a tick is the one that the tick's row names, and no other kind of row names one.
_STRANGERS = """
    SELECT r.id, r.due_at, coalesce(t.status, 'not there') AS status
    FROM ingestion_run r LEFT JOIN schedule_tick t ON t.due_at = r.due_at
    WHERE r.due_at IS NOT NULL AND (t.status IS DISTINCT FROM 'ran' OR t.run_id <> r.id)
    UNION ALL
    SELECT t.run_id, t.due_at, t.status FROM schedule_tick t
    WHERE t.status <> 'ran' AND t.run_id IS NOT NULL
"""
_TICKS = "SELECT due_at, status, run_id, reason FROM schedule_tick ORDER BY due_at"
_LATENESS = """
    SELECT coalesce(max(extract(epoch FROM noticed_at - silent_since)), 0)::float,
           coalesce(percentile_cont(0.5) WITHIN GROUP
                    (ORDER BY extract(epoch FROM noticed_at - silent_since)), 0)::float
    FROM lost_attempt
"""


@dataclass(slots=True)
class Evidence:
    """What the tables show: the faults found, in words, and what there was to look at."""

    wrong: list[str] = field(default_factory=list)
    ticks: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    lost_attempts: int = 0
    slowest_notice: float = 0.0
    median_notice: float = 0.0

    @property
    def figures(self) -> str:
        """In one line."""
        ticks = ", ".join(f"{count} {status}" for status, count in sorted(self.ticks.items()))
        runs = ", ".join(f"{count} {status}" for status, count in sorted(self.runs.items()))
        return (
            f"ticks: {ticks}; runs: {runs}; lost attempts {self.lost_attempts}, noticed after "
            f"{self.median_notice:.1f} s (median), {self.slowest_notice:.1f} s (most); "
            f"{len(self.wrong)} wrong"
        )


def examine(engine: Engine, *, tick_seconds: float | None) -> Evidence:
    """Judge everything that is stored; without `tick_seconds` gaps between ticks are not judged."""
    found = Evidence()
    with engine.connect() as connection:
        _judge_runs(connection, found)
        _judge_ticks(connection, found, tick_seconds)
        found.wrong += wrong_rows(connection)
        doubles = connection.execute(text(_DOUBLE)).scalars().all()
        found.wrong += [f"two runs for the tick of {due_at}" for due_at in doubles]
        for one in connection.execute(text(_OVERLAPS)):
            found.wrong.append(f"run {one.id} and run {one.later} were active at once")
        for one in connection.execute(text(_STRANGERS)):
            found.wrong.append(f"run {one.id}: the row of its tick {one.due_at} is {one.status}")
        slowest, median = connection.execute(text(_LATENESS)).one()
        found.slowest_notice, found.median_notice = slowest, median
        lost = text("SELECT count(*) FROM lost_attempt")
        found.lost_attempts = connection.execute(lost).scalar_one()
    return found


def _judge_runs(connection: Connection, found: Evidence) -> None:
    for run in connection.execute(text(_RUNS)):
        found.runs[run.status] = found.runs.get(run.status, 0) + 1
        found.attempts = max(found.attempts, run.attempt)
        if run.status == "running":
            found.wrong.append(f"run {run.id} is not closed")
        if run.status in ("failed", "abandoned") and not run.error_message:
            found.wrong.append(f"run {run.id} {run.status} says no reason")


def _judge_ticks(connection: Connection, found: Evidence, tick_seconds: float | None) -> None:
    ticks: list[Any] = list(connection.execute(text(_TICKS)))
    for tick in ticks:
        found.ticks[tick.status] = found.ticks.get(tick.status, 0) + 1
        if tick.status == "ran" and tick.run_id is None:
            found.wrong.append(f"the tick of {tick.due_at} ran, but there is no run")
        if tick.status != "ran" and not tick.reason:
            found.wrong.append(f"the tick of {tick.due_at} is {tick.status} without a reason")
    if ticks and tick_seconds:
        due = EverySeconds(tick_seconds).due_between(
            ticks[0].due_at, ticks[-1].due_at, limit=100_000
        )
        missing = {ticks[0].due_at, *due} - {tick.due_at for tick in ticks}
        found.wrong += [f"the tick of {due_at} has no row" for due_at in sorted(missing)]

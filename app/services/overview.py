"""The first page: is the data good now, why not, what ran last and what runs next."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from app.database.base import AnySession
from app.domain import RunStatus
from app.services.house import House
from app.services.runs import EXPECTED_MS, RUN_COLUMNS, build_run
from app.services.views import HealthState, Overview, RunView

RECENT_RUNS = 20
# Data may be this many schedule intervals old before it counts as late.
LATE_AFTER_INTERVALS = 2
_RECENT = f"""
    {RUN_COLUMNS}, '[]'::jsonb AS problems,
    CASE WHEN status = 'running' THEN {EXPECTED_MS} END AS expected_ms
    FROM ingestion_run ORDER BY started_at DESC, id DESC LIMIT :limit
"""
_FRESHNESS = """
    SELECT count(*) AS market_count, max(s.observed_at) AS newest,
           (array_agg(m.symbol ORDER BY s.observed_at))[1] AS oldest_symbol,
           min(s.observed_at) AS oldest
    FROM market m JOIN listing l ON l.market_id = m.id AND l.provider = :provider
    CROSS JOIN LATERAL (
        SELECT observed_at FROM market_snapshot s
        WHERE s.market_id = l.market_id AND s.provider = l.provider
        ORDER BY observed_at DESC LIMIT 1
    ) s
"""


def load_overview(session: AnySession, house: House) -> Overview:
    """The state of the data in two queries."""
    settings = house.settings
    rows = session.execute(text(_RECENT), {"limit": RECENT_RUNS}).mappings()
    runs = tuple(build_run(row) for row in rows)
    finished = [run for run in runs if not run.is_active]
    fresh = session.execute(text(_FRESHNESS), {"provider": settings.ingestion_provider}).one()
    now = house.clock()
    schedule = settings.schedule
    return Overview(
        state=judge(finished, fresh, now=now, limit=freshness_limit(house, now)),
        active_run=next((run for run in runs if run.is_active), None),
        last_run=finished[0] if finished else None,
        recent_runs=tuple(finished),
        next_tick_at=schedule.next_after(now) if settings.scheduler_enabled else None,
        schedule_expression=settings.ingestion_cron_expression,
        schedule_words=schedule.describe(),
        schedule_timezone=settings.ingestion_cron_timezone,
        scheduler_enabled=settings.scheduler_enabled,
        provider=settings.ingestion_provider,
        cache_mode=house.cache_state().mode,
        market_count=fresh.market_count,
    )


def freshness_limit(house: House, now: datetime) -> timedelta:
    """How old data may be: two intervals of the schedule around now, at least ten minutes."""
    upcoming = house.settings.schedule.upcoming(now)
    interval = -(next(upcoming) - next(upcoming))
    return max(interval * LATE_AFTER_INTERVALS, timedelta(minutes=10))


def judge(finished: list[RunView], fresh: Any, *, now: datetime, limit: timedelta) -> HealthState:
    """The state in one word, one headline and the reason for it."""
    if not finished and not fresh.market_count:
        return HealthState("empty", "Nothing has been collected yet", "No run has finished so far.")
    failed = _failed_in_a_row(finished)
    cause = _cause(finished, failed)
    if fresh.newest is None:
        return HealthState("failing", "There is no data", cause or "No snapshot is stored.")
    age = now - fresh.newest
    if age > limit:
        headline = f"Data is {format_age(age)} old, limit {format_age(limit)}"
        level = "failing" if failed else "late"
        return HealthState(level, headline, cause or "No run has brought newer data.")
    if failed:
        headline = f"Data is {format_age(age)} old and still within {format_age(limit)}"
        return HealthState("failing", headline, cause)
    oldest = now - fresh.oldest
    if oldest > limit:
        reason = f"{fresh.oldest_symbol} is {format_age(oldest)} old, limit {format_age(limit)}."
        return HealthState("late", "Some markets are late", reason)
    return HealthState(
        "good",
        f"Data is good: {fresh.market_count} markets, newest {format_age(age)} old",
        _partial_reason(finished),
    )


def format_age(age: timedelta) -> str:
    """An age in its largest fitting unit: 42 s, 17 min, 3 h, 5 d."""
    seconds = max(0, int(age.total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _failed_in_a_row(finished: list[RunView]) -> int:
    bad = (RunStatus.FAILED, RunStatus.ABANDONED)
    count = 0
    for run in finished:
        if run.status not in bad:
            break
        count += 1
    return count


def _cause(finished: list[RunView], failed: int) -> str:
    if not failed:
        return ""
    runs = "The last run" if failed == 1 else f"The last {failed} runs"
    return f"{runs} failed: {finished[0].error_message or 'no reason is known.'}"


def _partial_reason(finished: list[RunView]) -> str:
    last = finished[0] if finished else None
    if last is None or last.status is not RunStatus.PARTIAL:
        return ""
    parts = []
    if last.problem_count:
        parts.append(f"{last.problem_count} markets could not be served")
    if last.counts.rejected:
        parts.append(f"{last.counts.rejected} rows were set aside")
    return f"The last run was partial: {' and '.join(parts)}."

"""The first page: is the data good now, why not, what ran last and what runs next."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from app.database.base import AnySession
from app.ingestion.tick_row import INGESTION
from app.models.followed import FOLLOWED_AGES
from app.services.followed import followed_values
from app.services.house import House
from app.services.job_states import INGEST, QUIET_SECONDS
from app.services.runs import EXPECTED_MS, RUN_COLUMNS, build_run
from app.services.stall import stalled_for
from app.services.state_sentence import FreshnessFacts, judge
from app.services.views import AlertLine, Overview, SchedulePauseView

RECENT_RUNS = 50
ALERTS_SHOWN = 3
# Data may be this many schedule intervals old before it counts as late.
LATE_AFTER_INTERVALS = 2
_RECENT = f"""
    {RUN_COLUMNS}, '[]'::jsonb AS problems,
    CASE WHEN status = 'running' THEN {EXPECTED_MS} END AS expected_ms
    FROM ingestion_run ORDER BY started_at DESC, id DESC LIMIT :limit
"""
_FRESHNESS = f"""
    WITH {FOLLOWED_AGES}
    SELECT (SELECT count(*) FROM alert WHERE state = 'firing') AS alert_count,
           (SELECT jsonb_agg(a) FROM (
                SELECT o.severity, o.title AS headline, o.fired_at, z.until_at AS snoozed_until
                FROM alert o LEFT JOIN alert_snooze z
                     ON z.rule = o.rule AND z.subject = o.subject AND z.until_at > :now
                WHERE o.state = 'firing'
                ORDER BY z.until_at IS NOT NULL,
                         CASE o.severity WHEN 'critical' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END,
                         o.fired_at DESC, o.id DESC LIMIT :alerts_shown) a) AS alerts,
           (SELECT to_jsonb(p) FROM schedule_pause p
            WHERE p.schedule = :schedule AND (p.until_at IS NULL OR p.until_at > :now)) AS pause,
           (SELECT {QUIET_SECONDS} FROM job_state WHERE name = :ingest_job) AS quiet_seconds,
           f.followed_count, f.market_count, f.newest, f.oldest, f.late_count,
           (SELECT min(m.symbol) FROM unnest(f.late_ids, f.late_at) late (id, observed_at)
            JOIN market m ON m.id = late.id WHERE late.observed_at = f.oldest) AS oldest_symbol
    FROM (
        SELECT count(*) AS followed_count, count(observed_at) AS market_count,
               max(observed_at) AS newest, min(observed_at) AS oldest,
               count(*) FILTER (WHERE observed_at < :late_before) AS late_count,
               array_agg(market_id) FILTER (WHERE observed_at < :late_before) AS late_ids,
               array_agg(observed_at) FILTER (WHERE observed_at < :late_before) AS late_at
        FROM newest_snapshot
    ) f
"""  # noqa: S608 - the inner statement is a constant


def load_overview(session: AnySession, house: House) -> Overview:
    """The state of the data in two queries."""
    settings = house.settings
    rows = session.execute(text(_RECENT), {"limit": RECENT_RUNS}).mappings()
    runs = tuple(build_run(row) for row in rows)
    finished = [run for run in runs if not run.is_active]
    now = house.clock()
    limit = freshness_limit(house, now)
    values = followed_values(settings) | {"late_before": now - limit}
    values |= {"schedule": INGESTION, "now": now, "alerts_shown": ALERTS_SHOWN}
    values["ingest_job"] = INGEST
    fresh = session.execute(text(_FRESHNESS), values).one()
    facts = FreshnessFacts(
        fresh.market_count,
        fresh.late_count,
        fresh.newest,
        fresh.oldest,
        fresh.oldest_symbol,
        followed_count=max(fresh.followed_count, len(values["symbols"])),
    )
    pause = _pause(fresh.pause)
    quiet = stalled_for(house, fresh.quiet_seconds, now=now)
    schedule = settings.schedule
    return Overview(
        state=judge(finished, facts, now=now, limit=limit, pause=pause, quiet=quiet),
        active_run=next((run for run in runs if run.is_active), None),
        last_run=finished[0] if finished else None,
        recent_runs=tuple(finished),
        next_tick_at=schedule.next_after(now) if settings.scheduler_enabled else None,
        schedule_expression=settings.ingestion_cron_expression,
        schedule_words=schedule.describe(),
        schedule_timezone=settings.ingestion_cron_timezone,
        scheduler_enabled=settings.scheduler_enabled,
        provider=settings.ingestion_provider,
        cache=house.cache_state(),
        market_count=fresh.market_count,
        alert_count=fresh.alert_count,
        alerts=tuple(map(_alert, fresh.alerts or ())),
        pause=pause,
    )


def freshness_limit(house: House, now: datetime) -> timedelta:
    """How old data may be: two intervals of the schedule, at least ten minutes.

    The interval is the longer of those around now and before it: over a weekend without ticks, and
    while the first run after it works, Friday's data is as good as it can be.
    """
    schedule = house.settings.schedule
    latest = schedule.latest_until(now)
    before = schedule.latest_until(latest - timedelta(seconds=1))
    interval = max(schedule.next_after(now) - latest, latest - before)
    return max(interval * LATE_AFTER_INTERVALS, timedelta(minutes=10))


def _alert(row: dict[str, Any]) -> AlertLine:
    until = datetime.fromisoformat(row["snoozed_until"]) if row["snoozed_until"] else None
    fired_at = datetime.fromisoformat(row["fired_at"])
    return AlertLine(row["severity"], row["headline"], fired_at, until)


def _pause(row: dict[str, Any] | None) -> SchedulePauseView | None:
    if row is None:
        return None
    until = datetime.fromisoformat(row["until_at"]) if row["until_at"] else None
    paused_at = datetime.fromisoformat(row["paused_at"])
    return SchedulePauseView(row["paused_by"], row["reason"], until, paused_at)

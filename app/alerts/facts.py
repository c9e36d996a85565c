"""What the rules are judged on, read from the database in a few bounded queries."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from app.alerts.judging import TICKS_COUNTED, MarketFact, RunFact, ScheduleFact, SignalFact
from app.cron import CronSchedule
from app.domain import DAY, EPOCH_MONDAY, HOUR, Granularity, RunStatus
from app.logs import redact
from app.models.followed import FOLLOWED_NEWEST

RUNS_AT_ONCE = 500
# What finished so shortly before the clock was found to be set back may be new. If it is not: a run
# that is judged twice in a row is no news the second time.
MAY_BE_NEW = timedelta(seconds=15)
MARKETS_AT_ONCE = 10_000
# Three looks of the slowest scheduler that the settings allow.
SIGNAL_SECONDS = 180
_RUN = """
    SELECT r.id, r.provider, r.status, r.started_at, r.finished_at, r.duration_ms,
           r.symbols = '{}' AS is_full, r.fetched, r.rejected, r.problem_count, r.error_message,
           m.median_ms, m.median_of
    FROM ingestion_run r
    CROSS JOIN LATERAL (
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY d.duration_ms) AS median_ms,
               count(*) AS median_of
        FROM (SELECT p.duration_ms FROM ingestion_run p
              WHERE p.status IN ('succeeded', 'partial') AND p.provider = r.provider
                AND p.symbols = '{}' AND p.trigger <> 'backfill' AND p.started_at < r.started_at
              ORDER BY p.started_at DESC LIMIT 20) d
    ) m
    WHERE r.finished_at IS NOT NULL AND r.provider = :provider AND r.trigger <> 'backfill'
"""
# One run at a time: whoever started later finished later too.
_NEW_RUNS = f"""
    {_RUN} AND r.started_at > :after AND NOT r.id = ANY(:ahead) ORDER BY r.started_at LIMIT :limit
"""
_REWIND = """
    SELECT (SELECT max(started_at) FROM ingestion_run
            WHERE provider = :provider AND started_at <= :now AND finished_at <= :settled) AS until,
           ARRAY(SELECT id FROM ingestion_run
                 WHERE provider = :provider AND started_at > :now AND started_at <= :until
                   AND finished_at IS NOT NULL) AS ahead
"""
_LAST_RUN = f"{_RUN} ORDER BY r.started_at DESC LIMIT 1"
_MARKETS = f"""
    WITH {FOLLOWED_NEWEST}
    SELECT f.symbol, f.asset_type, f.observed_at, c.first_at, c.present
    FROM newest_snapshot f
    CROSS JOIN LATERAL (
        SELECT (SELECT opened_at FROM market_aggregate
                WHERE market_id = f.market_id AND provider = :provider AND granularity = 'hourly'
                ORDER BY opened_at LIMIT 1) AS first_at,
               (SELECT count(*) FROM market_aggregate
                WHERE market_id = f.market_id AND provider = :provider AND granularity = 'hourly'
                  AND opened_at >= :start AND opened_at < :end) AS present
    ) c
    LIMIT :limit
"""  # noqa: S608 - the inner statement stands above
_SCHEDULE = """
    WITH success AS (
        SELECT max(finished_at) AS at FROM (
            SELECT finished_at FROM ingestion_run
            WHERE status IN ('succeeded', 'partial') AND provider = :provider AND symbols = '{}'
              AND trigger <> 'backfill' AND started_at <= :now AND finished_at <= :now
            ORDER BY started_at DESC LIMIT 20) d
    )
    SELECT success.at AS success_at,
           coalesce(
               success.at,
               (SELECT min(started_at) FROM ingestion_run
                WHERE provider = :provider AND started_at <= :now),
               (SELECT max(started_at) FROM ingestion_run WHERE started_at <= :now)) AS since_at,
           p.paused_at, coalesce(p.paused_by, '') AS paused_by
    FROM success LEFT JOIN schedule_pause p
         ON p.schedule = :schedule AND (p.until_at IS NULL OR p.until_at > :now)
"""
_SIGNALS = """
    SELECT s.kind, s.subject, s.detail, EXISTS (
        SELECT FROM ingestion_run r
        WHERE r.provider = s.subject AND r.status = 'succeeded' AND r.started_at > s.since_at
          AND r.started_at <= clock_timestamp()
    ) AS succeeded_since
    FROM alert_signal s
    WHERE s.reported_at > clock_timestamp() - make_interval(secs => :seconds)
    ORDER BY s.kind, s.subject, s.source
"""
_REPORT = """
    INSERT INTO alert_signal (kind, subject, source, detail)
    VALUES (:kind, :subject, :source, :detail)
    ON CONFLICT (kind, subject, source) DO UPDATE
    SET detail = excluded.detail, reported_at = clock_timestamp()
"""
_WITHDRAW = """
    DELETE FROM alert_signal
    WHERE (source = :source AND NOT (kind || ' ' || subject = ANY(:kept)))
       OR reported_at < clock_timestamp() - interval '1 hour'
"""


@dataclass(frozen=True, slots=True)
class Followed:
    """Which markets of which provider are watched: those named, and the `top` largest."""

    provider: str
    symbols: Sequence[str]
    top: int
    has_history: bool


def load_new_runs(
    connection: Connection,
    followed: Followed,
    *,
    after: datetime | None,
    ahead: Sequence[UUID] = (),
) -> list[RunFact]:
    """Runs that finished since the one that began at `after`, oldest first; without it the last.

    Those of `ahead` were judged already, by a clock that was ahead.
    """
    values: dict[str, Any] = {"provider": followed.provider}
    if after is None:
        rows = connection.execute(text(_LAST_RUN), values).mappings()
    else:
        values |= {"after": after, "limit": RUNS_AT_ONCE, "ahead": list(ahead)}
        rows = connection.execute(text(_NEW_RUNS), values).mappings()
    return [RunFact(**{**row, "status": RunStatus(row["status"])}) for row in rows]


def rewind_runs(
    connection: Connection, followed: Followed, *, until: datetime, now: datetime
) -> tuple[datetime, list[UUID]]:
    """Where to go on when runs are judged until after `now`, because the clock was set back.

    The start of the last run that is surely judged, and the judged ones that lie ahead.
    """
    values = {"provider": followed.provider, "until": until, "now": now}
    row = connection.execute(text(_REWIND), values | {"settled": now - MAY_BE_NEW}).one()
    return row.until or EPOCH_MONDAY, list(row.ahead)


def load_markets(
    connection: Connection, followed: Followed, *, until: datetime | None
) -> list[MarketFact]:
    """Every followed market. Gaps are looked for in the day that ends an hour before `until`."""
    end = Granularity.HOURLY.floor(until) - HOUR if until and followed.has_history else None
    values = {
        "provider": followed.provider,
        "symbols": list(followed.symbols),
        "top": followed.top,
        "limit": MARKETS_AT_ONCE,
        "start": end and end - DAY,
        "end": end,
    }
    return [_market(row, end) for row in connection.execute(text(_MARKETS), values)]


def _market(row: Any, end: datetime | None) -> MarketFact:
    expected = 0
    if end is not None and row.first_at is not None:
        expected = max(0, (end - max(row.first_at, end - DAY)) // HOUR)
    return MarketFact(row.symbol, row.asset_type, row.observed_at, expected, row.present)


def load_schedule(
    connection: Connection,
    followed: Followed,
    schedule: CronSchedule,
    *,
    name: str,
    now: datetime,
) -> ScheduleFact:
    """How many ticks went by since a full run of the provider brought data last.

    Without one they count from its first run, and from the last of any before its first. A run
    that began after `now`, by a clock that was ahead, hides nothing.
    """
    values = {"provider": followed.provider, "schedule": name, "now": now}
    row = connection.execute(text(_SCHEDULE), values).one()
    since: datetime | None = row.since_at
    ticks = schedule.due_between(since, now, limit=TICKS_COUNTED) if since else []
    return ScheduleFact(row.success_at, len(ticks), row.paused_at, row.paused_by)


def load_signals(connection: Connection) -> list[SignalFact]:
    """What processes reported within the last three minutes."""
    rows = connection.execute(text(_SIGNALS), {"seconds": SIGNAL_SECONDS})
    return [SignalFact(**row._mapping) for row in rows]


def report_signals(connection: Connection, signals: Iterable[SignalFact], *, source: str) -> None:
    """Say what this process sees now; what it does not name is over as far as it can tell."""
    reported: Sequence[dict[str, str]] = [
        {"kind": one.kind, "subject": one.subject, "detail": redact(one.detail), "source": source}
        for one in signals
    ]
    kept = [f"{one['kind']} {one['subject']}" for one in reported]
    connection.execute(text(_WITHDRAW), {"source": source, "kept": kept})
    for values in reported:
        connection.execute(text(_REPORT), values)

"""How the operation went over a stretch of time: runs, rows, freshness, causes, sizes."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from app.database.base import AnySession
from app.domain import EPOCH_MONDAY, RunStatus
from app.ingestion.stages import TITLES
from app.models.followed import FOLLOWED_AGES
from app.services.figure_history import load_figure_history
from app.services.figure_keeping import TABLE_SIZES
from app.services.followed import followed_values
from app.services.house import House
from app.services.operation_views import (
    MOST_RUNS,
    Bucket,
    Cause,
    LookBack,
    MarketAge,
    Operations,
    ProviderUse,
    StageUse,
    TableSize,
)

STAGE_RUNS = 500
OLDEST_MARKETS = 10
_BAD = frozenset({RunStatus.FAILED.value, RunStatus.ABANDONED.value})
# Only what is asked for: thousands of whole rows are slow to sort.
_RUNS = """
    run AS (
        SELECT {columns} FROM ingestion_run WHERE started_at >= :start AND started_at < :end
        ORDER BY started_at DESC LIMIT :most
    )
"""
_COUNTED = """
    id, attempt, status, started_at, finished_at, duration_ms, inserted, updated, unchanged,
    rejected
"""
_HISTORY = f"""
    WITH {_RUNS.format(columns=_COUNTED)}, told AS (
        SELECT r.*, f.duration_ms AS fetch_ms,
               status IN ('succeeded', 'partial') AS brought,
               max(finished_at) FILTER (WHERE r.status IN ('succeeded', 'partial')) OVER (
                   ORDER BY r.started_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
               ) AS before_at
        FROM run r LEFT JOIN (
            -- A stage starts after its run; the day is for clocks that differ.
            SELECT run_id, attempt, duration_ms FROM run_stage
            WHERE name = 'fetch' AND started_at >= CAST(:start AS timestamptz) - interval '1 day'
        ) f ON f.run_id = r.id AND f.attempt = r.attempt
    ), counted AS (
        SELECT date_bin(make_interval(secs => :step), started_at, :start) AS began_at,
               count(*) FILTER (WHERE status = 'succeeded') AS succeeded,
               count(*) FILTER (WHERE status = 'partial') AS partial,
               count(*) FILTER (WHERE status = 'failed') AS failed,
               count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
               count(*) FILTER (WHERE status = 'abandoned') AS abandoned,
               percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY duration_ms)
                   FILTER (WHERE brought) AS took,
               percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY fetch_ms) AS fetch,
               sum(inserted) AS inserted, sum(updated) AS updated,
               sum(unchanged) AS unchanged, sum(rejected) AS rejected,
               min(finished_at) FILTER (WHERE brought) AS first_at,
               max(finished_at) FILTER (WHERE brought) AS last_at,
               max(finished_at - before_at) FILTER (WHERE brought) AS longest
        FROM told GROUP BY 1
    )
    SELECT b.began_at, c.*, p.brought_at
    FROM generate_series(CAST(:start AS timestamptz), CAST(:end AS timestamptz)
             - interval '1 microsecond', make_interval(secs => :step)) AS b(began_at)
    CROSS JOIN (
        SELECT (SELECT finished_at FROM ingestion_run
                WHERE status IN ('succeeded', 'partial') AND started_at < :start
                ORDER BY started_at DESC LIMIT 1) AS brought_at
    ) p
    LEFT JOIN counted c ON c.began_at = b.began_at
    ORDER BY b.began_at
"""  # noqa: S608 - made of constants
_OUTCOMES = f"""
    WITH {_RUNS.format(columns="provider, status, error_class, started_at, finished_at, fetched")}
    SELECT o.*, r.id AS last_run_id, r.error_message AS message
    FROM (
        SELECT provider, status, coalesce(error_class, '') AS error_class, count(*) AS runs,
               sum(fetched) AS fetched, max(started_at) AS last_at
        FROM run WHERE finished_at IS NOT NULL GROUP BY provider, status, 3
    ) o CROSS JOIN LATERAL (
        SELECT id, error_message FROM ingestion_run
        WHERE started_at = o.last_at AND provider = o.provider AND status = o.status
          AND coalesce(error_class, '') = o.error_class LIMIT 1
    ) r ORDER BY o.last_at DESC
"""  # noqa: S608
_STAGES = """
    SELECT s.name, count(*) AS runs,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY s.duration_ms) AS took,
           sum(s.inserted + s.updated) AS written, sum(s.unchanged) AS unchanged
    FROM (SELECT id, attempt FROM ingestion_run
          WHERE started_at >= :start AND started_at < :end AND status IN ('succeeded', 'partial')
          ORDER BY started_at DESC LIMIT :most) r
    JOIN run_stage s ON s.run_id = r.id AND s.attempt = r.attempt
    WHERE s.duration_ms IS NOT NULL GROUP BY s.name
"""
# Only those that may be shown are named.
_OLDEST = f"""
    WITH {FOLLOWED_AGES}, oldest AS (
        SELECT market_id, observed_at, count(*) OVER () AS markets FROM newest_snapshot
        ORDER BY observed_at NULLS FIRST FETCH FIRST :limit ROWS WITH TIES
    )
    SELECT m.symbol, o.observed_at, o.markets FROM oldest o JOIN market m ON m.id = o.market_id
    ORDER BY o.observed_at NULLS FIRST, m.symbol LIMIT :limit
"""  # noqa: S608 - the inner statement is a constant
_PRESENT = f"""
    SELECT (SELECT coalesce(jsonb_agg(o), '[]') FROM ({_OLDEST}) o) AS oldest,
           (SELECT jsonb_agg(t ORDER BY t.total_bytes DESC, t.name)
            FROM ({TABLE_SIZES}) t) AS tables,
           pg_database_size(current_database()) AS database_bytes
"""  # noqa: S608


def load_operations(session: AnySession, house: House, look_back: LookBack) -> Operations:
    """The history up to now, in five queries, whatever the number of runs."""
    now = house.clock()
    step = look_back.step
    end = now - (now - EPOCH_MONDAY) % step + step
    start = end - look_back.length
    values = {
        "start": start,
        "end": end,
        "step": step.total_seconds(),
        "most": MOST_RUNS,
    }
    outcomes = session.execute(text(_OUTCOMES), values).all()
    followed = followed_values(house.settings) | {"limit": OLDEST_MARKETS}
    present = session.execute(text(_PRESENT), followed).one()
    return Operations(
        look_back=look_back,
        buckets=tuple(_fill_ages(session.execute(text(_HISTORY), values), step, now)),
        providers=tuple(_providers(outcomes)),
        causes=tuple(_causes(outcomes)),
        stages=_load_stages(session, values),
        oldest=tuple(_age(row) for row in present.oldest),
        market_count=present.oldest[0]["markets"] if present.oldest else 0,
        tables=tuple(TableSize(**row) for row in present.tables),
        database_bytes=present.database_bytes,
        counted=load_figure_history(session, start=start, end=end, step=step),
    )


def _fill_ages(rows: Iterable[Any], step: timedelta, now: datetime) -> Iterable[Bucket]:
    """The buckets in order, each with the longest time without new data inside it."""
    brought_at: datetime | None = None
    for row in rows:
        brought_at = brought_at or row.brought_at
        bucket = _bucket(row, step)
        ages = [row.longest] if row.longest is not None else []
        if brought_at is not None and row.first_at is not None:
            ages.append(row.first_at - brought_at)
        brought_at = row.last_at or brought_at
        if brought_at is not None:
            ages.append(min(bucket.ended_at, now) - brought_at)
        longest = max(ages, default=None)
        yield replace(bucket, age_ms=None if longest is None else _milliseconds(longest))


def _bucket(row: Any, step: timedelta) -> Bucket:
    began_at = row[0]
    if row.succeeded is None:
        return Bucket(began_at, began_at + step)
    took, fetch = row.took or (None, None), row.fetch or (None, None)
    return Bucket(
        began_at=began_at,
        ended_at=began_at + step,
        succeeded=row.succeeded,
        partial=row.partial,
        failed=row.failed,
        cancelled=row.cancelled,
        abandoned=row.abandoned,
        took_p50_ms=_rounded(took[0]),
        took_p90_ms=_rounded(took[1]),
        fetch_p50_ms=_rounded(fetch[0]),
        fetch_p90_ms=_rounded(fetch[1]),
        inserted=row.inserted,
        updated=row.updated,
        unchanged=row.unchanged,
        rejected=row.rejected,
    )


def _rounded(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else round(milliseconds)


def _milliseconds(span: timedelta) -> int:
    return max(0, round(span.total_seconds() * 1000))


def _providers(outcomes: Iterable[Any]) -> list[ProviderUse]:
    found: dict[str, ProviderUse] = {}
    for row in outcomes:
        known = found.get(row.provider, ProviderUse(row.provider, 0, 0, 0))
        found[row.provider] = ProviderUse(
            row.provider,
            known.runs + row.runs,
            known.failed + (row.runs if row.status in _BAD else 0),
            known.fetched + row.fetched,
        )
    return sorted(found.values(), key=lambda use: (-use.runs, use.provider))


def _causes(outcomes: Iterable[Any]) -> list[Cause]:
    return [
        Cause(
            provider=row.provider,
            error_class=row.error_class or row.status,
            runs=row.runs,
            last_at=row.last_at,
            last_run_id=str(row.last_run_id),
            message=row.message or "",
        )
        for row in outcomes
        if row.status in _BAD
    ]


def _load_stages(session: AnySession, values: dict[str, Any]) -> tuple[StageUse, ...]:
    rows = session.execute(text(_STAGES), values | {"most": STAGE_RUNS})
    found = {row.name: row for row in rows}
    return tuple(
        StageUse(
            title=title,
            runs=row.runs,
            p50_ms=round(row.took[0]),
            p90_ms=round(row.took[1]),
            written=row.written,
            unchanged=row.unchanged,
        )
        for name, title in TITLES.items()
        if (row := found.get(name)) is not None
    )


def _age(row: Mapping[str, Any]) -> MarketAge:
    seen = row["observed_at"]
    return MarketAge(row["symbol"], datetime.fromisoformat(seen) if seen else None)

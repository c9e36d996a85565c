"""The numbers of the operation, read from the database: the same from every process."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app import metrics
from app.cache_breaker import CacheMode
from app.database.base import AnySession
from app.domain import RunStatus
from app.metrics import Metric, Sample
from app.services.alerts import count_open_alerts
from app.services.followed import FOLLOWED_LISTINGS, followed_values
from app.services.house import House

MOST_MARKETS = 1000
# What was pruned counts on, so that no counter falls.
_RUNS = """
    SELECT status, trigger, provider, sum(runs)::bigint AS runs
    FROM (
        SELECT status, trigger, provider, count(*) AS runs
        FROM ingestion_run GROUP BY status, trigger, provider
        UNION ALL
        SELECT labels->>'status', labels->>'trigger', labels->>'provider', rows
        FROM pruned_count WHERE kind = 'run'
    ) every_run GROUP BY status, trigger, provider
"""
_LAST = """
    SELECT duration_ms, markets_ingested,
           (SELECT extract(epoch FROM max(finished_at)) FROM ingestion_run
            WHERE status IN ('succeeded', 'partial')) AS succeeded_at
    FROM ingestion_run WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT 1
"""
_STAGES = """
    SELECT name, sum(fetched) AS fetched, sum(inserted) AS inserted, sum(updated) AS updated,
           sum(unchanged) AS unchanged, max(duration_ms) AS duration_ms
    FROM (
        SELECT name, sum(fetched) AS fetched, sum(inserted) AS inserted, sum(updated) AS updated,
               sum(unchanged) AS unchanged,
               (array_agg(duration_ms ORDER BY started_at DESC))[1] AS duration_ms
        FROM run_stage WHERE status <> 'running' GROUP BY name
        UNION ALL
        SELECT labels->>'name', fetched, inserted, updated, unchanged, NULL
        FROM pruned_count WHERE kind = 'stage'
    ) every_stage GROUP BY name
"""
_REJECTED = """
    SELECT provider, kind, reason, sum(rows)::bigint AS rows
    FROM (
        SELECT provider, kind, reason, count(*) AS rows FROM rejected_row
        GROUP BY provider, kind, reason
        UNION ALL
        SELECT labels->>'provider', labels->>'kind', labels->>'reason', rows
        FROM pruned_count WHERE kind = 'rejected_row'
    ) every_row GROUP BY provider, kind, reason
"""
_FRESHNESS = f"""
    SELECT f.symbol, extract(epoch FROM clock_timestamp() - s.observed_at) AS age
    FROM ({FOLLOWED_LISTINGS}) f
    CROSS JOIN LATERAL (
        SELECT observed_at FROM market_snapshot s
        WHERE s.market_id = f.market_id AND s.provider = :provider
        ORDER BY observed_at DESC LIMIT 1
    ) s
    ORDER BY age DESC LIMIT :limit
"""  # noqa: S608 - the inner statement is a constant
_BY_STATUS = {
    RunStatus.SUCCEEDED: metrics.INGESTION_SUCCESS,
    RunStatus.PARTIAL: metrics.INGESTION_PARTIAL,
    RunStatus.FAILED: metrics.INGESTION_FAILURE,
    RunStatus.CANCELLED: metrics.INGESTION_CANCELLED,
    RunStatus.ABANDONED: metrics.INGESTION_ABANDONED,
}


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One number of a metric at one moment."""

    name: str
    kind: str
    value: float
    labels: dict[str, str]
    observed_at: datetime


def load_samples(session: AnySession, house: House) -> list[MetricValue]:
    """Business and process numbers as plain values."""
    now = house.clock()
    samples = [*load_business(session, house), *metrics.process_samples()]
    return [
        MetricValue(item.name, item.metric.kind.value, item.value, dict(item.labels), now)
        for item in samples
    ]


def load_scrape(session: AnySession, house: House) -> list[Sample]:
    """The business numbers for Prometheus; with the database away just that, for others go on."""
    try:
        return load_business(session, house)
    except SQLAlchemyError:
        session.rollback()
        return [*_cache_mode(house), Sample(metrics.DATABASE_UP, 0.0)]


def load_business(session: AnySession, house: House) -> list[Sample]:
    """What the tables say, in six queries."""
    return [
        *_run_samples(session),
        *_last_run(session),
        *_stage_samples(session),
        *_rejected_samples(session),
        *_freshness(session, house),
        *(
            Sample(metrics.ALERTS_OPEN, count, {"severity": severity})
            for severity, count in count_open_alerts(session).items()
        ),
        *_cache_mode(house),
        Sample(metrics.DATABASE_UP, 1.0),
    ]


def _cache_mode(house: House) -> list[Sample]:
    mode = house.cache_state().mode
    return [Sample(metrics.CACHE_MODE, float(mode is item), {"mode": item}) for item in CacheMode]


def _run_samples(session: AnySession) -> Iterator[Sample]:
    totals = dict.fromkeys(_BY_STATUS, 0)
    active = 0
    for row in session.execute(text(_RUNS)):
        status = RunStatus(row.status)
        if status is RunStatus.RUNNING:
            active += row.runs
            continue
        totals[status] += row.runs
        labels = {"status": row.status, "trigger": row.trigger, "provider": row.provider}
        yield Sample(metrics.INGESTION_RUNS, row.runs, labels)
    for status, count in totals.items():
        yield Sample(_BY_STATUS[status], count)
    yield Sample(metrics.INGESTION_ACTIVE, active)


def _last_run(session: AnySession) -> Iterator[Sample]:
    row = session.execute(text(_LAST)).first()
    if row is None:
        return
    yield Sample(metrics.INGESTION_DURATION_MS, row.duration_ms or 0)
    yield Sample(metrics.INGESTION_DURATION_SECONDS, (row.duration_ms or 0) / 1000)
    yield Sample(metrics.INGESTION_MARKETS, row.markets_ingested)
    if row.succeeded_at is not None:
        yield Sample(metrics.INGESTION_LAST_SUCCESS, float(row.succeeded_at))


def _stage_samples(session: AnySession) -> Iterator[Sample]:
    counted: dict[str, Metric] = {
        "fetched": metrics.INGESTION_ROWS_FETCHED,
        "inserted": metrics.INGESTION_ROWS_INSERTED,
        "updated": metrics.INGESTION_ROWS_UPDATED,
        "unchanged": metrics.INGESTION_ROWS_UNCHANGED,
    }
    for row in session.execute(text(_STAGES)):
        stage = {"stage": row.name}
        for column, metric in counted.items():
            yield Sample(metric, int(getattr(row, column)), stage)
        seconds = (row.duration_ms or 0) / 1000
        yield Sample(metrics.INGESTION_STAGE_DURATION_SECONDS, seconds, stage)


def _rejected_samples(session: AnySession) -> Iterator[Sample]:
    for row in session.execute(text(_REJECTED)):
        labels = {"provider": row.provider, "kind": row.kind, "reason": row.reason}
        yield Sample(metrics.INGESTION_ROWS_REJECTED, row.rows, labels)


def _freshness(session: AnySession, house: House) -> Iterator[Sample]:
    values = followed_values(house.settings) | {"limit": MOST_MARKETS}
    for row in session.execute(text(_FRESHNESS), values):
        yield Sample(metrics.INGESTION_FRESHNESS, round(float(row.age), 3), {"market": row.symbol})

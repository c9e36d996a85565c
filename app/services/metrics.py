"""The numbers of the operation, read from the database: the same from every process."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.exc import SQLAlchemyError

from app import metrics
from app.database.base import AnySession
from app.database.run_counts import RUN_COUNTS
from app.domain import RunStatus
from app.metrics import Metric, Sample
from app.metrics_counting import observe_cache_mode, process_samples
from app.models.followed import FOLLOWED_AGES
from app.services.alert_counts import load_alert_counts
from app.services.alert_watch import count_open_breakers
from app.services.followed import followed_values
from app.services.house import House

MOST_MARKETS = 1000
# A stage that none of so many runs reached has no last duration.
STAGE_RUNS = 100
# Runs do not overlap: the one that started last has finished last.
_LAST = """
    SELECT r.duration_ms, r.markets_ingested,
           (SELECT extract(epoch FROM max(r.finished_at))
            FROM (VALUES ('succeeded'), ('partial')) good (status) CROSS JOIN LATERAL (
                SELECT finished_at FROM ingestion_run
                WHERE status = good.status ORDER BY started_at DESC LIMIT 1
            ) r) AS succeeded_at,
           (SELECT jsonb_object_agg(name, duration_ms)
            FROM (SELECT DISTINCT ON (s.name) s.name, s.duration_ms
                  FROM (SELECT id FROM ingestion_run ORDER BY started_at DESC LIMIT :runs) r
                  JOIN run_stage s ON s.run_id = r.id
                  WHERE s.status <> 'running' ORDER BY s.name, s.started_at DESC
            ) stages) AS stage_durations
    FROM (SELECT) now LEFT JOIN LATERAL (
        SELECT duration_ms, markets_ingested FROM ingestion_run
        WHERE status <> 'running' ORDER BY started_at DESC LIMIT 1
    ) r ON true
"""
_FRESHNESS = f"""
    WITH {FOLLOWED_AGES}, oldest AS (
        SELECT market_id, observed_at FROM newest_snapshot WHERE observed_at IS NOT NULL
        ORDER BY observed_at, market_id LIMIT :limit
    )
    SELECT m.symbol, extract(epoch FROM clock_timestamp() - o.observed_at) AS age
    FROM oldest o JOIN market m ON m.id = o.market_id ORDER BY o.observed_at, m.id
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
    _observe_cache(house)
    samples = [*load_business(session, house), *process_samples()]
    return [
        MetricValue(item.name, item.metric.kind.value, item.value, dict(item.labels), now)
        for item in samples
    ]


def load_scrape(session: AnySession, house: House) -> list[Sample]:
    """The business numbers for Prometheus; with the database away just that, for others go on."""
    _observe_cache(house)
    try:
        return load_business(session, house)
    except SQLAlchemyError:
        session.rollback()
        return [Sample(metrics.DATABASE_UP, 0.0)]


def _observe_cache(house: House) -> None:
    state = house.cache_state()
    observe_cache_mode(state.mode, state.since)


def load_business(session: AnySession, house: House) -> list[Sample]:
    """What the tables say, in five queries, however many runs there were."""
    counts = session.execute(text(RUN_COUNTS)).all()
    last = session.execute(text(_LAST), {"runs": STAGE_RUNS}).one()
    alerts = load_alert_counts(session)
    return [
        *_run_samples(row for row in counts if row.kind == "run"),
        *_last_run(last),
        *_stage_samples(last, (row for row in counts if row.kind == "stage")),
        *(_rejected_sample(row) for row in counts if row.kind == "rejected_row"),
        *_freshness(session, house),
        *(
            Sample(metrics.ALERTS_OPEN, count, {"severity": severity})
            for severity, count in alerts.firing.items()
        ),
        *(
            Sample(metrics.ALERT_DELIVERIES, count, {"status": status})
            for status, count in alerts.unsent.items()
        ),
        *(
            Sample(metrics.PROVIDER_BREAKER_OPEN, count, {"provider": provider})
            for provider, count in count_open_breakers(session, house).items()
        ),
        Sample(metrics.DATABASE_UP, 1.0),
    ]


def _run_samples(rows: Iterable[Row[Any]]) -> Iterator[Sample]:
    totals = dict.fromkeys(_BY_STATUS, 0)
    active = 0
    for row in rows:
        status = RunStatus(row.labels["status"])
        if status is RunStatus.RUNNING:
            active += row.rows
            continue
        totals[status] += row.rows
        yield Sample(metrics.INGESTION_RUNS, row.rows, row.labels)
    for status, count in totals.items():
        yield Sample(_BY_STATUS[status], count)
    yield Sample(metrics.INGESTION_ACTIVE, active)


def _last_run(last: Row[Any]) -> Iterator[Sample]:
    if last.markets_ingested is None:
        return
    yield Sample(metrics.INGESTION_DURATION_MS, last.duration_ms or 0)
    yield Sample(metrics.INGESTION_DURATION_SECONDS, (last.duration_ms or 0) / 1000)
    yield Sample(metrics.INGESTION_MARKETS, last.markets_ingested)
    if last.succeeded_at is not None:
        yield Sample(metrics.INGESTION_LAST_SUCCESS, float(last.succeeded_at))


def _stage_samples(last: Row[Any], rows: Iterable[Row[Any]]) -> Iterator[Sample]:
    counted: dict[str, Metric] = {
        "fetched": metrics.INGESTION_ROWS_FETCHED,
        "inserted": metrics.INGESTION_ROWS_INSERTED,
        "updated": metrics.INGESTION_ROWS_UPDATED,
        "unchanged": metrics.INGESTION_ROWS_UNCHANGED,
    }
    durations: dict[str, int | None] = last.stage_durations or {}
    for row in rows:
        stage = {"stage": row.labels["name"]}
        for column, metric in counted.items():
            yield Sample(metric, getattr(row, column), stage)
        seconds = (durations.get(row.labels["name"]) or 0) / 1000
        yield Sample(metrics.INGESTION_STAGE_DURATION_SECONDS, seconds, stage)


def _rejected_sample(row: Row[Any]) -> Sample:
    return Sample(metrics.INGESTION_ROWS_REJECTED, row.rows, row.labels)


def _freshness(session: AnySession, house: House) -> Iterator[Sample]:
    values = followed_values(house.settings) | {"limit": MOST_MARKETS}
    for row in session.execute(text(_FRESHNESS), values):
        yield Sample(metrics.INGESTION_FRESHNESS, round(float(row.age), 3), {"market": row.symbol})

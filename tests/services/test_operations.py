"""The history of the operation, counted by hand over rows of a real database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from app.extensions import db
from app.services.operation_views import LookBack, Operations
from app.services.operations import load_operations
from app.services.process_figures import quantile
from tests.apps import bare_app
from tests.web.real_app import empty_tables

NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
_RUN = """
    INSERT INTO ingestion_run (id, status, trigger, provider, owner, started_at, heartbeat_at,
        lease_until, deadline_at, finished_at, duration_ms, inserted, rejected, error_class,
        error_message)
    VALUES (gen_random_uuid(), :status, 'scheduler', 'mock', 'test', :at, :at, :at, :at,
        CAST(:at AS timestamptz) + make_interval(secs => :took / 1000.0), :took, :inserted,
        :rejected, :error, :message)
    RETURNING id
"""
_STAGE = """
    INSERT INTO run_stage (run_id, attempt, position, name, status, started_at, duration_ms)
    VALUES (:run_id, 1, 0, 'fetch', 'succeeded', :at, :took)
"""


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """An application over empty tables, its clock at half past twelve."""
    with bare_app(database_url, clock=lambda: NOW) as app:
        empty_tables(app)
        yield app


def add_run(ago: timedelta, *, status: str = "succeeded", took: int = 1000, **more: Any) -> None:
    """Store one run that began so long ago, its fetch taking half of its time."""
    values = {"inserted": 0, "rejected": 0, "error": None, "message": None} | more
    values |= {"status": status, "at": NOW - ago, "took": took}
    with db.engine.begin() as connection:
        run_id = connection.execute(text(_RUN), values).scalar_one()
        connection.execute(text(_STAGE), {"run_id": run_id, "at": NOW - ago, "took": took // 2})


def load(app: Flask, look_back: LookBack = LookBack.DAY) -> Operations:
    return load_operations(db.session, app.extensions["tapedeck"], look_back)


@pytest.mark.parametrize(
    ("look_back", "points"),
    [(LookBack.DAY, 24), (LookBack.WEEK, 28), (LookBack.MONTH, 30), (LookBack.QUARTER, 90)],
)
def test_a_look_back_has_its_points_also_without_runs(
    app: Flask, look_back: LookBack, points: int
) -> None:
    found = load(app, look_back)
    assert len(found.buckets) == points
    assert found.buckets[-1].began_at <= NOW < found.buckets[-1].ended_at
    assert found.runs == 0
    assert all(bucket.took_p50_ms is None and bucket.age_ms is None for bucket in found.buckets)


def test_runs_fall_into_the_hour_they_began_in(app: Flask) -> None:
    add_run(31 * MINUTE, inserted=5)
    add_run(30 * MINUTE, inserted=7, rejected=1)
    add_run(30 * MINUTE, status="failed", error="PermanentProviderError")
    before, last = load(app).buckets[-2:]
    assert (before.succeeded, before.inserted) == (1, 5)
    assert (last.succeeded, last.failed, last.inserted, last.rejected) == (1, 1, 7, 1)


def test_durations_are_of_runs_that_brought_data(app: Flask) -> None:
    for took in (1000, 2000, 3000):
        add_run(20 * MINUTE, took=took)
    add_run(20 * MINUTE, status="failed", took=90_000)
    last = load(app).buckets[-1]
    assert (last.took_p50_ms, last.took_p90_ms) == (2000, 2800)
    assert last.fetch_p50_ms == 1250  # the failed run was fetched for, too


def test_the_longest_time_without_data_reaches_over_empty_hours(app: Flask) -> None:
    add_run(timedelta(hours=30), took=0)
    add_run(timedelta(hours=3, minutes=30), took=0)  # at 09:00
    add_run(10 * MINUTE, took=0)  # at 12:20
    buckets = {bucket.began_at.hour: bucket for bucket in load(app).buckets}
    hours = {hour: (buckets[hour].age_ms or 0) / 3_600_000 for hour in (8, 9, 11, 12)}
    assert hours == pytest.approx({8: 26.5, 9: 26.5, 11: 3, 12: 10 / 3})


def test_runs_from_before_the_look_back_are_not_counted(app: Flask) -> None:
    add_run(timedelta(hours=25))
    assert load(app).runs == 0
    assert load(app, LookBack.WEEK).runs == 1


def test_causes_name_the_newest_run_of_each_failure(app: Flask) -> None:
    add_run(90 * MINUTE, status="failed", error="TransientProviderError", message="an old one")
    add_run(20 * MINUTE, status="failed", error="TransientProviderError", message="HTTP 429")
    add_run(10 * MINUTE, status="abandoned")
    found = load(app)
    told = [(cause.error_class, cause.runs, cause.message) for cause in found.causes]
    assert told == [("abandoned", 1, ""), ("TransientProviderError", 2, "HTTP 429")]
    assert [(use.provider, use.runs, use.failed) for use in found.providers] == [("mock", 3, 3)]


def test_stages_are_timed_in_the_order_of_a_run(app: Flask) -> None:
    add_run(10 * MINUTE, took=4000)
    add_run(20 * MINUTE, took=2000)
    (stage,) = load(app).stages
    assert (stage.title, stage.runs, stage.p50_ms) == ("Fetch from the provider", 2, 1500)


def test_every_table_is_listed_once_with_its_size(app: Flask) -> None:
    found = load(app)
    names = [table.name for table in found.tables]
    assert {"ingestion_run", "market_snapshot", "alert"} <= set(names)
    assert len(names) == len(set(names))
    assert found.database_bytes > sum(table.total_bytes for table in found.tables) > 0


@pytest.mark.parametrize(
    ("buckets", "answer"),
    [
        ({}, None),
        ({1.0: 0, float("inf"): 0}, None),
        ({1.0: 10, 2.0: 10, float("inf"): 10}, 0.9),
        ({1.0: 8, 2.0: 10, float("inf"): 10}, 1.5),
        ({1.0: 0, float("inf"): 10}, None),
    ],
)
def test_a_quantile_lies_within_its_bucket(
    buckets: dict[float, float], answer: float | None
) -> None:
    found = quantile(buckets, 0.9)
    assert found == (None if answer is None else pytest.approx(answer))

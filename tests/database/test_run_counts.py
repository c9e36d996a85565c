"""What runs counted is told exactly, whether they run, are over, were added up or are gone."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, text

from app.database.run_counts import RUN_COUNTS, count_finished_runs
from app.domain import Trigger
from app.extensions import db
from tests.apps import bare_app
from tests.ingestion.making import empty

_RUN = """
    WITH run AS (
        INSERT INTO ingestion_run (id, status, trigger, provider, owner, started_at, lease_until,
            deadline_at, finished_at, rejected)
        VALUES (gen_random_uuid(), :status, 'cli', 'mock', 'me', now(), now(), now(),
                CASE WHEN :status <> 'running' THEN now() END, 2)
        RETURNING id
    ), stage AS (
        INSERT INTO run_stage (run_id, attempt, position, name, status, started_at, fetched,
            inserted, updated, unchanged)
        SELECT id, attempt, 0, 'fetch', 'succeeded', now(), 7, 5, 3, 1
        FROM run, generate_series(1, 2) attempt
        UNION ALL SELECT id, 2, 1, 'validate', 'running', now(), 100, 0, 0, 0 FROM run
    )
    INSERT INTO rejected_row (run_id, provider, kind, reason, detail, raw)
    SELECT id, 'mock', 'candle', 'price_missing', '', '' FROM run
"""


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    with bare_app(database_url, ingestion_markets="BTC-USD", ingestion_lookback_days=0) as app:
        empty(db.engine)
        yield app


@pytest.fixture
def engine(app: Flask) -> Engine:
    return db.engine


def store_run(engine: Engine, status: str) -> None:
    """A run of two attempts, of which the second is in its second stage still."""
    with engine.begin() as connection:
        connection.execute(text(_RUN), {"status": status})


def told(engine: Engine) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Rows, fetched, inserted, updated and unchanged by kind and labels."""
    with engine.connect() as connection:
        rows = connection.execute(text(RUN_COUNTS)).all()
    return {(row.kind, *sorted(row.labels.values())): tuple(row[2:]) for row in rows}


def count(engine: Engine) -> None:
    with engine.begin() as connection:
        count_finished_runs(connection)


def scalar(engine: Engine, statement: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(text(statement)).scalar_one()


def test_the_sums_are_the_same_before_and_after_runs_are_added_up(engine: Engine) -> None:
    for status in ("succeeded", "succeeded", "failed", "running"):
        store_run(engine, status)
    before = told(engine)
    assert before == {
        ("run", "cli", "mock", "succeeded"): (2, 0, 0, 0, 0),
        ("run", "cli", "failed", "mock"): (1, 0, 0, 0, 0),
        ("run", "cli", "mock", "running"): (1, 0, 0, 0, 0),
        ("stage", "fetch"): (8, 56, 40, 24, 8),
        ("rejected_row", "candle", "mock", "price_missing"): (4, 0, 0, 0, 0),
    }
    count(engine)
    count(engine)
    assert told(engine) == before
    assert scalar(engine, "SELECT count(*) FROM ingestion_run WHERE NOT is_counted") == 1


def test_of_many_who_add_up_at_once_each_run_is_added_by_one(engine: Engine) -> None:
    for _ in range(20):
        store_run(engine, "partial")
    before = told(engine)
    barrier = Barrier(4)

    def add() -> None:
        barrier.wait()
        count(engine)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(add) for _ in range(4)]:
            future.result()
    assert told(engine) == before
    assert scalar(engine, "SELECT rows FROM run_count WHERE kind = 'run'") == 20


def test_what_was_not_committed_is_not_added(engine: Engine) -> None:
    store_run(engine, "failed")
    with engine.connect() as connection:
        count_finished_runs(connection)
        connection.rollback()
    assert scalar(engine, "SELECT count(*) FROM run_count") == 0
    assert told(engine)["run", "cli", "failed", "mock"] == (1, 0, 0, 0, 0)


def test_a_run_is_added_up_when_the_next_one_opens(app: Flask, engine: Engine) -> None:
    runner = app.extensions["tapedeck"].runner
    for _ in range(3):
        assert runner.wait(runner.start(trigger=Trigger.CLI), timeout_seconds=60)
    assert scalar(engine, "SELECT sum(rows) FROM run_count WHERE kind = 'run'") == 2
    assert told(engine)["run", "cli", "mock", "succeeded"][0] == 3

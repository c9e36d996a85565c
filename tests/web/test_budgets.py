"""Every page of the deck within its budget of queries, with 1,000 markets and 100,000 runs."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from app.extensions import db
from tests.services.seeding import NOW, add_markets, execute, seeded_app
from tests.web.deck import counted_queries

BUDGET = 5
_RUNS = """
    INSERT INTO ingestion_run (id, status, trigger, provider, owner, started_at, heartbeat_at,
        lease_until, deadline_at, finished_at, duration_ms, problem_count, rejected, error_message)
    SELECT gen_random_uuid(), (ARRAY['succeeded', 'succeeded', 'partial', 'failed'])[1 + n % 4],
        (ARRAY['scheduler', 'cron', 'manual'])[1 + n % 3], 'mock', 'nobody:1', t, t, t, t,
        t + interval '1 s', 500 + n % 997, n % 2, 3, CASE WHEN n % 4 = 3 THEN 'HTTP 429' END
    FROM (SELECT n, now() - n * interval '15 minutes' AS t FROM generate_series(1, 100000) n) g
"""
_DETAILS = """
    INSERT INTO rejected_row (run_id, provider, kind, reason, detail, raw)
    SELECT id, 'mock', 'snapshot', 'price_missing', 'No price.', '{}'
    FROM ingestion_run ORDER BY started_at DESC LIMIT 20;
    INSERT INTO run_log_line (run_id, attempt, position, logged_at, level, logger, event)
    SELECT id, 1, n, now(), 'info', 'x', 'line' FROM (
        SELECT id FROM ingestion_run ORDER BY started_at DESC LIMIT 20) r, generate_series(1, 200) n
"""


@pytest.fixture(scope="module")
def app(fresh_database_url: str) -> Iterator[Flask]:
    """A deck of a thousand markets and almost three years of runs."""
    with seeded_app(fresh_database_url, ingestion_markets="top:1000") as app:
        add_markets([f"M{n:04}-USD" for n in range(1000)], hours=2)
        execute("UPDATE market SET created_at = :at", at=NOW)
        execute(_RUNS)
        for statement in _DETAILS.split(";"):
            execute(statement)
        execute("ANALYZE")
        vacuum()
        yield app


def vacuum() -> None:
    """What autovacuum would have done by now: an index can answer alone."""
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ingestion_run")


@pytest.mark.parametrize(
    "address",
    ["/", "/runs", "/runs?status=partial", "/runs?trigger=cli", "/runs?period=30d&min_seconds=1",
     "/runs?search=429", "/runs?search=nowhere&status=failed", "/runs?provider=nobody",
     "/runs/RUN", "/runs/RUN?level=warning&moved=5", "/markets", "/markets?freshness=late",
     "/markets?freshness=never&asset_type=index", "/markets/M0001-USD",
     "/markets/M0001-USD?granularity=daily", "/fragments/runs", "/fragments/runs/RUN",
     "/fragments/state", "/fragments/recent-runs", "/fragments/snapshots"],
)  # fmt: skip
def test_a_page_stays_within_its_budget(app: Flask, address: str) -> None:
    client = app.test_client()
    newest = client.get("/api/runs?limit=1&status=partial").get_json()["runs"][0]["id"]
    with counted_queries(app) as queries:
        answer = client.get(address.replace("RUN", newest))
    assert answer.status_code == 200
    assert len(queries) <= BUDGET, "\n".join(queries)


def test_filters_and_counts_read_the_index_and_not_the_table(app: Flask) -> None:
    with counted_queries(app) as queries:
        app.test_client().get("/runs?trigger=cli&period=30d")
    plans = []
    with app.app_context(), db.engine.connect() as connection:
        for query in queries[:3]:
            values = {"period": timedelta(days=30), "trigger": "cli", "limit": 51}
            explained = connection.exec_driver_sql(
                f"EXPLAIN {query}", values | {"min_duration_ms": None}
            )
            plans.append("\n".join(explained.scalars()))
    assert sum("Index Only Scan" in plan for plan in plans) >= 2
    assert not any("Seq Scan on ingestion_run" in plan for plan in plans)


def test_counts_stop_at_the_newest_ten_thousand_runs(app: Flask) -> None:
    html = " ".join(app.test_client().get("/runs").text.split())
    assert "10,000 runs; counted among the newest 10,000" in html


def test_a_text_that_no_new_run_holds_says_how_far_was_searched(app: Flask) -> None:
    html = " ".join(app.test_client().get("/runs?search=nowhere").text.split())
    assert "No run matches these filters. " in html
